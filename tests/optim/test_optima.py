"""Update rules on problems whose optimum is known, Newton's method, and what second derivatives say."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from chainrule.core.errors import UserError
from chainrule.optim import (
    SGD,
    AdaDelta,
    AdaGrad,
    Adam,
    AdamW,
    Newton,
    Policy,
    RMSProp,
    as_schedule,
    cosine,
    fixed,
    optimal_rate,
    poly,
)
from chainrule.optim.newton import damped_cholesky, second_order

Make = Callable[[list[nn.Parameter]], torch.optim.Optimizer]

# -- optima ---------------------------------------------------------------------------------------------------------------

A = torch.tensor([[1.0, 0.5], [0.5, 25.0]], dtype=torch.float64)  # condition number 25.5
B = torch.tensor([1.0, -2.0], dtype=torch.float64)


def quadratic(x: Tensor) -> Tensor:
    return A @ x - B


def rosenbrock(x: Tensor) -> Tensor:
    first, second = x.tolist()
    gap = second - first**2
    return torch.tensor([-2 * (1 - first) - 400 * first * gap, 200 * gap], dtype=torch.float64)


# Rule, then (policy over n steps, steps) for the quadratic, for the valley, and for the net.
Plan = tuple[Callable[[int], Policy], int]
OPTIMA: dict[str, tuple[Make, Plan, Plan, Plan]] = {
    "sgd": (
        lambda p: SGD(p),
        (lambda n: fixed(0.04), 600),
        (lambda n: fixed(0.002), 12_000),
        (lambda n: fixed(2.0), 800),
    ),
    "momentum": (
        lambda p: SGD(p, momentum=0.9),
        (lambda n: fixed(0.01), 600),
        (lambda n: fixed(0.001), 3000),
        (lambda n: fixed(0.5), 400),
    ),
    "momentum-caffe": (
        lambda p: SGD(p, momentum=0.9, form="caffe"),
        (lambda n: fixed(0.01), 600),
        (lambda n: fixed(0.001), 3000),
        (lambda n: fixed(0.5), 400),
    ),
    "nesterov": (
        lambda p: SGD(p, momentum=0.9, nesterov=True),
        (lambda n: fixed(0.01), 600),
        (lambda n: fixed(0.001), 3000),
        (lambda n: fixed(0.5), 400),
    ),
    "nesterov-caffe": (
        lambda p: SGD(p, momentum=0.9, nesterov=True, form="caffe"),
        (lambda n: fixed(0.01), 600),
        (lambda n: fixed(0.001), 3000),
        (lambda n: fixed(0.5), 400),
    ),
    "adagrad": (
        lambda p: AdaGrad(p),
        (lambda n: fixed(1.5), 600),
        (lambda n: fixed(1.5), 8000),
        (lambda n: fixed(0.3), 400),
    ),
    "adadelta": (
        lambda p: AdaDelta(p, rho=0.99, eps=1e-3),
        (lambda n: poly(1.0, 2.0, n), 600),
        (lambda n: poly(1.0, 2.0, n), 10_000),
        (lambda n: fixed(1.0), 400),
    ),
    "rmsprop": (
        lambda p: RMSProp(p, decay=0.9),
        (lambda n: cosine(0.05, n), 600),
        (lambda n: poly(0.03, 2.0, n), 12_000),
        (lambda n: cosine(0.05, n), 400),
    ),
    "adam": (
        lambda p: Adam(p),
        (lambda n: cosine(0.1, n), 600),
        (lambda n: cosine(0.1, n), 3000),
        (lambda n: fixed(0.05), 400),
    ),
    "adam-caffe": (
        lambda p: Adam(p, form="caffe"),
        (lambda n: cosine(0.1, n), 600),
        (lambda n: cosine(0.1, n), 3000),
        (lambda n: fixed(0.05), 400),
    ),
    "adamw": (
        lambda p: AdamW(p, weight_decay=0.0),
        (lambda n: cosine(0.1, n), 600),
        (lambda n: cosine(0.1, n), 3000),
        (lambda n: fixed(0.05), 400),
    ),
}


def descend(make: Make, plan: Plan, start: list[float], gradient: Callable[[Tensor], Tensor]) -> Tensor:
    policy, steps = plan
    x = nn.Parameter(torch.tensor(start, dtype=torch.float64))
    optimizer = make([x])
    schedule = as_schedule(optimizer, policy(steps))
    for _ in range(steps):
        x.grad = gradient(x.detach())
        optimizer.step()
        schedule.step()
    return x.detach()


@pytest.mark.parametrize("name", OPTIMA)
def test_reaches_the_optimum_of_a_quadratic(name: str) -> None:
    make, plan, _, _ = OPTIMA[name]
    found = descend(make, plan, [-3.0, 2.0], quadratic)
    torch.testing.assert_close(found, torch.linalg.solve(A, B), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", OPTIMA)
def test_reaches_the_end_of_rosenbrocks_valley(name: str) -> None:
    make, _, plan, _ = OPTIMA[name]
    found = descend(make, plan, [-1.2, 1.0], rosenbrock)
    loss = (1 - found[0]) ** 2 + 100 * (found[1] - found[0] ** 2) ** 2
    assert loss.item() < 1e-4  # 24.2 at the start, 4 where the valley begins, 0 at (1, 1)


def exclusive_or() -> tuple[nn.Module, Callable[[], Tensor]]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1)).double()
    x = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=torch.float64)
    y = torch.tensor([[0], [1], [1], [0]], dtype=torch.float64)
    return net, lambda: nn.functional.binary_cross_entropy_with_logits(net(x), y)


@pytest.mark.parametrize("name", OPTIMA)
def test_a_small_net_learns_exclusive_or(name: str) -> None:
    make, _, _, (policy, steps) = OPTIMA[name]
    net, loss = exclusive_or()
    assert loss().item() > 0.6  # about log 2: it knows nothing
    optimizer = make(list(net.parameters()))
    schedule = as_schedule(optimizer, policy(steps))
    for _ in range(steps):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
        schedule.step()
    assert loss().item() < 0.02


@pytest.mark.parametrize("size", [60, 10, 1])
def test_batch_mini_batch_and_stochastic_descent(size: int) -> None:
    """Least squares without noise: with the batch, with parts of it, and sample by sample, all reach the answer."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(60, 3, generator=generator, dtype=torch.float64)
    truth = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    weight = nn.Parameter(torch.zeros(3, dtype=torch.float64))
    optimizer = SGD([weight], lr=0.1 if size > 1 else 0.05)
    for _ in range(40 * 60 // size // (6 if size == 1 else 1) if size < 60 else 300):
        rows = torch.randint(60, (size,), generator=generator) if size < 60 else torch.arange(60)
        weight.grad = x[rows].T @ (x[rows] @ weight.detach() - x[rows] @ truth) / size
        optimizer.step()
    torch.testing.assert_close(weight.detach(), truth, rtol=0, atol=1e-6)


# -- second derivatives ---------------------------------------------------------------------------------------------------


def test_newton_solves_a_quadratic_in_one_step() -> None:
    x = nn.Parameter(torch.tensor([-3.0, 2.0], dtype=torch.float64))
    loss = Newton([x]).step(lambda: 0.5 * x @ A @ x - B @ x)
    start = np.array([-3.0, 2.0])
    assert loss.item() == pytest.approx(0.5 * start @ A.numpy() @ start - B.numpy() @ start)
    torch.testing.assert_close(x.detach(), torch.linalg.solve(A, B), rtol=0, atol=1e-13)


def test_newton_in_rosenbrocks_valley() -> None:
    x = nn.Parameter(torch.tensor([-1.2, 1.0], dtype=torch.float64))
    optimizer, losses = Newton([x]), []
    for _ in range(25):
        losses.append(optimizer.step(lambda: (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2).item())
    assert all(later <= earlier for earlier, later in itertools.pairwise(losses))
    assert losses[0] == pytest.approx(24.2)
    torch.testing.assert_close(x.detach(), torch.ones(2, dtype=torch.float64), rtol=0, atol=1e-10)


def test_newton_trains_a_small_net() -> None:
    net, loss = exclusive_or()
    optimizer = Newton(net.parameters())
    for _ in range(30):
        optimizer.step(loss)
    assert loss().item() < 0.02


@pytest.mark.parametrize("start", [[0.1, 0.5], [0.0, 0.5], [-2.0, 0.1]])
def test_newton_leaves_a_saddle(start: list[float]) -> None:
    """x^4/4 - x^2/2 + y^2: a saddle at 0, minima at (1, 0) and (-1, 0). On its ridge only y is left to move."""
    x = nn.Parameter(torch.tensor(start, dtype=torch.float64))
    optimizer = Newton([x])
    for _ in range(30):
        optimizer.step(lambda: x[0] ** 4 / 4 - x[0] ** 2 / 2 + x[1] ** 2)
    expected = [float(np.sign(start[0])), 0.0]
    assert x.tolist() == pytest.approx(expected, abs=1e-8)


def test_newton_where_nothing_curves() -> None:
    """A linear loss has no second derivatives: damping alone makes a step of it, downhill."""
    x = nn.Parameter(torch.tensor([1.0, 2.0]))
    Newton([x]).step(lambda: (2 * x).sum())
    assert x[0].item() < 1.0
    assert (x[0] - 1.0).item() == pytest.approx((x[1] - 2.0).item(), rel=1e-3)


def test_newton_stays_where_no_step_lowers_the_loss() -> None:
    x = nn.Parameter(torch.tensor([1.0, 2.0], dtype=torch.float64))

    def loss() -> Tensor:  # falls along its gradient, and everywhere else than here lies higher
        return (x**2).sum() + (0.0 if x.tolist() == [1.0, 2.0] else 100.0)

    assert Newton([x]).step(loss).item() == 5.0
    assert x.tolist() == [1.0, 2.0]


def test_second_order_is_that_of_torch() -> None:
    net, loss = exclusive_or()
    params = list(net.parameters())
    shapes, names = [p.shape for p in params], [name for name, _ in net.named_parameters()]
    x = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=torch.float64)
    y = torch.tensor([[0], [1], [1], [0]], dtype=torch.float64)

    def flat_loss(flat: Tensor) -> Tensor:
        pieces = flat.split([shape.numel() for shape in shapes])
        values = {name: v.view(s) for name, v, s in zip(names, pieces, shapes, strict=True)}
        return nn.functional.binary_cross_entropy_with_logits(torch.func.functional_call(net, values, (x,)), y)

    flat = torch.cat([p.detach().flatten() for p in params])
    gradient, hessian = second_order(loss(), params)
    torch.testing.assert_close(gradient, torch.func.grad(flat_loss)(flat), rtol=0, atol=1e-12)
    torch.testing.assert_close(hessian, torch.func.jacrev(torch.func.grad(flat_loss))(flat), rtol=0, atol=1e-12)


def test_damping_is_the_first_that_suffices() -> None:
    """Eigenvalues 3 and -1, least diagonal 1, h = 2: 0.002, 0.004, ... up to the first above 1."""
    matrix = torch.tensor([[1.0, 2.0], [2.0, 1.0]], dtype=torch.float64)
    factor = damped_cholesky(matrix)
    torch.testing.assert_close(factor @ factor.T, matrix + 1.024 * torch.eye(2, dtype=torch.float64))
    with pytest.raises(UserError, match="NaN or infinite"):
        damped_cholesky(torch.full((2, 2), float("nan")))


def test_what_newton_is_asked_wrongly() -> None:
    x = nn.Parameter(torch.tensor([1.0, 2.0]))
    with pytest.raises(UserError, match="step needs the loss"):
        Newton([x]).step()
    with pytest.raises(UserError, match="scalar that depends"):
        Newton([x]).step(lambda: x.detach().sum())
    with pytest.raises(UserError, match="scalar that depends"):
        Newton([x]).step(lambda: x * 2)

    def backward() -> Tensor:
        loss = (x**2).sum()
        loss.backward()
        return loss

    with pytest.raises(UserError, match="does not call backward"):
        Newton([x]).step(backward)


def test_the_optimal_rate() -> None:
    x = nn.Parameter(torch.tensor(2.0, dtype=torch.float64))
    assert optimal_rate(torch.cosh(x), [x]) == pytest.approx(1 / math.cosh(2.0))  # one parameter: 1 / f''
    point = nn.Parameter(torch.tensor([-3.0, 2.0], dtype=torch.float64))
    g = quadratic(point.detach()).numpy()
    rate = optimal_rate(0.5 * point @ A @ point - B @ point, [point])
    line = [
        0.5 * z @ A.numpy() @ z - B.numpy() @ z
        for z in (point.detach().numpy() - r * g for r in (rate * 0.999, rate, rate * 1.001))
    ]
    assert line[1] < min(line[0], line[2])
    for bad in (-(point**2).sum(), point.sum(), (point**2 * torch.tensor([1.0, -3.0])).sum()):
        with pytest.raises(UserError, match="no rate is best"):
            optimal_rate(bad, [point])
    with pytest.raises(UserError, match="scalar that depends"):
        optimal_rate(point * 2, [point])
