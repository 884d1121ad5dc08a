"""Calibration: whether predicted probabilities agree with observed frequencies."""

from __future__ import annotations

import torch
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.core.errors import UserError


def expected_calibration_error(probs: Tensor, target: Tensor, bins: int = 15) -> Tensor:
    """The mean distance of confidence and accuracy: sum over bins of (share of samples) |accuracy - confidence|.

    The confidence of an answer is its largest probability; bins are equally wide, their lower end belongs to the bin
    below.

    Args:
        probs: of the classes (N, K), each row adds up to 1.
        target: the true classes (N,).
        bins: how many between 0 and 1.

    Returns:
        a scalar from 0 to 1.

    Raises:
        UserError: nothing to measure, shapes that do not fit, no bin.

    Source: Guo et al.: On calibration of modern neural networks, 2017, equation 3.

    >>> probs = torch.tensor([[0.8, 0.2], [0.8, 0.2]])  # sure to 0.8, right in half of the cases
    >>> round(expected_calibration_error(probs, torch.tensor([0, 1])).item(), 4)
    0.3
    """
    if probs.dim() != 2 or not len(probs) or target.shape != probs.shape[:1]:
        raise UserError(
            "there must be a target for each row of probabilities",
            expected="probs (N, K), target (N,), N > 0",
            found=[tuple(probs.shape), tuple(target.shape)],
        )
    if bins < 1:
        raise UserError("there must be a bin", expected="bins of 1 or more", found=bins)
    confidence, answer = probs.double().max(1)  # (N,)
    index = (confidence * bins).ceil().long().clamp(1, bins) - 1
    # In each bin the sum of (accuracy - confidence) over its samples; divided by N this is share times gap.
    gap = torch.zeros(bins, dtype=torch.float64, device=probs.device)
    gap.index_add_(0, index, (answer == target).double() - confidence)
    return gap.abs().sum() / len(probs)


TOPICS = (Topic("Rare classes, precision and recall, calibration", code=("expected_calibration_error",)),)
