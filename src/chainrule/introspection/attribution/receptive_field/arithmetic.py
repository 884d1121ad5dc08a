"""The arithmetic of receptive fields along one side of an image: which pixels a unit can depend on."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from chainrule.core.errors import UserError

Number = int | Fraction


@dataclass(frozen=True)
class ReceptiveField:
    """Unit i of a map depends on the `size` pixels from start + i jump on, as if the image had no edge.

    `jump` is how many pixels lie between two neighbours of the map; 0 where all units see the same. The record as it is
    made, `ReceptiveField()`, is that of the pixels themselves.

    Source: Araujo, Norris, Sim: Computing receptive fields of convolutional neural networks, Distill 2019, equations
    2 to 5; with layers taken from the image up.

    >>> field = ReceptiveField().through(3, padding=1).through(2, stride=2)  # convolution, then pooling
    >>> field, field.centre
    (ReceptiveField(size=4, jump=2, start=-1), Fraction(1, 2))
    """

    size: Number = 1
    jump: Number = 1
    start: Number = 0

    @property
    def centre(self) -> Fraction:
        """The middle of what unit 0 sees, as a pixel's index."""
        return Fraction(self.start) + Fraction(self.size - 1) / 2

    def of(self, unit: int) -> tuple[Number, Number]:
        """First and last pixel that a unit sees; either may lie outside the image, in the padding.

        >>> ReceptiveField(size=3, jump=2, start=-1).of(4)
        (7, 9)
        """
        first = self.start + unit * self.jump
        return first, first + self.size - 1

    def inside(self, unit: int, length: int) -> tuple[int, int]:
        """First and last pixel of an image `length` long that a unit sees; one whole pixel at least.

        >>> ReceptiveField(size=3, jump=2, start=-1).inside(0, 32)
        (0, 1)
        """
        first, last = self.of(unit)
        low = min(max(-(-first // 1), 0), length - 1)
        return int(low), int(max(min(last // 1, length - 1), low))

    def through(self, kernel_size: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> ReceptiveField:
        """After a convolution or a pooling with these windows.

        size' = size + (k - 1) d jump, jump' = jump s, start' = start - p jump.

        Raises:
            UserError: a kernel, stride or dilation below 1, a negative padding.

        >>> ReceptiveField().through(11, stride=4, padding=2).through(3, stride=2)
        ReceptiveField(size=19, jump=8, start=-2)
        """
        for name, value, least in (
            ("kernel_size", kernel_size, 1),
            ("stride", stride, 1),
            ("dilation", dilation, 1),
            ("padding", padding, 0),
        ):
            if value < least:
                raise UserError(f"{name} is out of range", expected=f"{least} or more", found=value)
        size = self.size + (kernel_size - 1) * dilation * self.jump
        return ReceptiveField(size, self.jump * stride, self.start - padding * self.jump)

    def through_transposed(
        self, kernel_size: int, stride: int = 1, padding: int = 0, dilation: int = 1
    ) -> ReceptiveField:
        """After a transposed convolution: output j comes from the inputs i with i s - p + t d = j, 0 <= t < k.

        Those i lie from (j + p - (k - 1) d) / s to (j + p) / s. Where that is no whole number the true field is
        smaller than this by less than one jump.

        >>> ReceptiveField().through_transposed(2, stride=2)
        ReceptiveField(size=Fraction(3, 2), jump=Fraction(1, 2), start=Fraction(-1, 2))
        """
        reach = Fraction((kernel_size - 1) * dilation, stride)
        start = self.start + self.jump * (Fraction(padding, stride) - reach)
        return ReceptiveField(self.size + self.jump * reach, self.jump * Fraction(1, stride), start)

    def whole(self, units: int) -> ReceptiveField:
        """What all `units` of the map see together, for one that sees the whole map.

        >>> ReceptiveField(size=3, jump=2, start=-1).whole(4)
        ReceptiveField(size=9, jump=0, start=-1)
        """
        return ReceptiveField(self.size + (units - 1) * self.jump, 0, self.start)

    def sliced(self, first: int, step: int) -> ReceptiveField:
        """Of units first, first + step, ...; a negative `first` is padding."""
        return ReceptiveField(self.size, self.jump * step, self.start + first * self.jump)

    def joined(self, other: ReceptiveField) -> ReceptiveField:
        """What a sum or a concatenation of two branches sees, unit by unit: from the first pixel to the last of both.

        Raises:
            UserError: jumps that differ, so that no one window fits all units.

        >>> ReceptiveField().joined(ReceptiveField().through(3, padding=1))  # around a convolution
        ReceptiveField(size=3, jump=1, start=-1)
        """
        if self.jump != other.jump:
            raise UserError("the branches step differently", expected=f"jump {self.jump}", found=f"jump {other.jump}")
        start = min(self.start, other.start)
        return ReceptiveField(max(self.of(0)[1], other.of(0)[1]) + 1 - start, self.jump, start)
