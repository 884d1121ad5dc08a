"""Rows of a table into classes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from chainrule.core.settings import Count
from chainrule.core.task import Deployable, Figure
from chainrule.data.dataset import Dataset
from chainrule.data.inputs import answer_to
from chainrule.data.layout import Place
from chainrule.data.tables.loading import TableSplit
from chainrule.data.tables.new_rows import asked_rows, read_labelled, read_rows
from chainrule.data.tables.spec import TableSpec
from chainrule.reporting import plots as figures
from chainrule.run.run import Run
from chainrule.tasks.own.building import learnt_modules
from chainrule.tasks.own.metrics import OwnMetrics
from chainrule.tasks.ranking import best_classes
from chainrule.tasks.tables import figures as row_figures
from chainrule.tasks.tables.class_metrics import KNOWN as KNOWN
from chainrule.tasks.tables.class_metrics import beside_majority, class_metrics, commonest_class
from chainrule.tasks.tables.evaluation import deployable_row_model, evaluate_rows, selection_protocol
from chainrule.tasks.tables.training import Learn


class TableClassifier:
    """A model that gives scores (B, K) for rows (B, D); the largest is the answer.

    Args:
        run: the run it belongs to.
        data: what `load_table` gave for classification.
        model: the module: logits or log-probabilities where `probabilistic`, else scores that only rank.
        learn: how it learns: `grid_search`, `fit_by_sgd`.
        probabilistic: whether a softmax of the scores is a probability, so that the loss means something.
        how: what the protocol says of the learning beyond who chose.
        criterion: what the metric `loss` is the mean of, by default cross entropy; its own numbers are saved with the model.
        metrics: of the user's own, beside those that it has.
    """

    def __init__(
        self,
        run: Run,
        *,
        data: Dataset[TableSpec, TableSplit],
        model: nn.Module,
        learn: Learn,
        probabilistic: bool = True,
        how: str = "",
        criterion: Callable[[Tensor, Tensor], Tensor] | None = None,
        metrics: OwnMetrics | None = None,
    ) -> None:
        self.run, self.data, self.model, self.learn = run, data, model, learn
        self.criterion, self.metrics = criterion, metrics
        self.probabilistic, self.how = probabilistic, how
        self.classes: list[str] = data.spec.class_names
        self.dtype: torch.dtype = getattr(torch, data.spec.dtype)

    def modules(self) -> dict[str, nn.Module]:
        return learnt_modules(self.model, self.criterion)

    def pretrained_modules(self) -> dict[str, nn.Module]:
        return {"model": self.model}

    def train(self, run: Run) -> None:
        self.learn(run, self)

    def evaluate(self, data: Place | None = None) -> dict[str, float]:
        if data is not None:
            other = self.measured = read_labelled(data, self.run.data.target, self.data.spec, self.dtype)
            assert other.y is not None
            known = self.data.spec.commonest  # of runs of old: not known without their data
            return beside_majority(self.measure(other), other.y, None if known is None else self.classes.index(known))
        self.measured = self.data.test
        self._test_scores = self.scores(self.data.test.x)  # kept for the figures
        train, y = self.data.train.y, self.data.test.y
        assert train is not None and y is not None
        return beside_majority(self._metrics(self._test_scores, y), y, commonest_class(train))

    def protocol(self) -> str:
        return selection_protocol(self.run, self.data.spec, self.how)

    def example(self) -> dict[str, tuple[Tensor, ...]]:
        width = len(self.data.spec.mean)
        return {"model": (torch.zeros(1, width, dtype=self.dtype, device=self.run.device),)}

    def measure(self, split: TableSplit) -> dict[str, float]:
        """As `class_metrics` has them, and the user's own."""
        return self._metrics(self.scores(split.x), split.y)

    @torch.no_grad()
    def _metrics(self, scores: Tensor, y: Tensor | None) -> dict[str, float]:
        assert y is not None
        found = class_metrics(scores, y, self.probabilistic)
        if self.criterion is not None:
            device = self.run.device
            found["loss"] = float(self.criterion(scores.to(device), y.to(device)).double().mean())
        return found | (self.metrics(scores, y) if self.metrics is not None else {})

    @torch.inference_mode()
    def scores(self, x: Tensor) -> Tensor:
        """Scores (N, K) in eval mode, on the CPU, for any number of rows (N, D) on the scale of the data."""
        self.model.eval()
        return evaluate_rows(self.run, self.model, x, self.dtype)

    def predict(self, inputs: Iterable[str], out: Path | None, *, top: Count = 3) -> Iterator[dict[str, Any]]:
        """The class of each row, and the `top` likeliest classes with their probabilities or scores."""
        for part, x in asked_rows(inputs, self.data.spec, self.run.data.options):
            scores = self.scores(x)
            values, word = (scores.softmax(1), "probability") if self.probabilistic else (scores, "score")
            yield from map(answer_to, part, best_classes(values, self.classes, top, word))

    def prepare(self, inputs: list[str]) -> dict[str, tuple[Tensor, ...]]:
        return {"model": (read_rows(inputs, self.data.spec, self.run.data.options)[1].to(self.run.device, self.dtype),)}

    def deployable(self) -> Deployable:
        last = nn.Softmax(1) if self.probabilistic else nn.Identity()
        word = "probs" if self.probabilistic else "scores"
        notes = {"classes": self.classes}
        return deployable_row_model(nn.Sequential(self.model, last), self.run, self.data.spec, self.dtype, word, notes)

    def figures(self) -> list[Figure]:
        spec, y = self.data.spec, self.data.test.y
        assert y is not None
        found = [figures.confusion_matrix(y, self._test_scores.argmax(1), self.classes)]
        found += row_figures.model_figures(self.model, spec, self.classes)
        if self.data.test.x.shape[1] == 2:
            found.append(row_figures.decision_surface(self.scores, self.data.train, self.classes, spec))
        return found

    @cached_property
    def _test_scores(self) -> Tensor:
        return self.scores(self.data.test.x)
