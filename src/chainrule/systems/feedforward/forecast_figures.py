"""Figures of forecasts: against the truth, their errors in a table, their errors as they reach further."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from chainrule.core.task import Figure
from chainrule.reporting.plots import COLOURS, curves, drawing, new_figure, tidy_axes, to_svg

SHOWN = 400  # values of the test split


def forecasts(values: Tensor, start: int, answers: Tensor, ahead: Tensor, name: str) -> Figure:
    """The end of a series with its forecasts.

    Args:
        values: the series (T,).
        start: the first time of the test split.
        answers: the forecast of each of its values from all that came before.
        ahead: the forecast of all of them from what was known at its beginning.
        name: of what is forecast.
    """
    count = min(len(answers), SHOWN)
    first = max(0, start - count // 2)
    with drawing("forecast"):
        canvas = new_figure(7.2, 3.4)
        axes = canvas.add_subplot()
        axes.axvline(start, color="#d1d5db", linewidth=1)
        axes.plot(
            range(first, start + count), values[first : start + count], color="#9ca3af", linewidth=2.4, label="truth"
        )
        times = range(start, start + count)
        axes.plot(times, answers[:count], color=COLOURS[0], linewidth=1.3, label="the next value")
        axes.plot(times, ahead[:count], color=COLOURS[1], linewidth=1.3, linestyle="--", label="from the line on alone")
        low, high = float(values[first : start + count].min()), float(values[first : start + count].max())
        axes.set_ylim(low - 0.3 * (high - low), high + 0.3 * (high - low))  # a forecast that runs away leaves the image
        axes.set_xlabel("time", color="#4b5563")
        axes.set_ylabel(name, color="#4b5563")
        tidy_axes(axes)
        axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=3, borderaxespad=0.2)
        svg = to_svg(canvas, "forecast")
    more = f" The first {count} of {len(answers)} values." if count < len(answers) else ""
    return Figure(
        "Forecast against truth",
        f"The test split begins at the line. Blue knows everything before each time, orange nothing after the line.{more}",
        svg=svg,
    )


def table_of_errors(scores: Mapping[str, float], baselines: Sequence[str], horizon: int) -> Figure:
    """The metrics of a forecaster as a table, a row a forecast."""
    names = {
        "": "this model",
        "naive_": "naive: the last value",
        "seasonal_": "seasonal naive: a period ago",
        "drift_": "drift: the mean slope",
    }
    spans = {"": "the next value", "horizon_": f"over {horizon}"}
    table = [["forecast", *(f"{metric}, {span}" for span in spans.values() for metric in ("rmse", "mae", "mase"))]]
    if horizon == 1:
        spans.pop("horizon_")
        table = [row[:4] for row in table]
    for prefix in ("", *(f"{name}_" for name in baselines)):
        if f"{prefix}rmse" in scores:
            cells = [scores[f"{span}{prefix}{metric}"] for span in spans for metric in ("rmse", "mae", "mase")]
            table.append([names[prefix], *(f"{cell:.4g}" for cell in cells)])
    return Figure(
        "Errors against forecasts that learn nothing",
        "On the test split, in the units of the series; mase in mean steps of the training part.",
        table=table,
    )


def error_by_step(residuals: Mapping[str, Tensor]) -> Figure:
    """Root mean squared error of each step ahead; residuals (N, H) by the forecast's name."""
    lines = {}
    for name, residual in residuals.items():
        rmse = residual.square().mean(0).sqrt().tolist()
        lines[name] = (list(range(1, len(rmse) + 1)), rmse)
    figure = curves(lines, "Error by steps ahead", "steps ahead")
    return Figure(figure.title, "Root mean squared error in units, over all origins of the test split.", svg=figure.svg)
