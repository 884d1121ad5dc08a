"""Random changes to whole batches of images, as tensor code on the device that trains."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def crop_and_flip(x: Tensor, pad: int = 4) -> Tensor:
    """Each image is moved by up to `pad` pixels either way, black coming in, and half of them are mirrored.

    The same as zeros on all four sides and a random crop of the old size (He et al. 2016, section 4.2).

    Args:
        x: (B, C, H, W), bytes as a rule.
        pad: pixels.

    Gives a tensor of the same shape and type. Draws from torch's global generator of x's device.

    >>> torch.manual_seed(0) and crop_and_flip(torch.ones(2, 1, 1, 3, dtype=torch.uint8), pad=0).tolist()
    [[[[1, 1, 1]]], [[[1, 1, 1]]]]
    """
    (count, _, height, width), device = x.shape, x.device
    top, left = torch.randint(2 * pad + 1, (2, count, 1), device=device)  # corners of the crops
    mirrored = torch.rand(count, 1, device=device) < 0.5
    across = torch.arange(width, device=device)
    rows = top + torch.arange(height, device=device)  # (B, H)
    columns = left + torch.where(mirrored, across.flip(0), across)  # (B, W)
    padded = F.pad(x, (pad, pad, pad, pad)).permute(0, 2, 3, 1)  # (B, H + 2 pad, W + 2 pad, C)
    image = torch.arange(count, device=device)[:, None, None]
    return padded[image, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
