"""Which part of the image the answer cannot do without: a grey square is slid over it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from chainrule.core.course import Topic
from chainrule.core.errors import UserError
from chainrule.introspection.attribution.target import eval_with_grad, image_leaf, target_score
from chainrule.introspection.layers import evaluating
from chainrule.introspection.tensors import first_tensor


def positions(length: int, size: int, stride: int) -> list[int]:
    """Where the square begins along a side: 0, stride, 2 stride, ..., and flush with the far edge.

    >>> positions(10, 4, 4)
    [0, 4, 6]
    """
    return [*range(0, length - size, stride), length - size]


def occlusion(
    module: nn.Module,
    x: Tensor,
    target: int | None = None,
    *,
    size: int,
    stride: int = 1,
    grey: float = 0.0,
    batch_size: int = 64,
) -> Tensor:
    """The probability of a class while a grey square hides a part of the image, for each of its places.

    Args:
        module: a network that gives logits (B, K); their softmax is the probability.
        x: one image as the network takes it, (1, C, H, W).
        target: the class; the top class of the image as it is where it is None.
        size: side of the square in pixels, at most the shorter side of the image.
        stride: pixels from one place to the next; the last is flush with the edge.
        grey: what the square holds; 0 is the mean colour of normalised images.
        batch_size: how many are asked at once.

    Returns:
        (rows, columns), one for each pair of `positions`.

    Raises:
        UserError: not one image, a square that does not fit, a stride below 1, no such class.

    Source: Zeiler, Fergus: Visualizing and understanding convolutional networks, 2014 (arXiv 1311.2901), section 4.2.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(3, 2))
    >>> for p, value in zip(net[1].parameters(), ([[0.0, 0, 9], [0, 0, 0]], [0.0, 0]), strict=True):
    ...     _ = p.data.copy_(torch.tensor(value))
    >>> occlusion(net, torch.ones(1, 1, 1, 3), 0, size=1).round(decimals=2).tolist()  # the last pixel alone matters
    [[1.0, 1.0, 0.5]]
    """
    height, width = image_leaf(x).shape[2:]
    if len(x) != 1:
        raise UserError("one image at a time is covered", expected="x (1, C, H, W)", found=tuple(x.shape))
    if not 1 <= size <= min(height, width) or stride < 1 or batch_size < 1:
        raise UserError(
            "the square does not fit",
            expected=f"size 1 to {min(height, width)}, stride and batch_size 1 or more",
            found=f"size {size}, stride {stride}, batch_size {batch_size}",
        )
    with eval_with_grad(module), torch.no_grad():
        chosen = target_score(module, x.detach(), target).target.index
    tops, lefts = positions(height, size, stride), positions(width, size, stride)
    places = [(top, left) for top in tops for left in lefts]
    probs = []
    with torch.no_grad(), evaluating(module):
        for start in range(0, len(places), batch_size):
            part = places[start : start + batch_size]
            covered = x.detach().repeat(len(part), 1, 1, 1)
            for row, (top, left) in enumerate(part):
                covered[row, :, top : top + size, left : left + size] = grey
            probs.append(_logits(module, covered).float().softmax(1)[:, chosen[0]])
    return torch.cat(probs).view(len(tops), len(lefts))


def mean_over_squares(values: Tensor, shape: tuple[int, int], size: int, stride: int = 1) -> Tensor:
    """For each pixel the mean of the values of all squares that cover it: a map as large as the image.

    Args:
        values: (rows, columns) as `occlusion` gives them.
        shape: (H, W) of the image.
        size, stride: as there.

    >>> mean_over_squares(torch.tensor([[0.0, 1.0]]), (2, 3), size=2).tolist()
    [[0.0, 0.5, 1.0], [0.0, 0.5, 1.0]]
    """
    rows = _cover(shape[0], size, stride).to(values)
    columns = _cover(shape[1], size, stride).to(values)
    return rows.T @ values @ columns / (rows.sum(0)[:, None] * columns.sum(0)).clamp(min=1)


def _cover(length: int, size: int, stride: int) -> Tensor:
    """Which pixels (columns) each position (rows) covers, of one side."""
    starts = torch.tensor(positions(length, size, stride))[:, None]
    pixels = torch.arange(length)
    return ((pixels >= starts) & (pixels < starts + size)).float()


def _logits(module: nn.Module, x: Tensor) -> Tensor:
    logits = first_tensor(module(x))
    assert logits is not None
    return logits


TOPICS = (Topic("Why an answer: guided back-propagation, deconvnet, Grad-CAM, occlusion", code=("occlusion",)),)
