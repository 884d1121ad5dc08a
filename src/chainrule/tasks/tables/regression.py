"""Rows of a table into a number."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from chainrule.core.task import Deployable, Figure
from chainrule.data.dataset import Dataset
from chainrule.data.inputs import answer_to
from chainrule.data.layout import Place
from chainrule.data.tables.loading import TableSplit
from chainrule.data.tables.new_rows import asked_rows, read_labelled, read_rows
from chainrule.data.tables.spec import TableSpec
from chainrule.run.run import Run
from chainrule.tasks.own.building import learnt_modules
from chainrule.tasks.own.metrics import OwnMetrics
from chainrule.tasks.tables import figures as row_figures
from chainrule.tasks.tables.evaluation import deployable_row_model, evaluate_rows, selection_protocol
from chainrule.tasks.tables.training import Learn

KNOWN = {"mse": True, "rmse": True, "mae": True, "r2": False}  # its metrics, and whether lower is better


class TableRegressor:
    """A model that gives a number (B,) for rows (B, D), in the units of the target.

    Args:
        run: the run it belongs to.
        data: what `load_table` gave for regression.
        model: the module.
        learn: how it learns: `grid_search`, `fit_by_sgd`.
        how: what the protocol says of the learning beyond who chose.
        criterion: of the user's own; its mean is the metric `loss`, and its own numbers are saved with the model.
        metrics: of the user's own, beside those that it has.
    """

    def __init__(
        self,
        run: Run,
        *,
        data: Dataset[TableSpec, TableSplit],
        model: nn.Module,
        learn: Learn,
        how: str = "",
        criterion: Callable[[Tensor, Tensor], Tensor] | None = None,
        metrics: OwnMetrics | None = None,
    ) -> None:
        self.run, self.data, self.model, self.learn, self.how = run, data, model, learn, how
        self.criterion, self.metrics = criterion, metrics
        self.dtype: torch.dtype = getattr(torch, data.spec.dtype)

    def modules(self) -> dict[str, nn.Module]:
        return learnt_modules(self.model, self.criterion)

    def pretrained_modules(self) -> dict[str, nn.Module]:
        return {"model": self.model}

    def train(self, run: Run) -> None:
        self.learn(run, self)

    def evaluate(self, data: Place | None = None) -> dict[str, float]:
        if data is not None:
            self.measured = read_labelled(data, self.run.data.target, self.data.spec, self.dtype)
            return self.measure(self.measured)
        self.measured = self.data.test
        self._test_answers = self.answers(self.data.test.x)  # kept for the figures
        return self._metrics(self._test_answers, self.data.test.y)

    def protocol(self) -> str:
        return selection_protocol(self.run, self.data.spec, self.how)

    def example(self) -> dict[str, tuple[Tensor, ...]]:
        width = len(self.data.spec.mean)
        return {"model": (torch.zeros(1, width, dtype=self.dtype, device=self.run.device),)}

    def measure(self, split: TableSplit) -> dict[str, float]:
        """Mean squared and absolute error, their root, and the share of the variance explained."""
        return self._metrics(self.answers(split.x), split.y)

    @torch.no_grad()
    def _metrics(self, answers: Tensor, y: Tensor | None) -> dict[str, float]:
        assert y is not None
        found = _errors(answers.double(), y.double())
        if self.criterion is not None:
            device = self.run.device
            found["loss"] = float(self.criterion(answers.to(device), y.to(device)).double().mean())
        return found | (self.metrics(answers, y) if self.metrics is not None else {})

    @torch.inference_mode()
    def answers(self, x: Tensor) -> Tensor:
        """Numbers (N,) in eval mode, on the CPU, for any number of rows (N, D) on the scale of the data."""
        self.model.eval()
        return evaluate_rows(self.run, self.model, x, self.dtype)

    def predict(self, inputs: Iterable[str], out: Path | None) -> Iterator[dict[str, Any]]:
        """The number for each row, called as the target is."""
        target = self.data.spec.target
        word = target if target and target not in ("input", "label") else "value"
        for part, x in asked_rows(inputs, self.data.spec, self.run.data.options):
            yield from (answer_to(a, {word: round(v, 6)}) for a, v in zip(part, self.answers(x).tolist(), strict=True))

    def prepare(self, inputs: list[str]) -> dict[str, tuple[Tensor, ...]]:
        return {"model": (read_rows(inputs, self.data.spec, self.run.data.options)[1].to(self.run.device, self.dtype),)}

    def deployable(self) -> Deployable:
        return deployable_row_model(
            self.model, self.run, self.data.spec, self.dtype, "value", {"target": self.data.spec.target}
        )

    def figures(self) -> list[Figure]:
        y = self.data.test.y
        assert y is not None
        found = [row_figures.answers_against_targets(self._test_answers, y, str(self.data.spec.target))]
        found += row_figures.model_figures(self.model, self.data.spec, None)
        if self.data.test.x.shape[1] == 1:
            found.append(row_figures.fitted_curve(self.answers, self.data.train, self.data.spec))
        return found

    @cached_property
    def _test_answers(self) -> Tensor:
        return self.answers(self.data.test.x)


def _errors(answers: Tensor, y: Tensor) -> dict[str, float]:
    residual = answers - y
    mse = float(residual.square().mean())
    variance = float((y - y.mean()).square().mean())
    explained = {"r2": 1.0 - mse / variance} if variance > 0 else {}
    return {"mse": mse, "rmse": mse**0.5, "mae": float(residual.abs().mean()), **explained}
