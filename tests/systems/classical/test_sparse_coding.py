"""Codes against scikit-learn's lasso and enumeration of supports; dictionaries against scikit-learn's."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import DictionaryLearning, sparse_encode
from sklearn.linear_model import Lasso

from chainrule.core.answers import flat
from chainrule.core.errors import UserError
from chainrule.systems.classical.solvers.sparse_coding import admm_codes, coding_objective, sparse_codes, update_atoms
from chainrule.systems.classical.sparse_coding import SparseCoding


def problem(rows: int, columns: int, atoms: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    random = np.random.default_rng(seed)
    v = random.normal(size=(atoms, columns))
    return torch.from_numpy(random.normal(size=(rows, columns))), torch.from_numpy(
        v / np.linalg.norm(v, axis=1)[:, None]
    )


@pytest.mark.parametrize("shape", [(40, 10, 5), (30, 8, 25), (5, 1, 1), (1, 6, 4)])
@pytest.mark.parametrize("alpha", [0.05, 0.4])
def test_codes_equal_scikit_learns_lasso(shape: tuple[int, int, int], alpha: float) -> None:
    x, atoms = problem(*shape)
    codes = sparse_codes(x, atoms, alpha, tolerance=1e-12)
    lasso = Lasso(alpha / shape[1], fit_intercept=False, tol=1e-14, max_iter=5000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 1e-14 is more than it can promise
        theirs = np.stack([lasso.fit(atoms.T.numpy(), row).coef_ for row in x.numpy()])

    def objectives(u: np.ndarray) -> np.ndarray:
        return 0.5 * ((x.numpy() - u @ atoms.numpy()) ** 2).sum(1) + alpha * np.abs(u).sum(1)

    assert (objectives(codes.numpy()) <= objectives(theirs) * (1 + 1e-9)).all()
    if shape[2] <= shape[1]:  # else the codes need not be unique
        np.testing.assert_allclose(codes.numpy(), theirs, atol=1e-6)


def test_codes_are_the_best_of_all_supports_and_signs() -> None:
    """Every support of four atoms with every sign: the stationary point on it, if its signs agree; the least is the answer."""
    x, atoms = problem(6, 5, 4, seed=3)
    for row in x:
        best = 0.5 * float(row @ row)
        for signs in itertools.product((-1.0, 0.0, 1.0), repeat=4):
            s = torch.tensor(signs).double()
            of = s != 0
            if not of.any():
                continue
            u = torch.linalg.solve(atoms[of] @ atoms[of].T, atoms[of] @ row - 0.3 * s[of])
            if (u * s[of] > 0).all():
                best = min(best, coding_objective(row[None], u[None], atoms[of], 0.3))
        found = sparse_codes(row[None], atoms, 0.3, tolerance=1e-13)
        assert coding_objective(row[None], found, atoms, 0.3) == pytest.approx(best, rel=1e-10)


def test_codes_from_any_start_and_with_odd_atoms() -> None:
    x, atoms = problem(20, 6, 5)
    expected = sparse_codes(x, atoms, 0.2, tolerance=1e-12)
    start = torch.randn(20, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(sparse_codes(x, atoms, 0.2, start=start, tolerance=1e-12), expected, atol=1e-6, rtol=0)
    with_zero = torch.cat([atoms, torch.zeros(1, 6).double()])  # an atom that is nothing has no code
    found = sparse_codes(x, with_zero, 0.2, tolerance=1e-12)
    torch.testing.assert_close(found[:, :5], expected, atol=1e-6, rtol=0)
    assert not found[:, 5].any()
    doubled = sparse_codes(x, torch.cat([atoms, atoms]), 0.2, tolerance=1e-12)  # codes are not unique, what they say is
    torch.testing.assert_close(doubled[:, :5] + doubled[:, 5:], expected, atol=1e-5, rtol=0)
    assert not sparse_codes(x, atoms, 1e6).any()
    assert not sparse_codes(torch.zeros(3, 6).double(), atoms, 0.1).any()


@pytest.mark.parametrize("settings", [(8, 0.5, 10), (20, 0.2, 10)])
def test_dictionary_equals_scikit_learns_turn_by_turn(settings: tuple[int, float, int]) -> None:
    """Both begin with the singular vectors. Theirs stops its codes early, so they part after the sixth digit."""
    atoms, alpha, turns = settings
    x = load_digits().data[:200] / 16
    theirs = DictionaryLearning(atoms, alpha=alpha, max_iter=turns, tol=0.0, fit_algorithm="cd", random_state=0).fit(x)
    ours = SparseCoding(n_components=atoms, alpha=alpha, max_iter=turns, tol=0.0).fit(x)
    np.testing.assert_allclose(ours.objective_path_, theirs.error_, rtol=1e-5)
    assert ours.objective_path_[-1] <= theirs.error_[-1] * (1 + 1e-6)
    assert np.linalg.norm(ours.components_, axis=1).max() <= 1 + 1e-12
    codes = ours.transform(x)
    lars = sparse_encode(x, ours.components_, algorithm="lasso_lars", alpha=alpha)
    np.testing.assert_allclose(codes, lars, atol=1e-4)
    np.testing.assert_allclose(ours.inverse_transform(codes), codes @ ours.components_)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # of their codes
def test_an_over_complete_dictionary_is_no_worse_than_scikit_learns() -> None:
    """Where there are more atoms than columns the start is by chance: a mean over data, and what seeds make differ."""
    ours, theirs = [], []
    for first in (0, 200, 400):
        x = load_digits().data[first : first + 200] / 16
        theirs.append(
            DictionaryLearning(80, alpha=0.3, max_iter=10, fit_algorithm="cd", random_state=0).fit(x).error_[-1]
        )
        path = SparseCoding(n_components=80, alpha=0.3, max_iter=10).fit(x).objective_path_
        assert (np.diff(path[2:]) <= 1e-6 * path[-1]).all()  # atoms are replaced in the first turns
        ours.append(path[-1])
    assert np.mean(ours) <= np.mean(theirs) * 1.003


def test_atoms_that_made_the_rows_are_found() -> None:
    random = np.random.default_rng(0)
    v = np.linalg.qr(random.normal(size=(12, 12)))[0][:6]
    codes = random.normal(size=(400, 6)) * (random.random((400, 6)) < 0.3)
    model = SparseCoding(n_components=6, alpha=0.05, max_iter=200).fit(codes @ v)
    nearest = np.abs(model.components_ @ v.T).max(0)
    assert nearest.min() > 0.98


def test_one_pass_over_the_atoms_lowers_the_error() -> None:
    x, atoms = problem(50, 6, 4)
    codes = sparse_codes(x, atoms, 0.1)
    better, same = update_atoms(x, codes, atoms)
    assert coding_objective(x, same, better, 0.1) < coding_objective(x, codes, atoms, 0.1)
    torch.testing.assert_close(same, codes)
    short, _ = update_atoms(torch.tensor([[0.25]]), torch.tensor([[1.0]]), torch.tensor([[0.0]]))
    assert short.tolist() == [[0.25]]  # an atom may be shorter than 1
    codes[:, 2] = 0
    replaced, _ = update_atoms(x, codes, atoms)
    torch.testing.assert_close(replaced[2], x[0] / x[0].norm())
    codes[:, 0] = 0
    replaced, _ = update_atoms(x, codes, atoms)
    torch.testing.assert_close(replaced[[0, 2]], x[[0, -1]] / x[[0, -1]].norm(dim=1, keepdim=True))


@pytest.mark.parametrize("size", [1.0, 1000.0])
def test_the_exported_form_comes_to_the_same_codes(size: float) -> None:
    """At any scale of the rows, within the tolerance that an export is held to."""
    x = load_digits().data[:300] / 16 * size
    model = SparseCoding(n_components=40, alpha=0.5 * size, max_iter=5).fit(x[:200])
    rho = model.alpha / model.code_scale_
    found = admm_codes(torch.from_numpy(x[200:]), model.components_, model.alpha, rho=rho).numpy()
    exact = model.transform(x[200:])
    assert np.abs(found - exact).max() < 1e-7 * np.abs(exact).max()


def test_of_atoms_along_one_line_the_first_is_used() -> None:
    """Else how they share would depend on the method, and an exported file would answer otherwise than the model."""
    x, atoms = problem(20, 4, 30)
    model = SparseCoding(n_components=30, alpha=0.05, max_iter=1).fit(x.numpy())
    model.components_ = np.concatenate(
        [atoms[:27].numpy(), -atoms[3:4].numpy(), 0.5 * atoms[3:4].numpy(), np.zeros((1, 4))]
    )
    rows = torch.cat([x, 2 * atoms[3:4]])
    codes = model.decide(rows)
    assert (codes[:, 27:] == 0).all() and codes[-1, 3] > 1
    found = admm_codes(rows, model.components_[:27], 0.05, rho=0.05 / model.code_scale_)
    torch.testing.assert_close(found, codes[:, :27], rtol=0, atol=1e-6)


def test_measures() -> None:
    x = load_digits().data[:50] / 16
    model = SparseCoding(n_components=5, alpha=0.5, max_iter=5).fit(x)
    codes = model.transform(x)
    found = model.measure(torch.from_numpy(x))
    error = ((x - codes @ model.components_) ** 2).sum() / 50
    assert found["mean_square"] == pytest.approx(error, rel=1e-6)
    assert found["objective"] == pytest.approx(0.5 * error + 0.5 * np.abs(codes).sum() / 50, rel=1e-6)
    assert found["used"] == pytest.approx((codes != 0).mean())
    assert model.score(x) == -found["objective"]
    answer = model.answers(torch.from_numpy(x[:1]))[0]["atoms"]
    assert answer == {str(k): round(float(codes[0, k]), 6) for k in np.abs(codes[0]).argsort()[::-1] if codes[0, k]}
    assert list(flat({"atoms": answer}).values()) == pytest.approx(codes[0], abs=1e-6)


def test_what_is_refused() -> None:
    x = np.eye(4)
    for settings, match in (
        ({"n_components": 0}, "n_components is out"),
        ({"alpha": 0.0}, "alpha is out"),
        ({"max_iter": 0}, "max_iter is out"),
        ({"tol": -1.0}, "tol is out"),
        ({"code_tol": 0.0}, "code_tol is out"),
        ({"init": np.eye(3)}, "atoms given do not fit"),
    ):
        with pytest.raises(UserError, match=match):
            SparseCoding(**settings).fit(x)
    with pytest.raises(UserError, match="do not fit"):
        sparse_codes(torch.eye(3), torch.eye(2), 0.1)
    with pytest.raises(UserError, match="alpha is out of range"):
        sparse_codes(torch.eye(3), torch.eye(3), 0.0)
