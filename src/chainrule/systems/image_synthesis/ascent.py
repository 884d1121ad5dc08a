"""Deep Dream: climb on what a network's layers see in an image, from its coarse form to its fine one."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.core.errors import UserError

CHUNK = 4096  # positions that are matched with a guide at a time


def octave_sizes(height: int, width: int, octaves: int, scale: float = 1.4) -> list[tuple[int, int]]:
    """Heights and widths of an image, the smallest first: each is the next one divided by `scale`, rounded.

    Args:
        height, width: of the image, in pixels.
        octaves: how many sizes, its own among them.
        scale: above 1.

    Raises:
        UserError: no octave, a scale of 1 or below, or so many that the smallest would have no pixel.

    Source: Mordvintsev, Olah, Tyka: Inceptionism, 2015, and its notebook dream.ipynb, function deepdream.

    >>> octave_sizes(300, 451, 4)
    [(109, 164), (153, 230), (214, 322), (300, 451)]
    """
    if octaves < 1 or scale <= 1:
        raise UserError(
            "there are no such octaves", expected="1 or more, of a scale above 1", found=f"{octaves}, {scale:g}"
        )
    sizes = [(height, width)]
    for _ in range(octaves - 1):
        sizes.append((round(sizes[-1][0] / scale), round(sizes[-1][1] / scale)))
        if min(sizes[-1]) < 1 or sizes[-1] == sizes[-2]:
            raise UserError(
                "the image is too small for so many octaves",
                expected=f"at most {len(sizes) - 1} of {height} x {width} pixels",
                found=octaves,
            )
    return sizes[::-1]


def resampled(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Images (B, C, H, W) brought to another size by straight lines between pixels; the corners keep their values.

    Source: dream.ipynb, `nd.zoom` with order 1.

    >>> resampled(torch.tensor([[[[0.0, 1.0]]]]), (1, 3)).flatten().tolist()
    [0.0, 0.5, 1.0]
    """
    return x if tuple(x.shape[2:]) == size else F.interpolate(x, size, mode="bilinear", align_corners=True)


def ascend(
    objective: Callable[[Tensor], Tensor],
    x: Tensor,
    step_size: float,
    shift: tuple[int, int] = (0, 0),
    tile: int = 0,
    low: float = 0.0,
    high: float = 255.0,
) -> tuple[Tensor, Tensor]:
    """One step of gradient ascent: x + step_size g / mean |g|, clipped, where g is the gradient of the objective.

    The image is rolled round by `shift` first, and back after: so no pixel stands always at the same place of the
    windows and strides of a network, whose traces would show.

    Args:
        objective: images to a scalar.
        x: (B, C, H, W).
        step_size: what a pixel changes by in the mean, in units of x.
        shift: pixels to the right and down; negative ones to the left and up.
        tile: an image higher or wider than so many pixels is looked at in parts of about that size, each for itself, so
            that its memory is bounded; 0 never. The shift moves their borders.
        low, high: the range of pixels.

    Returns:
        The new images, and the objective before the step (of tiles their mean).

    Raises:
        UserError: where no gradient reaches the image. Where it is zero, x stays as it is.

    Source: dream.ipynb, function make_step; the tiles are those of TensorFlow's tutorial.

    >>> ascend(lambda z: z.square().sum() / 2, torch.tensor([[[[1.0, 3.0]]]]), step_size=4.0)
    (tensor([[[[3., 9.]]]]), tensor(5.))
    """
    turned = x.detach().roll(shift, dims=(3, 2))
    counts = [-(-side // tile) if tile else 1 for side in turned.shape[2:]]
    rows, values = [], []
    for band in turned.tensor_split(counts[0], dim=2):
        parts = []
        for part in band.tensor_split(counts[1], dim=3):
            leaf = part.clone(memory_format=torch.contiguous_format).requires_grad_()
            with torch.enable_grad():
                value = objective(leaf)
            if not value.requires_grad:
                raise UserError("no gradient reaches the image", expected="an objective that autograd follows")
            parts.append(torch.autograd.grad(value, leaf)[0])
            values.append(value.detach())
        rows.append(torch.cat(parts, dim=3))
    gradient = torch.cat(rows, dim=2)
    size = gradient.abs().mean()
    risen = turned + step_size * gradient / torch.where(size > 0, size, 1.0)
    back = (-shift[0], -shift[1])
    return risen.roll(back, dims=(3, 2)).clamp(low, high), torch.stack(values).mean()


def strength(features: Tensor, channel: int | None = None) -> Tensor:
    """Half the mean square of a layer's numbers, whose gradient is their own direction; of a channel, its mean.

    The notebook climbs on 1/2 |F|^2. The mean is that but for a factor, which the step's normalisation takes away, and lets
    several layers weigh alike.

    Args:
        features: (B, N, ...).
        channel: the number of a map, or of a unit, that alone is to respond.

    Raises:
        UserError: where there is no such channel.

    >>> strength(torch.tensor([[1.0, 3.0]])).item(), strength(torch.tensor([[1.0, 3.0]]), channel=1).item()
    (2.5, 3.0)
    """
    if channel is None:
        return features.square().mean() / 2
    if not 0 <= channel < features.shape[1]:
        raise UserError("the layer has no such channel", expected=f"0 to {features.shape[1] - 1}", found=channel)
    return features[:, channel].mean()


def likeness(features: Tensor, guide: Tensor) -> Tensor:
    """Mean over positions k of max_l sum_i F[i, k] Y[i, l]: each position grows like that of a guide which fits it best.

    Args:
        features: F, maps of one image (1, N, H, W).
        guide: Y, those of the guide, (1, N, h, w).

    Raises:
        UserError: maps of other numbers than one image each, or of different N.

    Source: dream.ipynb, function objective_guide.

    >>> likeness(torch.tensor([[[[1.0]], [[2.0]]]]), torch.tensor([[[[3.0, 0.0]], [[0.0, 1.0]]]])).item()
    3.0
    """
    if features.dim() != 4 or guide.dim() != 4 or features.shape[:2] != guide.shape[:2] or len(features) != 1:
        raise UserError(
            "a guide needs maps of one image, as many as those of the image that is made",
            expected="(1, N, H, W) and (1, N, h, w)",
            found=f"{tuple(features.shape)} and {tuple(guide.shape)}",
        )
    x, y = features[0].flatten(1).T, guide[0].flatten(1)  # (H W, N), (N, h w)
    with torch.no_grad():
        best = torch.cat([(part @ y).argmax(1) for part in x.split(CHUNK)])
    return (x * y[:, best].T).sum(1).mean()


TOPICS = (Topic("Deep Dream, style transfer", code=("ascend", "likeness")),)
