"""The page of the results ledger: a section a family, a short row a result, and folded below it how each was measured."""

from __future__ import annotations

import json
import re
import statistics
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chainrule.core.discovery import all_recipes
from chainrule.core.recipe import Recipe, Target
from chainrule.core.settings import parameters
from chainrule.run.settings import run_settings

Entry = Mapping[str, Any]

OTHER = "other"  # the family of runs whose recipe is no longer there

_SHOWN = 3  # metrics of a row whose recipe has no target
_TOLD = 18  # more that its note names
_WIDTH = 118
_MANY = 10  # runs from which on a row tells median and range

# Settings that say how a run is watched and not what it learns.
WATCHING = ("log_every", "checkpoint_s", "threads")

# Settings that number the runs of one experiment, as the seed does: the folds of a cross-validation make one row.
_REPEATS = ("fold",)


@dataclass(frozen=True)
class Row:
    """Runs that differ by nothing but the seed (or the fold), with the record of their recipe, if it is still there."""

    entries: tuple[Entry, ...]
    family: str
    record: Recipe | None

    @property
    def target(self) -> Target | None:
        return self.record.target if self.record else None

    @property
    def recipe(self) -> str:
        return str(self.entries[0]["recipe"])

    @property
    def data(self) -> str:
        return str(self.entries[0]["data"])

    @property
    def published(self) -> Target | None:
        """The target, where these runs are on its data."""
        return self.target if self.target and self.target.data == self.data else None

    @property
    def time(self) -> str:
        seconds = statistics.fmean(entry["seconds"] for entry in self.entries)
        return f"{seconds:,.0f}" if seconds >= 100 else f"{seconds:.3g}"

    @property
    def metrics(self) -> list[str]:
        """Those that every run has."""
        first, *others = self.entries
        return [name for name in first["metrics"] if all(name in entry["metrics"] for entry in others)]

    @property
    def shown(self) -> list[str]:
        """The metrics of the table: that which the recipe aims at, else the first of its headline, or of all."""
        shared = self.metrics
        if self.target and self.target.metric in shared:
            return [self.target.metric]
        headline = self.record.headline.metrics if self.record and self.record.headline else ()
        return ([name for name in headline if name in shared] or shared)[:_SHOWN]

    def figures(self, names: Sequence[str]) -> str:
        return "; ".join(f"{name} {self.figure(name)}" for name in names)

    def figure(self, name: str) -> str:
        """A metric as mean and deviation."""
        return spread([entry["metrics"][name] for entry in self.entries])

    def table_cells(self) -> list[str]:
        """Recipe, data, ours, published, runs and seconds."""
        published = f"{self.published.value:g}" if self.published else ""
        cells = [f"`{self.recipe}`", self.data, self.figures(self.shown), published, len(self.entries), self.time]
        return [str(cell).replace("|", "\\|") for cell in cells]

    def notes(self) -> dict[str, str]:
        """How it was measured: command, data, protocol, published figure, machine and commit."""
        numbers = {"seed": [entry["seed"] for entry in self.entries]}
        numbers |= {name: [entry["settings"][name] for entry in self.entries] for name in _repeats(self.entries[0])}
        repeats = ", ".join(_numbered(name, list(dict.fromkeys(found))) for name, found in numbers.items())
        target = self.published
        commits = _each((entry["commit"] or "none")[:9] for entry in self.entries)
        found = {
            "Command": f"`{self.entries[0]['command']}` ({repeats})",
            "Data": _each(entry["data_note"] for entry in self.entries if entry.get("data_note")),
            "Measured": _each(alike([entry["protocol"] for entry in self.entries])),
            "Published": f"{target.metric} {target.value:g}, {target.source} ({target.protocol})" if target else "",
            "Machine": f"{_each(_hardware(entry) for entry in self.entries)}; commit {commits}",
        }
        return {label: " ".join(text.split()) for label, text in found.items() if text}


def rows_of(entries: Iterable[Entry]) -> list[Row]:
    """The rows that runs make, by recipe, data and settings."""
    recipes = all_recipes()
    rows: dict[str, list[Entry]] = {}
    for entry in entries:
        rows.setdefault(_row_key(entry), []).append(entry)
    found = []
    for row in sorted(rows.values(), key=lambda row: (row[0]["recipe"], row[0]["data"], _row_key(row[0]))):
        row.sort(key=lambda entry: (entry["seed"], *_repeats(entry).values()))
        recipe = recipes.get(row[0]["recipe"])
        found.append(Row(tuple(row), family_of(row[0], recipes), recipe))
    return found


def render(entries: Sequence[Entry], folder: str = "results") -> str:
    """The page, from what the ledger keeps of the runs.

    Args:
        entries: one a run, as `chainrule.reporting.ledger.entry_of` makes them.
        folder: where the files with all settings and metrics lie, from the page.
    """
    families: dict[str, list[Row]] = {}
    for row in rows_of(entries):
        families.setdefault(row.family, []).append(row)
    lines = [
        "# Results",
        "",
        "Written by `python -m chainrule.reporting.ledger RUN...` from run folders; do not edit. Figures are of the test",
        "split, mean ± standard deviation over runs with different seeds, from ten on also median and range; metrics are",
        "fractions, times are seconds a run. Below each table is folded how each row was measured.",
        "",
        "A run repeats its numbers bit for bit on the same versions of the software and the same vector instructions of the",
        "CPU (AVX2, AVX512: `cpu_capability` in run.json, told beside the machine), for sums have another order with",
        "others. Most figures differ in the last digits then; where a network is on the edge of learning, they differ as",
        "they do from seed to seed.",
    ]
    for family in sorted(families):
        lines += ["", *_section(family, families[family], folder)]
    return "\n".join(lines) + "\n"


def family_of(entry: Entry, recipes: Mapping[str, Recipe]) -> str:
    return recipes[entry["recipe"]].family if entry["recipe"] in recipes else OTHER


def _section(family: str, rows: list[Row], folder: str) -> Iterator[str]:
    yield from (f"## {family.replace('-', ' ').capitalize()}", "")
    yield "| | recipe | data | ours | published | runs | seconds |"
    yield "| ---: | --- | --- | --- | --- | ---: | ---: |"
    for number, row in enumerate(rows, 1):
        yield f"| {number} | {' | '.join(row.table_cells())} |"
    yield from ("", "<details>", "<summary>How each row was measured</summary>")
    for number, row in enumerate(rows, 1):
        yield from ("", f"**{number}. `{row.recipe}` on {row.data}**", "")
        others = [name for name in row.metrics if name not in row.shown]
        more = f"; {len(others) - _TOLD} more in the file" if len(others) > _TOLD else ""
        also = {"Also": row.figures(others[:_TOLD]) + more} if others else {}
        yield from listed(row.notes() | also)
    file = f"{folder}/{family}.json"
    yield from ("", f"All settings and metrics of every run: [{file}]({file}).", "", "</details>")


def listed(notes: Mapping[str, str]) -> Iterator[str]:
    """Notes as a list in Markdown, of lines that a screen holds; a command stays on one, to be copied."""
    for label, text in notes.items():
        item = f"- *{label}:* {text}"
        yield from [item] if label == "Command" else wrapped(item, "  ")


def wrapped(text: str, indent: str = "") -> list[str]:
    """Lines of at most 118 characters; no word begins one that Markdown would take for the mark of a list."""
    glued = text.replace(" - ", "\0-\0").replace(" + ", "\0+\0").replace(" # ", "\0#\0")
    lines = textwrap.wrap(
        glued, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False, drop_whitespace=True
    )
    return [line.replace("\0", " ") for line in lines]


def alike(texts: Sequence[str]) -> list[str]:
    """Texts that differ in nothing but numbers as one, with the least and the greatest of each number.

    >>> alike(["9,020 words, fold 1 of 10", "9,063 words, fold 2 of 10", "no words"])
    ['9,020 to 9,063 words, fold 1 to 2 of 10', 'no words']
    """
    number = r"\d[\d,]*(?:\.\d+)?"
    groups: dict[str, list[list[str]]] = {}
    for text in texts:
        groups.setdefault(re.sub(number, "\0", text), []).append(re.findall(number, text))
    found = []
    for pattern, numbers in groups.items():
        for each in zip(*numbers, strict=True):
            low, high = min(each, key=_value), max(each, key=_value)
            pattern = pattern.replace("\0", low if low == high else f"{low} to {high}", 1)
        found.append(pattern)
    return found


def _value(number: str) -> float:
    return float(number.replace(",", ""))


def spread(values: Sequence[float], digits: int = 4) -> str:
    """Mean, and with two values or more their standard deviation (of a sample: over n - 1).

    Of ten or more that differ also the median and the range: a figure that hangs by a thread, such as whether a deep
    network learns at all, is not described by the first two.

    >>> spread([0.01, 0.02, 0.03]), spread([0.5])
    ('0.02 ± 0.01', '0.5')
    >>> spread([0.1, *[0.9] * 9])
    '0.82 ± 0.25, median 0.9, 0.1 to 0.9'
    """
    mean = f"{statistics.fmean(values):.{digits}g}"
    if len(values) < 2:
        return mean
    found = f"{mean} ± {statistics.stdev(values):.2g}"
    if len(values) < _MANY or min(values) == max(values):
        return found
    low, median, high = (f"{v:.{digits}g}" for v in (min(values), statistics.median(values), max(values)))
    return f"{found}, median {median}, {low} to {high}"


def _repeats(entry: Entry) -> dict[str, Any]:
    """The numbers, beside the seed, by which runs of one row differ; a fold counts where there are folds."""
    settings = entry["settings"]
    return {name: settings[name] for name in _REPEATS if name in settings and settings.get(f"{name}s")}


def _numbered(name: str, numbers: Sequence[Any]) -> str:
    """
    >>> _numbered("seed", [0]), _numbered("fold", [1, 2])
    ('seed 0', 'folds 1, 2')
    """
    return f"{name}{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"


def _each(words: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(words))


def _hardware(entry: Entry) -> str:
    hardware = entry["hardware"]
    words = [f"{key} {value}" for key, value in hardware.items()] if isinstance(hardware, dict) else [str(hardware)]
    return ", ".join([*words, *([entry["cpu_capability"]] if "cpu_capability" in entry else [])])


def settings_of(entry: Entry) -> dict[str, Any]:
    """The settings of a run; those that came later have their defaults, as where it is resumed."""
    recipe = all_recipes().get(entry["recipe"])
    known = {**parameters(run_settings), **(parameters(recipe.build) if recipe else {})}
    return {name: p.default for name, p in known.items() if name not in WATCHING} | dict(entry["settings"])


def _row_key(entry: Entry) -> str:
    settings = {name: value for name, value in settings_of(entry).items() if name not in _repeats(entry)}
    return json.dumps([entry["recipe"], entry["data"], settings], sort_keys=True)
