"""The report: one HTML file on one run, or a comparison of several. It reads run folders; it needs no network."""

from __future__ import annotations

import re
import shlex
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from chainrule.core.course import Topic
from chainrule.core.errors import ChainruleError, UserError
from chainrule.core.task import Figure
from chainrule.core.version import __version__
from chainrule.reporting import plots as figures
from chainrule.reporting.page import duration, number, write_page
from chainrule.run.run import Run

Series = dict[str, tuple[list[float], list[float]]]

# Metrics that are fractions share a plot; so do losses; any other has its own.
FRACTIONS = {"accuracy", "error", "f1", "precision", "recall", "miou", "map50", "map", "top5_error", "top5_accuracy"}
_PLACES = ("step", "epoch", "seconds", "candidate")  # where a line of metrics.jsonl stands, not what it says
_TITLES = {
    "lr": "Learning rate",
    "mse": "Mean squared error",
    "rmse": "Root mean squared error",
    "mae": "Mean absolute error",
    "mase": "Mean absolute scaled error",
    "r2": "R²",
    "auc": "Area under the ROC",
    "eer": "Equal error rate",
    "rank1": "Rank-1",
    "log_likelihood": "Log-likelihood, nats a sample",
    "bits_per_char": "Bits per character",
    "d_real": "What the discriminator takes for real",
    "d_fake": "What the discriminator takes for real",
}
_TILES = 5  # metrics in large type where there are more than twice as many
_FRAMES = 40  # figures of one film; more make the file heavy


def write_report(runs: Sequence[Run], out: Path | None) -> Path:
    """Writes the report of one run (into its folder, by default) or of several (`comparison.html` here).

    Curves are there for any run that wrote a line; results once it is done. Where data or weights are gone, the figures
    that need them are left out and the reason stands in their place.

    Args:
        runs: one or more, as `Run.load` gives them.
        out: the file to write, or a folder for it.
    """
    names = _names(runs)
    default = "report.html" if len(runs) == 1 else "comparison.html"
    place = out or (runs[0].folder / default if len(runs) == 1 else Path(default))
    if place.is_dir():
        place = place / default
    first = runs[0].record
    if len(runs) == 1:
        title = str(first["recipe"])
        where = first["data"]["source"]
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
    metrics, measured = _metrics(run)
    experiment = _is_experiment(run)
    size = {"of measuring" if experiment else "of training": duration(_seconds(run))}
    if result and not experiment:
        size["parameters"] = f"{result['parameters']:,}"
    drawn, absent = _figures(run) if alone else ([], None)
    series, tried = series_of(run), _tried(run) if alone else []
    spec = record["data"].get("spec") or {}
    hidden = {"mean", "std", "fingerprint", "where"} if "classes" in spec else {"where"}
    return {
        "name": name,
        "status": record["status"],
        "reason": _reason(run),
        "metrics": metrics,
        "tiles": dict(list(metrics.items())[:_TILES]) if len(metrics) > 2 * _TILES else metrics,
        "measured": measured,
        "size": size,
        "protocol": result["protocol"].rstrip(".") if result else None,
        "target": _target(run),
        "source": record["data"]["source"],
        "seed": record["seed"],
        "curves": None if experiment or (tried and not series) else plots(series) if alone else [],
        "figures": [*tried, *drawn],
        "figures_absent": absent,
        "films": films(run.folder / "figures") if alone else [],
        "settings": {**record["settings"], "seed": record["seed"], **record["common"]},
        "data": {
            "source": record["data"]["source"],
            **({"target column": record["data"]["target"]} if record["data"].get("target") else {}),
            **{key: _short(value) for key, value in spec.items() if key not in hidden},
            **({"fingerprint": spec["fingerprint"]} if "fingerprint" in spec else {}),
        },
        "machine": {
            "device": record["device"],
            **_flat(record["hardware"], "hardware"),
            "threads": record["threads"],
            **({"processes": record["processes"]} if record.get("processes", 1) > 1 else {}),
            "platform": record["platform"],
            **record["versions"],
        },
        "about": {
            "folder": str(run.folder),
            "created": record["created"],
            "time": duration(_seconds(run)),
            "steps": result["steps"] if result else max((line["step"] for line in run.log_lines()), default=0),
            **_chosen(result),
            "commit": record["commit"] or "not from a git checkout",
        },
        "command": command_of(record),
    }


def _is_experiment(run: Run) -> bool:
    """Its steps are points that were measured, in no order that a curve could follow; it draws them itself."""
    return run.recipe.model is None


def _tried(run: Run) -> list[Figure]:
    """What was tried side by side, settings or starts, a row each, and which was kept."""
    lines = [line for line in run.log_lines() if "candidate" in line]
    if not lines:
        return []
    names = [name for name in dict.fromkeys(key for line in lines for key in line) if name not in _PLACES]
    chosen = (run.result() or {}).get("chosen") or {"step": None}
    head = [*(_in_words(name) for name in names), *([""] if chosen["step"] is not None else [])]
    rows = [[number(line.get(name, "-")) for name in names] for line in lines]
    for line, row in zip(lines, rows, strict=True):
        row += (["kept"] if line["step"] == chosen["step"] else [""]) if chosen["step"] is not None else []
    caption = f"Kept for its {_in_words(chosen['metric'])}." if chosen["step"] is not None else ""
    return [Figure("What was tried", caption, table=[head, *rows])]


def _in_words(metric: str) -> str:
    return metric.replace("val_", "validation ").replace("_", " ")


def series_of(run: Run) -> Series:
    """Every metric of metrics.jsonl as (steps, values).

    Entries that are no numbers are left out, and lines on a candidate: these do not follow from each other.
    """
    found: Series = {}
    for line in run.log_lines():
        if "candidate" in line:
            continue
        for name, value in line.items():
            if name in _PLACES or isinstance(value, bool) or not isinstance(value, (int, float)):
                continue
            steps, values = found.setdefault(name, ([], []))
            steps.append(line["step"])
            values.append(value)
    return found


def group_of(metric: str) -> str:
    """The plot that a metric belongs to.

    >>> [group_of(m) for m in ("loss", "val_loss", "val_error", "accuracy", "lr", "return")]
    ['Loss', 'Loss', 'Accuracy and error', 'Accuracy and error', 'Learning rate', 'Return']
    >>> group_of("val_rmse"), group_of("d_real") == group_of("d_fake")
    ('Root mean squared error', True)
    """
    base = re.sub(r"^(val|train|test)_", "", metric)
    if "loss" in base.split("_"):
        return "Loss"
    if base in FRACTIONS:
        return "Accuracy and error"
    if re.fullmatch(r"(gradient|saturated)_\d+", base):
        return "Norm of each layer's gradient" if base.startswith("g") else "Share of saturated units of each layer"
    if base.startswith("delta_"):
        return "Norm of each layer's delta"
    return _TITLES.get(base, base.replace("_", " ").capitalize())


def plots(series: Series) -> list[Figure]:
    """The curves, kin in one plot: what is learnt first, the learning rate last."""
    groups: dict[str, Series] = {}
    for name, line in series.items():
        groups.setdefault(group_of(name), {})[name] = line
    if len({rate for _, rates in groups.get("Learning rate", {}).values() for rate in rates}) == 1:
        del groups["Learning rate"]  # it stands among the settings
    first = ["Loss", "Accuracy and error"]
    order = sorted(groups, key=lambda g: (g == "Learning rate", first.index(g) if g in first else len(first)))
    return [figures.curves(groups[title], title) for title in order]


def films(folder: Path) -> list[dict[str, Any]]:
    """The figures that the run saved, those of one name in the order of their numbers."""
    found: dict[str, list[tuple[int, Path]]] = {}
    for file in sorted(folder.glob("*.png")):
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


def compare(runs: Sequence[Run], names: Sequence[str]) -> dict[str, Any]:
    """The table of what differs, means over seeds, and curves laid over each other."""
    settings = [{**run.record["settings"], **run.record["common"]} for run in runs]
    keys = list(dict.fromkeys(key for each in settings for key in each))
    differ = [key for key in keys if len({repr(each.get(key)) for each in settings}) > 1]
    measured = [_metrics(run) for run in runs]
    metrics = list(dict.fromkeys(name for values, _ in measured for name in values))
    columns = {
        "recipe": lambda r: r.record["recipe"],
        "data": lambda r: r.record["data"]["source"],
        "device": lambda r: r.record["device"],
    }
    shown = {name: get for name, get in columns.items() if name == "recipe" or len({get(r) for r in runs}) > 1}
    rows = []
    for run, name, each, (values, kind) in zip(runs, names, settings, measured, strict=True):
        cells = [name, run.record["status"], *(get(run) for get in shown.values()), run.record["seed"]]
        cells += [each.get(key, "-") for key in differ]
        rows.append([*cells, *(values.get(m, "-") for m in metrics), kind, duration(_seconds(run))])
    head = ["run", "status", *shown, "seed", *differ, *(m.replace("_", " ") for m in metrics), "measured on", "time"]
    same = (
        "All settings that are not in the table are the same." if len({r.record["recipe"] for r in runs}) == 1 else ""
    )
    return {
        "head": head,
        "rows": rows,
        "same": same,
        "groups": _over_seeds(runs, names),
        "curves": _overlaid(runs, names),
    }


def _overlaid(runs: Sequence[Run], names: Sequence[str]) -> list[Figure]:
    """A plot a metric, a line a run; the validation's where there is one."""
    all_series = [series_of(run) for run in runs]
    metrics = list(dict.fromkeys(name for each in all_series for name in each))
    metrics.sort(key=lambda m: (m == "lr", not m.startswith("val_")))
    result = []
    for metric in metrics:
        lines = {name: each[metric] for name, each in zip(names, all_series, strict=True) if metric in each}
        result.append(figures.curves(lines, _in_words(metric)))
    return result


def _over_seeds(runs: Sequence[Run], names: Sequence[str]) -> list[dict[str, Any]]:
    """Mean and deviation of each test metric where two runs or more differ in their seed alone."""
    groups: dict[str, list[tuple[str, Run]]] = {}
    for run, name in zip(runs, names, strict=True):
        record = run.record
        key = repr((record["recipe"], record["data"]["source"], record["data"]["target"], record["settings"]))
        groups.setdefault(key, []).append((name, run))
    result = []
    for members in groups.values():
        results = [found["metrics"] for _, run in members if (found := run.result())]
        seeds = {run.record["seed"] for _, run in members}
        if len(results) < 2 or len(seeds) < len(members):
            continue
        for metric in results[0]:
            values = [each[metric] for each in results]
            result.append(
                {
                    "name": ", ".join(name for name, _ in members),
                    "metric": metric,
                    "n": len(values),
                    "mean": statistics.fmean(values),
                    "deviation": statistics.stdev(values),
                }
            )
    return result


def command_of(record: Mapping[str, Any]) -> str:
    """The command that makes this run again: the one given, or that which Python's call amounts to."""
    if record.get("command") and " train " in record["command"]:
        return str(record["command"])
    words = ["chainrule", "train", record["recipe"]]
    words += [f"{key}={_word(value)}" for key, value in _changed(record)]
    words += ["--data", record["data"]["source"]]
    if record["data"].get("target"):
        words += ["--target", record["data"]["target"]]
    return shlex.join([*words, "--seed", str(record["seed"])])


def _changed(record: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The settings that are not at their defaults; all of them where the recipe is no longer there."""
    from chainrule.core.discovery import get_recipe
    from chainrule.core.settings import parameters
    from chainrule.run.settings import run_settings

    try:
        known = parameters(get_recipe(record["recipe"]).build, run_settings)
    except UserError:
        known = {}
    for key, value in {**record["settings"], **record["common"]}.items():
        default = known[key].default if key in known else None
        if (list(default) if isinstance(default, tuple) else default) != (
            list(value) if isinstance(value, tuple) else value
        ):
            yield key, value


def _word(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ",".join(_word(v) for v in value)
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _seconds(run: Run) -> float:
    """The time spent in the loop; of a run that has not ended, as its last line says."""
    return run.record.get("seconds") or max((line.get("seconds", 0.0) for line in run.log_lines()), default=0.0)


def _metrics(run: Run) -> tuple[dict[str, float], str]:
    """The test's metrics of a run that is done; else the validation's latest."""
    result = run.result()
    if result:
        held_out = "test" in (run.record["data"].get("spec") or {}).get("splits", {}) and not _is_experiment(run)
        return result["metrics"], "test" if held_out else ""
    latest = {name: value for line in run.log_lines() for name, value in line.items() if name.startswith("val_")}
    return {name.removeprefix("val_"): value for name, value in latest.items()}, "latest validation"


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
        return f"Stopped before its end; it goes on with: chainrule resume {run.folder}"
    if status == "running":
        return f"It is running, or it was killed; then it goes on with: chainrule resume {run.folder}"
    return None


def _target(run: Run) -> dict[str, Any] | None:
    try:
        target = run.recipe.target
    except UserError:
        return None
    if target is None:
        return None
    result = run.result()
    ours = result["metrics"].get(target.metric) if result else None
    other = run.record["data"]["source"] != target.data
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
    try:
        return run.recipe.summary
    except UserError:
        return ""


def _chosen(result: Mapping[str, Any] | None) -> dict[str, str]:
    best = (result or {}).get("chosen")
    return {"weights chosen": f"epoch {best['epoch'] + 1}, {best['metric']} {number(best['value'])}"} if best else {}


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
