"""Metrics of classes of unequal size: scikit-learn is the oracle, with equals, and classes that a split has no sample of."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from sklearn import metrics as oracle
from sklearn.dummy import DummyClassifier
from sklearn.utils.class_weight import compute_class_weight

from chainrule.core.errors import UserError
from chainrule.functional.metrics.classification import balanced_accuracy, class_weights, macro_f1, roc_auc
from chainrule.tasks.tables.class_metrics import beside_majority, class_metrics, commonest_class


@pytest.mark.parametrize("seed", range(6))
def test_against_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    classes = int(rng.integers(2, 6))
    y = np.minimum(rng.geometric(0.5, 200) - 1, classes - 1)  # the first are common, the last are rare
    y[:classes] = np.arange(classes)
    logits = np.round(rng.normal(size=(200, classes)) + 2 * np.eye(classes)[y], 1)  # rounded: there are equals
    scores = torch.from_numpy(logits).softmax(1)
    answer = logits.argmax(1)
    found = class_metrics(torch.from_numpy(logits), torch.from_numpy(y), probabilistic=True)
    of_one = scores[:, 1].numpy() if classes == 2 else scores.numpy()
    expected = {
        "accuracy": oracle.accuracy_score(y, answer),
        "balanced_accuracy": oracle.balanced_accuracy_score(y, answer),
        "f1": oracle.f1_score(y, answer, average="macro"),
        "auc": oracle.roc_auc_score(y, of_one, multi_class="ovr"),
        "loss": oracle.log_loss(y, scores.numpy()),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-9)
    weights = compute_class_weight("balanced", classes=np.arange(classes), y=y)
    assert class_weights(torch.from_numpy(y), classes).numpy() == pytest.approx(weights, abs=1e-12)
    guess = DummyClassifier(strategy="most_frequent").fit(logits, y)
    other = rng.permutation(y)[:50]
    share = beside_majority({"accuracy": 1.0}, torch.from_numpy(other), commonest_class(torch.from_numpy(y)))
    assert share["majority_accuracy"] == guess.score(logits[:50], other)


def test_scores_that_are_no_probabilities() -> None:
    y, margin = torch.tensor([0, 1, 1, 0, 1]), torch.tensor([-1.0, 2.0, 0.5, 0.5, -3.0])
    found = class_metrics(torch.stack([-margin, margin], 1), y, probabilistic=False)
    assert found["auc"] == pytest.approx(oracle.roc_auc_score(y, margin)) and "loss" not in found


def test_a_class_without_a_sample_is_left_out() -> None:
    y, answer = torch.tensor([0, 0, 2, 2]), torch.tensor([0, 1, 2, 2])  # nobody is of class 1, and one is said to be
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert balanced_accuracy(y, answer) == oracle.balanced_accuracy_score(y, answer) == 0.75
    assert macro_f1(y, answer) == pytest.approx(oracle.f1_score(y, answer, average="macro"))
    scores = torch.tensor([[3.0, 1, 0], [0, 2, 1], [0, 0, 1], [1, 0, 1]])
    of_each = [oracle.roc_auc_score(y == k, scores[:, k]) for k in (0, 2)]
    assert roc_auc(y, scores) == pytest.approx(np.mean(of_each))
    alone = class_metrics(scores, torch.zeros(4, dtype=torch.int64), probabilistic=True)
    assert "auc" not in alone and all(np.isfinite(value) for value in alone.values())


def test_what_cannot_be_measured() -> None:
    empty = torch.zeros(0, dtype=torch.int64)
    for call in (
        lambda: balanced_accuracy(empty, empty),
        lambda: macro_f1(torch.tensor([0]), empty),
        lambda: roc_auc(empty, torch.zeros(0, 2)),
        lambda: class_weights(torch.tensor([0, 2]), 3),
    ):
        with pytest.raises(UserError):
            call()
