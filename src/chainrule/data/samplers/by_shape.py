"""Images of one shape together, or of nearly one aspect."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from chainrule.data.samplers.bucketed import Bucketed, expect_samples


class ByShape(Bucketed):
    """Every image once an epoch, in batches of one shape: a batch is one tensor without padding.

    Args:
        shapes: heights and widths (N, 2), or any whole numbers (N,) or (N, d) that are equal where images go together,
            as those of `aspect_groups`.
        batch_size: the most images of a batch; the last of each shape has what is left.
        seed: decides the draws.

    Raises:
        UserError: there is no image.

    >>> shapes = torch.tensor([[4, 6], [5, 5], [4, 6], [6, 4]])
    >>> sorted(index.sort().values.tolist() for index in ByShape(shapes, 8, seed=0).epoch(0))
    [[0, 2], [1], [3]]
    """

    def __init__(self, shapes: Tensor, batch_size: int, *, seed: int) -> None:
        expect_samples(len(shapes))
        kinds, which = shapes.cpu().unique(dim=0, return_inverse=True)
        super().__init__([(which == kind).nonzero()[:, 0] for kind in range(len(kinds))], batch_size, seed=seed)


def aspect_groups(sizes: Tensor, ratios: Sequence[float] = (0.5, 0.67, 1.0, 1.5, 2.0)) -> Tensor:
    """The number of the nearest of these ratios of height to width (N,), for heights and widths (N, 2).

    Nearest is meant on a logarithmic scale: 1 is as far from 2 as from 1/2.

    >>> aspect_groups(torch.tensor([[30, 20], [20, 30], [100, 99]])).tolist()
    [3, 1, 2]
    """
    aspect = (sizes[:, 0].double() / sizes[:, 1].double()).log()  # (N,)
    targets = torch.tensor(ratios, dtype=torch.float64, device=sizes.device).log()  # (R,)
    return (aspect[:, None] - targets).abs().argmin(1)
