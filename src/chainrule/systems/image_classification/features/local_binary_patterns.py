"""Local binary patterns: which of a pixel's neighbours are at least as bright as it is, as one number.

Shapes: images (B, H, W), P neighbours, cells of S x S pixels.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from chainrule.core.course import Topic
from chainrule.core.errors import UserError

MOST_NEIGHBOURS = 16  # 2^P codes have a table


def pattern_codes(x: Tensor, neighbours: int = 8, radius: float = 1.0) -> Tensor:
    """The local binary pattern of each pixel, sum_p [x_p >= x] 2^p, (B, H, W), from 0 to 2^P - 1.

    Neighbour p lies at the angle 2 pi p / P on a circle, from the right against the clock; between pixels it is their
    bilinear interpolation, and beyond the edge 0.

    Args:
        x: images (B, H, W), floating-point.
        neighbours: P, from 1 to 16.
        radius: of the circle, in pixels.

    Raises:
        UserError: not (B, H, W); neighbours or a radius out of range.

    Source: Ojala, Pietikainen, Maenpaa: Multiresolution gray-scale and rotation invariant texture classification with local
    binary patterns, 2002, equation 9.

    >>> image = torch.tensor([[[5.0, 9.0, 1.0], [4.0, 6.0, 7.0], [2.0, 3.0, 6.0]]])
    >>> pattern_codes(image, neighbours=4)[0, 1, 1].item()  # right 7 and above 9, not left 4 and below 3: 1 + 2
    3
    """
    if x.dim() != 3 or not x.is_floating_point():
        raise UserError("x must be grey images", expected="floating-point (B, H, W)", found=tuple(x.shape))
    if not 1 <= neighbours <= MOST_NEIGHBOURS or not radius > 0:
        raise UserError(
            "there are no such patterns",
            expected=f"1 to {MOST_NEIGHBOURS} neighbours on a radius above 0",
            found=f"{neighbours} neighbours, radius {radius}",
        )
    edge = math.ceil(radius) + 1
    height, width = x.shape[1:]
    wide = nn.functional.pad(x, (edge, edge, edge, edge))

    def shifted(down: int, across: int) -> Tensor:
        return wide[:, edge + down : edge + down + height, edge + across : edge + across + width]

    codes = torch.zeros(x.shape, dtype=torch.int64, device=x.device)
    for p in range(neighbours):
        angle = 2 * math.pi * p / neighbours
        down, across = round(-radius * math.sin(angle), 5), round(radius * math.cos(angle), 5)
        top, left = math.floor(down), math.floor(across)
        below, right = down - top, across - left
        upper, lower = shifted(top, left), shifted(top + 1, left)
        # a + t (b - a), which is a where a = b: flat parts of an image stay flat.
        upper = upper + right * (shifted(top, left + 1) - upper)
        lower = lower + right * (shifted(top + 1, left + 1) - lower)
        codes = codes + ((upper + below * (lower - upper)) >= x).long() * 2**p
    return codes


def uniform_labels(neighbours: int) -> Tensor:
    """A label for each of the 2^P codes: the uniform ones each their own, all others one together; P (P - 1) + 3 in all.

    A pattern is uniform where, around the circle, 0 and 1 change at most twice: edges, corners, spots, flat parts. They are
    nine tenths of what images show.

    Source: Ojala et al. 2002, section 2.3; without rotation invariance, as Ahonen et al. 2004 have it for faces.

    >>> labels = uniform_labels(4)
    >>> labels.tolist()  # 0101 and 1010 change four times
    [0, 1, 2, 3, 4, 14, 5, 6, 7, 8, 14, 9, 10, 11, 12, 13]
    """
    labels, found = [], 0
    for code in range(2**neighbours):
        bits = [code >> p & 1 for p in range(neighbours)]
        changes = sum(bits[p] != bits[p - 1] for p in range(neighbours))
        labels.append(found if changes <= 2 else -1)
        found += changes <= 2
    return torch.tensor([found if label < 0 else label for label in labels])


class LocalBinaryPatterns(nn.Module):
    """Histograms of uniform local binary patterns, cell by cell: images (B, C, H, W) to rows (B, n m (P (P - 1) + 3)).

    The mean of the channels is the grey image. An entry is the square root of a pattern's share of the cell, so that an
    inner product of rows is the Bhattacharyya coefficient of their cells. Pixels beyond the last whole cell are left out.

    Args:
        cell: S, the side of a cell in pixels.
        neighbours, radius: as in `pattern_codes`.

    Raises:
        UserError: an image smaller than a cell.

    Source: Ahonen, Hadid, Pietikainen: Face recognition with local binary patterns, 2004; with a linear machine in place of
    the chi-square distance.

    >>> LocalBinaryPatterns(cell=8)(torch.rand(2, 3, 16, 16)).shape  # 4 cells of 59
    torch.Size([2, 236])
    """

    labels: Tensor

    def __init__(self, cell: int = 8, neighbours: int = 8, radius: float = 1.0) -> None:
        super().__init__()
        self.cell, self.neighbours, self.radius = cell, neighbours, radius
        self.register_buffer("labels", uniform_labels(neighbours), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if not 1 <= self.cell <= min(x.shape[2:]):
            raise UserError(
                "no cell fits into the image", expected=f"cell from 1 to {min(x.shape[2:])}", found=f"cell {self.cell}"
            )
        label = self.labels[pattern_codes(x.mean(1), self.neighbours, self.radius)]  # (B, H, W)
        numbers = torch.arange(self.neighbours * (self.neighbours - 1) + 3, device=x.device).view(-1, 1, 1)
        shares = nn.functional.avg_pool2d((label[:, None] == numbers).to(x.dtype), self.cell)  # (B, labels, n, m)
        return shares.sqrt().permute(0, 2, 3, 1).flatten(1)


TOPICS = (Topic("Features made by hand: HOG, LBP, patch dictionaries, before networks", code=("pattern_codes",)),)
