"""What a run was asked to read: the one thing that a loader of data is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chainrule.core.errors import UserError
from chainrule.core.own_code.given import OwnCode
from chainrule.core.settings import as_word

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class DataRequest:
    """Where the data are, and how they are to be split. `run.data` is that of a run.

    Attributes:
        sources: what was named, by role: a path, the name of a known data set, or the text that stands for data given
            in Python. The role "" is the one path; others are `train`, `val`, `test`, `images`, `labels`, `source`,
            `target`.
        target: the column of labels, for tables.
        val, test: the share to hold out for this split; None: as the recipe has it.
        seed: decides the draw of the splits that are made.
        places: the absolute paths of those sources that are paths, by role; None where they were not looked for.
        options: settings of the reading that were given (`chainrule.core.data.option`): encoding, kinds of columns.
        record: what run.json says of the data; a loader keeps its spec there.
        own: what of the user's own code may run, where the data of a run name some; None: the user names it now.

    >>> DataRequest({"": "digits"}).source, str(DataRequest({"train": "a.csv", "test": "b.csv"}))
    ('digits', 'train=a.csv test=b.csv')
    """

    sources: Mapping[str, str]
    target: str | None = None
    val: float | None = None
    test: float | None = None
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    places: Mapping[str, str] | None = field(default=None, compare=False)
    record: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    own: OwnCode | None = field(default=None, repr=False, compare=False)

    @classmethod
    def from_record(cls, record: dict[str, Any], seed: int = 0, working_folder: str | None = None) -> DataRequest:
        """The request that `to_record` wrote into run.json; one path has the key `source`, several are `sources`.

        Paths are those of `working_folder`, in which they were named, where they are there; else as they were named.
        """
        sources = record["sources"] if "sources" in record else {"": record["source"]}
        places = record.get("places")
        if working_folder is not None and Path(working_folder) != Path.cwd():
            if places is None:  # an earlier version noted none
                sources = {role: _named_in(Path(working_folder), place) for role, place in sources.items()}
            else:
                sources = {role: _moved(place, places.get(role)) for role, place in sources.items()}
        given = record.get("options", {}).items()
        options = {name: tuple(value) if isinstance(value, list) else value for name, value in given}
        shares = record.get("val"), record.get("test")
        return cls(sources, record.get("target"), *shares, seed, options, places, record)

    def to_record(self) -> dict[str, Any]:
        """What run.json keeps of the request, as plain JSON."""
        places: dict[str, Any] = {"source": self.source} if self.is_one else {"sources": dict(self.sources)}
        given = {"val": self.val, "test": self.test, "options": dict(self.options) or None}
        places |= {"places": dict(self.places)} if self.places is not None else {}
        return {**places, "target": self.target, **{name: value for name, value in given.items() if value is not None}}

    def __str__(self) -> str:
        return " ".join(f"{role}={place}" if role else place for role, place in self.sources.items())

    @property
    def arguments(self) -> list[str]:
        """The words of the command that ask for the same."""
        beside = [role for role in self.sources if role and "" in self.sources]  # of one path: its own --val, --test
        words = [w for r, p in self.sources.items() if r not in beside for w in ("--data", f"{r}={p}" if r else p)]
        words += [w for role in beside for w in (f"--{role}", self.sources[role])]
        words += ["--target", self.target] if self.target else []
        shares = {"--val": self.val, "--test": self.test}
        words += [w for name, share in shares.items() if share is not None for w in (name, f"{share:g}")]
        return [*words, *(f"{name}={as_word(value)}" for name, value in self.options.items())]

    @property
    def is_one(self) -> bool:
        """Whether it is one path or name, without a role."""
        return set(self.sources) == {""}

    @property
    def source(self) -> str:
        """The one path or name; UserError where several sources were given to a reader that takes one."""
        if not self.is_one:
            raise UserError("these data are read from one source", found=f"--data {self}", expected="--data PATH")
        return self.sources[""]

    def expect_training(self) -> None:
        """UserError where all that was named is to validate or to measure."""
        if set(self.sources) <= {"val", "test"}:
            raise UserError("no source is named for training", found=f"--data {self}", cure="--data train=PATH")

    def share(self, split: str, usual: float) -> float:
        """The share to hold out for `val` or `test`: what was asked for, else `usual`."""
        asked = {"val": self.val, "test": self.test}[split]
        return usual if asked is None else asked

    @property
    def spec(self) -> dict[str, Any] | None:
        """What the record says of the data that were read, as plain JSON; None before they are read for the first time."""
        return self.record.get("spec")

    def keep_spec(self, spec: dict[str, Any]) -> None:
        """Notes in the record what the data are."""
        self.record["spec"] = spec

    @property
    def notes(self) -> list[str]:
        """What the user is to know of the reading, a line each: training says it, and run.json keeps it."""
        return self.record.get("notes", [])

    def note(self, *lines: str) -> None:
        """Adds lines to the notes, once each."""
        new = [line for line in dict.fromkeys(lines) if line not in self.notes]
        if new:
            self.record["notes"] = [*self.notes, *new]


def _moved(name: str, place: str | None) -> str:
    """What stands for a source in another working folder: its absolute path, unless that is gone."""
    return place if place is not None and Path(place.rpartition(".xlsx#")[0] or place).exists() else name


def _named_in(folder: Path, place: str) -> str:
    """A place that was named in a folder: its path there, if it is one; a known data set, or what is gone, as it is.

    >>> _named_in(Path("/nowhere"), "digits")
    'digits'
    """
    path = folder / place
    workbook = Path(str(path).rpartition("#")[0] or "#")  # of FILE.xlsx#SHEET
    try:
        return str(path) if path.exists() or workbook.is_file() else place
    except OSError:  # too long for a path: the text that stands for data given in Python
        return place
