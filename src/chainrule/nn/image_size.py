"""Errors for images of a size that a network cannot take; PyTorch's own speak of kernels and matrices."""

from __future__ import annotations

from torch import Tensor

from chainrule.core.errors import UserError


def at_least(x: Tensor, size: int, network: str) -> None:
    """Raises a UserError where images (B, C, H, W) are lower or narrower than `size` pixels.

    >>> import torch
    >>> at_least(torch.zeros(1, 3, 32, 20), 32, "VGG")
    Traceback (most recent call last):
    chainrule.core.errors.UserError: the images are too small for VGG
      expected: 32 x 32 pixels at least
      found:    32 x 20
      cure:     size=32 or more where they are read
    """
    height, width = x.shape[-2:]
    if min(height, width) < size:
        raise UserError(
            f"the images are too small for {network}",
            expected=f"{size} x {size} pixels at least",
            found=f"{height} x {width}",
            cure=f"size={size} or more where they are read",
        )


def exactly(x: Tensor, size: int, network: str) -> None:
    """Raises a UserError where images (B, C, H, W) are not `size` x `size` pixels.

    >>> import torch
    >>> exactly(torch.zeros(1, 3, 224, 224), 227, "AlexNet")
    Traceback (most recent call last):
    chainrule.core.errors.UserError: the images are of another size than this AlexNet was built for
      expected: 227 x 227 pixels
      found:    224 x 224
      cure:     size=227 where they are read, or a network built for 224
    """
    height, width = x.shape[-2:]
    if (height, width) != (size, size):
        raise UserError(
            f"the images are of another size than this {network} was built for",
            expected=f"{size} x {size} pixels",
            found=f"{height} x {width}",
            cure=f"size={size} where they are read, or a network built for {height}",
        )
