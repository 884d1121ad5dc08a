"""Large images by overlapping tiles: what a network answers of each tile's middle, put together.

Shapes: B images, C channels, K classes, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from chainrule.core.errors import UserError
from chainrule.systems.segmentation.networks.borders import mirror_pad

TILE = 1024  # pixels of a side
OVERLAP = 128  # pixels on each side of a tile that are looked at and not answered, of networks without a `reach`


def tiled(
    network: Callable[[Tensor], Tensor], x: Tensor, tile: tuple[int, int] = (TILE, TILE), overlap: int = OVERLAP
) -> Tensor:
    """Logits (B, K, H, W) of images (B, C, H, W), tile by tile; of images no larger than a tile, the network's own.

    Where an image is cut, its border is mirrored, as far as a tile looks beyond it. Where the network looks no further than
    `overlap` pixels, the answers are those of the whole image, but near its border.

    Args:
        network: images to logits of the same height and width.
        tile: height and width of a tile, in pixels.
        overlap: pixels of it on each side that are not answered.

    Raises:
        UserError: the overlaps leave nothing of a tile.
    """
    height, width = x.shape[-2:]
    if height <= tile[0] and width <= tile[1]:
        return network(x)
    (rows, h, above), (columns, w, left) = (_cut(n, of, overlap) for n, of in zip((height, width), tile, strict=True))
    padded = mirror_pad(x, left, columns * w - width + left, above, rows * h - height + above)
    lines = []
    for top in range(0, rows * h, h):
        line = []
        for first in range(0, columns * w, w):
            answer = network(padded[..., top : top + h + 2 * above, first : first + w + 2 * left])
            line.append(answer[..., above : above + h, left : left + w])
        lines.append(torch.cat(line, -1))
    return torch.cat(lines, -2)[..., :height, :width]


def _cut(length: int, tile: int, overlap: int) -> tuple[int, int, int]:
    """Into how many pieces a side is cut, how long what each answers is, and how much it looks at on both sides of that."""
    if length <= tile:
        return 1, length, 0
    step = tile - 2 * overlap
    if step < 1:
        raise UserError("nothing is left of a tile", expected=f"an overlap below {tile // 2}", found=overlap)
    return -(-length // step), step, overlap


def largest_at(logits: Tensor, height: int, width: int) -> Tensor:
    """The class of the largest logit of each pixel, bytes (B, height, width); logits (B, K, H, W) are brought there.

    Class by class, so that no more than two maps of that size are held beside the answer.

    >>> largest_at(torch.tensor([[[[1.0, 0.0]], [[0.0, 2.0]]]]), 1, 4).tolist()
    [[[0, 0, 1, 1]]]
    """
    if logits.shape[-2:] == (height, width):
        return logits.argmax(1).to(torch.uint8)
    answer = torch.zeros(len(logits), height, width, dtype=torch.uint8, device=logits.device)
    best = torch.full(answer.shape, -torch.inf, dtype=logits.dtype, device=logits.device)
    for k in range(logits.shape[1]):
        own = F.interpolate(logits[:, k : k + 1], (height, width), mode="bilinear", align_corners=False)[:, 0]
        answer[own > best] = k
        best = torch.maximum(best, own)
    return answer
