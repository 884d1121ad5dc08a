"""Rows of a table without a target: groups, axes, densities, codes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from chainrule.core.errors import UserError
from chainrule.core.task import Deployable, Figure
from chainrule.data.dataset import Dataset
from chainrule.data.inputs import answer_to
from chainrule.data.layout import Place
from chainrule.data.tables.loading import TableSplit
from chainrule.data.tables.new_rows import asked_rows, read_other, read_rows
from chainrule.data.tables.spec import TableSpec
from chainrule.nn.fitted import Fitted
from chainrule.run.run import Run
from chainrule.tasks.tables import figures as row_figures
from chainrule.tasks.tables.evaluation import deployable_row_model, selection_protocol
from chainrule.tasks.tables.training import Learn


class Explores(Protocol):
    """What the estimator offers beside `fit` and `decide`."""

    def measure(self, x: Tensor, y: Tensor | None) -> dict[str, float]:
        """How well it describes rows x (N, D); y (N,) are classes where there are any, which fitting never saw."""
        ...

    def answers(self, x: Tensor) -> list[dict[str, Any]]:
        """What it says of each row."""
        ...


class TableExplorer:
    """An estimator over rows without a target, fitted to the training split.

    Args:
        run: the run it belongs to.
        data: what `load_table` gave for density.
        model: the estimator as a module; it offers what `Explores` names.
        learn: `grid_search`.
        output: what the numbers are that it gives for a row, for the exported file.
        how: what the protocol says of the learning beyond who chose.
    """

    def __init__(
        self, run: Run, *, data: Dataset[TableSpec, TableSplit], model: Fitted, learn: Learn, output: str, how: str = ""
    ) -> None:
        self.run, self.data, self.model, self.learn, self.output, self.how = run, data, model, learn, output, how
        self.dtype: torch.dtype = getattr(torch, data.spec.dtype)

    def modules(self) -> dict[str, nn.Module]:
        return {"model": self.model}

    def train(self, run: Run) -> None:
        self.learn(run, self)

    def evaluate(self, data: Place | None = None) -> dict[str, float]:
        if data is not None:
            x = read_other(data, self.run.data.target, self.data.spec)
            self.measured = TableSplit(x.to(self.dtype), None)
        else:
            self.measured = self.data.test
        return self.measure(self.measured)

    def protocol(self) -> str:
        scale = "standardised columns" if self.data.spec.standardized else "columns in their own units"
        return f"{selection_protocol(self.run, self.data.spec, self.how)}; of {scale}"

    def example(self) -> dict[str, tuple[Tensor, ...]]:
        width = len(self.data.spec.mean)
        return {"model": (torch.zeros(1, width, dtype=self.dtype, device=self.run.device),)}

    @torch.inference_mode()
    def measure(self, split: TableSplit) -> dict[str, float]:
        if not len(split):
            raise UserError("there are no rows to measure", where=self.data.spec.where, cure="val_fraction=0.1")
        return self._estimator.measure(split.x.to(self.dtype), split.y)

    def predict(self, inputs: Iterable[str], out: Path | None) -> Iterator[dict[str, Any]]:
        """What the estimator says of each row: its group, its place on the axes, its density, its code."""
        for part, x in asked_rows(inputs, self.data.spec, self.run.data.options):
            with torch.inference_mode():
                found = self._estimator.answers(x.to(self.dtype))
            yield from map(answer_to, part, found)

    def prepare(self, inputs: list[str]) -> dict[str, tuple[Tensor, ...]]:
        return {"model": (read_rows(inputs, self.data.spec, self.run.data.options)[1].to(self.run.device, self.dtype),)}

    def deployable(self) -> Deployable:
        return deployable_row_model(self.model, self.run, self.data.spec, self.dtype, self.output, {})

    def figures(self) -> list[Figure]:
        found = row_figures.model_figures(self.model, self.data.spec, None)
        answers = self._estimator.answers(self.data.test.x.to(self.dtype))
        return [*found, *row_figures.cluster_figures(self.data.test, answers, self.data.spec)]

    @property
    def _estimator(self) -> Any:
        return self.model.estimator
