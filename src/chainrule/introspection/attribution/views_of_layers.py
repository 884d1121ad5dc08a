"""What each layer sees, keeps and answers to, as images for the page."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from chainrule.core.task import Normalization
from chainrule.introspection.attribution.asking import Unit, observe
from chainrule.introspection.attribution.effective_field import effective_field, effective_size
from chainrule.introspection.attribution.effort import Effort
from chainrule.introspection.attribution.fields_of_layers import Fields, receptive_fields
from chainrule.introspection.attribution.images import EDGE, around_grey, heat, in_grid, png, seen_pixels
from chainrule.introspection.attribution.inversion import invert
from chainrule.introspection.attribution.relu_rules import deconvnet
from chainrule.introspection.attribution.top_activations import Excitation, crop, top_activations
from chainrule.introspection.layers import evaluating

LAYERS = 6
MAPS = 4  # of each layer, those that this image excites most
BEST = 9
STEPS = 100  # of an image made from inside; fewer than LEAST_STEPS show nothing
LEAST_STEPS = 40


@dataclass(frozen=True)
class LayerView:
    """A row of the page: a layer, its receptive field, and images."""

    name: str
    shape: tuple[int, int, int]
    field: dict[str, Any] | None
    effective: tuple[bytes, float] | None  # image and size of the effective field
    kept: tuple[bytes, float] | None  # what inversion gives, and the share of the features it misses
    maps: list[dict[str, Any]] = dataclasses.field(default_factory=list)


def representative(maps: dict[str, tuple[int, int, int]], most: int = LAYERS) -> list[str]:
    """Of layers with maps the first, and the last of each size of map.

    >>> representative({"conv": (8, 32, 32), "a": (8, 32, 32), "b": (16, 16, 16), "pool": (16, 1, 1)})
    ['conv', 'a', 'b', 'pool']
    """
    last = {(height, width): name for name, (_, height, width) in maps.items()}
    names = [name for name in maps if name == next(iter(maps)) or name in last.values()]
    return [names[round(i * (len(names) - 1) / (most - 1))] for i in range(most)] if len(names) > most else names


@dataclass(frozen=True)
class Looking:
    """What all views need: the network, the image as it takes it (1, C, H, W), and what it may cost."""

    module: nn.Module
    x: Tensor
    effort: Effort
    normalize: Normalization | None
    differentiable: bool

    def pixels(self, x: Tensor) -> Tensor:
        return seen_pixels(x, self.normalize)


def layer_views(look: Looking, maps: dict[str, tuple[int, int, int]], data: Tensor | None) -> list[LayerView]:
    """The rows of the page; `data` are bytes (N, C, H, W) of the data set, of which some are looked through."""
    names = representative(maps)
    fields = receptive_fields(look.module, look.x)
    strongest = _strongest_maps(look, names)
    exciting: dict[str, Excitation] = {}
    if data is not None and look.normalize is not None:
        exciting = top_activations(look.module, data, names, BEST, prepare=_prepared(look))
    return [
        LayerView(
            name,
            maps[name],
            _told(fields.get(name), look.x),
            _effective(look, name, len(names)),
            _kept(look, name, len(names)),
            [_map_view(look, name, int(number), fields.get(name), exciting[name], data) for number in strongest[name]]
            if name in exciting and data is not None
            else [],
        )
        for name in names
    ]


def some_of(data: Tensor, effort: Effort, most: int = 2000) -> Tensor:
    """As many images as the effort allows, at even steps through the split."""
    count = min(len(data), max(effort.forwards(most), BEST))
    return data[torch.linspace(0, len(data) - 1, count).long()]


def _prepared(look: Looking) -> Callable[[Tensor], Tensor]:
    assert look.normalize is not None
    normalize = look.normalize
    return lambda x: normalize(x.to(look.x.device)).to(look.x.dtype)


def _strongest_maps(look: Looking, names: list[str]) -> dict[str, list[int]]:
    with torch.no_grad(), evaluating(look.module):
        seen = observe(look.module, look.x, names)[1]
    return {
        name: seen[name][0].flatten(1).amax(1).topk(min(MAPS, len(seen[name][0]))).indices.tolist() for name in names
    }


def _told(fields: Fields | None, x: Tensor) -> dict[str, Any] | None:
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


def _effective(look: Looking, name: str, among: int) -> tuple[bytes, float] | None:
    count = look.effort.gradients(8, share=1 / among)
    if not (look.differentiable and count):
        return None
    noise = torch.randn(count, *look.x.shape[1:], generator=torch.Generator().manual_seed(0)).to(look.x)
    found = effective_field(look.module, noise, name)
    return png(heat(found.sqrt()), 120), effective_size(found)


def _kept(look: Looking, name: str, among: int) -> tuple[bytes, float] | None:
    steps = look.effort.gradients(STEPS, share=2 / among)
    if not look.differentiable or steps < LEAST_STEPS:
        return None
    made = invert(look.module, look.x, name, steps=steps, lr=0.1)
    with torch.no_grad(), evaluating(look.module):
        wanted = observe(look.module, look.x, [name])[1][name]
        found = observe(look.module, made.image, [name])[1][name]
    missed = float((found - wanted).norm() / wanted.norm().clamp(min=1e-30))
    return png(look.pixels(made.image[0]), 120), missed


def _map_view(
    look: Looking, name: str, number: int, fields: Fields | None, top: Excitation, data: Tensor | None
) -> dict[str, Any]:
    """The strongest images for one map: the part that the unit sees, and what of it the deconvnet finds."""
    assert data is not None
    chosen = data[top.image[number]]
    places = list(zip(top.row[number].tolist(), top.column[number].tolist(), strict=True))
    parts = [_framed(image, fields, place) for image, place in zip(chosen, places, strict=True)]
    shown = {
        "number": number,
        "value": float(top.value[number, 0]),
        "parts": png(in_grid(parts, 3, 30), 0),
        "found": None,
    }
    if look.differentiable:
        found = deconvnet(look.module, _prepared(look)(chosen), Unit(name, number)).cpu()
        answers = [_framed(around_grey(one), fields, place) for one, place in zip(found, places, strict=True)]
        shown["found"] = png(in_grid(answers, 3, 30), 0)
    return shown


def _framed(image: Tensor, fields: Fields | None, place: tuple[int, int]) -> Tensor:
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
