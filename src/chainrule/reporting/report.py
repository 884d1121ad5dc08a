"""The report: one HTML file on one run, or a comparison of several. It reads run folders; it needs no network."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from chainrule.core.course import Topic
from chainrule.core.data.request import DataRequest
from chainrule.core.errors import ChainruleError, UserError
from chainrule.core.task import Figure
from chainrule.core.version import __version__
from chainrule.reporting.comparison import compare, metrics_of, seconds_of
from chainrule.reporting.learning_curves import PLACES, curves_by_stage, metric_in_words, stages_of
from chainrule.reporting.page import duration, free_page, number, write_page
from chainrule.run.folder.command import changed_settings
from chainrule.run.folder.command import command_of as command_of
from chainrule.run.run import Run

_FRAMES = 40  # figures of one film; more make the file heavy


def write_report(runs: Sequence[Run], out: Path | None) -> Path:
    """Writes the report of one run (into its folder, by default) or of several (`comparison.html` here,
    with a number where there is one already).

    Curves are there for any run that wrote a line; results once it is done. Where data or weights are gone, the figures
    that need them are left out and the reason stands in their place.

    Args:
        runs: one or more, as `Run.load` gives them.
        out: the file to write, or a folder for it.
    """
    names = _names(runs)
    if len(runs) == 1:
        place = out or runs[0].folder / "report.html"  # a run has one report, of what it is now
        place = place / "report.html" if place.is_dir() else place
    else:
        place = free_page(out, Path("comparison.html"))
    first = runs[0].record
    if len(runs) == 1:
        title = str(first["recipe"])
        where = DataRequest.from_record(first["data"])
        subtitle = (
            f"{_summary(runs[0])} Data: {where}. Seed {first['seed']}. {first['created'].replace('T', ', ')[:17]} UTC."
        )
    else:
        title = f"{len(runs)} runs compared"
        subtitle = ", ".join(dict.fromkeys(run.record["recipe"] for run in runs))
    return write_page(
        "report.html.j2",
        place,
        title=title,
        subtitle=subtitle,
        version=__version__,
        runs=[describe_run(run, name, alone=len(runs) == 1) for run, name in zip(runs, names, strict=True)],
        comparison=compare(runs, names) if len(runs) > 1 else None,
    )


def describe_run(run: Run, name: str, alone: bool = True) -> dict[str, Any]:
    """What the template shows of one run. Curves of their own and films only where it stands alone."""
    record, result = run.record, run.result()
    metrics, measured = metrics_of(run)
    study = run.recipe.is_study
    size = {"of measuring" if study else "of training": duration(seconds_of(run))}
    if result and not study:
        size["parameters"] = f"{result['parameters']:,}"
    drawn, absent = _figures(run) if alone else ([], None)
    curves, tried = curves_by_stage(run) if alone else {}, _tried(run) if alone else []
    spec = record["data"].get("spec") or {}
    hidden = {"mean", "std", "fingerprint", "where"} if "classes" in spec else {"where"}
    return {
        "name": name,
        "status": record["status"],
        "reason": _reason(run),
        "metrics": metrics,
        "headline": (run.recipe.headline.of(metrics) if run.recipe.headline else {}) or metrics,
        "measured": measured,
        "size": size,
        "protocol": result["protocol"].rstrip(".") if result else None,
        "target": _target(run),
        "source": str(DataRequest.from_record(record["data"])),
        "seed": record["seed"],
        "curves": None if study or (tried and not curves) else curves,
        "figures": [*tried, *drawn],
        "figures_absent": absent,
        "films": films(run.figures_folder()) if alone else [],
        "settings": {**record["settings"], "seed": record["seed"], **record["common"]},
        "data": {
            "source": str(DataRequest.from_record(record["data"])),
            **({"target column": record["data"]["target"]} if record["data"].get("target") else {}),
            **{key: _short(value) for key, value in spec.items() if key not in hidden},
            **({"fingerprint": spec["fingerprint"]} if "fingerprint" in spec else {}),
        },
        "machine": {
            "device": record["device"],
            **_flat(record["hardware"], "hardware"),
            **({"vector instructions": record["cpu_capability"]} if "cpu_capability" in record else {}),
            "threads": record["threads"],
            **({"processes": record["processes"]} if record.get("processes", 1) > 1 else {}),
            "platform": record["platform"],
            **record["versions"],
        },
        "about": {
            "folder": str(run.folder),
            **_parent(record),
            "created": record["created"],
            "time": duration(seconds_of(run)),
            "steps": result["steps"] if result else _steps(run),
            **_chosen(result),
            **_ended(result),
            "commit": record["commit"] or "not from a git checkout",
        },
        "command": command_of(record),
    }


def _tried(run: Run) -> list[Figure]:
    """What was tried side by side, settings or starts, a row each, and which was kept; of each stage that tried some."""
    tables = [_tried_in(run, stage) for stage in stages_of(run)]
    return [table for table in tables if table is not None]


def _tried_in(run: Run, stage: str) -> Figure | None:
    lines = [line for line in run.log_lines() if "candidate" in line and line.get("stage", "") == stage]
    if not lines:
        return None
    names = [name for name in dict.fromkeys(key for line in lines for key in line) if name not in PLACES]
    chosen = _bests(run.result()).get(stage) or {"step": None}
    head = [*(metric_in_words(name) for name in names), *([""] if chosen["step"] is not None else [])]
    rows = [[number(line.get(name, "-")) for name in names] for line in lines]
    for line, row in zip(lines, rows, strict=True):
        row += (["kept"] if line["step"] == chosen["step"] else [""]) if chosen["step"] is not None else []
    caption = f"Kept for its {metric_in_words(chosen['metric'])}." if chosen["step"] is not None else ""
    return Figure(f"What was tried in {stage}" if stage else "What was tried", caption, table=[head, *rows])


def _steps(run: Run) -> int:
    """Steps of a run that has not ended, as its lines say: of all its stages."""
    last = {line.get("stage", ""): line["step"] for line in run.log_lines()}
    return sum(last.values())


def films(folder: Path) -> list[dict[str, Any]]:
    """The figures that the run saved, those of one name in the order of their numbers."""
    found: dict[str, list[tuple[int, Path]]] = {}
    for file in sorted(each for each in folder.glob("*.png") if each.is_file()):
        match = re.fullmatch(r"(.*?)[-_ ]?(?:step|epoch)?[-_ ]?(\d+)", file.stem)
        name, at = (match[1], int(match[2])) if match and match[1] else (file.stem, -1)
        found.setdefault(name, []).append((at, file))
    result = []
    for name, files in found.items():
        files.sort()
        every = -(-len(files) // _FRAMES)
        shown = files[::-1][::every][::-1]  # the last is always among them
        frames = [{"label": f"{at:,}" if at >= 0 else "", "png": file.read_bytes()} for at, file in shown]
        film = {"name": name.replace("_", " "), "frames": frames, "left_out": len(files) - len(shown)}
        result.append({**film, "moves": files[-1][0] >= 0})
    return result


def _figures(run: Run) -> tuple[list[Figure], str | None]:
    """The system's own figures, or why there are none: no checkpoint, the data gone, a recipe that is no more."""
    try:
        return run.open_task().figures(), None
    except ChainruleError as error:
        return [], str(error)


def _reason(run: Run) -> str | None:
    status, reason = run.record["status"], run.record.get("reason")
    if status == "failed":
        return reason or "it failed and gave no reason"
    if status == "interrupted":
        return f"Stopped before its end; it resumes with: chainrule resume {run.folder}"
    if status == "running":
        return f"It is running, or it was killed; then it resumes with: chainrule resume {run.folder}"
    return None


def _parent(record: Mapping[str, Any]) -> dict[str, str]:
    """The run that this one continues, or whose weights it began with."""
    parent = record.get("parent")
    if not parent:
        return {}
    return {"continues" if parent.get("longer") else "weights of": f"{parent['folder']}, step {number(parent['step'])}"}


def _target(run: Run) -> dict[str, Any] | None:
    try:
        target = run.recipe.target
    except UserError:
        return None
    if target is None:
        return None
    result = run.result()
    ours = result["metrics"].get(target.metric) if result else None
    other = str(run.data) != target.data
    caveat = f"The target was measured on {target.data}, this run on other data: they do not compare." if other else ""
    return {
        "metric": target.metric,
        "value": target.value,
        "data": target.data,
        "source": target.source,
        "protocol": target.protocol,
        "ours": ours,
        "caveat": caveat,
    }


def _summary(run: Run) -> str:
    """What the recipe is; where that names a size, and this run's is another, its own."""
    try:
        summary, told = run.recipe.summary, run.recipe.summary_told
    except UserError:
        return ""
    stated, result = re.search(r"([\d,]+) parameters", summary), run.result()
    if stated is None or (result and f"{result['parameters']:,}" == stated[1]):
        return told
    if result is None and not any(key in run.record["settings"] for key, _ in changed_settings(run.record)):
        return told
    own = f"; this network has {result['parameters']:,} parameters" if result else ""
    return f"{told} Sizes named here are those of its default settings and data{own}."


def _bests(result: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    """What each stage chose; under an empty name in a run that has no stages."""
    chosen = (result or {}).get("chosen") or {}
    return {"": chosen} if "metric" in chosen else chosen


def _chosen(result: Mapping[str, Any] | None) -> dict[str, str]:
    return {
        f"weights chosen{' in ' + stage if stage else ''}": f"epoch {best['epoch'] + 1}, {best['metric']} {number(best['value'])}"
        for stage, best in _bests(result).items()
    }


def _ended(result: Mapping[str, Any] | None) -> dict[str, str]:
    """Whether training stopped early, and which epoch was kept; of runs that say so."""
    if not result or "kept_epoch" not in result:
        return {}
    return {"kept epoch": str(result["kept_epoch"]), "stopped early": "yes" if result["stopped_early"] else "no"}


def _short(value: Any) -> Any:
    """Long lists as their first entries and how many there are."""
    if isinstance(value, (list, tuple)) and len(value) > 24:
        return f"{number(value[:12])}, ... ({len(value):,} in all)"
    if isinstance(value, dict):
        return {key: _short(v) for key, v in list(value.items())[:24]}
    return value


def _flat(value: Any, name: str) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {name: value}


def _names(runs: Sequence[Run]) -> list[str]:
    """The folders' names, with as much of the path as keeps them apart."""
    for depth in range(1, 5):
        names = ["/".join(run.folder.resolve().parts[-depth:]) for run in runs]
        if len(set(names)) == len(names):
            return names
    return [f"{run.folder} ({index + 1})" for index, run in enumerate(runs)]


TOPICS = (
    Topic(
        "Looking at a training: curves, worst mistakes, comparison",
        "看训练过程：曲线、最严重的错误、比较",
        code=("write_report", "compare"),
        command="chainrule report RUN RUN2",
    ),
)
