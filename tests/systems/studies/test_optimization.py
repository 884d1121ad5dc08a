"""The studies of descent: surfaces and theory against independent computation, walks against loops by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import chainrule
from chainrule.core.errors import UserError
from chainrule.data.images.loading import ImageSplit
from chainrule.systems.studies.optimization.descent_theory import best_tuning, escape_steps, factor
from chainrule.systems.studies.optimization.ravine import METHODS, measure_contraction
from chainrule.systems.studies.optimization.saddle import measure_escape
from chainrule.systems.studies.optimization.surfaces import (
    gradients,
    monkey_saddle,
    newton_step,
    ravine,
    rosenbrock,
    saddle,
)
from chainrule.systems.studies.optimization.tanh_relu import (
    FourLayers,
    best_rate,
    conclude,
    subset,
    train_to,
    training_error,
)
from chainrule.systems.studies.optimization.walk import RULES, Walk, walk, walk_newton

pytestmark = pytest.mark.usefixtures("no_report")

DOUBLE = torch.float64


def point(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=DOUBLE)


# -- surfaces -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("angle", [0.0, 30.0, -120.0])
def test_the_ravine_has_its_curvatures_whatever_its_angle(angle: float) -> None:
    second = torch.autograd.functional.hessian(lambda p: ravine(p, 50.0, angle), point(0.3, -2.0))
    np.testing.assert_allclose(np.linalg.eigvalsh(second.numpy()), [1.0, 50.0], rtol=1e-12)
    along = point(math.cos(math.radians(angle)), math.sin(math.radians(angle)))
    assert float(ravine(along, 50.0, angle)) == pytest.approx(0.5)


def test_gradients_are_those_worked_by_hand() -> None:
    p = point(0.7, -1.3)
    x, y = p.tolist()
    by_hand = {
        saddle: (2 * x, -2 * y),
        monkey_saddle: (3 * x * x - 3 * y * y, -6 * x * y),
        rosenbrock: (-2 * (1 - x) - 400 * x * (y - x * x), 200 * (y - x * x)),
    }
    for surface, expected in by_hand.items():
        np.testing.assert_allclose(gradients(surface, p[None])[0], expected, rtol=1e-12)
        assert torch.autograd.gradcheck(surface, p.clone().requires_grad_())


def test_newtons_step_ends_on_a_quadratic_and_halves_the_monkey_saddle() -> None:
    for p in (point(3.0, -4.0), point(1e-8, 5.0)):
        np.testing.assert_allclose(p + newton_step(saddle, p), 0, atol=1e-14)
        # The gradient is of second degree, so H p = 2 g by Euler's theorem, and the step is -p / 2.
        np.testing.assert_allclose(newton_step(monkey_saddle, p), -p / 2, rtol=1e-9, atol=1e-15)
    assert newton_step(monkey_saddle, point(0.0, 0.0)).tolist() == [0, 0]


def test_what_is_no_point_or_no_ravine_is_refused() -> None:
    with pytest.raises(UserError, match="not of the plane"):
        saddle(torch.zeros(3))
    with pytest.raises(UserError, match="condition number is out of range"):
        ravine(torch.zeros(2), condition=0.5)


# -- theory -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nesterov", [False, True])
def test_the_factor_is_the_spectral_radius_of_the_recursion(nesterov: bool) -> None:
    draw = np.random.default_rng(0)
    for _ in range(50):
        h, lr, mu = draw.uniform(-3, 30), draw.uniform(0, 0.2), draw.uniform(0, 1)
        a = 1 - lr * h
        matrix = [[(1 + mu) * a, -mu * a], [1, 0]] if nesterov else [[1 + mu - lr * h, -mu], [1, 0]]
        expected = max(abs(np.linalg.eigvals(np.array(matrix))))
        assert factor(h, lr, mu, nesterov=nesterov) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("method", METHODS.values())
@pytest.mark.parametrize("condition", [1.0, 4.0, 100.0, 1e4])
def test_no_other_tuning_contracts_better(method: str, condition: float) -> None:
    least, most = 0.5, 0.5 * condition
    best = best_tuning(method, least, most)  # type: ignore[arg-type]

    def worst(lr: float, mu: float) -> float:
        inside = np.linspace(least, most, 9)  # all quadratics between, not the two ends alone
        return max(factor(h, lr, mu, nesterov=method == "nesterov") for h in inside)

    assert worst(best.lr, best.momentum) == pytest.approx(best.contraction, abs=2e-7)
    if condition == 1:
        return
    momenta = (
        [0.0] if method == "gradient descent" else best.momentum + np.linspace(-0.2, 1, 25) * (1 - best.momentum) * 0.9
    )
    others = [worst(best.lr * f, mu) for f in np.linspace(0.5, 1.6, 45) for mu in momenta if mu >= 0]
    assert min(others) > best.contraction - 1e-6


@pytest.mark.parametrize(("least", "most"), [(0.0, 1.0), (2.0, 1.0), (1.0, math.inf)])
def test_curvatures_out_of_range_are_refused(least: float, most: float) -> None:
    with pytest.raises(UserError, match="curvatures are out of range"):
        best_tuning("momentum", least, most)


def test_escape_steps_are_those_of_a_loop() -> None:
    for distance in (0.9, 0.3, 1e-3, 1e-12):
        for lr, curvature in ((0.05, -2.0), (1.0, -1.0), (1e-2, -0.3)):
            y, steps = distance, 0
            while y < 1.0:
                y, steps = y * (1 - lr * curvature), steps + 1
            assert escape_steps(distance, 1.0, lr, curvature) == steps
    assert escape_steps(2.0, 1.0, 0.1, -1.0) == 0
    for bad in ((0.0, 0.1, -1.0), (0.1, 0.0, -1.0), (0.1, 0.1, 1.0)):
        with pytest.raises(UserError, match="never leaves"):
            escape_steps(bad[0], 1.0, bad[1], bad[2])


# -- walks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
def test_many_walks_at_once_are_each_as_alone(rule: str) -> None:
    def near(points: torch.Tensor) -> torch.Tensor:
        return points.norm(dim=1) < 0.05

    def some() -> list[Walk]:
        starts = ((1.0, 1.0), (0.2, -0.4), (0.01, 0.0))
        return [Walk(point(*s), lr, 0.5) for s in starts for lr in (1e-4, 0.03, 0.5)]

    together, alone = some(), some()
    settings = {"done": near, "max_steps": 60, "keep": 1000}
    walk(lambda p: ravine(p, 9.0, 20.0), rule, together, **settings)  # type: ignore[arg-type]
    for one in alone:
        walk(lambda p: ravine(p, 9.0, 20.0), rule, [one], **settings)  # type: ignore[arg-type]
    for a, b in zip(together, alone, strict=True):
        assert a.steps == b.steps
        np.testing.assert_allclose(a.path, b.path, rtol=1e-9, atol=1e-12)
    assert {w.steps for w in together[6:]} == {0}, "who begins there is there"
    assert together[0].steps is None and any(w.steps for w in together)
    for w in together:  # the step that is told is the first at which it held
        inside = near(torch.tensor(w.path, dtype=DOUBLE)).tolist()
        assert w.steps == (inside.index(True) if True in inside else None)


@pytest.mark.parametrize(("rule", "mu"), [("sgd", 0.0), ("momentum", 0.8), ("nesterov", 0.8)])
def test_a_walk_is_the_loop_of_the_textbook(rule: str, mu: float) -> None:
    one = Walk(point(-1.2, 1.0), 1e-3, mu)
    never = lambda p: torch.zeros(len(p), dtype=torch.bool)  # noqa: E731
    walk(rosenbrock, rule, [one], done=never, max_steps=40, keep=100)
    x, v = np.array([-1.2, 1.0]), np.zeros(2)
    for step in range(41):
        np.testing.assert_allclose(one.path[step], x, rtol=1e-10)
        at = x - 1e-3 * mu * v if rule == "nesterov" else x
        if rule == "nesterov":  # torch's form keeps the point that has looked ahead
            at = x
        g = np.array([-2 * (1 - at[0]) - 400 * at[0] * (at[1] - at[0] ** 2), 200 * (at[1] - at[0] ** 2)])
        v = mu * v + g
        x = x - 1e-3 * (g + mu * v if rule == "nesterov" else v)
    assert len(one.path) == 41 and one.steps is None


def test_a_walk_that_runs_away_ends_and_has_no_steps() -> None:
    away, fine = Walk(point(1.0, 1.0), 1.0), Walk(point(1.0, 1.0), 0.15)
    walk(lambda p: ravine(p, 10.0), "sgd", [away, fine], done=lambda p: p.norm(dim=1) < 1e-3, max_steps=500, keep=500)
    assert away.steps is None and len(away.path) < 20
    assert fine.steps == math.ceil(math.log(1e-3) / math.log(0.85))


def test_who_only_passes_through_has_not_arrived() -> None:
    """At lr = 2 / h a coordinate swings between its two sides for ever; one with a start in the goal leaves it at once."""
    swings = Walk(point(0.0, 1.0), 0.25)
    outside = Walk(point(0.05, 0.0), 0.0)
    walk(lambda p: ravine(p, 10.0), "sgd", [swings, outside], done=lambda p: p[:, 1].abs() < 2, max_steps=3, hold=2)
    assert (swings.steps, outside.steps) == (0, 0)
    passing = Walk(point(1.0, 0.0), 0.5, 0.95)  # momentum carries it through the goal and out on the other side
    walk(
        lambda p: ravine(p, 1.0),
        "momentum",
        [passing],
        done=lambda p: p.norm(dim=1) < 0.3,
        max_steps=400,
        keep=500,
        hold=20,
    )
    inside = [math.hypot(*p) < 0.3 for p in passing.path]
    assert passing.steps is not None and inside.index(True) < passing.steps
    assert not inside[passing.steps - 1] and all(inside[passing.steps : passing.steps + 20])


def test_who_is_far_slower_than_the_first_is_given_up() -> None:
    walks = [Walk(point(1.0, 0.0), lr) for lr in (0.5, 0.1, 0.001)]
    walk(lambda p: ravine(p, 1.0), "sgd", walks, done=lambda p: p.norm(dim=1) < 0.3, max_steps=9999, patience=8)
    assert [w.steps for w in walks] == [2, 12, None]


def test_noise_moves_a_walk_that_begins_on_the_saddle_and_nothing_else_does() -> None:
    out = {"done": lambda p: p.norm(dim=1) >= 1, "max_steps": 400}
    noisy, plain = Walk(point(0.0, 0.0), 0.05), Walk(point(0.0, 0.0), 0.05)
    torch.manual_seed(0)
    walk(saddle, "noise", [noisy], noise=1e-2, **out)  # type: ignore[arg-type]
    walk(saddle, "sgd", [plain], **out)  # type: ignore[arg-type]
    assert noisy.steps is not None and plain.steps is None
    damped = walk_newton(monkey_saddle, point(0.1, 0.05), 60, damped=True, done=lambda p: p.norm(dim=1) >= 1)
    pure = walk_newton(monkey_saddle, point(0.1, 0.05), 60, damped=False, done=lambda p: p.norm(dim=1) >= 1)
    assert damped.steps is not None and pure.steps is None
    assert math.hypot(*pure.path[-1]) == pytest.approx(math.hypot(0.1, 0.05) / 2**60, rel=1e-6)


@pytest.mark.parametrize(
    ("rule", "peer"), [("adam", torch.optim.Adam), ("rmsprop", torch.optim.RMSprop), ("adagrad", torch.optim.Adagrad)]
)
def test_an_adaptive_walk_is_that_of_pytorchs_rule_at_its_own_rate(
    rule: str, peer: type[torch.optim.Optimizer]
) -> None:
    walks = [Walk(point(-1.2, 1.0), lr) for lr in (0.003, 0.2)]
    never = lambda p: torch.zeros(len(p), dtype=torch.bool)  # noqa: E731
    walk(rosenbrock, rule, walks, done=never, max_steps=60, keep=100)
    for one in walks:
        w = nn.Parameter(point(-1.2, 1.0))
        settings = {"eps": 1e-10} if rule == "adagrad" else {}
        optimizer = peer([w], lr=one.lr, **settings)  # type: ignore[call-arg]
        for place in one.path:
            np.testing.assert_allclose(place, w.detach(), rtol=1e-6)
            optimizer.zero_grad()
            rosenbrock(w).backward()
            optimizer.step()


# -- what the studies measure ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", METHODS)
@pytest.mark.parametrize("condition", [4.0, 100.0, 900.0])
def test_the_measured_contraction_is_the_predicted_one(rule: str, condition: float) -> None:
    row = measure_contraction(rule, condition, 30.0, 300)
    assert row["contraction"] == pytest.approx(row["predicted"], rel=0.02)


def test_gradient_descent_leaves_the_saddle_when_the_formula_says(tmp_path: Path) -> None:
    distances = (0.3, 0.1, 1e-2, 1e-5, 1e-9)
    row = measure_escape(
        "saddle", "sgd", distances=distances, lr=0.05, momentum=0.9, noise=0.1, repeats=1, max_steps=900
    )
    assert row["steps"] == [escape_steps(d / math.sqrt(2), 1.0, 0.05, -2.0) for d in distances]
    assert row["from_the_saddle"] is None


def test_the_ravine_recipe_measures_the_root_of_the_condition(tmp_path: Path) -> None:
    run = chainrule.train(
        "ravine",
        out=tmp_path / "r",
        device="cpu",
        condition=100.0,
        rates=8,
        momenta=(0.7,),
        tolerance=1e-2,
        max_steps=400,
        contraction_steps=150,
    )
    found = run.result()["metrics"]  # type: ignore[index]
    assert found["ravine_speedup_predicted"] == pytest.approx(math.log(9 / 11) / math.log(99 / 101))
    assert 3 < found["ravine_speedup_of_momentum"] < 15
    assert found["sgd_contraction"] == pytest.approx(99 / 101, abs=1e-3)
    assert "rosenbrock_sgd_steps" not in found, "a rule that did not arrive has no steps"


def test_the_saddle_recipe_measures_the_logarithm(tmp_path: Path) -> None:
    run = chainrule.train(
        "saddle-escape", out=tmp_path / "s", device="cpu", distances=(1e-8, 0.1, 1e-3), max_steps=260, repeats=3
    )
    found = run.result()["metrics"]  # type: ignore[index]
    assert found["saddle_sgd_largest_deviation_in_steps"] == 0
    for rule in ("sgd", "momentum", "nesterov"):
        predicted = found[f"saddle_{rule}_steps_per_decade_predicted"]
        assert found[f"saddle_{rule}_steps_per_decade"] == pytest.approx(predicted, rel=0.06)
    assert found["saddle_momentum_steps_per_decade"] < found["saddle_sgd_steps_per_decade"] / 2
    assert found["saddle_newton_last_distance"] < 1e-12 and found["monkey_newton_last_distance"] < 1e-12
    assert "saddle_noise_steps_from_the_saddle" in found and "saddle_sgd_steps_from_the_saddle" not in found


@pytest.mark.parametrize(
    ("recipe", "settings", "message"),
    [
        ("ravine", {"condition": 1.0}, "no ravine"),
        ("ravine", {"momenta": (0.9, 1.0)}, "momentum is out of range"),
        ("ravine", {"tolerance": 2.0}, "tolerance is out of range"),
        ("ravine", {"data": "digits"}, "makes its own data"),
        ("saddle-escape", {"distances": (0.1,)}, "distances are out of range"),
        ("saddle-escape", {"distances": (0.1, 0.1)}, "distances are out of range"),
        ("saddle-escape", {"distances": (0.1, 1.5)}, "distances are out of range"),
        ("saddle-escape", {"momentum": 1.0}, "momentum is out of range"),
        ("saddle-escape", {"noise": 0.0}, "noise"),
        ("tanh-relu", {"error": 1.0}, "error to reach is out of range"),
        ("tanh-relu", {"momentum": 1.0}, "momentum is out of range"),
        ("tanh-relu", {"rates": ()}, "nothing to measure"),
    ],
)
def test_wrong_settings_end_before_the_first_step(recipe: str, settings: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        chainrule.train(recipe, out=tmp_path / "run", device="cpu", **settings)
    assert not (tmp_path / "run").exists()


# -- tanh against ReLU ------------------------------------------------------------------------------------------------


def blobs() -> tuple[torch.Tensor, torch.Tensor]:
    """Bytes of two classes that differ by the bright half."""
    y = torch.arange(60) % 2
    x = torch.randint(0, 60, (60, 1, 8, 8), generator=torch.Generator().manual_seed(1))
    x[y == 1, :, :4] += 150
    return x.to(torch.uint8).float() / 255, y


def test_the_net_has_four_layers_and_takes_any_size() -> None:
    for size in (7, 8, 32):
        net = FourLayers(3, size, 5, 4, "tanh")
        assert net(torch.zeros(2, 3, size, size)).shape == (2, 5)
        assert sum(p.dim() > 1 for p in net.parameters()) == 4
    x = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    nets = {}
    for name in ("relu", "tanh"):
        torch.manual_seed(0)
        nets[name] = FourLayers(1, 8, 2, 3, name)
    hidden = nets["tanh"].convolutions[0](x)
    expected = nn.functional.max_pool2d(hidden.tanh(), 3, 2, 1)
    for convolution in list(nets["tanh"].convolutions)[1:]:
        expected = nn.functional.max_pool2d(torch.tanh(convolution(expected)), 3, 2, 1)
    torch.testing.assert_close(nets["tanh"](x), nets["tanh"].classifier(expected.flatten(1)))
    assert not torch.allclose(nets["relu"](x), nets["tanh"](x))


def test_training_stops_at_the_goal_and_says_when() -> None:
    x, y = blobs()
    torch.manual_seed(0)
    net = FourLayers(1, 8, 2, 4, "relu")
    found = train_to(net, x, y, goal=0.02, lr=0.05, momentum=0.9, epochs=40, batch_size=20, measure_every=2)
    assert found["epochs"] == found["epochs_measured"][-1] and found["errors"][-1] <= 0.02
    assert all(e > 0.02 for e in found["errors"][:-1]) and found["last_error"] == training_error(net, x, y)
    assert np.allclose(np.diff(found["epochs_measured"]), 2 / 3), "two updates of three an epoch"
    with torch.no_grad():
        assert training_error(net, x, y) == float((net(x).argmax(1) != y).double().mean())
    hopeless = train_to(net, x, y, goal=-1.0, lr=1e30, momentum=0.0, epochs=3, batch_size=600, measure_every=1)
    assert hopeless["epochs"] is None and all(math.isfinite(e) for e in hopeless["errors"])


def test_a_subset_is_drawn_by_the_seed() -> None:
    split = ImageSplit(torch.arange(20, dtype=torch.uint8).reshape(20, 1, 1, 1), torch.arange(20))
    x, y = subset(split, 7, seed=3)
    assert len(y) == 7 and x.flatten().tolist() == y.tolist() == subset(split, 7, seed=3)[1].tolist()
    assert y.tolist() != subset(split, 7, seed=4)[1].tolist()
    assert (
        sorted(subset(split, 0, seed=3)[1].tolist()) == sorted(subset(split, 99, seed=3)[1].tolist()) == list(range(20))
    )


def test_the_conclusion_takes_the_fastest_rate_of_each_by_hand() -> None:
    def row(activation: str, lr: float, epochs: float | None) -> dict:
        return {"activation": activation, "lr": lr, "epochs": epochs}

    rows = [
        row("relu", 0.1, 1.0),
        row("relu", 0.1, None),
        row("relu", 0.2, 2.0),
        row("relu", 0.2, 4.0),
        row("relu", 0.3, 9.0),
    ]
    tanh = [row("tanh", 0.1, 18.0), row("tanh", 0.2, None), row("tanh", 0.3, 20.0)]
    found = conclude(rows + tanh, 30)
    assert found == {
        "relu_epochs": 3.0,
        "relu_lr": 0.2,
        "relu_lr_is_at_an_end": 0.0,
        "tanh_epochs": 18.0,
        "tanh_lr": 0.1,
        "tanh_lr_is_at_an_end": 1.0,
        "max_epochs": 30,
        "ratio_of_epochs": 6.0,
    }
    logistic = conclude([*rows, *tanh, row("sigmoid", 0.1, 36.0), row("sigmoid", 0.3, None)], 30)
    assert logistic["sigmoid_ratio_of_epochs"] == 2.0 and found.items() <= logistic.items()
    none = [row("tanh", 0.1, None)]
    assert best_rate(none, "tanh") is None and "ratio_of_epochs" not in conclude(rows + none, 30)


def test_tanh_relu_on_digits_reaches_the_error_with_both(tmp_path: Path) -> None:
    settings = {
        "rates": (0.03,),
        "repeats": 1,
        "epochs": 10,
        "width": 8,
        "train_size": 500,
        "error": 0.15,
        "batch_size": 32,
    }
    found = chainrule.train("tanh-relu", out=tmp_path / "t", device="cpu", seed=0, **settings).result()["metrics"]  # type: ignore[index,arg-type]
    assert 0 < found["relu_epochs"] < 10 and 0 < found["tanh_epochs"] < 10
    assert found["ratio_of_epochs"] == pytest.approx(found["tanh_epochs"] / found["relu_epochs"])
    assert found.get("sigmoid_epochs", math.inf) > found["tanh_epochs"]
