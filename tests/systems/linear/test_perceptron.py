"""The perceptron, what can be separated and what cannot, and threshold units."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import SVC
from torch import Tensor

from chainrule.core.errors import UserError
from chainrule.systems.linear.perceptron import Perceptron
from chainrule.systems.linear.separability import hard_margin, separable, separation, shared_point
from chainrule.systems.linear.solvers.perceptron import perceptron
from chainrule.systems.linear.threshold import UNITS, corners, exclusive_or, mcculloch_pitts, parity, threshold_unit


def separable_rows(
    seed: int, rows: int = 60, columns: int = 3, margin: float = 0.1
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Rows at least `margin` from a random hyperplane, and the side of each."""
    random = np.random.default_rng(seed)
    w, b = random.normal(size=columns), 0.3
    w /= np.linalg.norm(w)
    x = random.normal(size=(40 * rows, columns))
    x = x[np.abs(x @ w + b) > margin][:rows]
    return x, (x @ w + b > 0).astype(int)


def one_row_at_a_time(x: Tensor, y: Tensor, epochs: int, seed: int) -> tuple[Tensor, Tensor, list[int]]:
    """The lecture's algorithm for two classes, as it reads; also the mean of the weights after each row."""
    w, total, mistakes = torch.zeros(x.shape[1]).double(), torch.zeros(x.shape[1]).double(), []
    generator, seen = torch.Generator().manual_seed(seed), 0
    for _ in range(epochs):
        mistakes.append(0)
        for n in torch.randperm(len(x), generator=generator):
            signed = x[n] * (1 if y[n] == 1 else -1)
            if w @ signed <= 0:
                w = w + signed
                mistakes[-1] += 1
            total += w
            seen += 1
        if mistakes[-1] == 0:
            break
    return w, total / seen, mistakes


@pytest.mark.parametrize("seed", range(4))
def test_blocks_make_the_steps_of_one_row_at_a_time(seed: int) -> None:
    """On whole numbers, whose sums are exact: separable or not, in more blocks than one."""
    random = np.random.default_rng(seed)
    x = torch.from_numpy(random.integers(-3, 4, size=(300, 4))).double()
    y = (
        x[:, 0] - x[:, 1] + (2 * torch.randn(300, generator=torch.Generator().manual_seed(seed)) if seed % 2 else 0.5)
        > 0
    ).long()
    w, mean, mistakes = one_row_at_a_time(x, y, 12, seed)
    found = perceptron(x, y, 2, max_epochs=12, generator=torch.Generator().manual_seed(seed), keep_all=True)
    assert found.mistakes == mistakes
    np.testing.assert_array_equal(found.w, [-w.numpy(), w.numpy()])
    np.testing.assert_allclose(found.mean[1], mean, rtol=1e-12)
    assert found.vectors is not None and found.survived is not None
    np.testing.assert_array_equal(found.vectors[-1], found.w)
    assert found.survived.sum() == 300 * len(mistakes)
    np.testing.assert_allclose(
        np.einsum("m,mkd->kd", found.survived / found.survived.sum(), found.vectors), found.mean, atol=1e-9
    )


def test_more_classes_one_row_at_a_time() -> None:
    random = np.random.default_rng(0)
    x, y = (
        torch.from_numpy(random.integers(-3, 4, size=(200, 5))).double(),
        torch.from_numpy(random.integers(0, 4, size=200)),
    )
    w, mistakes, generator = torch.zeros(4, 5).double(), 0, torch.Generator().manual_seed(3)
    for _ in range(3):
        for n in torch.randperm(200, generator=generator):
            scores = w @ x[n]
            others = scores.clone()
            others[y[n]] = -torch.inf
            if scores[y[n]] <= others.max():
                w[y[n]] += x[n]
                w[others.argmax()] -= x[n]
                mistakes += 1
    found = perceptron(x, y, 4, max_epochs=3, generator=torch.Generator().manual_seed(3))
    assert sum(found.mistakes) == mistakes
    np.testing.assert_array_equal(found.w, w)


@pytest.mark.parametrize(("seed", "margin"), [(0, 0.3), (1, 0.1), (2, 0.03), (3, 0.01)])
def test_mistakes_stay_under_the_bound(seed: int, margin: float) -> None:
    x, y = separable_rows(seed, margin=margin)
    for order in range(5):
        model = Perceptron(max_iter=10_000, random_state=order).fit(x, y)
        assert model.separable_ == "yes" and (model.predict(x) == y).all()
        assert 0 < model.mistakes_ <= model.bound(x, y)
        assert model.objective_path_[-1] == 0 and len(model.objective_path_) == model.n_iter_


def test_the_bound_is_that_of_a_hand_worked_case() -> None:
    """x = (3, 4) and -x: R = 5 sqrt(1 + 1/25) with the intercept's 1; the best direction is x itself."""
    x, y = np.array([[3.0, 4.0], [-3.0, -4.0]]), np.array([1, 0])
    assert Perceptron(fit_intercept=False).fit(x, y).bound(x, y) == pytest.approx(1.0)
    assert Perceptron().fit(x, y).bound(x, y) == pytest.approx(26.0 / 25.0)


def test_inseparable_data_are_told() -> None:
    x, y = corners(2).numpy(), [0, 1, 1, 0]
    with pytest.warns(ConvergenceWarning, match="no hyperplane separates the classes"):
        model = Perceptron(max_iter=7).fit(x, y)
    assert model.separable_ == "no" and model.n_iter_ == 7 and (model.objective_path_ > 0).all()
    with pytest.raises(UserError, match="no hyperplane"):
        model.bound(x, y)
    for average in ("averaged", "voted"):  # which are made for it
        assert Perceptron(average=average, max_iter=7).fit(x, y).separable_ == "no"  # type: ignore[arg-type]


def test_too_few_epochs_are_told_apart_from_inseparable_data() -> None:
    x, y = separable_rows(3, margin=0.01)
    with pytest.warns(ConvergenceWarning, match="raise max_iter"):
        assert Perceptron(max_iter=1).fit(x, y).separable_ == "yes"
    random = np.random.default_rng(0)
    with pytest.warns(ConvergenceWarning, match="was not examined"):
        assert (
            Perceptron(max_iter=1).fit(random.normal(size=(50, 300)), random.integers(0, 2, 50)).separable_ == "unknown"
        )


def test_voting_and_averaging() -> None:
    """On noisy labels, against the definitions of Freund and Schapire, by enumeration of all weights held."""
    random = np.random.default_rng(0)
    x = random.normal(size=(120, 3))
    for classes in (2, 3):
        y = (x[:, :classes].argmax(1) + (random.random(120) < 0.1)) % classes
        voted = Perceptron(average="voted", max_iter=5).fit(x, y)
        extended = np.concatenate([x, np.ones((120, 1))], 1)
        scores = np.einsum("nd,mkd->nmk", extended, voted.vectors_)
        if classes == 2:
            expected = np.sign(scores[:, :, 1]) @ voted.survived_
            np.testing.assert_array_equal(voted.decision_function(x), expected)
            assert (voted.predict(x) == (expected > 0)).all()
        else:
            votes = np.stack([((scores.argmax(2) == k) * voted.survived_).sum(1) for k in range(3)], 1)
            np.testing.assert_array_equal(voted.decision_function(x), votes)
        averaged = Perceptron(average="averaged", max_iter=5).fit(x, y)
        mean = np.average(voted.vectors_, axis=0, weights=voted.survived_)
        np.testing.assert_allclose(averaged.coef_, mean[-len(averaged.coef_) :, :3], atol=1e-9)
        np.testing.assert_allclose(averaged.intercept_, mean[-len(averaged.coef_) :, 3], atol=1e-9)


def test_averaging_is_better_than_the_last_on_noisy_labels() -> None:
    random = np.random.default_rng(1)
    x = random.normal(size=(2000, 10))
    y = (x[:, 0] + 0.5 * x[:, 1] > 0).astype(int)
    noisy = np.where(random.random(2000) < 0.15, 1 - y, y)
    with pytest.warns(ConvergenceWarning):
        last = Perceptron(max_iter=10).fit(x[:1000], noisy[:1000]).score(x[1000:], y[1000:])
    averaged, voted = (
        Perceptron(average=average, max_iter=10).fit(x[:1000], noisy[:1000]).score(x[1000:], y[1000:])  # type: ignore[arg-type]
        for average in ("averaged", "voted")
    )
    assert averaged > last + 0.03 and voted > last + 0.03


def test_voting_that_would_fill_the_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chainrule.systems.linear.solvers.perceptron.MOST_NUMBERS", 100)
    with pytest.raises(UserError, match="voting would keep too many weights"):
        Perceptron(average="voted").fit(np.random.default_rng(0).normal(size=(50, 10)), np.arange(50) % 2)


@pytest.mark.parametrize(
    ("settings", "message"), [({"average": "mean"}, "no average 'mean'"), ({"max_iter": 0}, "max_iter is out of range")]
)
def test_bad_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Perceptron(**settings).fit([[0.0], [1.0]], [0, 1])


def test_bad_data_are_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        Perceptron().fit([[0.0], [np.nan]], [0, 1])
    with pytest.raises(UserError, match="two classes"):
        Perceptron().fit([[0.0], [1.0]], [1, 1])
    with pytest.raises(UserError, match="one of two classes"):
        x, y = np.array([[0.0], [1.0], [2.0]]), [0, 1, 2]
        Perceptron(average="averaged").fit(x, y).bound(x, y)


# -- separability -----------------------------------------------------------------------------------------------


def boolean_functions(inputs: int) -> Any:
    return itertools.product([0, 1], repeat=2**inputs)


@pytest.mark.parametrize(("inputs", "count"), [(1, 4), (2, 14), (3, 104)])
def test_threshold_functions_are_as_many_as_published(inputs: int, count: int) -> None:
    """Of all Boolean functions of 1, 2, 3 inputs 4, 14, 104 are threshold functions (OEIS A000609)."""
    x = corners(inputs)
    found = [y for y in boolean_functions(inputs) if len(set(y)) == 1 or separable(x, torch.tensor(y))]
    assert len(found) == count


def test_either_a_hyperplane_or_a_shared_point() -> None:
    """Farkas: exactly one of the two proofs exists, and the point is what it claims to be."""
    x = corners(3).double()
    for y in itertools.islice(boolean_functions(3), 1, 255, 5):
        target = torch.tensor(y)
        weights = shared_point(x, target)
        assert (weights is None) == separable(x, target)
        if weights is not None:
            assert (weights >= 0).all()
            means = [weights[target == k] @ x[target == k] for k in (0, 1)]
            torch.testing.assert_close(means[0], means[1])
            torch.testing.assert_close(weights[target == 1].sum(), torch.tensor(1.0).double())


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        ([0, 1, 2, 3], [0, 0, 1, 1], "complete"),
        ([0, 1, 1, 2], [0, 0, 1, 1], "quasi-complete"),
        ([0, 2, 1, 3], [0, 0, 1, 1], "none"),
        ([1, 1], [0, 1], "none"),
        ([0, 1, 2], [0, 1, 2], "complete"),
        ([0, 1, 2, 1], [0, 1, 0, 1], "none"),
        ([0, 1, 1, 2, 2, 3], [0, 0, 1, 1, 2, 2], "quasi-complete"),
        ([5], [0], None),
    ],
)
def test_separation_by_hand(x: list[float], y: list[int], expected: str | None) -> None:
    rows, target = torch.tensor(x).double()[:, None], torch.tensor(y)
    if expected is None:
        with pytest.raises(UserError, match="only one class"):
            separation(rows, target)
        return
    for change in (rows, 1e6 + 1e-3 * rows, torch.cat([rows, rows, torch.ones_like(rows)], 1)):
        assert separation(change, target) == expected
        assert separable(change, target) == (expected == "complete")


def test_separation_of_many_rows() -> None:
    """More rows than the programme begins with: rows that decide are few, and come last."""
    random = np.random.default_rng(0)
    x = random.normal(size=(5000, 3))
    x = x[np.abs(x[:, 0]) > 0.5]
    y = x[:, 0] > 0
    rows, target = torch.from_numpy(x), torch.from_numpy(y)
    assert separation(rows, target) == "complete"
    border = torch.cat([rows, torch.zeros(2, 3).double()])
    assert separation(border, torch.cat([target, torch.tensor([True, False])])) == "quasi-complete"
    wrong = torch.tensor([[5.0, 0.0, 0.0]]).double()
    assert separation(torch.cat([rows, wrong]), torch.cat([target, torch.tensor([False])])) == "none"


def test_separation_by_few_of_many_rows() -> None:
    """Rows on which all scores tie say nothing of the two that do not."""
    x = torch.zeros(1002, 1).double()
    x[500], x[501] = 1.0, -1.0
    y = torch.arange(1002) % 2
    assert separation(x, y) == "quasi-complete" and not separable(x, y)
    x[501] = 2.0
    assert separation(x, y) == "none"


def test_separation_of_iris() -> None:
    x, y = (torch.from_numpy(a) for a in load_iris(return_X_y=True))
    assert separation(x, y) == "quasi-complete"  # one flower against the two others
    assert [separable(x, y == k) for k in range(3)] == [True, False, False]


@pytest.mark.parametrize("seed", range(4))
def test_hard_margin_agrees_with_libsvm_and_slsqp(seed: int) -> None:
    x, y = separable_rows(seed)
    sign = 2.0 * y - 1
    extended = np.concatenate([x, np.ones((len(x), 1))], 1)
    w, margin = hard_margin(torch.from_numpy(extended), torch.from_numpy(sign))
    found = minimize(
        lambda v: 0.5 * v @ v,
        w.numpy() / margin + 0.1,
        jac=lambda v: v,
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
        constraints={
            "type": "ineq",
            "fun": lambda v: sign * (extended @ v) - 1,
            "jac": lambda v: sign[:, None] * extended,
        },
    )
    assert margin == pytest.approx(1 / np.linalg.norm(found.x), rel=1e-6)
    assert float((extended @ w.numpy() * sign).min()) == pytest.approx(margin, rel=1e-9)
    # libsvm's intercept is not part of the norm: rows and their mirror images put the hyperplane through the origin
    double, twice = np.concatenate([extended, -extended]), np.concatenate([sign, -sign])
    svm = SVC(kernel="linear", C=1e10, tol=1e-6).fit(double, twice)
    assert margin == pytest.approx(1 / np.linalg.norm(svm.coef_), rel=1e-3)


def test_hard_margin_of_what_cannot_be_separated() -> None:
    for x, sign in (([[1.0], [1.0]], [1, -1]), ([[0.0]], [1]), (np.c_[corners(2), np.ones(4)], [1, -1, -1, 1])):
        with pytest.raises(UserError, match="no hyperplane through the origin"):
            hard_margin(torch.as_tensor(x), torch.tensor(sign))


def test_bad_rows_are_refused() -> None:
    with pytest.raises(UserError, match=r"(?s)not finite.*x\[1, 0\]"):
        separable(torch.tensor([[0.0], [torch.nan]]), torch.tensor([0, 1]))
    with pytest.raises(UserError, match="do not fit"):
        separation(torch.zeros(3, 1), torch.tensor([0, 1]))
    with pytest.raises(UserError, match="two classes"):
        shared_point(torch.eye(3), torch.tensor([0, 1, 2]))


# -- threshold units --------------------------------------------------------------------------------------------

TRUTH = {
    "and": lambda a, b: a and b,
    "or": lambda a, b: a or b,
    "nand": lambda a, b: not (a and b),
    "nor": lambda a, b: not (a or b),
}


@pytest.mark.parametrize("name", TRUTH)
def test_units_compute_their_functions(name: str) -> None:
    x = corners(2)
    expected = [float(TRUTH[name](bool(a), bool(b))) for a, b in x.tolist()]
    assert threshold_unit(x, *UNITS[name]).tolist() == expected
    assert separable(x, torch.tensor(expected))


def test_two_layers_do_what_one_unit_cannot() -> None:
    x = corners(2)
    assert exclusive_or(x).tolist() == [float(a != b) for a, b in x.tolist()]
    for count in range(1, 7):
        rows = corners(count)
        expected = rows.sum(1) % 2
        assert torch.equal(parity(rows), expected)
        assert separable(rows, expected) == (count == 1)


def test_mcculloch_pitts_inhibition_is_absolute() -> None:
    x = corners(4)
    expected = [float(a + b + c >= 2 and not d) for a, b, c, d in x.tolist()]
    assert mcculloch_pitts(x, 2, inhibitory=[3]).tolist() == expected


def test_bad_inputs_of_units() -> None:
    with pytest.raises(UserError, match="no logical values"):
        mcculloch_pitts(torch.tensor([[0.5]]), 1)
    with pytest.raises(UserError, match="no such input"):
        mcculloch_pitts(corners(2), 1, inhibitory=[2])
    with pytest.raises(UserError, match="do not fit"):
        threshold_unit(corners(2), (1.0, 1.0, 1.0), 0.5)
    with pytest.raises(UserError, match="1 to 20"):
        corners(21)
    assert threshold_unit(corners(2)[:1].bfloat16(), (1.0, 1.0), 0.5).tolist() == [0.0]
