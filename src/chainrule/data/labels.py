"""Labels as people write them: any text is the name of a class, and none is where one is missing."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Iterable

from chainrule.core.errors import UserError

# What stands for no label, in any case: as spreadsheets, R, SQL and pandas write it.
NO_LABEL = frozenset({"", "?", "na", "n/a", "#n/a", "<na>", "nan", "-nan", "nat", "null", "none"})
_UNSEEN = "\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"  # of no width


def label_text(cell: str) -> str:
    """A label without the blanks around it, those that are not seen among them.

    >>> label_text(" cat\\u3000"), label_text("\\ufeffdog\\u200b ")
    ('cat', 'dog')
    """
    bare = cell.strip()
    while bare and (bare[0] in _UNSEEN or bare[-1] in _UNSEEN):
        bare = bare.strip(_UNSEEN).strip()
    return bare


def is_missing(cell: str) -> bool:
    """Whether a cell stands for no label.

    >>> [is_missing(cell) for cell in (" ", "NaN", "?", "0", "no")]
    [True, True, True, False, False]
    """
    return label_text(cell).lower() in NO_LABEL


def read_labels(cells: Iterable[str], where: Callable[[int], str], column: str | None = None) -> list[str]:
    """The labels without the blanks around them.

    Args:
        cells: as they were found.
        where: the place of a cell, by its number.
        column: that they stand in.

    Raises:
        UserError: one is missing: the first is named, and how many there are.

    >>> read_labels(["a ", "b"], str)
    ['a', 'b']
    """
    labels = [label_text(cell) for cell in cells]
    missing = [number for number, label in enumerate(labels) if label.lower() in NO_LABEL]
    if missing:
        first = labels[missing[0]] or "an empty cell"
        raise UserError(
            "a label is missing",
            where=where(missing[0]) + (f", column {column!r}" if column else ""),
            expected="a class, or the number to predict",
            found=first + (f"; {len(missing)} of {len(labels)} are missing" if len(missing) > 1 else ""),
            cure="fill it in, or remove the row",
        )
    return labels


def alike_in_words(classes: Iterable[str], of: str = "") -> list[str]:
    """What to say of classes, or of the categories `of` a column, that a person may take for one: 01 beside 1, Cat beside cat, é in two normal forms.

    >>> alike_in_words(["1", "01", "cat"])
    ["the classes '1' and '01' are one number, and stay 2 classes"]
    """
    found = []
    for key, group in _grouped(sorted(classes, key=lambda name: (len(name), name))).items():
        if len(group) < 2:
            continue
        word = "categories" if of else "classes"
        names = " and ".join(map(repr, group))
        if isinstance(key, float):
            found.append(f"the {word} {names}{of} are one number, and stay {len(group)} {word}")
        elif len({unicodedata.normalize("NFC", name) for name in group}) == 1:
            found.append(
                f"the {word} {names}{of} look the same and are written in two normal forms (NFC and NFD); "
                f"they stay {len(group)} {word}"
            )
        else:
            found.append(f"the {word} {names}{of} differ in capitals or blanks alone, and stay {len(group)} {word}")
    return found


def _grouped(classes: Iterable[str]) -> dict[str | float, list[str]]:
    groups: dict[str | float, list[str]] = {}
    for name in classes:
        number = _number_of(name)
        text = " ".join(unicodedata.normalize("NFC", name).casefold().split())
        groups.setdefault(text if number is None else number, []).append(name)
    return groups


def _number_of(name: str) -> float | None:
    """The number that a label is, as a key that no text has; None where it is none."""
    try:
        value = float(name)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
