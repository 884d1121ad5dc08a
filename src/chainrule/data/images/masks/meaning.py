"""What the numbers of masks mean: which are classes, which is void, how they are called and coloured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chainrule.core.errors import UserError
from chainrule.data.images.masks.class_list import LARGEST, ClassList
from chainrule.data.images.masks.values import MOST_CLASSES, SHOWN, VOID, Colour


@dataclass(frozen=True)
class Meaning:
    """The classes of a set of masks; a class's position in these lists is what a network learns.

    Attributes:
        values: the number of each class in the masks.
        names: of each.
        colours: of each, as answers are painted.
        void: the numbers that count nowhere.
    """

    values: list[int]
    names: list[str]
    colours: list[Colour]
    void: list[int]

    def positions(self, values: np.ndarray, file: Path | str) -> np.ndarray:
        """The position of each pixel's class (H, W) as bytes, 255 for void; UserError where a number is no class.

        The number 255 is void where it is no class, also where the masks of these lists did not have it.

        Args:
            values: the numbers of a mask, from 0 to 65535.
            file: the mask, for the error.

        >>> Meaning([0, 7], ["a", "b"], [(0, 0, 0)] * 2, []).positions(np.array([[7, 0, 255]]), "").tolist()
        [[1, 0, 255]]
        """
        table = np.full(LARGEST + 1, -1, np.int16)
        table[[VOID, *(n for n in self.void if n <= LARGEST)]] = VOID
        table[self.values] = np.arange(len(self.values))
        found = table[values]
        if (found < 0).any():
            wrong = values[found < 0]
            raise UserError(
                "a mask has a number that is no class",
                where=file,
                expected=f"{_listed(self.values)}{f', or {_listed(self.void)} for void' if self.void else ''}",
                found=f"{int(wrong[0])}, in {len(wrong)} pixels",
                cure="correct the mask, name the class in classes.txt, or say which number is void: void=N",
            )
        return found.astype(np.uint8)


def meaning_of(
    counts: Mapping[int, int],
    first: Mapping[int, Path],
    where: str,
    *,
    classes: ClassList | None = None,
    void: int | None = None,
    palette: Mapping[int, Colour] | None = None,
) -> Meaning:
    """What the numbers of a set of masks mean.

    Numbers 0 and 255 alone mean background and object. Else 255 is void, unless the list of classes has it, and so are
    classes that are called void or unlabelled there. Numbers need not follow each other.

    Args:
        counts: pixels by number, over all masks.
        first: a mask that has it, by number, for the errors.
        where: the place of the data.
        classes: the list of classes, where there is one: then a number that is not in it is an error.
        void: the number that the user calls void; -1 for none; None where nothing was said.
        palette: colours by number, that came with the masks.

    Raises:
        UserError: there are too few classes, or more than can be; a number is not in the list.

    >>> found = meaning_of({0: 5, 255: 3}, {}, "here")
    >>> found.names, found.void, meaning_of({0: 5, 4: 3, 255: 1}, {}, "here").values
    (['background', 'object'], [], [0, 4])
    """
    present, listed = set(counts), dict(classes.names) if classes is not None else {}
    if void is not None:
        voids = set() if void < 0 else {void}
    else:
        voids = set(classes.void) if classes is not None else set()
        if not present <= {0, VOID} and VOID not in listed:
            voids.add(VOID)
    if listed:
        strange = sorted(present - set(listed) - voids)
        if strange:
            raise UserError(
                "a mask has a number that is not in the list of classes",
                where=first.get(strange[0], where),
                expected=f"{_listed(sorted(listed))}, the numbers of {classes.file if classes else where}",
                found=f"{_listed(strange)}, in {sum(counts[n] for n in strange)} pixels",
                cure="correct the mask, add the class to the list, or say which number is void: void=N",
            )
        values = [n for n in listed if n not in voids]
    else:
        values = sorted(present - voids)
    if len(values) > MOST_CLASSES:
        raise UserError(
            "the masks have more numbers than classes can be",
            where=first.get(values[-1], where),
            expected=f"{MOST_CLASSES} at most",
            found=f"{len(values)}: {_listed(values)}",
            cure="masks of classes; numbers of single objects belong to instance segmentation",
        )
    with_pixels = [n for n in values if counts.get(n)]
    if len(with_pixels) < 2:
        told = f"only {_listed(with_pixels)}" if with_pixels else f"void alone ({_listed(sorted(voids))})"
        raise UserError(
            "the masks have no two classes to tell apart",
            where=next(iter(first.values()), where),
            expected="two numbers or more, besides that of void",
            found=told,
            cure="void=-1 where the number is a class; else other masks",
        )
    binary = values == [0, VOID] and not listed
    names = ["background", "object"] if binary else [listed.get(n, str(n)) for n in values]
    known = classes.colours if classes is not None and classes.has_colours else dict(palette or {})
    colours = [known.get(n, usual_colour(index)) for index, n in enumerate(values)]
    return Meaning(values, names, colours, sorted(voids & present | (voids if void is not None else set())))


def usual_colour(index: int) -> Colour:
    """The colour that Pascal VOC gives a class by its number: the bits of the number, spread over red, green and blue.

    >>> [usual_colour(index) for index in range(4)]
    [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0)]
    """
    colour = [0, 0, 0]
    for shift in range(8):
        for channel in range(3):
            colour[channel] |= (index >> (3 * shift + channel) & 1) << (7 - shift)
    return colour[0], colour[1], colour[2]


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[:SHOWN])) + (f", ... {numbers[-1]}" if len(numbers) > SHOWN else "")
