"""Kernels and sequential minimal optimisation, against SciPy, scikit-learn's LIBSVM, and hands."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse
import torch
from sklearn.metrics import pairwise
from sklearn.svm import SVC

from chainrule.core.errors import UserError
from chainrule.systems.classical.kernels import (
    Kernel,
    kernel_width,
    linear_kernel,
    polynomial_kernel,
    rbf_kernel,
    sigmoid_kernel,
    squared_distances,
)
from chainrule.systems.classical.solvers.smo import DualSolution, RowCache, joint_step, pair_steps, smo, smo_in_blocks


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# -- kernels ----------------------------------------------------------------------------------------------------------

KERNELS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "linear": (linear_kernel, pairwise.linear_kernel, {}),
    "poly": (polynomial_kernel, pairwise.polynomial_kernel, {"degree": 2, "gamma": 0.3, "coef0": 1.5}),
    "rbf": (rbf_kernel, pairwise.rbf_kernel, {"gamma": 0.7}),
    "sigmoid": (sigmoid_kernel, pairwise.sigmoid_kernel, {"gamma": 0.2, "coef0": -0.5}),
}


@pytest.mark.parametrize("name", KERNELS)
def test_kernels_are_scikit_learns(name: str) -> None:
    ours, theirs, settings = KERNELS[name]
    x, z = normal(7, 3), normal(5, 3, seed=1)
    expected = torch.from_numpy(theirs(x.numpy(), z.numpy(), **settings))
    torch.testing.assert_close(ours(x, z, **settings), expected, rtol=1e-12, atol=1e-14)
    kernel = Kernel(name, **settings)
    index = torch.tensor([4, 1])
    torch.testing.assert_close(kernel(x, z), expected, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(kernel.rows_of(x)(index), ours(x[index], x, **settings), rtol=1e-12, atol=1e-14)
    assert torch.autograd.gradcheck(lambda a, b: ours(a, b, **settings), (x.requires_grad_(), z.requires_grad_()))


def test_distances_far_from_the_origin_keep_their_digits() -> None:
    near, offset = normal(6, 4), 1e7
    exact = (near[:, None] - near).square().sum(-1)
    torch.testing.assert_close(squared_distances(near + offset, near + offset), exact, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(
        Kernel("rbf").rows_of(near + offset)(torch.arange(6)), torch.exp(-exact), rtol=1e-6, atol=1e-7
    )
    naive = (near + offset).square().sum(1)
    naive = naive[:, None] + naive - 2 * (near + offset) @ (near + offset).T
    assert (naive - exact).abs().max() > 0.01  # what it would be without the move
    assert squared_distances(near.half(), near.half()).diagonal().abs().max() < 0.02
    assert rbf_kernel(near, near).max() <= 1 and rbf_kernel(near, near).diagonal().min() > 1 - 1e-12


def test_gamma_by_name() -> None:
    x = normal(20, 3) * torch.tensor([1.0, 5.0, 0.1])
    fitted = SVC(gamma="scale").fit(x.numpy(), np.arange(20) % 2)
    assert kernel_width("scale", x) == pytest.approx(fitted._gamma, rel=1e-12)
    assert kernel_width("auto", x) == pytest.approx(1 / 3)
    assert kernel_width("scale", torch.ones(4, 2)) == 1.0


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda: rbf_kernel(torch.ones(3), torch.ones(2, 3)), "same number of columns"),
        (lambda: rbf_kernel(torch.ones(1, 2), torch.ones(2, 3)), "same number of columns"),
        (lambda: linear_kernel(torch.ones(1, 2), torch.ones(0, 2)), "at least one row"),
        (lambda: rbf_kernel(torch.ones(1, 2), torch.ones(1, 2), gamma=-1.0), "gamma is out of range"),
        (lambda: polynomial_kernel(torch.ones(1, 2), torch.ones(1, 2), degree=0), "degree"),
        (lambda: kernel_width("large", torch.ones(2, 2)), "no gamma 'large'"),
        (lambda: Kernel("gauss"), "no kernel 'gauss'"),
    ],
)
def test_kernels_refuse(call: Any, says: str) -> None:
    with pytest.raises(UserError, match=says):
        call()


# -- SMO --------------------------------------------------------------------------------------------------------------


def signs(count: int, seed: int = 0) -> torch.Tensor:
    y = torch.where(normal(count, seed=seed + 100) > 0, 1.0, -1.0).double()
    y[0], y[1] = 1.0, -1.0
    return y


def quadratic_programme(kernel: torch.Tensor, y: torch.Tensor, upper: torch.Tensor) -> float:
    """The dual's least value by SciPy's SLSQP, which knows nothing of pairs."""
    k, sign = kernel.numpy(), y.numpy()
    q = k * np.outer(sign, sign)
    found = scipy.optimize.minimize(
        lambda a: 0.5 * a @ q @ a - a.sum(),
        np.zeros(len(sign)),
        jac=lambda a: q @ a - 1,
        method="SLSQP",
        bounds=[(0, u) for u in upper.tolist()],
        constraints={"type": "eq", "fun": lambda a: a @ sign, "jac": lambda a: sign},
        options={"ftol": 1e-12, "maxiter": 1000},
    )
    assert found.success
    return float(found.fun)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("width", [1, 3, 30])
def test_smo_solves_the_quadratic_programme(seed: int, width: int) -> None:
    x, y = normal(24, width, seed=seed), signs(24, seed)
    kernel, upper = rbf_kernel(x, x, gamma=0.5), torch.linspace(0.2, 3.0, 24)
    expected = quadratic_programme(kernel, y, upper.double())
    by_pairs = smo(kernel, y, upper, tol=1e-6)
    by_blocks = smo_in_blocks(lambda i: kernel[i], y, upper, tol=1e-6, working_set=4, cache_bytes=1.0)
    for found in (by_pairs, by_blocks):
        assert found.converged and found.violation < 1e-6
        assert found.objective == pytest.approx(expected, rel=1e-7)
        assert float(found.coef.sum()) == pytest.approx(0, abs=1e-9)
        alpha = found.coef * y
        assert (alpha >= 0).all() and (alpha <= upper.double()).all()
        margin = y * (kernel @ found.coef + found.bias)  # the conditions of Karush, Kuhn and Tucker
        assert (margin[alpha == 0] >= 1 - 1e-5).all() and (margin[alpha == upper.double()] <= 1 + 1e-5).all()
        assert (margin[(alpha > 0) & (alpha < upper.double())] - 1).abs().max() < 1e-5
    path = by_blocks.objective_path
    assert len(path) > 2 and path[0] == 0.0 and (np.diff(path) < 0).all()


def test_smo_of_two_rows_by_hand() -> None:
    """x = -1 and 3: w = 1/2, so alpha = w / (3 - -1) = 1/8 each, and the boundary is at 1."""
    x, y = torch.tensor([[-1.0], [3.0]]), torch.tensor([-1.0, 1.0])
    found = smo(x @ x.T, y, torch.full((2,), 9.0))
    assert found.coef.tolist() == [-0.125, 0.125] and found.bias == -0.5 and found.objective == -0.125
    bound = smo(
        x @ x.T, y, torch.full((2,), 0.01)
    )  # at the bound: w = 0.04, and the bias is in the middle of what is allowed
    assert bound.coef.tolist() == pytest.approx([-0.01, 0.01]) and bound.bias == pytest.approx(-0.04)


def test_equal_rows_of_different_classes_end_at_the_bound() -> None:
    x, y = torch.ones(6, 2), torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0, -1.0])
    for found in (
        smo(x @ x.T, y, torch.full((6,), 7.0)),
        smo_in_blocks(lambda i: x[i] @ x.T, y, torch.full((6,), 7.0), working_set=2),
    ):
        assert found.converged and (found.coef * y).tolist() == [7.0] * 6


def test_a_kernel_that_is_no_inner_product_ends_where_libsvm_does() -> None:
    x, y = normal(60, 3), signs(60)
    settings = {"gamma": 2.0, "coef0": -1.0}
    kernel = sigmoid_kernel(x, x, **settings)
    assert torch.linalg.eigvalsh(kernel)[0] < -0.1
    theirs = SVC(kernel="sigmoid", tol=1e-6, **settings).fit(x.numpy(), y.numpy())
    b = np.zeros(60)
    b[theirs.support_] = theirs.dual_coef_[0]
    found = smo(kernel, y, torch.ones(60), tol=1e-6)
    assert found.converged  # a local minimum each, so values are near and need not be equal
    assert found.objective == pytest.approx(float(0.5 * b @ kernel.numpy() @ b - b @ y.numpy()), rel=0.02)


def test_the_second_of_a_pair_lets_the_objective_fall_the_most() -> None:
    """The first is the lowest f that may rise; of all partners the one of the deepest parabola, found by trying all."""
    x = normal(40, 3)
    kernel = rbf_kernel(x, x, gamma=0.5).numpy() * np.outer(np.linspace(0.5, 3, 40), np.linspace(0.5, 3, 40))
    f, b = normal(40, seed=5).numpy(), np.zeros(40)
    first = int(f.argmin())

    def value(j: int) -> float:
        return min(
            t * (f[first] - f[j]) + 0.5 * t * t * (kernel[first, first] + kernel[j, j] - 2 * kernel[first, j])
            for t in np.linspace(0, 20, 4001)
        )

    second = min((j for j in range(40) if j != first), key=value)
    assert second != int(f.argmax())  # the largest violation is another
    assert pair_steps(kernel, b, f.copy(), np.full(40, -1e3), np.full(40, 1e3), tol=1e-3, max_steps=1) == 1
    assert set(np.flatnonzero(b)) == {first, second} and b[first] > 0


def test_the_joint_step_ends_at_the_minimum_or_at_the_first_bound() -> None:
    """Without bounds in the way, the equations of the sum alone, solved by NumPy; f stays K b - y."""
    root = normal(6, 6).numpy()
    kernel, y = root @ root.T, signs(6).numpy()
    exact = np.linalg.solve(np.block([[kernel, np.ones((6, 1))], [np.ones((1, 6)), np.zeros((1, 1))]]), np.append(y, 0))
    b = np.zeros(6)
    f = kernel @ b - y
    assert not joint_step(kernel, b, f, np.full(6, -1e9), np.full(6, 1e9))
    np.testing.assert_allclose(b, exact[:6], atol=1e-8)
    np.testing.assert_allclose(f, kernel @ b - y, atol=1e-10)
    tight, largest = np.zeros(6), np.abs(exact[:6]).max()
    f = kernel @ tight - y
    assert joint_step(kernel, tight, f, np.full(6, -largest / 2), np.full(6, largest / 2))
    np.testing.assert_allclose(tight, exact[:6] / 2, atol=1e-8)
    np.testing.assert_allclose(f, kernel @ tight - y, atol=1e-10)
    assert np.abs(tight).max() == largest / 2  # exactly there


@pytest.mark.parametrize("seed", range(3))
def test_narrow_valleys_take_few_steps(seed: int) -> None:
    x, y = normal(40, 3, seed=seed) * torch.tensor([1.0, 30.0, 1000.0]), signs(40, seed)
    kernel, upper = x @ x.T, torch.full((40,), 0.05)
    plain, helped = smo(kernel, y, upper, max_steps=2000), smo_in_blocks(lambda i: kernel[i], y, upper)
    assert helped.converged and helped.steps < 20_000
    assert helped.objective <= plain.objective + 1e-9
    assert helped.objective == pytest.approx(quadratic_programme(kernel, y, upper), rel=1e-3)
    b = helped.coef
    assert helped.objective == pytest.approx(float(0.5 * b @ kernel @ b - b @ y), rel=1e-6)
    assert abs(float(b.sum())) < 1e-9


def test_where_the_digits_end_it_ends() -> None:
    x, y = normal(30, 2) * 1e12, signs(30)
    found = smo_in_blocks(lambda i: x[i] @ x.T, y, torch.full((30,), 1e6), max_steps=200_000)
    assert not found.converged and found.coef.isfinite().all() and found.steps < 200_000


@pytest.mark.parametrize("tol", [0.5, 1e-3])
def test_the_bias_is_the_mean_over_free_vectors(tol: float) -> None:
    x, y = normal(60, 2), signs(60)
    kernel = rbf_kernel(x, x)
    found = smo(kernel, y, torch.ones(60), tol=tol)
    alpha = found.coef * y
    free = (alpha > 0) & (alpha < 1)
    assert free.sum() > 2
    assert found.bias == pytest.approx(float((y - kernel @ found.coef)[free].mean()), abs=1e-9)


def test_steps_can_run_out() -> None:
    x, y = normal(50, 2), signs(50)
    kernel = rbf_kernel(x, x)
    full, cut = smo(kernel, y, torch.ones(50)), smo(kernel, y, torch.ones(50), max_steps=3)
    assert full.converged and not cut.converged and cut.steps == 3 and cut.objective > full.objective
    assert cut.violation > 1e-3
    blocks = smo_in_blocks(lambda i: kernel[i], y, torch.ones(50), working_set=4, max_steps=7)
    assert blocks.steps == 7 and not blocks.converged


@pytest.mark.parametrize(
    "change, says",
    [
        ({"kernel": torch.ones(3, 4)}, "does not fit y"),
        ({"kernel": torch.full((3, 3), torch.nan)}, "not finite"),
        ({"y": torch.tensor([0.0, 1.0, 1.0])}, r"two"),
        ({"y": torch.tensor([1.0, 1.0, 1.0])}, r"both"),
        ({"upper": torch.tensor([1.0, 0.0, 1.0])}, "out of range"),
        ({"upper": torch.ones(2)}, "do not fit"),
    ],
)
def test_smo_refuses(change: dict[str, Any], says: str) -> None:
    right = {"kernel": torch.eye(3), "y": torch.tensor([1.0, -1.0, 1.0]), "upper": torch.ones(3)}
    with pytest.raises(UserError, match=says):
        smo(**(right | change))
    if "kernel" not in change:
        with pytest.raises(UserError, match=says):
            smo_in_blocks(lambda i: torch.eye(3)[i], **({"y": right["y"], "upper": right["upper"]} | change))


def test_blocks_refuse_a_working_set_of_one_and_kernels_of_nan() -> None:
    y, upper = torch.tensor([1.0, -1.0]), torch.ones(2)
    with pytest.raises(UserError, match="two rows to move a pair"):
        smo_in_blocks(lambda i: torch.eye(2)[i], y, upper, working_set=1)
    with pytest.raises(UserError, match="not finite"):
        smo_in_blocks(lambda i: torch.full((2, 2), torch.nan)[i], y, upper)


def test_the_cache_gives_the_rows_and_computes_none_twice_that_it_holds() -> None:
    matrix, asked = normal(10, 10), []

    def compute(index: torch.Tensor) -> torch.Tensor:
        asked.append(index.tolist())
        return matrix[index]

    cache = RowCache(compute, 10, capacity=4)
    for wanted in ([0, 1, 2], [2, 3], [5, 2], [0, 9], [3, 5, 9, 8], [2]):
        torch.testing.assert_close(cache(np.array(wanted)), matrix[wanted], rtol=0, atol=0)
    # 5 takes the place of 0, then 0 and 9 those of 1 and 3, then 3 and 8 those of 2 and 0
    assert asked == [[0, 1, 2], [3], [5], [0, 9], [3, 8], [2]]


def test_a_small_cache_changes_nothing_but_the_work() -> None:
    x, y = normal(300, 3), signs(300)
    counts = {}

    def solve(cache_bytes: float) -> DualSolution:
        rows, counts[cache_bytes] = Kernel("rbf").rows_of(x), 0

        def counted(index: torch.Tensor) -> torch.Tensor:
            counts[cache_bytes] += len(index)
            return rows(index)

        return smo_in_blocks(counted, y, torch.ones(300), working_set=32, cache_bytes=cache_bytes)

    large, small = solve(1e9), solve(1.0)
    assert small.objective == pytest.approx(large.objective, rel=1e-6)
    assert counts[1e9] <= 301 < counts[1.0]
