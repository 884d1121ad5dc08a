"""The results ledger: docs/results.md and docs/results/, written from run folders and never by hand.

    python -m chainrule.reporting.ledger RUN... --out docs/results.md
    python -m chainrule.reporting.ledger RUN... --note "cifar10=a lossy copy"   # where the data are not quite the published

Run folders are not kept in the repository. So a folder beside the page keeps what each run contributed, by recipe,
data, settings and seed, in a JSON file for each family of recipes; new runs are added to it, a run of the same key takes
the place of the older one, and the page is written anew from all of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from chainrule.core.data.request import DataRequest
from chainrule.core.discovery import all_recipes
from chainrule.core.errors import UserError
from chainrule.core.files import atomic
from chainrule.reporting.ledger_page import WATCHING, family_of, render, settings_of
from chainrule.reporting.report import command_of
from chainrule.run.run import Run


def write_ledger(
    folders: Iterable[str | Path], out: str | Path = "docs/results.md", notes: Mapping[str, str] | None = None
) -> Path:
    """Adds the runs in `folders` to the ledger at `out`; rows of earlier runs stay.

    Args:
        folders: run folders, all of them done.
        out: the page, ending in .md; the folder of JSON files beside it has its name without that.
        notes: by the name of data, what these are where they are not quite the published ones; for the new runs.
    """
    page = Path(out)
    if page.suffix != ".md":
        raise UserError("the ledger is a page in Markdown", expected="a name ending in .md", found=page)
    store = page.with_suffix("")
    entries = {_key(entry): entry for entry in read_entries(store)}
    for folder in folders:
        entry = entry_of(Run.load(folder, "cpu"))
        if entry["data"] in (notes or {}):
            entry["data_note"] = (notes or {})[entry["data"]]
        entries[_key(entry)] = entry
    kept = [entries[key] for key in sorted(entries)]
    with atomic.explain_os_errors(store):
        store.mkdir(parents=True, exist_ok=True)
    _write_entries(store, kept)
    atomic.write_text(page, render(kept, store.name))
    return page


def _write_entries(store: Path, entries: Iterable[dict[str, Any]]) -> None:
    """A file a family, a run a line: small, and easy to compare."""
    recipes = all_recipes()
    families: dict[str, list[str]] = {}
    for entry in entries:
        families.setdefault(family_of(entry, recipes), []).append(json.dumps(entry, ensure_ascii=False))
    for family, lines in families.items():
        atomic.write_text(store / f"{family}.json", '{"format": 1, "runs": [\n' + ",\n".join(lines) + "\n]}\n")
    for file in store.glob("*.json"):
        if file.stem not in families:  # a family that has another name now; its runs stand under that
            file.unlink()


def read_entries(store: Path) -> list[dict[str, Any]]:
    """What the ledger's JSON files hold; nothing where there are none yet."""
    entries: list[dict[str, Any]] = []
    for file in sorted(store.glob("*.json")):
        try:
            entries += json.loads(file.read_text("utf-8"))["runs"]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                "the ledger's file is damaged", where=file, found=error, cure="take it from version control"
            ) from None
    return entries


def entry_of(run: Run) -> dict[str, Any]:
    """What the ledger keeps of one run."""
    record, result = run.record, run.result()
    if result is None:
        raise UserError(
            "this run is not done", where=run.folder, found=record["status"], cure=f"chainrule resume {run.folder}"
        )
    common = {key: value for key, value in record["common"].items() if key not in WATCHING}
    spec = record["data"].get("spec") or {}
    return {
        "recipe": record["recipe"],
        "data": str(_named(DataRequest.from_record(record["data"]))),
        "settings": {**record["settings"], **common},
        "seed": record["seed"],
        "metrics": result["metrics"],
        "protocol": _without_seed(result["protocol"], record["seed"]),
        "counts": spec.get("counts"),
        "seconds": result["seconds"],
        "parameters": result["parameters"],
        "device": result["device"],
        "hardware": record["hardware"],
        **({"cpu_capability": record["cpu_capability"]} if "cpu_capability" in record else {}),
        "versions": record["versions"],
        "commit": record["commit"],
        "command": _without_place(command_of(record), DataRequest.from_record(record["data"])),
        **({"curve": curve} if (curve := _curve(run)) else {}),
    }


def _curve(run: Run) -> dict[str, Any] | None:
    """A measure of the validation split over the training, else the loss, at no more than 40 steps; None without one."""
    lines = [line for line in run.log_lines() if "candidate" not in line]
    recipe = all_recipes().get(run.record["recipe"])
    target = recipe.target if recipe else None
    names = list(dict.fromkeys(name for line in lines for name in line))
    wanted = [f"val_{target.metric}", "val_loss"] if target else ["val_loss"]
    name = next((n for n in [*wanted, *(n for n in names if n.startswith("val_")), "loss"] if n in names), None)
    if name is None:
        return None
    measured = [line for line in lines if line.get(name) is not None]
    # Of a run with stages the last one that measured it.
    points = [(line["step"], line[name]) for line in measured if line.get("stage") == measured[-1].get("stage")]
    points = [points[i * (len(points) - 1) // 39] for i in range(40)] if len(points) > 40 else points
    if len(points) < 2:
        return None
    return {"metric": name, "steps": [step for step, _ in points], "values": [float(f"{v:.4g}") for _, v in points]}


def _named(request: DataRequest) -> DataRequest:
    """A known data set's name as it is; of a path only the last part, which means the same on other machines."""
    return replace(request, sources={role: _last_part(place) for role, place in request.sources.items()})


def _last_part(place: str) -> str:
    return Path(place).name if "/" in place or "\\" in place else place


def _without_seed(protocol: str, seed: int) -> str:
    """The protocol without what differs from seed to seed: the seed and the fingerprint of the split it made."""
    return re.sub(r", indices [0-9a-f]+", "", protocol.replace(f"seed {seed}", "by the seed"))


def _without_place(command: str, request: DataRequest) -> str:
    """The command without --out and --json, which say where and not what, and of the data's path only the name."""
    for place in request.sources.values():
        command = command.replace(place, _last_part(place))
    return re.sub(r" --json\b| --out[ =]('[^']*'|\S+)", "", command)


def _key(entry: dict[str, Any]) -> str:
    return json.dumps([entry["recipe"], entry["data"], settings_of(entry), entry["seed"]], sort_keys=True)


def main() -> None:
    """The command line: run folders, and `--out`."""
    import argparse
    import sys

    from chainrule.core.errors import ChainruleError

    parser = argparse.ArgumentParser(
        prog="python -m chainrule.reporting.ledger", description="Adds runs to the results ledger."
    )
    parser.add_argument("runs", nargs="*", metavar="RUN", help="run folders; without any the page is written anew")
    parser.add_argument("--out", default="docs/results.md", help="the page; the folder of JSON files lies beside it")
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
