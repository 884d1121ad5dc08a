"""Data layers: what a description says of the data that go in. The data themselves are given to the network by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chainrule.core.errors import UserError

# Types of layers that bring data in, with the field of their settings.
SOURCES = {
    "Input": "input_param",
    "Data": "data_param",
    "ImageData": "image_data_param",
    "HDF5Data": "hdf5_data_param",
    "MemoryData": "memory_data_param",
    "DummyData": "dummy_data_param",
    "WindowData": "window_data_param",
}
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Source:
    """A data layer: the blobs it makes, and how Caffe would prepare images for it.

    Args:
        name, kind: of the layer.
        tops: the blobs, the data first, the labels second where there are labels.
        batch_size: samples at a time; 0 where it is not said.
        scale: what a pixel from 0 to 255 is multiplied by, after the mean is taken off.
        mean_value: what is taken off it, for all channels or one each, in Caffe's order: blue, green, red.
        mean_file: the file with the mean image, or nothing.
        crop_size: the side that is cut out, at a random place in training, in the middle otherwise; 0 is the whole.
        mirror: whether half of the images are mirrored in training.
        size: the side that images are brought to before that (ImageData), or 0.
        channels: 1 or 3 where it is said, or 0.
    """

    name: str
    kind: str
    tops: tuple[str, ...]
    batch_size: int
    scale: float
    mean_value: tuple[float, ...]
    mean_file: str
    crop_size: int
    mirror: bool
    size: int
    channels: int


def source_of(layer: Any) -> Source:
    """The record of a data layer.

    Raises:
        UserError: sides or means that do not go together.
    """
    settings, how = getattr(layer, SOURCES[layer.type]), layer.transform_param
    batch_size = getattr(settings, "batch_size", 0)
    size = channels = 0
    if layer.type == "ImageData":
        size, channels = settings.new_height, 3 if settings.is_color else 1
        if settings.new_height != settings.new_width:
            raise UserError(
                "images must be square",
                expected="new_width as new_height",
                found=f"{settings.new_height} x {settings.new_width}",
            )
    elif layer.type == "MemoryData":
        size, channels = settings.height, settings.channels
    elif layer.type == "Input" and settings.shape and settings.shape[0].dim:
        dims = settings.shape[0].dim
        batch_size = dims[0]
        if len(dims) == 4:
            channels, size = dims[1], dims[2]
    if how.mean_file and how.mean_value:
        raise UserError("the mean is given twice", expected="mean_file or mean_value", found="both")
    channels = 3 if how.force_color else 1 if how.force_gray else channels
    return Source(
        layer.name,
        layer.type,
        tuple(layer.top),
        batch_size,
        how.scale,
        tuple(how.mean_value),
        how.mean_file,
        how.crop_size,
        how.mirror,
        size,
        channels,
    )


def shapes_of(layer: Any, source: Source, given: Mapping[str, Sequence[int]]) -> dict[str, Shape]:
    """The shape of each blob of a data layer: as it is given by name, else as the layer says.

    Raises:
        UserError: the description does not say it, and it is not given.
    """
    settings = getattr(layer, SOURCES[layer.type])
    first = layer.top[0] if layer.top else ""
    batch = given[first][0] if first in given else max(source.batch_size, 1)  # labels go with the data
    side = source.crop_size or source.size
    said: list[Shape | None] = [None, (batch,)]  # the data, and a label for each
    if layer.type == "Input":
        said = [tuple(shape.dim) for shape in settings.shape]
        said = said * len(layer.top) if len(said) == 1 else said
    elif layer.type == "DummyData":
        said = _dummy_shapes(settings, len(layer.top))
    elif layer.type == "MemoryData":
        said[0] = (batch, settings.channels, source.crop_size or settings.height, source.crop_size or settings.width)
    elif layer.type == "HDF5Data":
        said = []
    elif side:
        channels = 3 if layer.type == "WindowData" else source.channels
        said[0] = (batch, channels, side, side) if channels else None
    result = {}
    for index, top in enumerate(layer.top):
        shape = tuple(given[top]) if top in given else said[index] if index < len(said) else None
        if not shape or min(shape) < 1:
            side_words = f"{side}, {side}" if side else "224, 224"
            raise UserError(
                f"the shape of the input {top!r} is not known",
                expected="sizes of 1 or more" if shape else "a description that says it, as layers of type Input do",
                found=shape or f"a layer of type {layer.type}, whose data decide",
                cure=f"shapes={{{top!r}: ({batch}, {source.channels or 3}, {side_words})}}",
            )
        result[top] = shape
    return result


def _dummy_shapes(settings: Any, tops: int) -> list[Shape | None]:
    """Of `shape`, or of the four older fields; one for all, or one each."""
    shapes = [tuple(shape.dim) for shape in settings.shape]
    if not shapes:
        columns = [list(getattr(settings, name)) for name in ("num", "channels", "height", "width")]
        count = max(map(len, columns))
        if not all(columns):
            return []
        shapes = [tuple(column[i] if i < len(column) else column[0] for column in columns) for i in range(count)]
    return [*shapes] * tops if len(shapes) == 1 else [*shapes]
