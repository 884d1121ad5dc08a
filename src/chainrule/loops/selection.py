"""Model selection: fit each of several candidates, and keep the one that is best on the validation split."""

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
    """Fits candidate after candidate; a candidate is a step of the run.

    Args:
        run: checkpoints, metrics, signals.
        modules: what is fitted, by name.
        candidates: settings to try, at least one.
        fit: fits `modules` with the settings of a candidate; returns what to log of it.
        validate: metrics on the validation split, after each.
        choose_by: the validation metric that chooses the candidate to keep, and whether lower is better; None where
            there is nothing to choose by: the last is kept.
    """
    run.keep(**modules)
    for _ in run.epochs(1):
        for number in run.steps(len(candidates)):
            # 1. Fit it. 2. Measure it on the validation split. 3. Keep it if it is the best so far.
            found = fit(candidates[number])
            metrics = {f"val_{name}": value for name, value in validate().items()}
            run.log(candidate=number, **candidates[number], **found, **metrics)
            if choose_by is not None:
                metric, lower = choose_by
                run.keep_best(modules, f"val_{metric}", metrics[f"val_{metric}"], lower_is_better=lower)
