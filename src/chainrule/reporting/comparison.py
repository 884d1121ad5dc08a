"""Several runs side by side: what differs, means over seeds, curves laid over each other."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from chainrule.core.data.request import DataRequest
from chainrule.core.errors import UserError
from chainrule.core.language.translation import translate
from chainrule.core.task import Figure
from chainrule.reporting.learning_curves import metric_in_words, series_of, stages_of
from chainrule.reporting.page import duration
from chainrule.reporting.plots import curves
from chainrule.run.run import Run


def compare(runs: Sequence[Run], names: Sequence[str]) -> dict[str, Any]:
    """The table of what differs, means over seeds, and curves laid over each other."""
    settings = [{**run.record["settings"], **run.record["common"]} for run in runs]
    keys = list(dict.fromkeys(key for each in settings for key in each))
    differ = [key for key in keys if len({repr(each.get(key)) for each in settings}) > 1]
    measured = [metrics_of(run) for run in runs]
    found = [name for values, _ in measured for name in values]
    heads = [name for run in runs for name in _headline(run)]
    metrics = [name for name in dict.fromkeys([*heads, *found]) if name in found]
    columns = {
        "recipe": lambda r: r.record["recipe"],
        "data": lambda r: str(r.data),
        "device": lambda r: r.record["device"],
    }
    shown = {name: get for name, get in columns.items() if name == "recipe" or len({get(r) for r in runs}) > 1}
    rows = []
    for run, name, each, (values, kind) in zip(runs, names, settings, measured, strict=True):
        cells = [name, *(values.get(m, "-") for m in metrics), translate(kind), translate(run.record["status"])]
        cells += [*(get(run) for get in shown.values()), run.record["seed"], duration(seconds_of(run))]
        rows.append([*cells, *(each.get(key, "-") for key in differ)])
    # Metrics stand first, settings last, of which different recipes have many: the table scrolls to the right.
    words = ["run", *(m.replace("_", " ") for m in metrics), "measured on", "status", *shown, "seed", "time"]
    head = [*map(translate, words), *differ]
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


def _headline(run: Run) -> list[str]:
    """The metrics by which the run's recipe is judged."""
    try:
        headline = run.recipe.headline
        return list(headline.of(metrics_of(run)[0])) if headline else []
    except UserError:  # the recipe is no more
        return []


def _overlaid(runs: Sequence[Run], names: Sequence[str]) -> list[Figure]:
    """A plot a metric, a line a run; the validation's where there is one."""
    all_series = [
        {
            f"{stage}: {name}" if stage else name: line
            for stage in stages_of(run)
            for name, line in series_of(run, stage).items()
        }
        for run in runs
    ]
    metrics = list(dict.fromkeys(name for each in all_series for name in each))
    metrics.sort(key=lambda m: ((name := m.rpartition(": ")[2]) == "lr", not name.startswith("val_")))
    result = []
    for metric in metrics:
        lines = {name: each[metric] for name, each in zip(names, all_series, strict=True) if metric in each}
        result.append(curves(lines, metric_in_words(metric)))
    return result


def _over_seeds(runs: Sequence[Run], names: Sequence[str]) -> list[dict[str, Any]]:
    """Mean and deviation of each test metric where two runs or more differ in their seed alone."""
    groups: dict[str, list[tuple[str, Run]]] = {}
    for run, name in zip(runs, names, strict=True):
        record = run.record
        key = repr(
            (
                record["recipe"],
                str(DataRequest.from_record(record["data"])),
                record["data"]["target"],
                record["settings"],
            )
        )
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


def seconds_of(run: Run) -> float:
    """The time spent in the loop; of a run that has not ended, as its last line says."""
    return run.record.get("seconds") or max((line.get("seconds", 0.0) for line in run.log_lines()), default=0.0)


def metrics_of(run: Run) -> tuple[dict[str, float], str]:
    """The test's metrics of a run that is done; else the validation's latest."""
    result = run.result()
    if result:
        held_out = "test" in (run.record["data"].get("spec") or {}).get("splits", {}) and not run.recipe.is_study
        return result["metrics"], "test" if held_out else ""
    latest = {name: value for line in run.log_lines() for name, value in line.items() if name.startswith("val_")}
    return {name.removeprefix("val_"): value for name, value in latest.items()}, "latest validation"
