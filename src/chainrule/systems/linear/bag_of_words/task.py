"""Texts into classes, each text a bag of its words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import scipy.sparse
import torch
from torch import Tensor, nn

from chainrule.core.answers import Ranking
from chainrule.core.settings import Count, Size
from chainrule.core.task import COMPARED, Deployable, Figure
from chainrule.data.dataset import Dataset
from chainrule.data.inputs import answer_to, chunks
from chainrule.data.layout import Place
from chainrule.data.text.sentences import (
    SentenceSpec,
    SentenceSplit,
    asked_sentences,
    read_inputs,
    read_labelled_sentences,
)
from chainrule.functional.sparse_rows import csr_tensor
from chainrule.loops.selection import select
from chainrule.nn.fitted import Fitted
from chainrule.reporting import plots as figures
from chainrule.run.run import Run
from chainrule.systems.linear.bag_of_words.figures import speaking_words, wrong_texts
from chainrule.systems.linear.bag_of_words.vectorizer import BagOfWords
from chainrule.tasks.ranking import best_classes
from chainrule.tasks.tables.class_metrics import beside_majority, class_metrics, commonest_class
from chainrule.tasks.tables.evaluation import EVALUATION_BATCH, selection_protocol

SHOWN_WORDS = 15  # of a class, in the report
SHOWN_TEXTS = 12  # that were answered wrongly with most certainty


class BagClassifier(nn.Module):
    """Counts of words (B, V) to scores (B, K): what the words weigh, then a fitted estimator over the weights."""

    def __init__(self, bag: BagOfWords, fitted: Fitted) -> None:
        super().__init__()
        self.bag, self.fitted = bag, fitted

    def forward(self, counts: Tensor) -> Tensor:
        scores: Tensor = self.fitted(self.bag(counts))
        return scores

    @property
    def num_parameters(self) -> int:
        """How many numbers were fitted, beside those of the bag."""
        return self.fitted.num_parameters

    def speaks(self) -> Tensor:
        """How much a unit of each word speaks for each class (K, V), against the mean of all classes.

        Read from the weights of a linear model, or the log-probabilities of naive Bayes.
        """
        held = dict(self.fitted.named_buffers())
        weights = (held["coef_"] if "coef_" in held else held["feature_log_prob_"]).cpu().double()
        rows = torch.cat([-weights, weights]) if len(weights) == 1 else weights
        return rows - rows.mean(0)


class TextClassifier:
    """A bag of words and an estimator over its sparse rows; the class with the largest score is the answer.

    Args:
        run: the run it belongs to.
        data: what `load_sentences` gave.
        bag: what is counted; it is fitted to the training split.
        model: the estimator; it must take SciPy's sparse rows.
        candidates: settings of the estimator among which the validation split chooses.
        choose_by: the metric that chooses, and whether lower is better.
        probabilistic: whether a softmax of the scores is a probability, so that the loss means something.
    """

    def __init__(
        self,
        run: Run,
        *,
        data: Dataset[SentenceSpec, SentenceSplit],
        bag: BagOfWords,
        model: Fitted,
        candidates: Sequence[Mapping[str, Any]],
        choose_by: tuple[str, bool] = ("error", True),
        probabilistic: bool = True,
    ) -> None:
        self.run, self.data, self.candidates, self.choose_by = run, data, candidates, choose_by
        self.model = BagClassifier(bag, model).to(run.device)
        self.probabilistic = probabilistic
        self.classes: list[str] = data.spec.classes

    def modules(self) -> dict[str, nn.Module]:
        return {"model": self.model}

    def train(self, run: Run) -> None:
        run.require_one_process()
        train, val, bag = self.data.train, self.data.val, self.model.bag
        bag.fit(train.texts, train.y)
        rows = bag.weigh(bag.counts(train.texts))
        held_out = bag.weigh(bag.counts(val.texts)) if len(val) else None

        def fit_one(settings: Mapping[str, Any]) -> dict[str, Any]:
            self.model.fitted.fit(rows, train.y, **settings)
            iterations = getattr(self.model.fitted.estimator, "n_iter_", None)
            return {} if iterations is None else {"iterations": int(torch.as_tensor(iterations).max())}

        select(
            run,
            modules=self.modules(),
            candidates=self.candidates,
            fit=fit_one,
            validate=lambda: {} if held_out is None else self._metrics(self._scores_of(held_out), val.y),
            choose_by=self.choose_by if len(val) else None,
        )

    def evaluate(self, data: Place | None = None) -> dict[str, float]:
        if data is not None:
            other = self.measured = read_labelled_sentences(data, self.run.data.target, self.classes)
            known = self.data.spec.commonest
            return beside_majority(self.measure(other), other.y, None if known is None else self.classes.index(known))
        self.measured = self.data.test
        self._test_scores = self.scores(self.data.test.texts)  # kept for the figures
        y = self.data.test.y
        return beside_majority(self._metrics(self._test_scores, y), y, commonest_class(self.data.train.y))

    def protocol(self) -> str:
        bag = self.model.bag
        return selection_protocol(
            self.run, self.data.spec, f"vocabulary: {len(bag.vocabulary):,} {bag.unit}s of the training split"
        )

    def example(self) -> dict[str, tuple[Tensor, ...]]:
        width = len(self.model.bag.vocabulary)
        return {"model": (torch.zeros(1, width, dtype=torch.float64, device=self.run.device),)}

    def measure(self, split: SentenceSplit) -> dict[str, float]:
        """As `class_metrics` has them."""
        return self._metrics(self.scores(split.texts), split.y)

    def _metrics(self, scores: Tensor, y: Tensor) -> dict[str, float]:
        return class_metrics(scores, y, self.probabilistic)

    def scores(self, texts: Sequence[str]) -> Tensor:
        """Scores (N, K) on the CPU, for any number of texts."""
        return self._scores_of(self.model.bag.weigh(self.model.bag.counts(texts)))

    @torch.inference_mode()
    def _scores_of(self, rows: scipy.sparse.csr_matrix) -> Tensor:
        parts = [rows[i : i + EVALUATION_BATCH] for i in range(0, rows.shape[0], EVALUATION_BATCH)]
        return torch.cat([self.model.fitted(csr_tensor(part, self.run.device)).cpu() for part in parts])

    def predict(
        self, inputs: Iterable[str], out: Path | None, *, top: Count = 3, words: Size = 5
    ) -> Iterator[dict[str, Any]]:
        """The class of each text and the `top` likeliest classes; the `words` that spoke most for it, and how much."""
        bag = self.model.bag
        for part in chunks(asked_sentences(inputs, self.run.data.options), EVALUATION_BATCH):
            rows = bag.weigh(bag.counts([asked.value for asked in part]))
            scores = self._scores_of(rows)
            values, word = (scores.softmax(1), "probability") if self.probabilistic else (scores, "score")
            answers = best_classes(values, self.classes, top, word)
            for i, (asked, answer) in enumerate(zip(part, answers, strict=True)):
                spoke = self._spoke(rows[i], self.classes.index(answer["class"]), words)
                yield answer_to(asked, {**answer, "spoke": spoke, "known": rows[i].nnz})

    def _spoke(self, row: scipy.sparse.csr_matrix, of: int, count: int) -> Ranking:
        """The words of a text that spoke most for a class, and how much."""
        words = torch.from_numpy(row.indices).long()
        said = self._speaks[of, words] * torch.from_numpy(row.data)
        order = said.argsort(descending=True, stable=True)[:count]
        vocabulary = self.model.bag.vocabulary
        pairs = [(vocabulary[int(words[i])], round(float(said[i]), 4)) for i in order.tolist() if said[i] > 0]
        return Ranking(pairs, of="word", by="weight")

    def prepare(self, inputs: list[str]) -> dict[str, tuple[Tensor, ...]]:
        counts = self.model.bag.counts(read_inputs(inputs)[1])
        return {"model": (torch.from_numpy(counts.toarray()).to(self.run.device),)}

    def deployable(self) -> Deployable:
        bag = self.model.bag
        last = nn.Softmax(1) if self.probabilistic else nn.Identity()
        width = len(bag.vocabulary)
        return Deployable(
            nn.Sequential(self.model, last).cpu().eval(),
            lambda batch: (torch.poisson(torch.full((batch, width), 5.0 / width, dtype=torch.float64)),),
            ("counts",),
            ("probs" if self.probabilistic else "scores",),
            {
                "counts": f"float64 (B, {width}), how often each entry of the vocabulary is in the text",
                "bag of words": bag.get_extra_state(),
                "classes": self.classes,
            },
            lambda: (torch.from_numpy(bag.counts(self.data.test.texts[:COMPARED]).toarray()).double(),),
        )

    def figures(self) -> list[Figure]:
        test = self.data.test
        found = [figures.confusion_matrix(test.y, self._test_scores.argmax(1), self.classes)]
        found.append(speaking_words(self._speaks, self.model.bag.vocabulary, self.classes, SHOWN_WORDS))
        return found + wrong_texts(
            test.texts, test.y, self._test_scores, self.classes, SHOWN_TEXTS, probabilities=self.probabilistic
        )

    @cached_property
    def _speaks(self) -> Tensor:
        return self.model.speaks()

    @cached_property
    def _test_scores(self) -> Tensor:
        return self.scores(self.data.test.texts)
