"""What a run's spec says of images with masks."""

from __future__ import annotations

from dataclasses import dataclass

from chainrule.data.images.masks.meaning import Meaning
from chainrule.data.spec import Spec


@dataclass(frozen=True, kw_only=True)
class MaskSpec(Spec):
    """Images of any size, with a mask each.

    Attributes:
        where: the path or the name of the data set.
        classes: their names, in the order of the scores.
        values: the number of each class in masks and in answers.
        colours: (R, G, B) of each, for answers.
        void: the numbers that count nowhere.
        channels: 1 or 3.
        mean, std: of a pixel in [0, 1] a channel, over the training split.
        class_pixels: training pixels of each class.
        class_room: pixels of the training images in which each class is.
        shorter: pixels that the shorter side of an image has at most: larger ones are made smaller; 0 for as they are.
        shapes: height, width and number of the training images, by shape.
    """

    where: str
    classes: list[str]
    values: list[int]
    colours: list[list[int]]
    void: list[int]
    channels: int
    mean: list[float]
    std: list[float]
    class_pixels: list[int]
    class_room: list[int]
    shorter: int
    shapes: list[list[int]]

    @property
    def meaning(self) -> Meaning:
        """The same, as masks are read by it."""
        return Meaning(self.values, self.classes, [(r, g, b) for r, g, b in self.colours], self.void)
