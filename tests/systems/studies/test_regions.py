"""Regions of the plane as nets: polygons against Matplotlib's and SciPy's geometry, nets against their formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from matplotlib.path import Path as Outline
from scipy.spatial import ConvexHull

from chainrule.core.errors import UserError
from chainrule.systems.studies.approximation.polygons import convex_pieces, half_planes, inside
from chainrule.systems.studies.approximation.regions import convex_region, region, square_bump
from chainrule.systems.studies.approximation.shapes import SHAPES, measure_region, region_of

DOUBLE = torch.float64
ARROW = [[0.0, 0.0], [2.0, 1.0], [0.0, 2.0], [1.0, 1.0]]


def logistic(z: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(z / 2))


def drawn(seed: int, count: int) -> np.ndarray:
    """A simple polygon that is hardly ever convex: corners at sorted angles, of any distance."""
    draw = np.random.default_rng(seed)
    angles = np.sort(draw.uniform(0, 2 * np.pi, count)) + np.linspace(0, 0.1, count)
    radius = draw.uniform(0.2, 1, count)
    return np.stack([radius * np.cos(angles), radius * np.sin(angles)], 1)[:: 1 if seed % 2 else -1].copy()


def area(corners: np.ndarray) -> float:
    x, y = corners.T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


@pytest.mark.parametrize("seed", range(6))
def test_polygons_are_those_of_matplotlib(seed: int) -> None:
    corners = drawn(seed, 5 + 2 * seed)
    points = np.random.default_rng(9).uniform(-1, 1, (400, 2))
    truth = Outline(corners).contains_points(points)
    assert inside(torch.from_numpy(points), torch.from_numpy(corners)).tolist() == truth.tolist()
    # The pieces are convex (SciPy's hull has all their corners), and they are the polygon: as large, and each inside.
    pieces = [piece.numpy() for piece in convex_pieces(torch.from_numpy(corners))]
    for piece in pieces:
        assert len(ConvexHull(piece).vertices) == len(piece)
    assert sum(map(area, pieces)) == pytest.approx(area(corners), rel=1e-9)
    assert np.array_equal(np.any([Outline(piece).contains_points(points) for piece in pieces], 0), truth)


def test_pieces_by_hand() -> None:
    assert [len(piece) for piece in convex_pieces(torch.tensor(ARROW))] == [3, 3]
    square = torch.tensor([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [2.0, 2.0], [0.0, 2.0]])  # a corner on a straight side
    assert [len(piece) for piece in convex_pieces(square)] == [4]
    corner = torch.tensor([[0.0, 0.0], [2.0, 0.0], [2.0, 1.0], [1.0, 1.0], [1.0, 2.0], [0.0, 2.0]])
    assert len(convex_pieces(corner)) == 2, "an L is two convex pieces"


@pytest.mark.parametrize("seed", range(4))
def test_a_convex_region_lies_inside_and_reaches_nearly_to_the_sides(seed: int) -> None:
    cloud = np.random.default_rng(seed).normal(size=(12, 2))
    corners = cloud[ConvexHull(cloud).vertices]
    points = np.random.default_rng(9).uniform(-2.5, 2.5, (3000, 2))
    # SciPy's planes have normals of length 1 outwards: a x + b y + c is how far outside.
    far = -(points @ ConvexHull(corners).equations[:, :2].T + ConvexHull(corners).equations[:, 2])
    distance = far.min(1)
    normals, offsets = half_planes(torch.from_numpy(corners))
    np.testing.assert_allclose((torch.from_numpy(points) @ normals.T + offsets).min(1).values, distance, atol=1e-12)
    for k in (2.0, 5.0, 50.0):
        found = convex_region(torch.from_numpy(corners), k)(torch.from_numpy(points)).numpy()
        assert (found[distance < 0] < 0).all(), "blunt or steep, never outside"
        assert (found[distance > math.log(2 * len(corners) - 1) / k] > 0).all()
        if k == 2.0:  # the formula, from SciPy's planes
            np.testing.assert_allclose(found, logistic(k * far).sum(1) - len(corners) + 0.5, atol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_a_union_has_no_gap_where_its_pieces_meet(seed: int) -> None:
    corners = drawn(seed, 9)
    pieces = convex_pieces(torch.from_numpy(corners))
    net = region(pieces, 3000.0)
    points = np.random.default_rng(8).uniform(-1, 1, (3000, 2))
    # On the sides of the pieces too, where those lie well within the polygon.
    sides = torch.cat([torch.cat([p + (p.roll(-1, 0) - p) * t for t in (0.3, 0.5, 0.7)]) for p in pieces]).numpy()
    points = np.concatenate([points, sides])
    ends = np.roll(corners, -1, 0)
    along = (ends - corners)[None]
    share = np.clip(((points[:, None] - corners) * along).sum(2) / (along**2).sum(2), 0, 1)
    distance = np.linalg.norm(points[:, None] - corners - share[..., None] * along, axis=2).min(1)
    clear = distance > 0.01
    truth = Outline(corners).contains_points(points)
    assert clear[len(points) - len(sides) :].any()
    assert np.array_equal((net(torch.from_numpy(points)) > 0).numpy()[clear], truth[clear])


def test_the_bump_of_two_pairs_is_the_formula() -> None:
    x, y = np.random.default_rng(0).uniform(-3, 3, (2, 50))
    net = square_bump(-0.5, 1.5, 4.0, second=5.0)
    assert [tuple(weight.shape) for weight in net.weights] == [(4, 2), (1, 4)]
    pairs = [logistic(4 * (v + 0.5)) + logistic(4 * (1.5 - v)) for v in (x, y)]
    found = net(torch.from_numpy(np.stack([x, y], 1)))
    np.testing.assert_allclose(found, 5 * (pairs[0] + pairs[1] - 3.5), atol=1e-12)
    steep = square_bump(-0.5, 1.5, 100.0, second=1.0)  # on both ridges, on one, on none: 4, 3, 2 units
    assert steep(torch.tensor([[0.5, 0.5], [0.5, 3.0], [3.0, 3.0]], dtype=DOUBLE)).tolist() == pytest.approx(
        [0.5, -0.5, -1.5]
    )


@pytest.mark.parametrize("name", SHAPES)
def test_the_shapes_of_the_study(name: str) -> None:
    row = measure_region(name, (20.0, 2000.0))
    assert row["hidden_layers"] == (1 if name in ("triangle", "hexagon") else 2)
    blunt, steep = row["wrong_by_sharpness"]
    assert steep == row["wrong"] < 0.01 and steep < blunt < 0.2
    if row["hidden_layers"] == 1:
        assert row["units"] == len(SHAPES[name][0])
    else:
        net = region_of(SHAPES[name], 9.0)
        assert row["units"] == len(net.biases[0]) + len(net.biases[1])


@pytest.mark.parametrize(
    ("corners", "message"),
    [
        ([[0.0, 0.0], [1.0, 0.0]], "no polygon"),
        ([[0.0, 0.0], [1.0, 0.0], [math.nan, 1.0]], "no polygon"),
        ([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]], "touch each other"),
        ([[0.0, 0.0], [1.0, 1.0], [1.0, 0.0], [0.0, 1.0]], "touch each other"),
        ([[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [1.0, 0.0]], "touch each other"),
        ([[0.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], "touch each other"),
        (ARROW, "not convex"),
    ],
)
def test_what_is_no_convex_polygon_is_refused_in_words(corners: list, message: str) -> None:
    with pytest.raises(UserError, match=message):
        convex_region(torch.tensor(corners), 10.0)


def test_wrong_arguments_are_refused_in_words() -> None:
    triangle = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    for call, message in (
        (lambda: convex_region(triangle, 0.0), "sharpness"),
        (lambda: region([], 10.0), "no such region"),
        (lambda: region([triangle], 10.0, second=0.0), "no such region"),
        (lambda: square_bump(1.0, 1.0, 10.0), "no such bump"),
    ):
        with pytest.raises(UserError, match=message):
            call()
