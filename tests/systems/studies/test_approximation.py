"""The studies of approximation: nets written by hand against their formulas, pieces against dense sampling."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import chainrule
from chainrule.core.errors import UserError
from chainrule.systems.studies.approximation.bumps import (
    bumps,
    bumps_bound,
    cell_centres,
    modulus_of_continuity,
    towers,
)
from chainrule.systems.studies.approximation.depth_width import answers, layers_of, measure_built, rectified, width_for
from chainrule.systems.studies.approximation.given_function import NAMED, read_function, read_function_of_two
from chainrule.systems.studies.approximation.linear_pieces import (
    breakpoints,
    deep_sawtooth,
    least_alternating_error,
    linear_pieces,
    sawtooth,
    shallow_sawtooth,
)
from chainrule.systems.studies.approximation.sigmoid_bumps import fill, measure_bumps, measure_towers, measure_trained

pytestmark = pytest.mark.usefixtures("no_report")

DOUBLE = torch.float64


def logistic(z: np.ndarray | float) -> np.ndarray:
    return 0.5 * (1 + np.tanh(np.asarray(z) / 2))


# -- bumps ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 3, 8])
def test_bumps_are_the_formula(count: int) -> None:
    values = torch.linspace(-2, 3, count, dtype=DOUBLE) ** 2
    x, h = np.linspace(-1, 2, 77), 3 / count
    edges = -1 + h * np.arange(count + 1)
    edges[0], edges[-1] = -1 - h, 2 + h
    k = 9.0 / h
    expected = sum(
        v * (logistic(k * (x - edges[i])) - logistic(k * (x - edges[i + 1]))) for i, v in enumerate(values.numpy())
    )
    np.testing.assert_allclose(bumps(values, -1.0, 2.0, 9.0)(torch.from_numpy(x)[:, None]), expected, atol=1e-12)


@pytest.mark.parametrize("function", [*NAMED, "x", "7", "abs(x)^0.5", "sin(40*x)"])
@pytest.mark.parametrize("sharpness", [0.5, 4.0, 40.0, 5000.0])
def test_no_error_is_above_the_bound(function: str, sharpness: float) -> None:
    f = read_function(function, "function")
    for count in (1, 2, 7, 64):
        row = measure_bumps(f, count, sharpness)
        assert row["rms_error"] <= row["sup_error"] + 1e-12 and row["sup_error"] <= row["bound"] * (1 + 1e-9) + 1e-12


def test_steep_bumps_of_a_line_are_half_a_cell_off() -> None:
    """The closed form of f(x) = x: constant over a cell of width h, so h / 2 at its edges."""
    for count in (2, 5, 32):
        row = measure_bumps(read_function("x", "f"), count, 1e5)
        assert row["sup_error"] == pytest.approx(1 / count, rel=1e-6)
        # Of a uniform error; on the grid the edges themselves, where the net is half way, have none.
        assert row["rms_error"] == pytest.approx(1 / count / math.sqrt(3), rel=2e-2)
        assert row["bound"] == pytest.approx(2 / count, rel=1e-6)


def test_a_jump_is_never_approximated_in_the_largest_error() -> None:
    jump = [measure_bumps(NAMED["step"], n, 40.0) for n in (3, 31, 301)]
    assert all(row["sup_error"] > 0.4 for row in jump) and all(row["bound"] >= 1 for row in jump)
    assert jump[0]["rms_error"] > 2 * jump[1]["rms_error"] > 4 * jump[2]["rms_error"]


def test_the_bound_is_loose_by_no_more_than_it_says() -> None:
    assert bumps_bound(1e9, 0.25, 1.0, 1.0) == 0.25
    half, whole = float(logistic(-3.0)), float(logistic(-6.0))
    assert bumps_bound(6.0, 0.1, 2.0, 3.0) == pytest.approx(0.1 + 2 * (half + whole) + 6 * whole)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_towers_are_the_formula(count: int) -> None:
    values = torch.randn(count, count, dtype=DOUBLE, generator=torch.Generator().manual_seed(0))
    net = towers(values, 0.0, 1.0, 12.0, 30.0)
    edges, k = np.arange(count) / count, 12.0 * count
    edges[0] -= 1 / count
    for x, y in np.random.default_rng(0).uniform(0, 1, (20, 2)):
        plane = logistic(30 * (logistic(k * (x - edges))[:, None] + logistic(k * (y - edges))[None] - 1.5))
        plane = np.pad(plane, (0, 1))
        tower = plane[:-1, :-1] - plane[1:, :-1] - plane[:-1, 1:] + plane[1:, 1:]
        assert float(net(torch.tensor([[x, y]], dtype=DOUBLE))[0]) == pytest.approx(
            (values.numpy() * tower).sum(), abs=1e-10
        )


def test_towers_have_no_holes_where_thresholded_bumps_have() -> None:
    one = read_function_of_two("1", "g")
    for sharpness in (40.0, 400.0):
        assert measure_towers(one, 4, sharpness)["sup_error"] < 1e-6
    edge = logistic(np.array([10.0, 0.0, -10.0]))  # of sigmoids at a corner of the grid, in x and in y
    bump = edge[:-1] - edge[1:]
    assert logistic(60 * (bump[:, None] + bump[None] - 1.5)).sum() < 1e-6, "all four cells that meet there are off"


@pytest.mark.parametrize("function", ["x*y", "sin(pi*x)*cos(pi*y)", "max(x, y)", "exp(-8*(x^2+y^2))"])
def test_no_error_of_towers_is_above_the_bound_and_it_falls(function: str) -> None:
    rows = [measure_towers(read_function_of_two(function, "g"), n, 40.0) for n in (2, 6, 24)]
    assert all(row["sup_error"] <= row["bound"] for row in rows)
    assert rows[2]["sup_error"] < rows[0]["sup_error"] / 3


def test_the_modulus_is_that_of_all_pairs() -> None:
    draw = np.random.default_rng(1)
    for reach in (0, 1, 3, 40):
        line = draw.normal(size=17)
        pairs = [abs(line[i] - line[j]) for i in range(17) for j in range(17) if abs(i - j) <= reach]
        assert modulus_of_continuity(torch.from_numpy(line), reach) == pytest.approx(max(pairs))
        grid = draw.normal(size=(6, 6))
        near = itertools.product(range(6), repeat=4)
        most = max(abs(grid[a, b] - grid[c, d]) for a, b, c, d in near if max(abs(a - c), abs(b - d)) <= reach)
        assert modulus_of_continuity(torch.from_numpy(grid), reach) == pytest.approx(most)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cell_centres(0, 0.0, 1.0), "no such cells"),
        (lambda: cell_centres(2, 1.0, 1.0), "no such cells"),
        (lambda: bumps(torch.ones(2), 0.0, 1.0, 0.0), "sharpness is out of range"),
        (lambda: towers(torch.ones(2, 3), 0.0, 1.0, 9.0), "square of cells"),
        (lambda: towers(torch.ones(2, 2), 0.0, 1.0, 9.0, 0.0), "square of cells"),
        (lambda: modulus_of_continuity(torch.ones(2), -1), "no modulus"),
        (lambda: linear_pieces([], 0.0, 1.0), "counted on a line"),
        (lambda: linear_pieces(deep_sawtooth(1), 1.0, 1.0), "no length"),
        (lambda: deep_sawtooth(0), "depth of the sawtooth"),
        (lambda: sawtooth(torch.ones(1), 21), "depth of the sawtooth"),
        (lambda: least_alternating_error(0, 1), "no such bound"),
        (lambda: width_for(5, 3), "too few parameters"),
    ],
)
def test_wrong_arguments_are_refused_in_words(call, message: str) -> None:
    with pytest.raises(UserError, match=message):
        call()


# -- pieces -----------------------------------------------------------------------------------------------------------


def sampled_pieces(network: nn.Sequential, low: float, high: float, samples: int = 200_001) -> int:
    """By the slope at each of many points, from autograd: how often it changes."""
    x = torch.linspace(low, high, samples, dtype=DOUBLE)[:, None].requires_grad_()
    slope = torch.autograd.grad(network(x).sum(), x)[0][:, 0]
    return int((slope.diff().abs() > 1e-9 * slope.abs().max()).sum()) + 1


@pytest.mark.parametrize(("depth", "width"), [(1, 1), (1, 20), (2, 6), (3, 8), (5, 5)])
def test_pieces_are_those_that_a_dense_sample_finds(depth: int, width: int) -> None:
    for seed in range(3):
        torch.manual_seed(seed)
        network = rectified(depth, width).double()
        for parameter in network.parameters():
            nn.init.normal_(parameter, std=1.0)
        found = breakpoints(layers_of(network), -2.0, 2.0)
        assert len(found) + 1 == sampled_pieces(network, -2.0, 2.0)
        assert bool((found.diff() > 0).all()) and bool((found.abs() < 2).all())


def test_pieces_of_one_layer_are_its_kinks_that_matter() -> None:
    weight, bias = torch.tensor([[1.0], [2.0], [-1.0], [1.0], [0.0]]), torch.tensor([-0.5, -0.5, 0.25, 3.0, 1.0])
    out = torch.tensor([[1.0, 1.0, 1.0, 1.0, 1.0]])
    # Kinks at 0.5, at 0.25 twice (opposite units: 2 relu(x - 1/4) + relu(1/4 - x) still bends), at -3 outside.
    assert breakpoints([(weight, bias), (out, torch.zeros(1))], 0.0, 1.0).tolist() == [0.25, 0.5]
    # relu(z) - relu(-z) = z: two kinks at one place that cancel are none.
    straight = [
        (torch.tensor([[1.0], [-1.0]]), torch.tensor([-0.5, 0.5])),
        (torch.tensor([[1.0, -1.0]]), torch.zeros(1)),
    ]
    assert linear_pieces(straight, 0.0, 1.0) == 1
    assert linear_pieces([(torch.tensor([[3.0]]), torch.zeros(1))], 0.0, 1.0) == 1, "a net without hidden layers"


@pytest.mark.parametrize("depth", [1, 2, 5, 8])
def test_the_sawtooth_nets_are_exact(depth: int) -> None:
    x = torch.cat(
        [
            torch.linspace(0, 1, 2**depth * 8 + 1, dtype=DOUBLE),
            torch.rand(50, dtype=DOUBLE, generator=torch.Generator().manual_seed(0)),
        ]
    )
    teeth = 1 - (x * 2**depth - 2 * torch.floor(x * 2 ** (depth - 1)) - 1).abs()  # a closed form without recursion
    for layers in (deep_sawtooth(depth), shallow_sawtooth(depth)):
        torch.testing.assert_close(answers(layers, x), teeth, rtol=0, atol=1e-9)
        assert linear_pieces(layers, 0.0, 1.0) == 2**depth
    torch.testing.assert_close(sawtooth(x, depth), teeth, rtol=0, atol=1e-9)
    assert len(deep_sawtooth(depth)) == depth + 1


def test_the_least_error_is_the_least_of_all_answers() -> None:
    for points in range(1, 10):
        labels = np.arange(points) % 2
        runs_of = {}
        for answer in itertools.product((0, 1), repeat=points):
            runs = 1 + int((np.diff(answer) != 0).sum()) if points > 1 else 1
            wrong = int((np.array(answer) != labels).sum())
            runs_of[runs] = min(wrong, runs_of.get(runs, points))
        for pieces in range(1, points + 2):
            best = min(wrong for runs, wrong in runs_of.items() if runs <= pieces + 1)
            assert least_alternating_error(points, pieces) == pytest.approx(best / points)


def test_no_random_net_is_below_the_least_error() -> None:
    x = torch.arange(16, dtype=DOUBLE) / 16
    for seed in range(40):
        torch.manual_seed(seed)
        network = rectified(2, 5).double()
        for parameter in network.parameters():
            nn.init.normal_(parameter, std=2.0)
        layers = layers_of(network)
        curve = answers(layers, x)
        wrong = ((curve >= curve.median()) != (torch.arange(16) % 2 == 1)).double().mean()
        assert float(wrong) >= least_alternating_error(16, linear_pieces(layers, 0.0, 1.0))


def test_what_is_built_needs_fewer_parameters_when_deep() -> None:
    row = measure_built(8)
    assert row["pieces"] == row["shallow_pieces"] == 256 and row["difference"] < 1e-12
    assert (row["parameters"], row["shallow_parameters"]) == (6 * 8 + 1, 3 * 256 + 1)
    assert row["least_error"] == least_alternating_error(256, 17)  # 16 units of 3 parameters and one fit into 49
    for depth in range(1, 6):
        sizes = [sum(p.numel() for p in rectified(depth, w).parameters()) for w in range(1, 40)]
        for budget in (sizes[4] - 1, sizes[4], sizes[4] + 1):
            assert width_for(budget, depth) == sum(size <= budget for size in sizes)


# -- the function that is given ---------------------------------------------------------------------------------------


def test_functions_are_read() -> None:
    x = torch.tensor([-0.5, 0.0, 0.25], dtype=DOUBLE)
    expected = {
        "sin": np.sin(np.pi * x.numpy()),
        "step": [0, 1, 1],
        "hat": [0, 1, 0.5],
        "runge": 1 / (1 + 25 * x.numpy() ** 2),
        "2*x+1": 2 * x.numpy() + 1,
        "3": [3, 3, 3],
    }
    for text, values in expected.items():
        np.testing.assert_allclose(read_function(text, "function")(x), values, atol=1e-12)
    np.testing.assert_allclose(read_function_of_two("y - 2*x", "g")(x, x + 1), (1 - x).numpy())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"function": "sni"}, "unknown variable"),
        ({"function": "sin(x"}, "no expression"),
        ({"function": "x*z"}, "unknown variable"),
        ({"function": "log(x)"}, "NaN or infinite somewhere"),
        ({"function": "__import__('os')"}, "there is no function|not allowed"),
        ({"function_2d": "1/(x-y)"}, "NaN or infinite somewhere"),
        ({"counts": ()}, "sizes are out of range"),
        ({"counts": (5000,)}, "sizes are out of range"),
        ({"cells": (64,)}, "sizes are out of range"),
        ({"sharpness": ()}, "nothing to measure"),
        ({"counts": (0,)}, "wrong type or range"),
    ],
)
def test_wrong_settings_of_bumps_end_before_the_first_step(settings: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        chainrule.train("sigmoid-bumps", out=tmp_path / "run", device="cpu", **settings)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"built": 15}, "too many teeth"),
        ({"folds": 9}, "too many teeth"),
        ({"depths": (1, 9), "parameters": 12}, "too few parameters"),
        ({"widths": ()}, "nothing to measure"),
    ],
)
def test_wrong_settings_of_depth_end_before_the_first_step(settings: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        chainrule.train("depth-width", out=tmp_path / "run", device="cpu", **settings)


# -- what the studies measure ------------------------------------------------------------------------------------------


def test_the_net_that_is_trained_begins_as_the_bumps() -> None:
    f = NAMED["runge"]
    written = bumps(f(cell_centres(6, -1.0, 1.0)), -1.0, 1.0, 40.0)
    network = nn.Sequential(nn.Linear(1, 12), nn.Sigmoid(), nn.Linear(12, 1)).double()
    fill(network, written)
    x = torch.linspace(-1, 1, 50, dtype=DOUBLE)[:, None]
    torch.testing.assert_close(network(x)[:, 0], written(x))
    torch.manual_seed(0)
    row = measure_trained(f, 6, 40.0, "built", 200, 0.01)
    assert row["before"] == pytest.approx(measure_bumps(f, 6, 40.0)["sup_error"], abs=0.02)
    assert row["rms_error"] < measure_bumps(f, 6, 40.0)["rms_error"]


def test_the_bumps_recipe_measures_first_order(tmp_path: Path) -> None:
    run = chainrule.train(
        "sigmoid-bumps",
        out=tmp_path / "b",
        device="cpu",
        function="exp(x)",
        counts=(8, 32, 128),
        cells=(4, 8, 16),
        trained=(4,),
        steps=30,
    )
    found = run.result()["metrics"]  # type: ignore[index]
    assert found["order"] == pytest.approx(1, abs=0.03) and found["points_above_their_bound"] == 0
    # Half a cell times the largest slope, which is at the right end.
    assert found["sup_error"] == pytest.approx(math.e / 128, rel=0.02) and found["bumps"] == 128
    assert found["sup_error"] <= found["sup_error_bound"] < 2.1 * found["sup_error"]


def test_the_depth_recipe_measures_more_pieces_with_depth(tmp_path: Path) -> None:
    run = chainrule.train(
        "depth-width",
        out=tmp_path / "d",
        device="cpu",
        seed=0,
        built=7,
        folds=2,
        widths=(4, 32),
        depths=(1, 3),
        parameters=100,
        repeats=2,
        steps=400,
    )
    found = run.result()["metrics"]  # type: ignore[index]
    assert found["pieces_built"] == 128 and found["parameters_deep"] == 43 and found["parameters_shallow"] == 385
    assert found["nets_below_the_least_error"] == 0 and found["largest_difference_of_the_two"] < 1e-12
    assert found["pieces_of_width_4"] <= 5 and found["rms_error_of_width_32"] < found["rms_error_of_width_4"]
    assert found["least_error_of_a_shallow_net_as_large"] == least_alternating_error(128, 15) > 0.4
