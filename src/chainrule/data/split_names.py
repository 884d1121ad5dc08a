"""The usual names of splits: of folders, of files, of the words in a column."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from chainrule.core.data.request import SPLITS
from chainrule.core.errors import UserError

_NAMES = {
    "train": r"train|training|trn|训练",
    "val": r"val|valid|validation|validate|dev|devel|development|验证",
    "test": r"test|testing|tst|eval|evaluation|测试",
}
_SPLIT = re.compile("|".join(rf"(?P<{split}>(?:{names})(?:set|data|split|集)?)" for split, names in _NAMES.items()))
KNOWN = "train, Training, train_set; val, valid, validation, dev; test, testing, eval"


def split_called(name: str) -> str | None:
    """Which split has this name, in any case: train, val or test; None where it is no name of one.

    >>> [split_called(name) for name in ("Train", "train_set", "VALID", "dev", "testing", "trainer")]
    ['train', 'train', 'val', 'val', 'test', None]
    """
    found = _SPLIT.fullmatch(re.sub(r"[-_ ]", "", name.casefold()))
    return found.lastgroup if found else None


def split_in(name: str) -> str | None:
    """Which split a file among many is of, by the first word of its name that is a split's: `imagenet-valid-000001`.

    >>> [split_in(name) for name in ("Train-000001", "imagenet-valid_000001", "set-000001", "contest-01")]
    ['train', 'val', None, None]
    """
    words = map(split_called, re.findall(r"[^\W\d_]+", name))
    return next((split for split in words if split is not None), None)


def by_split(places: Iterable[tuple[str, Path]], folder: Path) -> dict[str, Path]:
    """The places whose name is that of a split, by it, in the order train, val, test.

    Raises:
        UserError: two of them name one split.
    """
    found: dict[str, list[Path]] = {split: [] for split in SPLITS}
    for name, place in places:
        split = split_called(name)
        if split is not None:
            found[split].append(place)
    for split, several in found.items():
        if len(several) > 1:
            raise UserError(
                f"the split {split} is there twice",
                where=folder,
                found=", ".join(sorted(place.name for place in several)),
                cure="keep one of them, or name each: --data train=PATH --data val=PATH --data test=PATH",
            )
    return {split: several[0] for split, several in found.items() if several}
