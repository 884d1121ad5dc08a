"""What a run's spec says of its images."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from chainrule.data.spec import MAY_LACK, Spec


@dataclass(frozen=True, kw_only=True)
class ImageSpec(Spec):
    """Images with classes, or without: then `classes` is empty.

    Attributes:
        where: the path or the name of the data set.
        classes: their names, in the order of the labels.
        channels: 1 or 3.
        size: height and width in pixels.
        mean, std: of a pixel in [0, 1] a channel, over the training split.
        border: pixels that may lack for a border of zeros to be put around an image; None in records of old.
        class_counts: training images of each class.
        margin: what a file is cut by, see `decode`; None: it is stretched.
    """

    where: str
    classes: list[str]
    channels: int
    size: int
    mean: list[float]
    std: list[float]
    border: int | None = field(default=None, metadata=MAY_LACK)
    class_counts: list[int] | None = field(default=None, metadata=MAY_LACK)
    margin: float | None = None


class PixelForm(Protocol):
    """The part of a spec that says how an image file becomes bytes (C, size, size)."""

    @property
    def channels(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def border(self) -> int | None: ...
    @property
    def margin(self) -> float | None: ...
