"""A kind of data: one record in one file, found there; it says how the kind is recognised, read, checked and described.

A layout is a `chainrule.data.layout.Layout`: how data lie at a place. Settings of the reading are records beside the kind,
`chainrule.core.data.option.Option`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Match:
    """The place holds this kind; `found` says in a few words what was seen there."""

    found: str


@dataclass(frozen=True)
class Miss:
    """The place does not hold this kind.

    Attributes:
        lacks: what is missing to be it, in words.
        near: how nearly it fits, from 0 (not at all, and not worth a word) up to 1.
        readable: whether its reader may make sense of the place all the same, where the user asks for this kind.
    """

    lacks: str = ""
    near: float = 0.0
    readable: bool = False


@dataclass(frozen=True)
class Row:
    """One form of a kind, as the table of forms in the documents shows it: what it is, and how it lies there."""

    what: str
    form: str
    what_zh: str
    form_zh: str


@dataclass(frozen=True)
class Kind:
    """A kind of data. A module that has one of these is found by itself: nothing else lists it.

    Attributes:
        name: as the records of known data sets have it, and recipes name what they learn from.
        noun: what a place of this kind is called in a message: "a table".
        spec: what a run keeps of such data, a `chainrule.data.spec.Spec`.
        recognise: given a layout and the column of labels that the user named, whether the place holds this kind. It
            looks at names and headers alone.
        read: given the same, reads all splits as they were found.
        check: given the same, reads everything and says what it is, as plain JSON; UserError names what is wrong.
        example: writes a tiny set of this kind into a folder, and gives the path or name to use for `--data`.
        ask: given a spec, as JSON, and a folder, an input that a run on such data answers.
        describe: a row for each form.
        given: given a value of Python's that is no text and no path (an array, a frame, an image, a dictionary), a spec,
            and what to call it, the inputs that `predict` reads; UserError says what to give instead.
        before: the kinds that this one goes before, where a place is of both.
        roles: the parts of such a set that may be given by themselves, as `--data images=DIR --data labels=FILE`.
        single: whether it is one sample, which recipes take that work on one, and no data set.
        shares: whether splits can be held out of it.
    """

    name: str
    noun: str
    spec: type[Any]
    recognise: Callable[[Any, str | None], Match | Miss]
    read: Callable[[Any, str | None], Any]
    check: Callable[[Any, str | None], dict[str, Any]]
    example: Callable[[Path], str]
    ask: Callable[[Mapping[str, Any], Path], str]
    describe: tuple[Row, ...]
    given: Callable[[Any, Any, str], list[str]] | None = None
    before: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    single: bool = False
    shares: bool = True
