"""The page of the results ledger: a section a family, a table of what came out, and below it how each row was measured."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from chainrule.core.discovery import all_recipes
from chainrule.core.recipe import Recipe, Target

Entry = Mapping[str, Any]

OTHER = "other"  # the family of runs whose recipe is no longer there

_SHOWN = 3  # metrics of a row whose recipe has no target
_TOLD = 18  # more that its note names

# Settings that number the runs of one experiment, as the seed does: the folds of a cross-validation make one row.
_REPEATS = ("fold",)


def render(entries: Sequence[Entry], folder: str = "results") -> str:
    """The page, from what the ledger keeps of the runs.

    Args:
        entries: one a run, as `chainrule.reporting.ledger.entry_of` makes them.
        folder: where the files with all settings and metrics lie, from the page.
    """
    recipes = all_recipes()
    rows: dict[str, list[Entry]] = {}
    for entry in entries:
        rows.setdefault(_row_key(entry), []).append(entry)
    families: dict[str, list[list[Entry]]] = {}
    for row in sorted(rows.values(), key=lambda row: (row[0]["recipe"], row[0]["data"], _row_key(row[0]))):
        row.sort(key=lambda entry: (entry["seed"], *_repeats(entry).values()))
        families.setdefault(family_of(row[0], recipes), []).append(row)
    lines = [
        "# Results",
        "",
        "Written by `python -m chainrule.reporting.ledger RUN...` from run folders; do not edit. Figures are of the test split, "
        "mean ± standard deviation over runs with different seeds; metrics are fractions, times are seconds a run. Below each table "
        "stands how each row was measured.",
    ]
    for family in sorted(families):
        lines += ["", *_section(family, families[family], recipes, folder)]
    return "\n".join(lines) + "\n"


def family_of(entry: Entry, recipes: Mapping[str, Recipe]) -> str:
    return recipes[entry["recipe"]].family if entry["recipe"] in recipes else OTHER


def _section(family: str, rows: list[list[Entry]], recipes: Mapping[str, Recipe], folder: str) -> Iterator[str]:
    yield from (f"## {family.capitalize()}", "")
    yield "| | system | data | ours | published | runs | time |"
    yield "| ---: | --- | --- | --- | --- | --- | ---: |"
    targets = [_target(row[0], recipes) for row in rows]
    for number, (row, target) in enumerate(zip(rows, targets, strict=True), 1):
        recipe, data = row[0]["recipe"], row[0]["data"]
        published = f"{target.value:g}" if target and target.data == data else ""
        seconds = statistics.fmean(entry["seconds"] for entry in row)
        time = f"{seconds:,.0f}" if seconds >= 100 else f"{seconds:.3g}"
        cells = [number, f"`{recipe}`", data, _figures(row, _shown(row, target)), published, len(row), time]
        yield f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in cells)} |"
    yield ""
    for number, (row, target) in enumerate(zip(rows, targets, strict=True), 1):
        yield f"{number}. {_note(row, target, f'{folder}/{family}.json')}"


def _note(row: list[Entry], target: Target | None, file: str) -> str:
    """How a row was measured: command, published figure, protocol, what the data are, other metrics, machine, commit."""
    seeds = [entry["seed"] for entry in row]
    numbers = {"seed": seeds} | {name: [entry["settings"][name] for entry in row] for name in _repeats(row[0])}
    repeats = ", ".join(_numbered(name, list(dict.fromkeys(found))) for name, found in numbers.items())
    others = [name for name in _shared(row) if name not in _shown(row, target)]
    more = f"; {len(others) - _TOLD} more in [{file}]({file})" if len(others) > _TOLD else ""
    published = target is not None and target.data == row[0]["data"]
    parts = {
        "": f"`{row[0]['command']}` ({repeats}).",
        "Data:": _each(entry["data_note"] for entry in row if entry.get("data_note")),
        "Measured:": _each(entry["protocol"] for entry in row),
        "Published:": f"{target.metric} {target.value:g}, {target.source} ({target.protocol})"
        if target and published
        else "",
        "Also:": _figures(row, others[:_TOLD]) + more,
        "On:": f"{_each(_hardware(entry) for entry in row)}; commit {_each((entry['commit'] or 'none')[:9] for entry in row)}",
    }
    return " ".join(f"*{label}* {text}." if label else text for label, text in parts.items() if text).replace("\n", " ")


def _target(entry: Entry, recipes: Mapping[str, Recipe]) -> Target | None:
    return recipes[entry["recipe"]].target if entry["recipe"] in recipes else None


def _shared(row: list[Entry]) -> list[str]:
    return [name for name in row[0]["metrics"] if all(name in entry["metrics"] for entry in row)]


def _shown(row: list[Entry], target: Target | None) -> list[str]:
    """The metrics of the table: that which the recipe aims at, else the first ones."""
    shared = _shared(row)
    return [target.metric] if target and target.metric in shared else shared[:_SHOWN]


def _figures(row: list[Entry], names: Sequence[str]) -> str:
    return "; ".join(f"{name} {_spread([entry['metrics'][name] for entry in row])}" for name in names)


def _spread(values: Sequence[float], digits: int = 4) -> str:
    """Mean, and with two values or more their standard deviation (of a sample: over n - 1).

    >>> _spread([0.01, 0.02, 0.03]), _spread([0.5])
    ('0.02 ± 0.01', '0.5')
    """
    mean = f"{statistics.fmean(values):.{digits}g}"
    return mean if len(values) < 2 else f"{mean} ± {statistics.stdev(values):.2g}"


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
    return (
        ", ".join(f"{key} {value}" for key, value in hardware.items()) if isinstance(hardware, dict) else str(hardware)
    )


def _row_key(entry: Entry) -> str:
    settings = {name: value for name, value in entry["settings"].items() if name not in _repeats(entry)}
    return json.dumps([entry["recipe"], entry["data"], settings], sort_keys=True)
