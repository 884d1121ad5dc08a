"""Settings: words into values, ranges, unions, and what is said where they do not fit."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
import pytest
import torch

import chainrule
from chainrule.core.discovery import all_recipes, get_recipe
from chainrule.core.errors import UserError
from chainrule.core.settings import (
    Count,
    Fraction,
    NonNegative,
    Positive,
    Range,
    Size,
    bind,
    convert,
    describe,
    parameters,
    parse_pairs,
)
from chainrule.run.settings import run_settings

pytestmark = pytest.mark.usefixtures("no_report")


def own(
    run: object,
    *,
    epochs: Count = 3,
    lr: Positive = 0.1,
    hidden: tuple[Count, ...] = (8, 8),
    loss: Literal["huber", "mse"] = "mse",
    size: Literal[28, 32] = 28,
    shuffle: bool = True,
    name: str = "x",
    limit: Count | None = None,
    share: Fraction = 0.5,
) -> None:
    """A recipe's settings, of every kind."""


def values(**given: Any) -> dict[str, Any]:
    return bind(given, own, owner="the recipe toy")


def test_pairs() -> None:
    assert parse_pairs(["epochs=3", "weight-decay= 1e-3 ", "name=a=b", "empty="]) == {
        "epochs": "3",
        "weight_decay": "1e-3",
        "name": "a=b",
        "empty": "",
    }
    for word in ("epochs", "=3", ""):
        with pytest.raises(UserError, match="expected: key=value"):
            parse_pairs([word])


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("3", int, 3),
        (3, int, 3),
        ("-3", int, -3),
        ("1e-3", float, 0.001),
        (2, float, 2.0),
        ("2", float, 2.0),
        ("yes", bool, True),
        ("True", bool, True),
        ("0", bool, False),
        (False, bool, False),
        ("none", type(None), None),
        ("a b", str, "a b"),
        ("", str, ""),
        ("3", str, "3"),
        ("8,16", tuple[int, ...], (8, 16)),
        ("8, 16", tuple[int, ...], (8, 16)),
        ([8, "16"], tuple[int, ...], (8, 16)),
        ("0.5", tuple[float, ...], (0.5,)),
        ("a,b", tuple[str, ...], ("a", "b")),
        ("mse", Literal["huber", "mse"], "mse"),
        ("32", Literal[28, 32], 32),
        (32, Literal[28, 32], 32),
        ("none", int | None, None),
        ("5", int | None, 5),
        (None, int | None, None),
        (None, tuple[int, ...] | None, None),
        ("5", str | int, 5),
        ("x", str | int, "x"),
        ("2.5", int | float, 2.5),
        ("1", Annotated[int, Range(1, 2)], 1),
        ("0.5", Annotated[float, Range(0, 1)] | None, 0.5),
    ],
)
def test_convert(text: Any, kind: Any, value: Any) -> None:
    found = convert(text, kind)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("3.0", int),
        (3.0, int),
        (True, int),
        ("", int),
        ("three", int),
        (None, int),
        ([3], int),
        ("nan", float),
        ("inf", float),
        (float("nan"), float),
        (True, float),
        ("0,5", float),
        (None, float),
        ("maybe", bool),
        (1, bool),
        ("", bool),
        (3, str),
        (None, str),
        ("null", type(None)),
        ("8,x", tuple[int, ...]),
        ("8,,16", tuple[int, ...]),
        ("", tuple[int, ...]),
        ("0", tuple[Count, ...]),
        ("mae", Literal["huber", "mse"]),
        ("MSE", Literal["huber", "mse"]),
        ("30", Literal[28, 32]),
        ("x", int | None),
        ("2.5", int | None),
        ("2", Annotated[float, Range(0, 1)] | None),
    ],
)
def test_what_does_not_fit(text: Any, kind: Any) -> None:
    with pytest.raises(ValueError):
        convert(text, kind)


@pytest.mark.parametrize(
    ("kind", "inside", "outside"),
    [
        (Count, (1, 9), (0, -1)),
        (Size, (0, 9), (-1,)),
        (Positive, (1e-9, 5), (0, -1)),
        (NonNegative, (0, 5), (-1e-9,)),
        (Fraction, (0, 0.5, 1), (-0.1, 1.1)),
    ],
)
def test_ranges(kind: Any, inside: tuple[float, ...], outside: tuple[float, ...]) -> None:
    for value in inside:
        assert convert(value, kind) == convert(str(value), kind) == value
    for value in outside:
        for given in (value, str(value)):
            with pytest.raises(ValueError):
                convert(given, kind)


def test_types_in_words() -> None:
    said = {name: describe(parameter.annotation) for name, parameter in parameters(own).items()}
    assert said == {
        "epochs": "whole number, at least 1",
        "lr": "number, above 0",
        "loss": "huber or mse",
        "size": "28 or 32",
        "hidden": "comma-separated list of whole number, at least 1",
        "shuffle": "yes or no",
        "name": "text",
        "limit": "whole number, at least 1 or none",
        "share": "number, at least 0 and at most 1",
    }


def test_bind_takes_text_and_values_and_fills_the_rest() -> None:
    assert values() == {
        "epochs": 3,
        "lr": 0.1,
        "hidden": (8, 8),
        "loss": "mse",
        "size": 28,
        "shuffle": True,
        "name": "x",
        "limit": None,
        "share": 0.5,
    }
    given = {"epochs": "7", "hidden": "4,5", "shuffle": "no", "limit": "none", "size": "32", "name": "5"}
    assert values(**given) | given == values() | given
    assert {key: values(**given)[key] for key in given} == {
        "epochs": 7,
        "hidden": (4, 5),
        "shuffle": False,
        "limit": None,
        "size": 32,
        "name": "5",
    }
    both = bind({"epochs": "2", "threads": "1"}, own, run_settings, owner="")
    assert both["threads"] == 1 and both["epochs"] == 2 and both["log_every"] == 50


def test_values_of_numpy_and_single_ones_for_lists() -> None:
    given = {"epochs": np.int64(7), "hidden": np.arange(1, 3), "shuffle": np.bool_(False), "lr": np.float32(0.5)}
    bound = bind(given, own, owner="the recipe toy")
    assert bound["epochs"] == 7 and type(bound["epochs"]) is int
    assert (bound["hidden"], bound["shuffle"], bound["lr"]) == ((1, 2), False, 0.5)
    for one in (8, np.int64(8), "8", [8], range(8, 9), torch.tensor(8)):
        assert bind({"hidden": one}, own, owner="")["hidden"] == (8,)
    with pytest.raises(UserError, match="whole number"):
        bind({"epochs": np.float64(3.0)}, own, owner="")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"epoch": "3"},
            ["has no setting 'epoch'; did you mean 'epochs'?", "one of epochs, hidden, ", "found:    epoch=3"],
        ),
        ({"hiden": "3"}, ["did you mean 'hidden'?"]),
        ({"zzz": "3"}, ["the recipe toy has no setting 'zzz'\n"]),
        ({"run": "3"}, ["has no setting 'run'"]),
        ({"epochs": "three"}, ["'epochs' of the recipe toy", "whole number, at least 1 (default 3)", "epochs=three"]),
        ({"epochs": 0}, ["whole number, at least 1", "epochs=0"]),
        ({"epochs": [3]}, ["epochs=[3]"]),
        ({"hidden": 0}, ["comma-separated list", "hidden=0"]),
        ({"loss": "mae"}, ["huber or mse"]),
        ({"lr": "nan"}, ["number, above 0 (default 0.1)"]),
        ({"share": "150%"}, ["at least 0 and at most 1"]),
        ({"lr": None}, ["lr=None"]),
    ],
)
def test_what_is_said(given: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        values(**given)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert caught.value.exit_status == 2 and caught.value.__cause__ is None


@pytest.mark.parametrize("name", all_recipes())
def test_every_recipe_has_settings_that_convert(name: str) -> None:
    """Each default is of its own type and range, as a value and as the text that `show` prints; so are the tiny ones."""
    recipe = get_recipe(name)
    known = parameters(recipe.build, run_settings)
    for key, parameter in known.items():
        text = ",".join(map(str, parameter.default)) if isinstance(parameter.default, tuple) else str(parameter.default)
        assert (
            convert(parameter.default, parameter.annotation) == parameter.default == convert(text, parameter.annotation)
        ), key
        assert describe(parameter.annotation)
    assert not set(parameters(recipe.build)) & set(parameters(run_settings)), (
        "a recipe's setting hides one of every recipe"
    )
    assert not set(known) & {"data", "target", "out", "seed", "device", "weights"}
    tiny = dict(recipe.tiny)
    tiny.pop("data", None)
    assert bind(tiny, recipe.build, run_settings, owner=name)


def test_python_is_told_the_same() -> None:
    for settings, words in (
        ({"epoch": 1}, "did you mean 'epochs'"),
        ({"epochs": 2.5}, "whole number"),
        ({"epochs": True}, "whole number"),
    ):
        with pytest.raises(UserError, match=words):
            chainrule.train("lenet-caffe", **settings)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="did you mean lenet"):
        chainrule.train("lenet")
    with pytest.raises(UserError, match="there is no model 'lenet'; did you mean lenet"):
        chainrule.models.build("lenet")
