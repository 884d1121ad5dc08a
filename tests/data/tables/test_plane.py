"""Problems in the plane, and features made by hand: against scikit-learn, by hand, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import PolynomialFeatures

import chainrule
from chainrule.core.errors import UserError
from chainrule.data.check import check
from chainrule.data.tables import plane
from chainrule.data.tables.loading import read_table_splits
from chainrule.functional.features import MOST, Factor, compute, name_of, parse, polynomial
from chainrule.nn.features import features_of

pytestmark = pytest.mark.usefixtures("no_report")


@pytest.mark.parametrize("degree", [0, 1, 2, 3, 5])
@pytest.mark.parametrize("width", [1, 2, 4])
@pytest.mark.parametrize("interaction_only", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_polynomial_basis_is_scikit_learns(degree: int, width: int, interaction_only: bool, bias: bool) -> None:
    if degree == 0 and not bias:
        assert polynomial(width, 0, bias=False) == []
        return
    x = np.random.default_rng(0).standard_normal((9, width))
    oracle = PolynomialFeatures(degree, interaction_only=interaction_only, include_bias=bias)
    expected = oracle.fit_transform(x)
    features = polynomial(width, degree, interaction_only=interaction_only, bias=bias)
    np.testing.assert_allclose(compute(torch.from_numpy(x), features).numpy(), expected, rtol=1e-12, atol=1e-12)
    theirs = oracle.get_feature_names_out([f"x{i + 1}" for i in range(width)])
    assert [name_of(f) for f in features] == [name.replace(" ", "") for name in theirs]


def test_features_by_hand() -> None:
    x = torch.tensor([[0.5, -2.0], [0.0, 3.0]], dtype=torch.float64)
    texts = ["x1", "x1x2", "x1*x2", "x2^3", "sin(x1)", "x2 cos(x1)^2", "exp(x1)abs(x2)", "tanh(x2)"]
    found = compute(x, [parse(text, 2) for text in texts]).numpy()
    a, b = x.numpy().T
    expected = [a, a * b, a * b, b**3, np.sin(a), b * np.cos(a) ** 2, np.exp(a) * np.abs(b), np.tanh(b)]
    np.testing.assert_allclose(found.T, expected, rtol=1e-14, atol=1e-15)


def test_a_name_reads_as_what_it_names() -> None:
    for feature in [*polynomial(3, 3, bias=False), (Factor(0, 2, "sin"), Factor(2, 1, "exp"))]:
        assert parse(name_of(feature), 3) == feature


def test_x12_is_the_twelfth_and_not_x1_of_2() -> None:
    assert parse("x12", 12) == (Factor(11),)
    assert parse("x1x2^12", 2) == (Factor(0), Factor(1, 12))


@pytest.mark.parametrize(
    "text", ["", " ", "x", "x0", "x3", "y1", "x1+x2", "log(x1)", "sin(x1x2)", "x1^-1", "x1^", "__import__('os')"]
)
def test_what_is_no_feature_is_refused(text: str) -> None:
    with pytest.raises(UserError):
        parse(text, 2)


def test_the_basis_has_a_limit_and_rows_must_fit() -> None:
    with pytest.raises(UserError, match="too large"):
        polynomial(100, 10)
    assert len(polynomial(2, 197)) <= MOST
    with pytest.raises(UserError, match="no such polynomial"):
        polynomial(0, 2)
    with pytest.raises(UserError, match="do not fit"):
        compute(torch.zeros(3, 1), [parse("x2", 2)])
    assert compute(torch.zeros(0, 2), polynomial(2, 2)).shape == (0, 6)
    assert compute(torch.zeros(4, 2), []).shape == (4, 0)


def test_features_have_the_right_gradient() -> None:
    x = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    features = [*polynomial(2, 3), parse("sin(x1)^2exp(x2)", 2)]
    assert torch.autograd.gradcheck(lambda x: compute(x, features), (x,))


def test_features_of_a_setting() -> None:
    assert [name_of(f) for f in features_of(("all",), 1, 3)] == ["x1", "x2", "x3"]
    with pytest.raises(UserError, match="named twice"):
        features_of(("x1x2", "x1*x2"), 1, 2)


@pytest.mark.parametrize("name", plane.PROBLEMS)
def test_problems_are_made_by_the_seed(name: str) -> None:
    x, y = plane.make(name, 200, 0.1, seed=3)
    again, other = plane.make(name, 200, 0.1, seed=3), plane.make(name, 200, 0.1, seed=4)
    assert x.shape == (200, 2) and np.bincount(y).tolist() == [100, 100] and np.isfinite(x).all()
    assert np.array_equal(x, again[0]) and not np.array_equal(x, other[0])
    spec, splits = read_table_splits(
        name,
        target=None,
        task="classification",
        dtype=torch.float32,
        standardize=True,
        drop_constant=True,
        val_fraction=0.1,
        test_fraction=0.2,
        seed=0,
    )
    assert spec.columns == ["x1", "x2"] and spec.classes == ["0", "1"]
    assert sum(spec.counts.values()) == plane.COUNT == 500 and len(splits["test"]) == 100
    assert check(name, None)["classes"] == ["0", "1"]


def test_each_problem_is_what_its_words_say() -> None:
    """Without noise: the rule of each problem tells its classes apart, and a line does of the blobs alone."""
    rules = {
        "xor": lambda x: x[:, 0] * x[:, 1] < 0,
        "circle": lambda x: (x**2).sum(1) < 0.6**2,
        "blobs": lambda x: x.sum(1) > 0,
        # an arm is where the angle is 3 pi r / 2: on the other one it is half a turn on
        "spiral": lambda x: np.cos(np.arctan2(x[:, 1], x[:, 0]) - 1.5 * np.pi * np.linalg.norm(x, axis=1)) < 0,
        # each moon has one radius about its own centre
        "moons": lambda x: np.abs(np.linalg.norm(x - [1.0, 0.5], axis=1) - 1) < 1e-9,
    }
    assert set(rules) == set(plane.PROBLEMS)
    for name, rule in rules.items():
        x, y = plane.make(name, 400, noise=0.0)
        assert np.array_equal(rule(x), y == 1), name
        by_line = LogisticRegression().fit(x, y).score(x, y)
        assert by_line == 1 if name == "blobs" else by_line < 0.92, name


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("xro",), "did you mean xor"),
        (("xor", 5), "number of points"),
        (("xor", 2), "number of points"),
        (("xor", 10, -0.1), "noise"),
        (("xor", 10, float("nan")), "noise"),
    ],
)
def test_wrong_arguments_are_refused(arguments: tuple[object, ...], words: str) -> None:
    with pytest.raises(UserError, match=words):
        plane.make(*arguments)  # type: ignore[arg-type]


def test_a_target_that_is_not_there() -> None:
    with pytest.raises(UserError, match="no target 'x1'"):
        chainrule.train("playground", data="xor", target="x1", out="run", device="cpu", epochs=1)


def test_hidden_layers_are_measured() -> None:
    run = chainrule.train(
        "hidden-layers", out="run", device="cpu", problems=("xor", "blobs"), hidden=(8,), steps=150, lr=0.05
    )
    metrics = run.result()["metrics"]
    assert metrics["blobs_error_without"] < 0.02
    assert metrics["xor_error_without"] > 0.25 > 0.05 > metrics["xor_error_with"]
    assert metrics["xor_error_polynomial"] < 0.05
