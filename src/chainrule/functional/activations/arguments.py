"""Checks of what activations take: floating-point numbers, one parameter or one a channel, groups of channels."""

from __future__ import annotations

import torch
from torch import Tensor

from chainrule.core.errors import UserError


def floating(x: Tensor) -> Tensor:
    """x itself, if it is a tensor of floating-point numbers; otherwise a UserError.

    >>> floating(torch.tensor([1.0]))
    tensor([1.])
    """
    if not isinstance(x, Tensor) or not x.is_floating_point():
        raise UserError(
            "an activation needs a tensor of floating-point numbers",
            found=x.dtype if isinstance(x, Tensor) else type(x).__name__,
            cure="x.float()" if isinstance(x, Tensor) else "torch.tensor(x, dtype=torch.float32)",
        )
    return x


def per_channel(parameter: Tensor | float, x: Tensor, name: str) -> Tensor | float:
    """A parameter of x's type and so shaped that it broadcasts over x: one number, or one a channel (dimension 1).

    Args:
        parameter: a number, or a tensor of one element, or of (C,).
        x: any shape if there is one number; (B, C, ...) otherwise.

    Errors: a UserError that names the parameter `name`, where there are neither one nor as many as channels.

    >>> per_channel(torch.tensor([1.0, 2.0]), torch.zeros(3, 2, 5, 5), "weight").shape
    torch.Size([1, 2, 1, 1])
    """
    if not isinstance(parameter, Tensor):
        return parameter
    if parameter.numel() == 1:
        return parameter.to(x.dtype).reshape(())
    if parameter.dim() != 1 or x.dim() < 2 or x.shape[1] != len(parameter):
        raise UserError(
            f"{name} does not fit x",
            expected="one element, or one for each channel, which is dimension 1 of x",
            found=f"{name} of shape {tuple(parameter.shape)}, x of shape {tuple(x.shape)}",
        )
    return parameter.to(x.dtype).reshape(1, -1, *[1] * (x.dim() - 2))


def split_channels(x: Tensor, parts: int, dim: int) -> Tensor:
    """x with its channels (C * parts) at `dim` as two dimensions (C, parts).

    Errors: a UserError where x has no such dimension, or its size is no multiple of `parts`.

    >>> split_channels(torch.arange(4.0).view(1, 4), 2, 1).tolist()
    [[[0.0, 1.0], [2.0, 3.0]]]
    """
    if not -x.dim() <= dim < x.dim():
        raise UserError("x has no dimension of channels", expected=f"dimension {dim}", found=f"shape {tuple(x.shape)}")
    if parts < 1 or x.shape[dim] % parts:
        raise UserError(
            f"the channels cannot be put into groups of {parts}",
            expected=f"a multiple of {parts}, at least 1",
            found=f"{x.shape[dim]} channels",
        )
    return torch.unflatten(x, dim, (x.shape[dim] // parts, parts))
