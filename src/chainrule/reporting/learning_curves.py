"""Learning curves: what metrics.jsonl holds, metrics that belong together in one plot."""

from __future__ import annotations

import re

from chainrule.core.task import Figure
from chainrule.reporting.plots import curves
from chainrule.run.run import Run

Series = dict[str, tuple[list[float], list[float]]]  # of each metric: steps, values

# Metrics that are fractions share a plot; so do losses; any other has its own.
FRACTIONS = {
    "accuracy",
    "balanced_accuracy",
    "error",
    "f1",
    "precision",
    "recall",
    "miou",
    "map50",
    "map",
    "top5_error",
    "top5_accuracy",
}


PLACES = ("stage", "step", "epoch", "seconds", "candidate")  # where a line of metrics.jsonl stands, not what it says


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


def metric_in_words(metric: str) -> str:
    return metric.replace("val_", "validation ").replace("_", " ")


def stages_of(run: Run) -> list[str]:
    """The stages that wrote a line, in their order; one of an empty name in a run that has none."""
    return list(dict.fromkeys(line.get("stage", "") for line in run.log_lines()))


def series_of(run: Run, stage: str = "") -> Series:
    """Every metric of metrics.jsonl as (steps, values), in a run with stages that of one stage.

    Entries that are not numeric are left out, and lines on a candidate: these do not follow from each other. A line is a
    mean over the steps since the last one, `log_every` of them, and at the end of an epoch often a few: their mean lies far
    from the others by chance. So a line of less than half as many joins the one before it, each weighted by its steps.
    """
    found: Series = {}
    for line in run.log_lines():
        if "candidate" in line or line.get("stage", "") != stage:
            continue
        for name, value in line.items():
            if name in PLACES or isinstance(value, bool) or not isinstance(value, (int, float)):
                continue
            steps, values = found.setdefault(name, ([], []))
            steps.append(line["step"])
            values.append(value)
    every = run.record["common"].get("log_every", 0)
    return {name: line if name.startswith("val_") else weighted(*line, every) for name, line in found.items()}


def weighted(steps: list[float], values: list[float], every: int) -> tuple[list[float], list[float]]:
    """A curve of means over windows that end at `steps`, whose short windows have joined those before them.

    Where no window has the usual length `every`, the values are no such means, and stay.

    >>> weighted([50, 100, 104], [2.0, 1.0, 9.0], 50)
    ([50, 104], [2.0, 1.5925925925925926])
    """
    lengths = [step - before for step, before in zip(steps, [0, *steps], strict=False)]
    if max(lengths, default=0) != every:
        return steps, values
    joined: list[tuple[float, float, float]] = []
    for step, value, length in zip(steps, values, lengths, strict=True):
        if 0 < length < every / 2 and joined:
            _, mean, count = joined.pop()
            value, length = (mean * count + value * length) / (count + length), count + length
        joined.append((step, value, length))
    return [step for step, _, _ in joined], [value for _, value, _ in joined]


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


def curves_by_stage(run: Run) -> dict[str, list[Figure]]:
    """The curves of each stage that has some; under an empty name in a run that has no stages."""
    found = {stage: curve_figures(series_of(run, stage), stage) for stage in stages_of(run)}
    return {stage: figures for stage, figures in found.items() if figures}


def curve_figures(series: Series, stage: str = "") -> list[Figure]:
    """The curves, kin in one plot: what is learnt first, the learning rate last."""
    groups: dict[str, Series] = {}
    for name, line in series.items():
        groups.setdefault(group_of(name), {})[name] = line
    if len({rate for _, rates in groups.get("Learning rate", {}).values() for rate in rates}) == 1:
        del groups["Learning rate"]  # it stands among the settings
    first = ["Loss", "Accuracy and error"]
    order = sorted(groups, key=lambda g: (g == "Learning rate", first.index(g) if g in first else len(first)))
    return [curves(groups[title], title, salt=stage) for title in order]
