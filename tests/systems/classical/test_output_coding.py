"""Output codings: 1-of-C, each class against the rest, pairs of classes; against scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from sklearn import datasets
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.preprocessing import LabelBinarizer, scale
from sklearn.svm import SVC, LinearSVC
from sklearn.utils.estimator_checks import check_estimator
from sklearn.utils.multiclass import _ovr_decision_function

from chainrule.core.errors import UserError
from chainrule.systems.classical.kernel_svm import KernelSVM
from chainrule.systems.classical.output_codes import class_of_code, class_pairs, one_of_c, one_vs_one_scores
from chainrule.systems.classical.output_coding import OneVsOne, OneVsRest
from chainrule.systems.linear.svm import LinearSVM


def test_one_of_c_is_scikit_learns_and_comes_back() -> None:
    y = torch.tensor([2, 0, 1, 2, 3])
    binarizer = LabelBinarizer(neg_label=-1, pos_label=1).fit(y.numpy())
    code = one_of_c(y, 4, off=-1.0)
    assert code.tolist() == binarizer.transform(y.numpy()).tolist()
    assert torch.equal(class_of_code(code), y)
    assert one_of_c(y, 6, on=0.9, off=0.1).sum().item() == pytest.approx(5 * (0.9 + 0.5))
    assert one_of_c(y[:0], 3).shape == (0, 3)
    assert torch.equal(one_of_c(y.to(torch.uint8), 4), torch.nn.functional.one_hot(y).float())


def test_the_first_of_equals() -> None:
    rows = torch.zeros(3, 257)
    rows[1, 100:] = 1.0
    rows[2, 256] = 1.0
    assert class_of_code(rows).tolist() == [0, 100, 256]


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda: one_of_c(torch.tensor([0, 3]), 3), "out of range"),
        (lambda: one_of_c(torch.tensor([-1]), 3), "out of range"),
        (lambda: one_of_c(torch.tensor([0.0]), 3), "not understood"),
        (lambda: one_of_c(torch.tensor([[0]]), 3), "not understood"),
        (lambda: class_of_code(torch.zeros(3)), "not understood"),
        (lambda: one_vs_one_scores(torch.zeros(2, 2), 3), "do not fit the pairs"),
    ],
)
def test_codings_refuse(call: Any, says: str) -> None:
    with pytest.raises(UserError, match=says):
        call()


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_scores_of_pairs_are_scikit_learns(classes: int) -> None:
    decisions = torch.randn(
        50, len(class_pairs(classes)), dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    decisions[:5] *= 1e6
    expected = _ovr_decision_function(decisions.numpy() > 0, decisions.numpy(), classes)
    np.testing.assert_allclose(one_vs_one_scores(decisions, classes).numpy(), expected, atol=1e-12)


def test_votes_outrank_confidence_and_confidence_parts_a_cycle() -> None:
    """0 beats 1 and 2 by a hair, 2 beats 1 by far: 0 answers. 0 beats 1, 1 beats 2, 2 beats 0: the surest answers."""
    assert one_vs_one_scores(torch.tensor([[-0.01, -0.01, 1e6]]), 3).argmax() == 0
    cycle = one_vs_one_scores(torch.tensor([[-1.0, 3.0, -2.0]]), 3)[0]
    # each has one vote; sums of decisions: 0: 1 - 3, 1: -1 + 2, 2: 3 - 2
    assert cycle.tolist() == pytest.approx([1 - 2 / 9, 1 + 1 / 6, 1 + 1 / 6])


SETS = {
    "digits": (scale(datasets.load_digits().data), np.array(list("abcdefghij"))[datasets.load_digits().target]),
    "wine": (scale(datasets.load_wine().data), datasets.load_wine().target),
    "two": (scale(datasets.load_breast_cancer().data), datasets.load_breast_cancer().target),
}


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("ours, theirs", [(OneVsRest, OneVsRestClassifier), (OneVsOne, OneVsOneClassifier)])
def test_the_codings_as_scikit_learns(name: str, ours: Any, theirs: Any) -> None:
    x, y = SETS[name]
    x, y = x[:300], y[:300]
    mine = ours(LinearSVM(C=0.1, tol=1e-10)).fit(x, y)
    other = theirs(LinearSVC(C=0.1, dual=False, tol=1e-9, max_iter=10_000)).fit(x, y)
    assert len(mine.estimators_) == len(other.estimators_)
    expected = other.decision_function(x) if name != "two" else other.estimators_[0].decision_function(x)
    np.testing.assert_allclose(mine.decision_function(x), expected, atol=1e-4)
    assert (mine.predict(x) == other.predict(x)).all()
    rows = torch.from_numpy(x)
    assert (mine.classes_[mine.decide(rows).argmax(1).numpy()] == mine.predict(x)).all()


def test_pairs_of_kernel_machines_are_one_kernel_machine() -> None:
    x, y = SETS["wine"]
    pairs = OneVsOne(KernelSVM(gamma=0.1, tol=1e-6)).fit(x, y)
    whole = KernelSVM(gamma=0.1, tol=1e-6).fit(x, y)
    np.testing.assert_allclose(pairs.decision_function(x), whole.decision_function(x), atol=1e-9)
    theirs = SVC(gamma=0.1, tol=1e-6, break_ties=True).fit(x, y)
    np.testing.assert_allclose(pairs.decision_function(x), theirs.decision_function(x), atol=1e-4)


def test_sparse_rows_pass_through() -> None:
    x, y = SETS["digits"]
    x = np.where(np.abs(x[:200]) > 0.5, x[:200], 0)
    for coding in (OneVsRest, OneVsOne):
        dense, sparse = coding(LinearSVM()).fit(x, y[:200]), coding(LinearSVM()).fit(scipy.sparse.csr_array(x), y[:200])
        np.testing.assert_allclose(
            sparse.decision_function(scipy.sparse.csr_array(x)), dense.decision_function(x), atol=1e-3
        )


def test_one_class_is_refused() -> None:
    for coding in (OneVsRest, OneVsOne):
        with pytest.raises(UserError, match="two classes"):
            coding(LinearSVM()).fit(np.eye(3), [1, 1, 1])


@pytest.mark.parametrize("coding", [OneVsRest, OneVsOne])
def test_scikit_learns_checks(coding: Any) -> None:
    failed = [r for r in check_estimator(coding(LinearSVM()), on_skip=None, on_fail=None) if r["status"] == "failed"]
    assert not failed, failed
