"""Histograms of oriented gradients: in which directions the brightness changes, cell by cell.

Shapes: images (B, C, H, W) of cells of S x S pixels, n = H // S cells down and m = W // S across, O orientations.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from chainrule.core.course import Topic
from chainrule.core.errors import UserError

CLIP = 0.2  # of L2-Hys: no entry of a block is larger
EPS = 1e-5


def gradients(x: Tensor) -> tuple[Tensor, Tensor]:
    """Central differences down and across, (B, H, W) each, of the channel in which they are largest; 0 at the edges.

    >>> down, across = gradients(torch.tensor([[[[1.0, 2.0, 4.0], [1.0, 3.0, 9.0], [1.0, 7.0, 4.0]]]]))
    >>> down[0, 1].tolist(), across[0, 1].tolist()  # the columns' ends less their beginnings; 9 - 1
    ([0.0, 5.0, 0.0], [0.0, 8.0, 0.0])
    """
    down, across = torch.zeros_like(x), torch.zeros_like(x)
    down[:, :, 1:-1] = x[:, :, 2:] - x[:, :, :-2]
    across[:, :, :, 1:-1] = x[:, :, :, 2:] - x[:, :, :, :-2]
    if x.shape[1] == 1:
        return down[:, 0], across[:, 0]
    largest = (down.square() + across.square()).argmax(1, keepdim=True)  # (B, 1, H, W)
    return down.gather(1, largest)[:, 0], across.gather(1, largest)[:, 0]


def orientation_histograms(x: Tensor, *, cell: int = 8, orientations: int = 9) -> Tensor:
    """Of each cell the gradient magnitudes by direction, from 0 to 180 degrees: (B, O, n, m), means over the cell.

    A pixel votes with its whole magnitude for the bin that its direction lies in; a direction and its opposite are one.
    Rows and columns beyond the last whole cell are left out.

    Args:
        x: images (B, C, H, W), floating-point.
        cell: S, the side of a cell in pixels.
        orientations: O, bins of 180 / O degrees.

    Raises:
        UserError: an image smaller than a cell, a cell or a number of bins below 1.

    >>> edge = torch.tensor([[[[0.0, 0.0, 1.0, 1.0]] * 4]])  # brighter to the right: across, which is 0 degrees
    >>> orientation_histograms(edge, cell=4, orientations=2).flatten().tolist()  # 8 of 16 pixels
    [0.5, 0.0]
    """
    if cell < 1 or orientations < 1 or min(x.shape[2:]) < cell:
        raise UserError(
            "no cell fits into the image",
            expected=f"cell from 1 to {min(x.shape[2:])}, 1 orientation or more",
            found=f"cell {cell}, {orientations} orientations",
        )
    down, across = gradients(x)
    magnitude = (down.square() + across.square()).clamp(min=1e-30).sqrt()  # no slope of a root at 0
    degrees = torch.rad2deg(torch.atan2(down.detach(), across.detach())) % 180
    bin_of = (degrees * (orientations / 180)).floor().clamp(max=orientations - 1)
    numbers = torch.arange(orientations, device=x.device, dtype=x.dtype).view(-1, 1, 1)
    votes = torch.where(bin_of[:, None] == numbers, magnitude[:, None], torch.zeros_like(magnitude[:, None]))
    return nn.functional.avg_pool2d(votes, cell)


def hog(x: Tensor, *, cell: int = 8, block: int = 2, orientations: int = 9) -> Tensor:
    """The histograms of oriented gradients of images: blocks of cells, each brought to length 1, side by side.

    Every block of `block` x `block` neighbouring cells, at every step of a cell, is a vector v; v / |v| is cut off at 0.2
    and brought to length 1 again (L2-Hys), so that one strong edge does not drown the rest, and light does not matter.

    Args:
        x: images (B, C, H, W), floating-point; of several channels each pixel takes that of the largest gradient.
        cell, orientations: as in `orientation_histograms`.
        block: cells along a side of a block.

    Returns:
        (B, (n - block + 1) (m - block + 1) block^2 O): by block, cell in it, orientation, as `skimage.feature.hog` has it.

    Raises:
        UserError: fewer cells than a block takes.

    Source: Dalal, Triggs: Histograms of oriented gradients for human detection, 2005. As scikit-image has it: votes are not
    shared between neighbouring bins and cells, and no Gaussian weighs a block, which the paper does.

    >>> hog(torch.rand(2, 3, 32, 32)).shape  # 3 x 3 blocks of 2 x 2 cells
    torch.Size([2, 324])
    """
    histograms = orientation_histograms(x, cell=cell, orientations=orientations)  # (B, O, n, m)
    rows, columns = histograms.shape[2] - block + 1, histograms.shape[3] - block + 1
    if block < 1 or rows < 1 or columns < 1:
        raise UserError(
            "no block of cells fits into the image",
            expected=f"block from 1 to {min(histograms.shape[2:])} cells of {cell} pixels",
            found=block,
            cure="a smaller cell, or larger images",
        )
    parts = [
        histograms[:, :, i : i + rows, j : j + columns] for i in range(block) for j in range(block)
    ]  # block^2 of (B, O, rows, columns)
    v = torch.stack(parts, 1).permute(0, 3, 4, 1, 2).flatten(3)  # (B, rows, columns, block^2 O)
    v = v * (v.square().sum(3, keepdim=True) + EPS**2).rsqrt()
    v = v.clamp(max=CLIP)
    return (v * (v.square().sum(3, keepdim=True) + EPS**2).rsqrt()).flatten(1)


class HOG(nn.Module):
    """`hog` as a module: images (B, C, H, W) to rows."""

    def __init__(self, cell: int = 8, block: int = 2, orientations: int = 9) -> None:
        super().__init__()
        self.cell, self.block, self.orientations = cell, block, orientations

    def forward(self, x: Tensor) -> Tensor:
        return hog(x, cell=self.cell, block=self.block, orientations=self.orientations)


def glyphs(x: Tensor, *, cell: int = 8, orientations: int = 9, side: int = 16) -> Tensor:
    """What HOG keeps of images, drawn: in each cell a line along the edges, as bright as its orientation is strong.

    Args:
        x, cell, orientations: as in `orientation_histograms`.
        side: pixels of a drawn cell.

    Returns:
        bytes (B, 1, n side, m side).
    """
    histograms = orientation_histograms(x, cell=cell, orientations=orientations)
    place = torch.arange(side) - (side - 1) / 2
    strokes = []
    for number in range(orientations):
        angle = (number + 0.5) * math.pi / orientations  # of the gradient; the edge is at right angles to it
        from_edge = place[:, None] * math.sin(angle) + place * math.cos(angle)  # rows down, columns across
        along = place[:, None] * math.cos(angle) - place * math.sin(angle)
        strokes.append(((from_edge.abs() < 0.75) & (along.abs() < side / 2 - 1)).float())
    drawn = torch.einsum("bonm,ohw->bnhmw", histograms.cpu().float(), torch.stack(strokes))  # sums where lines cross
    drawn = drawn.flatten(3).flatten(1, 2)  # (B, n side, m side)
    most = drawn.amax((1, 2), keepdim=True).clamp(min=1e-12)
    return (drawn / most * 255).round().to(torch.uint8)[:, None]


TOPICS = (
    Topic(
        "Features made by hand: HOG, LBP, patch dictionaries, before networks",
        "网络之前的人工特征：HOG、LBP、图像块字典",
        lectures=(2, 3, 4, 5),
        code=("hog",),
        command="chainrule train feature-svm features=hog",
    ),
)
