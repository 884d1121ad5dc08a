"""Fit each of several candidates, and keep the one that the validation split prefers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn

from chainrule.run.run import Run


def select(
    run: Run,
    *,
    modules: Mapping[str, nn.Module],
    candidates: Sequence[Mapping[str, Any]],
    fit: Callable[[Mapping[str, Any]], Mapping[str, Any]],
    validate: Callable[[], dict[str, float]],
    choose_by: tuple[str, bool] | None,
) -> None:
    """Fits candidate after candidate; a step of the run each.

    Args:
        run: minds everything around the loop.
        modules: what is fitted, by name.
        candidates: settings to try, at least one.
        fit: fits `modules` with the settings of a candidate; gives what is worth logging of it.
        validate: metrics on the validation split, after each.
        choose_by: the validation metric that chooses the candidate to keep, and whether lower is better; None where
            there is nothing to choose by: the last is kept.
    """
    run.keep(**modules)
    for _ in run.epochs(1):
        for number in run.steps(len(candidates)):
            found = fit(candidates[number])
            metrics = {f"val_{name}": value for name, value in validate().items()}
            run.log(candidate=number, **candidates[number], **found, **metrics)
            if choose_by is not None:
                metric, lower = choose_by
                run.keep_best(modules, f"val_{metric}", metrics[f"val_{metric}"], lower_is_better=lower)
