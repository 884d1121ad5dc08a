"""Tensors as PNG: what a network sees, heat over it, gradients of both signs, filters, many small ones in a grid."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from chainrule.core.task import Normalization

MARGIN = 4  # pixels between the parts of a grid
EDGE = 148  # the grey of the line around each


def unnormalize(x: Tensor, normalize: Normalization | None) -> Tensor:
    """A normalised image (C, H, W) as bytes, by undoing the normalisation; spread from black to white without one.

    >>> from chainrule.nn.normalization.normalize import Normalize
    >>> unnormalize(torch.tensor([[[-2.0, 2.0]]]), Normalize([0.5], [0.25])).tolist()
    [[[0, 255]]]
    """
    x = x.detach().float().cpu()
    if normalize is None:
        return spread(x)
    scale, shift = normalize.scale.cpu(), normalize.shift.cpu()
    return ((x - shift) / scale).round().clamp(0, 255).to(torch.uint8)


def spread(x: Tensor) -> Tensor:
    """Any numbers as bytes, the lowest 0 and the highest 255."""
    x = x.detach().float().cpu()
    low, high = x.min(), x.max()
    return ((x - low) / (high - low).clamp(min=1e-30) * 255).round().to(torch.uint8)


def signed_grey(x: Tensor) -> Tensor:
    """Numbers of both signs as bytes: 0 is grey, the largest size black or white. One far out does not hide the rest.

    >>> signed_grey(torch.tensor([[[-1.0, 0.0, 1.0]]])).tolist()
    [[[0, 128, 255]]]
    """
    x = x.detach().float().cpu()
    most = x.abs().flatten().quantile(0.995) if x.numel() < 10_000_000 else x.abs().max()
    most = most if most > 0 else x.abs().max().clamp(min=1e-30)
    return ((x / most).clamp(-1, 1) * 127.5 + 127.5).round().to(torch.uint8)


def heat_map(x: Tensor) -> Tensor:
    """A map (H, W), 0 and above, in the colours of heat: bytes (3, H, W), 0 black."""
    import matplotlib as mpl

    x = x.detach().float().cpu().clamp(min=0)
    colours = mpl.colormaps["inferno"]((x / x.max().clamp(min=1e-30)).numpy())[..., :3]
    return (torch.from_numpy(colours).permute(2, 0, 1) * 255).round().to(torch.uint8)


def overlay(pixels: Tensor, values: Tensor, *, signed: bool = False, least: float = 0.0) -> Tensor:
    """A map (h, w) of any size in colour over an image (C, H, W) in grey: bytes (3, H, W).

    Of a map of one sign the colours go from blue over green to red; of both signs red is above 0 and blue below. Values
    below `least` stay pale, also where there are no larger ones.
    """
    import matplotlib as mpl

    values = values.detach().float().cpu()
    large = torch.nn.functional.interpolate(values[None, None], pixels.shape[1:], mode="bilinear", align_corners=False)[
        0, 0
    ]
    most = large.abs().max().clamp(min=max(least, 1e-30))
    shares = (large / most + 1) / 2 if signed else large.clamp(min=0) / most
    colours = mpl.colormaps["coolwarm" if signed else "turbo"](shares.numpy())[..., :3]
    grey = pixels.float().mean(0, keepdim=True)
    return (0.45 * grey + 0.55 * 255 * torch.from_numpy(colours).permute(2, 0, 1)).round().clamp(0, 255).to(torch.uint8)


def image_grid(parts: Sequence[Tensor], columns: int, cell: int = 40) -> Tensor:
    """Byte images (C, h, w) of sizes that may differ, in rows on transparent ground: (4, H, W), the last for opacity.

    Each is enlarged to whole multiples that come near `cell` pixels, and stands in the middle of its place.

    >>> image_grid([torch.zeros(1, 2, 2, dtype=torch.uint8)] * 3, columns=2, cell=4).shape
    torch.Size([4, 20, 20])
    """
    large = []
    for part in parts:
        times = max(1, cell // max(part.shape[1:]))
        large.append(to_rgb(part).repeat_interleave(times, 1).repeat_interleave(times, 2))
    height, width = max(p.shape[1] for p in large), max(p.shape[2] for p in large)
    columns = min(columns, len(large))
    rows = -(-len(large) // columns)
    down, across = height + MARGIN, width + MARGIN
    sheet = torch.zeros(4, rows * down + MARGIN, columns * across + MARGIN, dtype=torch.uint8)
    for number, part in enumerate(large):
        row, column = divmod(number, columns)
        top = MARGIN + row * down + (height - part.shape[1]) // 2
        left = MARGIN + column * across + (width - part.shape[2]) // 2
        bottom, right = top + part.shape[1], left + part.shape[2]
        sheet[:3, top - 1 : bottom + 1, left - 1 : right + 1] = EDGE
        sheet[3, top - 1 : bottom + 1, left - 1 : right + 1] = 255
        sheet[:3, top:bottom, left:right] = part
    return sheet


def to_rgb(pixels: Tensor) -> Tensor:
    """Three channels: grey of one, the first three of more, the mean of two."""
    if pixels.shape[0] == 3:
        return pixels
    if pixels.shape[0] > 3:
        return pixels[:3]
    return pixels.float().mean(0, keepdim=True).round().to(torch.uint8).expand(3, -1, -1)


def png(pixels: Tensor, side: int = 200) -> bytes:
    """Bytes (C, H, W) as a PNG, enlarged to whole multiples so that the longer side comes near `side`.

    Four channels are colours and opacity.
    """
    from PIL import Image

    array: Any = (pixels if pixels.shape[0] == 4 else to_rgb(pixels)).permute(1, 2, 0).contiguous().cpu().numpy()
    image = Image.fromarray(array)
    times = max(1, round(side / max(image.size)))
    buffer = io.BytesIO()
    image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST).save(
        buffer, format="png", optimize=True
    )
    return buffer.getvalue()
