"""Losses of numbers: squared, Euclidean, smooth L1. Input and target have one shape (B, ...); nothing is broadcast."""

from __future__ import annotations

import torch
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.core.errors import UserError
from chainrule.functional.losses.normalization import (
    Normalization,
    as_float,
    check_number,
    check_same_shape,
    reduce_losses,
)


def squared(input: Tensor, target: Tensor, *, normalization: Normalization = "valid") -> Tensor:
    """(y - t)^2 for each element; by default their mean (torch's mse_loss).

    Args:
        input: y, any shape, floating. Half precision is computed in float32.
        target: t of the same shape.
        normalization: over elements, see `reduce_losses`.

    Raises:
        UserError: shapes that differ, or an input that is not floating.

    Source: Gauss 1809; Bishop 2006, equation 1.87.

    >>> float(squared(torch.tensor([1.0, 2.0]), torch.tensor([0.0, 4.0])))
    2.5
    """
    return reduce_losses(_difference(input, target).square(), None, normalization)


def euclidean(input: Tensor, target: Tensor, *, normalization: Normalization = "batch") -> Tensor:
    """1 / (2 N) sum_n |y_n - t_n|^2, N samples: Caffe's EuclideanLoss, not divided by the length of a sample.

    An item is a sample: its value is half the squared length of its difference. So `valid` and `batch` agree.

    Args:
        input: y (B, ...), floating.
        target: t of the same shape.

    Raises:
        UserError: shapes that differ, or an input that is not floating.

    Source: Caffe, euclidean_loss_layer.cpp.

    >>> float(euclidean(torch.tensor([[3.0, 4.0], [0.0, 0.0]]), torch.zeros(2, 2)))  # 25 / (2 * 2)
    6.25
    """
    difference = _difference(input, target)
    if difference.dim() == 0:
        raise UserError("there is no batch", expected="input (B, ...)", found="a single number", cure="input[None]")
    halves = 0.5 * difference.square()
    values = halves.flatten(1).sum(1) if halves.dim() > 1 else halves  # (B, ...) -> (B,)
    return reduce_losses(values, None, normalization)


def smooth_l1(
    input: Tensor,
    target: Tensor,
    *,
    beta: float | None = None,
    sigma: float | None = None,
    normalization: Normalization = "valid",
) -> Tensor:
    """Quadratic near zero, linear far away, for d = y - t; `beta` is where the two meet, and beta = 1 / sigma^2.

    - beta: d^2 / (2 beta) where |d| < beta, else |d| - beta / 2 (torch's; beta 0 is |d|).
    - sigma: (sigma d)^2 / 2 where |d| < 1 / sigma^2, else |d| - 1 / (2 sigma^2) (Fast R-CNN's).

    Args:
        input: y, any shape, floating.
        target: t of the same shape.
        beta, sigma: one of the two, or neither, which is 1.
        normalization: over elements, see `reduce_losses`.

    Raises:
        UserError: both are given, beta below 0, sigma not above 0, or shapes that differ.

    Source: Girshick: Fast R-CNN, 2015 (arXiv 1504.08083), equation 3; with sigma Ren et al.: Faster R-CNN, its code.

    >>> y, t = torch.tensor([0.05, 2.0]), torch.zeros(2)
    >>> [round(v, 5) for v in smooth_l1(y, t, sigma=3, normalization="unreduced").tolist()]
    [0.01125, 1.94444]
    """
    if beta is not None and sigma is not None:
        raise UserError(
            "beta and sigma are the same setting",
            expected="one of them",
            found=f"beta={beta}, sigma={sigma}",
            cure="beta = 1 / sigma^2",
        )
    if sigma is not None:
        if not sigma > 0:
            raise UserError("sigma is out of range", expected="above 0", found=sigma)
        beta = 1 / sigma**2
    beta = 1.0 if beta is None else beta
    check_number("beta", beta, 0)
    size = _difference(input, target).abs()
    if beta == 0:
        return reduce_losses(size, None, normalization)
    return reduce_losses(torch.where(size < beta, 0.5 * size.square() / beta, size - 0.5 * beta), None, normalization)


def _difference(input: Tensor, target: Tensor) -> Tensor:
    input = as_float(input, "input")
    check_same_shape("target", target, "input", input)
    return input - target.to(input.dtype)


TOPICS = (Topic("Losses: squared, hinge, triplet, focal, label smoothing", code=("squared",)),)
