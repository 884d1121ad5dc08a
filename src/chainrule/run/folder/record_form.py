"""The form of run.json and result.json, and run.json's checksum: what was changed by hand or by a bad disk is told."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from chainrule.core.errors import ChainruleError, UserError
from chainrule.core.files.finite_json import from_json
from chainrule.core.own_code.given import is_own
from chainrule.core.recipe import Recipe
from chainrule.core.seeds import LARGEST
from chainrule.core.settings import convert, describe, parameters
from chainrule.run.settings import run_settings

KEY = "sha256"
STATUS = ("running", "done", "failed", "interrupted")
_MOST = 1 << 16  # threads and processes of any machine
_FREE = {KEY, "status", "reason", "seconds"}  # what may change without another answer: no part of the checksum

_TEXT, _OBJECT, _NUMBER, _NONE = (str,), (dict,), (int, float), (type(None),)
_WORDS = {str: "text", dict: "an object", int: "a whole number", float: "a number", type(None): "null", list: "a list"}
_Kinds = Mapping[str, tuple[type, ...]]

_NEEDED: _Kinds = {
    "format": (int,),
    "recipe": _TEXT,
    "settings": _OBJECT,
    "common": _OBJECT,
    "seed": (int,),
    "data": _OBJECT,
    "weights": _TEXT + _NONE,
    "device": _TEXT,
    "threads": (int,),
    "status": _TEXT,
}
_OTHERS: _Kinds = {
    "processes": (int,),
    "hardware": _TEXT + _OBJECT,
    "versions": _OBJECT,
    "platform": _TEXT,
    "commit": _TEXT + _NONE,
    "working_folder": _TEXT,
    "command": _TEXT + _NONE,
    "launch": _TEXT,
    "created": _TEXT,
    "reason": _TEXT + _NONE,
    "seconds": _NUMBER,
    "code": _OBJECT,
    "autocast": _OBJECT,
    "fingerprints": _OBJECT,
    "checksums": _OBJECT,
    "parent": _OBJECT,
    "cpu_capability": _TEXT + _NONE,
    "planned_steps": (int, *_NONE),
}
_DATA: _Kinds = {"target": _TEXT + _NONE, "val": _NUMBER, "test": _NUMBER, "spec": _OBJECT}
_SPEC: _Kinds = {"counts": _OBJECT, "splits": _OBJECT, "fingerprint": _TEXT}  # of every kind of data
_RESULT: _Kinds = {"metrics": _OBJECT, "protocol": _TEXT, "steps": (int,), "parameters": (int,)}


def read_object(file: Path) -> dict[str, Any]:
    """The object in a JSON file of a run; UserError where it is cut, or something else."""
    try:
        content = from_json(file.read_text("utf-8"))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UserError(f"{file.name} is damaged", where=file, expected="JSON", found=error) from None
    if not isinstance(content, dict):
        raise UserError(
            f"{file.name} is not that of a run",
            where=file,
            expected="an object",
            found=_WORDS.get(type(content), "else"),
        )
    return content


def opened(content: dict[str, Any], file: Path) -> dict[str, Any]:
    """What a run.json holds, without its checksum.

    Raises:
        UserError: a key is missing, or has a value of another kind; or the content is not what was written. A file of an
            earlier version has no checksum.
    """
    if content.get("format") != 1:
        raise UserError(
            "run.json is not that of a run", where=file, expected='"format": 1', found=repr(content.get("format"))
        )
    _expect_kinds(content, _NEEDED, file, needed=True)
    _expect_kinds(content, _OTHERS, file)
    _expect_data(content["data"], file)
    for key, low, high in (("seed", 0, LARGEST), ("threads", 1, _MOST), ("processes", 1, _MOST)):
        if not low <= content.get(key, low) <= high:
            raise _wrong(key, f"{low} to {high:,}", content[key], file)
    if content["status"] not in STATUS:
        raise _wrong("status", " or ".join(STATUS), content["status"], file)
    found, expected = checksum(content), content.get(KEY, "")
    if KEY in content and found != expected:
        raise UserError(
            "run.json is damaged: it is not what the run wrote",
            where=file,
            expected=f"SHA-256 {str(expected)[:12]}...",
            found=f"{found[:12]}...",
            cure=f'a copy of it from a backup; where you have changed it yourself, delete its entry "{KEY}"',
        )
    return {key: value for key, value in content.items() if key != KEY}


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """What run.json says, with its checksum."""
    return {**content, KEY: checksum(content)}


@contextlib.contextmanager
def told_of_record(file: Path) -> Iterator[None]:
    """Tells what goes wrong with a record that carries no checksum, and so may say anything, as the record's fault."""
    try:
        yield
    except ChainruleError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        if not file.is_file() or KEY in read_object(file):
            raise
        raise UserError(
            "run.json does not say what a run is made of",
            where=file,
            found=f"{type(error).__name__}: {error}",
            cure="a copy of it from a backup; it has no checksum, so it was changed by hand or is of an earlier version",
        ) from error


def checksum(content: Mapping[str, Any]) -> str:
    """SHA-256 of what a record says, however it is laid out; of when it ended, and how often it saves, nothing.

    >>> checksum({"seed": 1, "status": "done"}) == checksum({"status": "running", "seed": 1}) != checksum({"seed": 2})
    True
    """
    kept = json.loads(json.dumps({key: value for key, value in content.items() if key not in _FREE}))
    if isinstance(kept.get("common"), dict):
        kept["common"].pop("checkpoint_s", None)
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def expect_settings(record: Mapping[str, Any], recipe: Recipe, file: Path) -> None:
    """UserError where a setting in run.json is none of the recipe, or has a value that it cannot have."""
    for part, known in (("settings", parameters(recipe.build)), ("common", parameters(run_settings))):
        for name, value in record[part].items():
            if name not in known:
                raise _wrong(f"{part}, {name}", "one of " + ", ".join(known), f"a setting {name}", file)
            if value == _plain(known[name].default) or is_own(value):
                continue
            try:
                fits = _plain(convert(value, known[name].annotation)) == value
            except (ValueError, TypeError):
                fits = False
            if not fits:
                raise _wrong(f"{part}, {name}", describe(known[name].annotation), repr(value), file)


def checked_result(content: dict[str, Any], file: Path) -> dict[str, Any]:
    """What a result.json holds; UserError where a key is missing or of another kind."""
    _expect_kinds(content, _RESULT, file, needed=True)
    return content


def _expect_data(data: dict[str, Any], file: Path) -> None:
    sources = data["sources"] if "sources" in data else {"": data.get("source")}
    if not isinstance(sources, dict) or not sources or not all(isinstance(place, str) for place in sources.values()):
        raise _wrong("data, source", "text, or sources: an object of texts", repr(sources), file)
    _expect_kinds(data, _DATA, file, "data, ")
    _expect_kinds(data.get("spec", {}), _SPEC, file, "data, spec, ")


def _expect_kinds(content: Mapping[str, Any], kinds: _Kinds, file: Path, place: str = "", needed: bool = False) -> None:
    for key, each in kinds.items():
        words = " or ".join(_WORDS[kind] for kind in each if kind is not int or float not in each)
        if key not in content:
            if needed:
                raise _wrong(f"{place}{key}", words, "no such key", file)
        elif not isinstance(content[key], each) or isinstance(content[key], bool):
            raise _wrong(f"{place}{key}", words, repr(content[key]), file)


def _wrong(key: str, expected: str, found: object, file: Path) -> UserError:
    text = str(found)
    return UserError(
        f"{file.name} is not that of a run: {key}",
        where=file,
        expected=expected,
        found=text if len(text) <= 100 else f"{text[:100]}...",
    )


def _plain(value: Any) -> Any:
    return [_plain(each) for each in value] if isinstance(value, (list, tuple)) else value
