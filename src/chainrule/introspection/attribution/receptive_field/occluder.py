"""What a unit really looks at, found without gradients: small occluders on the images that excite it most."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from chainrule.core.course import Topic
from chainrule.core.errors import UserError
from chainrule.introspection.attribution.occlusion import mean_over_squares, positions
from chainrule.introspection.attribution.receptive_field.network import Fields, receptive_fields
from chainrule.introspection.attribution.target import Unit, forward_with_activations, image_leaf
from chainrule.introspection.layers import evaluating


def discrepancy_map(
    module: nn.Module,
    x: Tensor,
    unit: Unit,
    *,
    size: int,
    stride: int = 1,
    grey: float | None = None,
    field: Fields | None = None,
    seed: int = 0,
    batch_size: int = 64,
) -> Tensor:
    """How much a unit's activation changes while an occluder hides a part of the image, |a(x) - a(x occluded)|, a pixel.

    A pixel has the mean over all occluders that cover it.

    Args:
        module: the network.
        x: one image as the network takes it, (1, C, H, W).
        unit: of a layer with maps; without a position it is the one that this image excites most.
        size: side of the occluder in pixels, at most the shorter side of the image; 11 of 227 in the source.
        stride: pixels from one place to the next, at most `size`, so that every pixel is covered; 3 in the source.
        grey: what the occluder holds: one number, or random ones as normalised pixels have them (mean 0, deviation 1), of
            its own in every place, where it is None, as in the source.
        field: the receptive field of the layer, from `receptive_fields`: occluders outside change nothing and are left out.
        seed: of the random occluders.
        batch_size: occluded images at once.

    Returns:
        (H, W).

    Raises:
        UserError: not one image; an occluder that does not fit; no such layer or map; a layer without maps.

    Source: Zhou, Khosla, Lapedriza, Oliva, Torralba: Object detectors emerge in deep scene CNNs, 2015 (arXiv 1412.6856),
    section 3.2.

    >>> net = nn.Sequential(nn.Conv2d(1, 1, (1, 3), padding=(0, 1), bias=False))
    >>> _ = net[0].weight.data.copy_(torch.tensor([[[[1.0, 2.0, 0.0]]]]))
    >>> image = torch.tensor([[[[1.0, 5.0, 3.0, 4.0]]]])  # the unit in the third place is 1 * 5 + 2 * 3 = 11
    >>> discrepancy_map(net, image, Unit("0", 0, 0, 2), size=1, grey=0.0).tolist()
    [[0.0, 5.0, 6.0, 0.0]]
    """
    height, width = image_leaf(x).shape[2:]
    if len(x) != 1:
        raise UserError("one image at a time is occluded", expected="x (1, C, H, W)", found=tuple(x.shape))
    if not 1 <= stride <= size <= min(height, width) or batch_size < 1:
        raise UserError(
            "the occluder does not fit",
            expected=f"size 1 to {min(height, width)}, stride 1 to size, batch_size 1 or more",
            found=f"size {size}, stride {stride}, batch_size {batch_size}",
        )
    x = x.detach()
    row, column = peak(module, x, unit)
    tops, lefts = positions(height, size, stride), positions(width, size, stride)
    places = [(i, j) for i, top in enumerate(tops) for j, left in enumerate(lefts)]
    if field is not None:
        (first, last), (start, end) = field[0].inside(row, height), field[1].inside(column, width)
        places = [(i, j) for i, j in places if first - size < tops[i] <= last and start - size < lefts[j] <= end]
    generator = torch.Generator().manual_seed(seed)
    changes = torch.zeros(len(tops), len(lefts), dtype=x.dtype, device=x.device)
    with torch.no_grad(), evaluating(module):
        before = forward_with_activations(module, x, [unit.layer])[1][unit.layer][0, unit.channel, row, column]
        for begin in range(0, len(places), batch_size):
            part = places[begin : begin + batch_size]
            occluded = x.repeat(len(part), 1, 1, 1)
            for number, (i, j) in enumerate(part):
                shown = occluded[number, :, tops[i] : tops[i] + size, lefts[j] : lefts[j] + size]
                shown.copy_(torch.randn(shown.shape, generator=generator) if grey is None else torch.tensor(grey))
            maps = forward_with_activations(module, occluded, [unit.layer])[1][unit.layer]
            at_rows, at_columns = torch.tensor(part, device=x.device).unbind(1)
            changes[at_rows, at_columns] = (maps[:, unit.channel, row, column] - before).abs().to(changes)
    return mean_over_squares(changes, (height, width), size, stride)


def peak(module: nn.Module, x: Tensor, unit: Unit) -> tuple[int, int]:
    """Row and column of a unit in its map: its own, or where the image (1, C, H, W) excites the map most.

    Raises:
        UserError: no such layer, map or position; a layer without maps.
    """
    with torch.no_grad(), evaluating(module):
        maps = forward_with_activations(module, x, [unit.layer])[1][unit.layer]
    if maps.dim() != 4:
        raise UserError("the layer gives no maps", where=unit.layer, expected="(B, C, h, w)", found=tuple(maps.shape))
    channels, rows, columns = maps.shape[1:]
    if not 0 <= unit.channel < channels:
        raise UserError("there is no such map", where=unit.layer, expected=f"0 to {channels - 1}", found=unit.channel)
    if unit.row is None or unit.column is None:
        return divmod(int(maps[0, unit.channel].argmax()), columns)
    if not (0 <= unit.row < rows and 0 <= unit.column < columns):
        raise UserError(
            "the unit lies outside its map",
            where=unit.layer,
            expected=f"row below {rows}, column below {columns}",
            found=f"row {unit.row}, column {unit.column}",
        )
    return unit.row, unit.column


def occluder_field(
    module: nn.Module,
    x: Tensor,
    layer: str,
    channel: int,
    *,
    size: int,
    stride: int = 1,
    grey: float | None = None,
    field: Fields | None = None,
    batch_size: int = 64,
) -> Tensor:
    """The field of a map's units by occlusion: the mean of `discrepancy_map`s, each laid with its unit in the middle.

    Args:
        module: the network.
        x: the images that excite the map most, (B, C, H, W) as the network takes them: those of `top_activations`. In
            each the unit is the one of its largest activation.
        layer, channel: which map.
        size, stride, grey, batch_size: as in `discrepancy_map`; the occluders of each image are others.
        field: the receptive field of the layer, where it is known already.

    Returns:
        (2 H - 1, 2 W - 1): at (H - 1 + d, W - 1 + e) the mean over the images of the pixel d rows below and e columns
        right of the centre of the unit's receptive field (of two in the middle the first), 0 where none has such a pixel.

    Raises:
        UserError: as `discrepancy_map`; a layer whose units have no known place in the image.

    Source: Zhou et al. 2015, section 3.2 and figure 2.

    >>> net = nn.Sequential(nn.Conv2d(1, 1, (1, 3), padding=(0, 1), bias=False))
    >>> _ = net[0].weight.data.copy_(torch.tensor([[[[1.0, 2.0, 0.0]]]]))
    >>> images = torch.tensor([[[[2.0, 8.0, 0.0, 0.0]]], [[[0.0, 0.0, 4.0, 5.0]]]])  # 2 + 2 * 8 = 18, 4 + 2 * 5 = 14
    >>> occluder_field(net, images, "0", 0, size=1, grey=0.0).tolist()  # (2 + 4) / 2, (16 + 10) / 2
    [[0.0, 0.0, 3.0, 13.0, 0.0, 0.0, 0.0]]
    """
    height, width = image_leaf(x).shape[2:]
    known = field or receptive_fields(module, x[:1]).get(layer)
    if known is None:
        peak(module, x[:1], Unit(layer, channel))  # a layer that is not there, or has no maps, is told as such
        raise UserError("where the units of this layer lie in the image is not known", where=layer)
    total = torch.zeros(2 * height - 1, 2 * width - 1, dtype=x.dtype, device=x.device)
    counts = torch.zeros_like(total)
    for number, image in enumerate(x.detach()):
        row, column = peak(module, image[None], Unit(layer, channel))
        found = discrepancy_map(
            module,
            image[None],
            Unit(layer, channel, row, column),
            size=size,
            stride=stride,
            grey=grey,
            field=known,
            seed=number,
            batch_size=batch_size,
        )
        # The pixel p of the image lies p - centre below the unit: its place in the sum is H - 1 + p - centre.
        centre = [
            min(max(math.floor(side.centre + unit * side.jump), 0), length - 1)
            for side, unit, length in zip(known, (row, column), (height, width), strict=True)
        ]
        rows = slice(height - 1 - centre[0], 2 * height - 1 - centre[0])
        columns = slice(width - 1 - centre[1], 2 * width - 1 - centre[1])
        total[rows, columns] += found
        counts[rows, columns] += 1
    return total / counts.clamp(min=1)


TOPICS = (Topic("Receptive field, by arithmetic and by gradients", code=("occluder_field",)),)
