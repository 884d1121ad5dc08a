"""The rows of the page, one a layer: its receptive field, what inversion finds in it, what excites its maps."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from chainrule.core.task import Normalization
from chainrule.introspection.attribution.budget import Budget
from chainrule.introspection.attribution.guided_backpropagation import deconvnet
from chainrule.introspection.attribution.images import EDGE, heat_map, image_grid, png, signed_grey, unnormalize
from chainrule.introspection.attribution.inversion import invert
from chainrule.introspection.attribution.receptive_field.effective import effective_field, effective_size
from chainrule.introspection.attribution.receptive_field.network import Fields, receptive_fields
from chainrule.introspection.attribution.receptive_field.occluder import occluder_field
from chainrule.introspection.attribution.target import Unit, forward_with_activations
from chainrule.introspection.attribution.top_activations import TopActivations, crop, top_activations
from chainrule.introspection.layers import evaluating

LAYERS = 6
MAPS = 4  # of each layer, those that this image excites most
BEST = 9
STEPS = 100  # of an image made from inside; fewer than LEAST_STEPS show nothing
LEAST_STEPS = 40
LEAST_IMAGES = 3  # of which a field by occluders is the mean, where there are as many


@dataclass(frozen=True)
class LayerRow:
    """A row of the page: a layer, its receptive field, and images."""

    name: str
    shape: tuple[int, int, int]
    field: dict[str, Any] | None
    effective: tuple[bytes, float] | None  # image and size of the effective field
    kept: tuple[bytes, float] | None  # what inversion gives, and the share of the features it misses
    maps: list[dict[str, Any]] = dataclasses.field(default_factory=list)


def representative_layers(maps: dict[str, tuple[int, int, int]], most: int = LAYERS) -> list[str]:
    """Of layers with maps the first, and the last of each size of map.

    >>> representative_layers({"conv": (8, 32, 32), "a": (8, 32, 32), "b": (16, 16, 16), "pool": (16, 1, 1)})
    ['conv', 'a', 'b', 'pool']
    """
    last = {(height, width): name for name, (_, height, width) in maps.items()}
    names = [name for name in maps if name == next(iter(maps)) or name in last.values()]
    return [names[round(i * (len(names) - 1) / (most - 1))] for i in range(most)] if len(names) > most else names


@dataclass(frozen=True)
class Explained:
    """What is explained: the network, the image as it takes it (1, C, H, W); and how much may be computed for it."""

    module: nn.Module
    x: Tensor
    budget: Budget
    normalize: Normalization | None
    differentiable: bool

    def pixels(self, x: Tensor) -> Tensor:
        return unnormalize(x, self.normalize)


def layer_rows(explained: Explained, maps: dict[str, tuple[int, int, int]], data: Tensor | None) -> list[LayerRow]:
    """The rows of the page; `data` are bytes (N, C, H, W) of the data set, of which some are looked through."""
    names = representative_layers(maps)
    fields = receptive_fields(explained.module, explained.x)
    strongest = _strongest_maps(explained, names)
    exciting: dict[str, TopActivations] = {}
    if data is not None and explained.normalize is not None:
        exciting = top_activations(explained.module, data, names, BEST, prepare=_prepared(explained))
    return [
        LayerRow(
            name,
            maps[name],
            _field_numbers(fields.get(name), explained.x),
            _effective(explained, name, len(names)),
            _inverted(explained, name, len(names)),
            [
                _map_row(explained, name, int(number), fields.get(name), exciting[name], data, len(names))
                for number in strongest[name]
            ]
            if name in exciting and data is not None
            else [],
        )
        for name in names
    ]


def evenly_spaced(data: Tensor, budget: Budget, most: int = 2000) -> Tensor:
    """As many images as the budget allows, at even steps through the split."""
    count = min(len(data), max(budget.forwards(most), BEST))
    return data[torch.linspace(0, len(data) - 1, count).long()]


def _prepared(explained: Explained) -> Callable[[Tensor], Tensor]:
    assert explained.normalize is not None
    normalize = explained.normalize
    return lambda x: normalize(x.to(explained.x.device)).to(explained.x.dtype)


def _strongest_maps(explained: Explained, names: list[str]) -> dict[str, list[int]]:
    with torch.no_grad(), evaluating(explained.module):
        seen = forward_with_activations(explained.module, explained.x, names)[1]
    return {
        name: seen[name][0].flatten(1).amax(1).topk(min(MAPS, len(seen[name][0]))).indices.tolist() for name in names
    }


def _field_numbers(fields: Fields | None, x: Tensor) -> dict[str, Any] | None:
    """The numbers of a receptive field as the page has them."""
    if fields is None:
        return None
    vertical, horizontal = fields
    alike = vertical == horizontal
    size = f"{float(vertical.size):g}" if alike else f"{float(vertical.size):g} × {float(horizontal.size):g}"
    return {
        "size": size,
        "jump": float(vertical.jump),
        "centre": float(vertical.centre),
        "all": vertical.size >= x.shape[2] and horizontal.size >= x.shape[3],
    }


def _effective(explained: Explained, name: str, among: int) -> tuple[bytes, float] | None:
    count = explained.budget.gradients(8, share=1 / among)
    if not (explained.differentiable and count):
        return None
    noise = torch.randn(count, *explained.x.shape[1:], generator=torch.Generator().manual_seed(0)).to(explained.x)
    found = effective_field(explained.module, noise, name)
    return png(heat_map(found.sqrt()), 120), effective_size(found)


def _inverted(explained: Explained, name: str, among: int) -> tuple[bytes, float] | None:
    steps = explained.budget.gradients(STEPS, share=2 / among)
    if not explained.differentiable or steps < LEAST_STEPS:
        return None
    made = invert(explained.module, explained.x, name, steps=steps, lr=0.1)
    with torch.no_grad(), evaluating(explained.module):
        wanted = forward_with_activations(explained.module, explained.x, [name])[1][name]
        found = forward_with_activations(explained.module, made.image, [name])[1][name]
    missed = float((found - wanted).norm() / wanted.norm().clamp(min=1e-30))
    return png(explained.pixels(made.image[0]), 120), missed


def _map_row(
    explained: Explained,
    name: str,
    number: int,
    fields: Fields | None,
    top: TopActivations,
    data: Tensor | None,
    among: int,
) -> dict[str, Any]:
    """The strongest images for one map: the part that the unit sees, what of it the deconvnet finds, what occluders find."""
    assert data is not None
    chosen = data[top.image[number]]
    places = list(zip(top.row[number].tolist(), top.column[number].tolist(), strict=True))
    parts = [_receptive_patch(image, fields, place) for image, place in zip(chosen, places, strict=True)]
    shown = {
        "number": number,
        "value": float(top.value[number, 0]),
        "parts": png(image_grid(parts, 3, 30), 0),
        "found": None,
        "occluded": _occluded(explained, _prepared(explained)(chosen), name, number, fields, among * MAPS),
    }
    if explained.differentiable:
        found = deconvnet(explained.module, _prepared(explained)(chosen), Unit(name, number)).cpu()
        answers = [_receptive_patch(signed_grey(one), fields, place) for one, place in zip(found, places, strict=True)]
        shown["found"] = png(image_grid(answers, 3, 30), 0)
    return shown


def _occluded(
    explained: Explained, x: Tensor, name: str, number: int, fields: Fields | None, among: int
) -> tuple[bytes, float, int, int] | None:
    """Zhou's field of a map's units, its size, the side of the occluders and how many images; None where that is too costly.

    The budget of one map decides how far apart the occluders lie, and of how many images the field is the mean.
    """
    if fields is None:
        return None
    sides = x.shape[2:]
    size = max(1, round(min(sides) / 10))
    passes = explained.budget.forwards(50_000, share=1 / (10 * among))
    area = math.prod(min(side, math.ceil(field.size)) + size for field, side in zip(fields, sides, strict=True))
    for stride in range(1, size + 1):
        count = min(len(x), passes // math.ceil(area / stride**2))
        if count >= min(len(x), LEAST_IMAGES):
            found = occluder_field(explained.module, x[:count], name, number, size=size, stride=stride, field=fields)
            rows, columns = (slice((side - 1) // 2, (side - 1) // 2 + side) for side in sides)  # as large as the image
            return png(heat_map(found[rows, columns]), 90), effective_size(found), size, count
    return None


def _receptive_patch(image: Tensor, fields: Fields | None, place: tuple[int, int]) -> Tensor:
    """What the unit sees of an image in bytes (C, H, W), as large for every unit: grey stands beyond the edge.

    Of a field as large as the image or larger it is the image.
    """
    sides = image.shape[1:]
    if fields is None or any(field.size >= side for field, side in zip(fields, sides, strict=True)):
        return image
    frame = torch.full((image.shape[0], *(math.ceil(field.size) for field in fields)), EDGE, dtype=torch.uint8)
    part = crop(image, fields, *place)
    top, left = (
        field.inside(unit, side)[0] - math.ceil(field.of(unit)[0])
        for field, unit, side in zip(fields, place, sides, strict=True)
    )
    frame[:, top : top + part.shape[1], left : left + part.shape[2]] = part
    return frame
