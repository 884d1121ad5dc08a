"""What the user writes of the data, `--data PATH`, `--data train=A --data test=B`, `--val 0.2`, as a DataRequest."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from chainrule.core.data.request import SPLITS, DataRequest
from chainrule.core.errors import UserError, unknown
from chainrule.core.settings import parse_pairs

ROLES = (*SPLITS, "images", "labels", "source", "target")


def parse_sources(words: Sequence[str]) -> str | dict[str, str] | None:
    """The words of `--data`: one path as it is, several by role; None where there are none.

    A word that is a path is one, also where its name has a "=" in it.

    Raises:
        UserError: several paths without a role, a role that is not known or is named twice.

    >>> parse_sources(["digits"]), parse_sources(["train=a.csv", "test=b.csv"])
    ('digits', {'train': 'a.csv', 'test': 'b.csv'})
    """
    sources: dict[str, str] = {}
    for word in words:
        role, sign, place = word.partition("=")
        if not sign or Path(word).exists() or "/" in role or "\\" in role:
            role, place = "", word
        elif role not in ROLES:
            raise unknown("there is no role of data", role, ROLES, cure=f"--data PATH; there is no path {word!r}")
        expect_filled(data=word)
        if not place:
            raise UserError(f"the role {role} has no path", found=f"--data {word}", expected=f"--data {role}=PATH")
        if role in sources:
            raise UserError(
                f"--data names {role} twice" if role else "--data names several paths and not what each is for",
                found=f"{sources[role]} and {place}",
                expected=None if role else "--data train=PATH --data test=PATH, or images= and labels=",
            )
        sources[role] = place
    if "" in sources and len(sources) > 1:
        raise UserError(
            "--data names a path with a role and one without",
            found=" ".join(f"--data {word}" for word in words),
            cure=f"--data train={sources['']}",
        )
    return sources.get("") if "" in sources else sources or None


def separate_options(words: Sequence[str], known: Collection[str]) -> tuple[list[str], dict[str, str]]:
    """Words of `data check`, divided: places, by role or not, and settings of the reading as they were typed.

    >>> separate_options(["train=a.csv", "decimal=,"], ["decimal"])
    (['train=a.csv'], {'decimal': ','})
    """
    places, pairs = list[str](), list[str]()
    for word in words:
        name, sign, _ = word.partition("=")
        is_place = not sign or name in ROLES or Path(word).exists() or not name.isidentifier()
        near = name in known or difflib.get_close_matches(name, known, n=1)
        (pairs if near and not is_place else places).append(word)
    return places, parse_pairs(pairs)


def expect_filled(**options: object) -> None:
    """UserError for an option that is an empty text, as that of a variable of the shell that is not set.

    >>> expect_filled(data="digits", target=None)
    """
    for name, value in options.items():
        if isinstance(value, str) and not value.strip():
            raise UserError(
                f"--{name} is empty", expected="a value", found=repr(value), cure="set the variable, or leave it out"
            )


def column_name(target: str | int | None) -> str | None:
    """What `target` names, without blanks around it: names of columns have none. A frame may have numbers for names.

    >>> column_name(" price "), column_name(2), column_name(None)
    ('price', '2', None)
    """
    if target is None or (isinstance(target, (str, int)) and not isinstance(target, bool)):
        return None if target is None else str(target).strip()
    raise UserError("the target is one column", expected="its name", found=f"target={target!r}"[:80])


def parse_share(split: str, text: str | float | None) -> float | str | None:
    """What `--val` or `--test` says: a share from 0 up to 1, or a path or name that the split is read from.

    >>> parse_share("val", "0.2"), parse_share("test", "mine/test")
    (0.2, 'mine/test')
    """
    if text is None or (isinstance(text, str) and Path(text).exists()):
        return text
    try:
        share = float(text)
    except ValueError:
        return text
    except TypeError:
        raise UserError(
            f"the {split} split is neither a share nor a path",
            expected="0.2, or a path",
            found=type(text).__name__,
            cure=f'data={{"train": ..., "{split}": ...}} takes objects',
        ) from None
    if not 0 <= share < 1 or (split == "test" and share == 0):
        least = "above 0" if split == "test" else "0 or more"  # what nothing measures has no result
        raise UserError(f"the share of the {split} split is out of range", expected=f"{least}, below 1", found=text)
    return share


def shares_as_settings(
    settings: Mapping[str, Any], known: Collection[str], val: str | float | None, test: str | float | None
) -> tuple[dict[str, Any], str | float | None, str | float | None]:
    """A recipe's settings, val and test, where a share that the recipe has a setting for has become that setting.

    >>> shares_as_settings({"lr": 1.0}, ["lr", "val_fraction"], "0.2", "mine/test")
    ({'lr': 1.0, 'val_fraction': 0.2}, None, 'mine/test')

    Raises:
        UserError: `--val` and `val_fraction` are both given; a share is out of range.
    """
    found, left = dict(settings), {"val": parse_share("val", val), "test": parse_share("test", test)}
    for split, said in left.items():
        name = f"{split}_fraction"
        if said is not None and name in settings:
            raise UserError(
                f"the {split} split is named twice",
                found=f"{name}={settings[name]} and --{split} {said}",
                cure="one of them",
            )
        if isinstance(said, float) and name in known:
            found[name], left[split] = said, None
    return found, left["val"], left["test"]


def request_of(
    data: str | Mapping[str, str],
    *,
    target: str | None = None,
    val: str | float | None = None,
    test: str | float | None = None,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
) -> DataRequest:
    """The request of what was given as data, and as `val` and `test`: a path of these is a source with that role.

    `options` are settings of the reading, checked.

    Raises:
        UserError: a role that is not known; a split that is named twice.
    """
    sources = {"": data} if isinstance(data, str) else dict(data)
    for role in sources:
        if role and role not in ROLES:
            raise unknown("there is no role of data", role, ROLES)
    shares: dict[str, float | None] = {"val": None, "test": None}
    for split, said in (("val", val), ("test", test)):
        found = parse_share(split, said)
        if found is not None and split in sources:
            raise UserError(
                f"the {split} split is named twice", found=f"--data {split}={sources[split]} and --{split} {said}"
            )
        if isinstance(found, str):
            sources[split] = found
        else:
            shares[split] = found
    return DataRequest(sources, column_name(target), shares["val"], shares["test"], seed, dict(options or {}))
