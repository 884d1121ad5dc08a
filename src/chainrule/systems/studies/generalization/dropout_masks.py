"""Dropout as an average over thinned networks, without sampling: all masks, and the means over them."""

from __future__ import annotations

import torch
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.core.errors import UserError

MOST_UNITS = 20  # of which all masks are made: a million


def all_masks(units: int, p: float, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Every pattern of units kept and left out, and its probability p^(left out) (1 - p)^(kept).

    Args:
        units: how many; 20 at most.
        p: the probability to leave a unit out, above 0 and below 1.
        dtype: of both.

    Returns:
        masks (2^units, units), a kept unit 1 / (1 - p) as inverted dropout has it, else 0; probabilities (2^units,).

    Raises:
        UserError: too many units, or none; p out of range.

    >>> all_masks(1, 0.25, torch.float32)
    (tensor([[0.0000],
            [1.3333]]), tensor([0.2500, 0.7500]))
    """
    if not 1 <= units <= MOST_UNITS:
        raise UserError(
            "not all masks can be made",
            expected=f"1 to {MOST_UNITS} units",
            found=units,
            cure="draw masks instead: chainrule.nn.dropout.monte_carlo",
        )
    if not 0 < p < 1:
        raise UserError("p is out of range", expected="above 0 and below 1, the probability to leave out", found=p)
    kept = ((torch.arange(2**units)[:, None] >> torch.arange(units)) & 1).double()  # bits of 0 ... 2^units - 1
    probabilities = (kept * (1 - p) + (1 - kept) * p).prod(1)
    return (kept / (1 - p)).to(dtype), probabilities.to(dtype)


def geometric_mean(log_probs: Tensor, weights: Tensor) -> Tensor:
    """The weighted geometric mean of distributions, normalised: log softmax of sum_m w_m log p_m.

    For a softmax on a linear layer it equals one pass without dropout: the mean over all masks of its inputs is the
    pass with weights scaled by their expectation.

    Args:
        log_probs: of M distributions (M, ..., K).
        weights: of each, adding up to 1 (M,).

    Returns:
        log-probabilities (..., K).

    Raises:
        UserError: another number of weights than of distributions.

    Source: Srivastava et al.: Dropout, 2014, section 1; Baldi and Sadowski: Understanding dropout, 2013, section 3.

    >>> halves = torch.tensor([[0.5, 0.5], [0.9, 0.1]]).log()
    >>> geometric_mean(halves, torch.tensor([0.5, 0.5])).exp()
    tensor([0.7500, 0.2500])
    """
    _expect_weights(log_probs, weights)
    return torch.tensordot(weights, log_probs, 1).log_softmax(-1)  # (M,) and (M, ..., K) to (..., K)


def arithmetic_mean(log_probs: Tensor, weights: Tensor) -> Tensor:
    """The weighted mean of distributions, as log-probabilities: log sum_m w_m p_m.

    It is the predictive distribution when the mask is a random quantity that is not known.

    Args:
        log_probs: of M distributions (M, ..., K).
        weights: of each, adding up to 1 (M,).

    Returns:
        log-probabilities (..., K).

    Raises:
        UserError: another number of weights than of distributions.

    Source: Gal and Ghahramani: Dropout as a Bayesian approximation, 2016, equation 6.

    >>> arithmetic_mean(torch.tensor([[0.5, 0.5], [0.9, 0.1]]).log(), torch.tensor([0.5, 0.5])).exp()
    tensor([0.7000, 0.3000])
    """
    _expect_weights(log_probs, weights)
    shape = (-1, *[1] * (log_probs.dim() - 1))  # (M,) -> (M, 1, ..., 1)
    return torch.logsumexp(log_probs + weights.log().reshape(shape), 0)


def _expect_weights(log_probs: Tensor, weights: Tensor) -> None:
    if log_probs.dim() < 2 or weights.shape != log_probs.shape[:1]:
        raise UserError(
            "each distribution needs a weight",
            expected="log_probs (M, ..., K), weights (M,)",
            found=[tuple(log_probs.shape), tuple(weights.shape)],
        )


TOPICS = (Topic("Dropout", code=("all_masks",)),)
