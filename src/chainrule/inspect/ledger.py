"""The results ledger: docs/results.md and docs/results.json, written from run folders and never by hand.

    python -m chainrule.inspect.ledger RUN... --out docs/results.md
    python -m chainrule.inspect.ledger RUN... --note "cifar10=a lossy copy"   # where the data are not quite the published

Run folders are not kept in the repository. So the JSON file beside the page keeps what each run contributed, by recipe,
data, settings and seed; new runs are added to it, a run of the same key takes the place of the older one, and the page
is written anew from all of them.
"""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from chainrule.errors import UserError
from chainrule.inspect.report import command_of
from chainrule.recipes import all_recipes
from chainrule.run import atomic
from chainrule.run.run import Run

# Settings that say how a run is watched and not what it learns.
_WATCHING = ("log_every", "checkpoint_s", "threads")

_SHOWN = 8  # metrics of a row

# Settings that number the runs of one experiment, as the seed does: the folds of a cross-validation make one row.
_REPEATS = ("fold",)


def write_ledger(
    folders: Iterable[str | Path], out: str | Path = "docs/results.md", notes: Mapping[str, str] | None = None
) -> Path:  # fmt: skip
    """Adds the runs in `folders` to the ledger at `out`; rows of earlier runs stay.

    Args:
        folders: run folders, all of them done.
        out: the page, ending in .md; the JSON file beside it has the same name.
        notes: by the name of data, what these are where they are not quite the published ones; for the new runs.
    """
    page = Path(out)
    if page.suffix != ".md":
        raise UserError("the ledger is a page in Markdown", expected="a name ending in .md", found=page)
    store = page.with_suffix(".json")
    entries = {_key(entry): entry for entry in read_entries(store)}
    for folder in folders:
        entry = entry_of(Run.load(folder, "cpu"))
        if entry["data"] in (notes or {}):
            entry["data_note"] = (notes or {})[entry["data"]]
        entries[_key(entry)] = entry
    kept = [entries[key] for key in sorted(entries)]
    with atomic.told_in_words(page):
        page.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(
        json.dumps(entry, ensure_ascii=False) for entry in kept
    )  # a run a line: small, and easy to compare
    atomic.write_text(store, f'{{"format": 1, "runs": [\n{lines}\n]}}\n')
    atomic.write_text(page, render(kept))
    return page


def read_entries(store: Path) -> list[dict[str, Any]]:
    """What the ledger's JSON file holds; nothing where there is none yet."""
    if not store.is_file():
        return []
    try:
        return list(json.loads(store.read_text("utf-8"))["runs"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            "the ledger's file is damaged", where=store, found=error, cure="take it from version control"
        ) from None


def entry_of(run: Run) -> dict[str, Any]:
    """What the ledger keeps of one run."""
    record, result = run.record, run.result()
    if result is None:
        raise UserError(
            "this run is not done", where=run.folder, found=record["status"], cure=f"chainrule resume {run.folder}"
        )
    common = {key: value for key, value in record["common"].items() if key not in _WATCHING}
    spec = record["data"].get("spec") or {}
    return {
        "recipe": record["recipe"],
        "data": _named(record["data"]["source"]),
        "settings": {**record["settings"], **common},
        "seed": record["seed"],
        "metrics": result["metrics"],
        "protocol": _without_seed(result["protocol"], record["seed"]),
        "counts": spec.get("counts"),
        "seconds": result["seconds"],
        "parameters": result["parameters"],
        "device": result["device"],
        "hardware": record["hardware"],
        "versions": record["versions"],
        "commit": record["commit"],
        "command": _without_place(command_of(record), record["data"]["source"]),
    }  # fmt: skip


def render(entries: Sequence[dict[str, Any]]) -> str:
    """The page, from the entries of the JSON file."""
    recipes = all_recipes()
    groups: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        groups.setdefault(_group_key(entry), []).append(entry)
    lines = [
        "# Results", "",
        "Written by `python -m chainrule.inspect.ledger RUN...` from run folders; do not edit. Figures are of the test split, "
        "mean ± standard deviation over seeds; metrics are fractions. The settings of each row are in `results.json`.", "",
        "| system | data | target | ours | n | s a run | protocol | hardware | commit | command |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]  # fmt: skip
    order = sorted(
        groups.values(), key=lambda g: (_family(g[0], recipes), g[0]["recipe"], g[0]["data"], _group_key(g[0]))
    )
    lines += [_row(group, recipes) for group in order]
    return "\n".join(lines) + "\n"


def _row(group: list[dict[str, Any]], recipes: dict[str, Any]) -> str:
    group = sorted(group, key=lambda entry: (entry["seed"], *_repeats(entry).values()))
    first = group[0]
    recipe = recipes.get(first["recipe"])
    target = recipe.target if recipe else None
    shared = [name for name in first["metrics"] if all(name in entry["metrics"] for entry in group)]
    shown = [target.metric] if target and target.metric in shared else shared
    ours = "; ".join(f"{name} {_spread([entry['metrics'][name] for entry in group])}" for name in shown[:_SHOWN])
    ours += f"; and {len(shown) - _SHOWN} more in `results.json`" if len(shown) > _SHOWN else ""
    aim = "none published"
    if target:
        aim = f"{target.metric} {target.value:g} ({target.source}; {target.protocol})"
        if target.data != first["data"]:
            aim = f"none for {first['data']}; of {target.data}: {aim}"
    seeds = [entry["seed"] for entry in group]
    numbers = {"seed": seeds} | {name: [entry["settings"][name] for entry in group] for name in _repeats(first)}
    repeats = ", ".join(_numbered(name, list(dict.fromkeys(found))) for name, found in numbers.items())
    told = _each(f" ({entry['data_note']})" for entry in group if entry.get("data_note"))
    cells = [
        f"`{first['recipe']}`", first["data"] + told, aim, ours, f"{len(group)} ({repeats})",
        _spread([entry["seconds"] for entry in group], digits=3), _each(entry["protocol"] for entry in group),
        _each(_hardware(entry) for entry in group), _each((entry["commit"] or "none")[:9] for entry in group),
        f"`{first['command']}`",
    ]  # fmt: skip
    return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _repeats(entry: dict[str, Any]) -> dict[str, Any]:
    """The numbers, beside the seed, by which runs of one row differ; a fold counts where there are folds."""
    settings = entry["settings"]
    return {name: settings[name] for name in _REPEATS if name in settings and settings.get(f"{name}s")}


def _numbered(name: str, numbers: Sequence[Any]) -> str:
    """
    >>> _numbered("seed", [0]), _numbered("fold", [1, 2])
    ('seed 0', 'folds 1, 2')
    """
    return f"{name}{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"


def _spread(values: Sequence[float], digits: int = 4) -> str:
    """Mean, and with two values or more their standard deviation (of a sample: over n - 1).

    >>> _spread([0.01, 0.02, 0.03]), _spread([0.5])
    ('0.02 ± 0.01', '0.5')
    """
    mean = f"{statistics.fmean(values):.{digits}g}"
    return mean if len(values) < 2 else f"{mean} ± {statistics.stdev(values):.2g}"


def _each(words: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(words))


def _hardware(entry: dict[str, Any]) -> str:
    hardware = entry["hardware"]
    return (
        ", ".join(f"{key} {value}" for key, value in hardware.items()) if isinstance(hardware, dict) else str(hardware)
    )


def _family(entry: dict[str, Any], recipes: dict[str, Any]) -> str:
    return recipes[entry["recipe"]].family if entry["recipe"] in recipes else "~"


def _named(source: str) -> str:
    """A known data set's name as it is; of a path only the last part, which means the same on other machines."""
    return Path(source).name if "/" in source or "\\" in source else source


def _without_seed(protocol: str, seed: int) -> str:
    """The protocol without what differs from seed to seed: the seed and the fingerprint of the split it made."""
    return re.sub(r", indices [0-9a-f]+", "", protocol.replace(f"seed {seed}", "by the seed"))


def _without_place(command: str, source: str) -> str:
    """The command without --out and --json, which say where and not what, and of the data's path only the name."""
    command = command.replace(source, _named(source))
    return re.sub(r" --json\b| --out[ =]('[^']*'|\S+)", "", command)


def _group_key(entry: dict[str, Any]) -> str:
    settings = {name: value for name, value in entry["settings"].items() if name not in _repeats(entry)}
    return json.dumps([entry["recipe"], entry["data"], settings], sort_keys=True)


def _key(entry: dict[str, Any]) -> str:
    return json.dumps([entry["recipe"], entry["data"], entry["settings"], entry["seed"]], sort_keys=True)


def main() -> None:
    """The command line: run folders, and `--out`."""
    import argparse
    import sys

    from chainrule.errors import ChainruleError

    parser = argparse.ArgumentParser(
        prog="python -m chainrule.inspect.ledger", description="Adds runs to the results ledger."
    )
    parser.add_argument("runs", nargs="+", metavar="RUN")
    parser.add_argument("--out", default="docs/results.md", help="the page; the JSON file lies beside it")
    parser.add_argument(
        "--note",
        action="append",
        default=[],
        metavar="DATA=TEXT",
        help="what the data of these runs are, where they are not quite the published ones",
    )
    chosen = parser.parse_args()
    notes = dict(note.split("=", 1) for note in chosen.note if "=" in note)
    if len(notes) < len(chosen.note):
        parser.error("--note wants DATA=TEXT")
    try:
        print(write_ledger(chosen.runs, chosen.out, notes))
    except ChainruleError as error:
        print(f"ledger: {error}", file=sys.stderr)
        sys.exit(error.exit_status)


if __name__ == "__main__":
    main()
