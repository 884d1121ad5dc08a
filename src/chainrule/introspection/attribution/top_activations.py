"""The images of a data set that excite a map most, and the part of each that does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from chainrule.core.course import Topic
from chainrule.core.errors import UserError
from chainrule.introspection.attribution.receptive_field.network import Fields
from chainrule.introspection.attribution.target import forward_with_activations
from chainrule.introspection.layers import evaluating


@dataclass(frozen=True)
class TopActivations:
    """Of each map of a layer the strongest images, the strongest first: all (C, count).

    `image` is the number in the data set, `row` and `column` the place of the unit, `value` its activation.
    """

    value: Tensor
    image: Tensor
    row: Tensor
    column: Tensor


def top_activations(
    module: nn.Module,
    x: Tensor,
    layers: Sequence[str],
    count: int = 9,
    batch_size: int = 100,
    prepare: Callable[[Tensor], Tensor] = lambda x: x,
) -> dict[str, TopActivations]:
    """For each map of some layers, the `count` images in which it has its largest activations, one place in each.

    Args:
        module: the network.
        x: the data set, (N, C, H, W), of any type.
        layers: layers with maps, by name.
        count: images a map; fewer where there are fewer.
        batch_size: images at once.
        prepare: from images of the data set to what the network takes, batch by batch: normalisation, device.

    Returns:
        by the layer's name, on the CPU. Of equal activations the image that comes first.

    Raises:
        UserError: no image, a count below 1, no such layer, a layer without maps.

    Source: Zeiler, Fergus: Visualizing and understanding convolutional networks, 2014 (arXiv 1311.2901), section 4
    and figure 2.

    >>> net = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False))
    >>> _ = net[0].weight.data.fill_(-1.0)
    >>> top = top_activations(net, torch.tensor([[[[5.0, 4.0]]], [[[9.0, 2.0]]]]), ["0"], count=1)["0"]
    >>> top.value.item(), top.image.item(), top.column.item()
    (-2.0, 1, 1)
    """
    if not len(x) or count < 1:
        raise UserError(
            "there is nothing to choose from",
            expected="an image, a count of 1 or more",
            found=f"{len(x)} images, count {count}",
        )
    best: dict[str, tuple[Tensor, Tensor]] = {}  # layer -> values and codes (C, count)
    widths: dict[str, tuple[int, int]] = {}
    with torch.no_grad(), evaluating(module):
        for start in range(0, len(x), batch_size):
            seen = forward_with_activations(module, prepare(x[start : start + batch_size]), layers)[1]
            for name, maps in seen.items():
                if maps.dim() != 4:
                    raise UserError(
                        "the layer gives no maps", where=name, expected="(B, C, h, w)", found=tuple(maps.shape)
                    )
                widths[name] = maps.shape[2], maps.shape[3]
                value, place = (part.T.cpu() for part in maps.float().flatten(2).max(2))  # (C, B)
                number = torch.arange(start, start + value.shape[1])
                code = number * maps[0, 0].numel() + place
                best[name] = _strongest(best.get(name), value, code, count)
    return {name: _excitation(*best[name], *widths[name]) for name in layers}


def _strongest(before: tuple[Tensor, Tensor] | None, value: Tensor, code: Tensor, count: int) -> tuple[Tensor, Tensor]:
    if before is not None:
        value, code = torch.cat([before[0], value], 1), torch.cat([before[1], code], 1)
    order = value.argsort(stable=True, dim=1, descending=True)[:, :count]
    return value.gather(1, order), code.gather(1, order)


def _excitation(value: Tensor, code: Tensor, height: int, width: int) -> TopActivations:
    image, place = code // (height * width), code % (height * width)
    return TopActivations(value, image, place // width, place % width)


def crop(image: Tensor, field: Fields, row: int, column: int) -> Tensor:
    """The part of an image (C, H, W) that a unit sees, as far as it lies inside the image.

    Args:
        field: the receptive field of the unit's layer, vertical and horizontal, from `receptive_fields`.
        row, column: of the unit in its map.

    >>> from chainrule.introspection.attribution.receptive_field.arithmetic import ReceptiveField
    >>> three = ReceptiveField(size=3, jump=2, start=-1)
    >>> crop(torch.arange(16.0).view(1, 4, 4), (three, three), 0, 1).tolist()
    [[[1.0, 2.0, 3.0], [5.0, 6.0, 7.0]]]
    """
    top, bottom = field[0].inside(row, image.shape[1])
    left, right = field[1].inside(column, image.shape[2])
    return image[:, top : bottom + 1, left : right + 1]


TOPICS = (
    Topic(
        "What excites a map, what a layer keeps",
        "什么样的图像使特征图响应最强，每一层保留了什么",
        lectures=(2,),
        code=("top_activations",),
        command="chainrule explain RUN INPUT",
    ),
)
