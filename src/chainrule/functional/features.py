"""Feature engineering on rows: a polynomial basis, and products, powers, sines named by the user."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations, combinations_with_replacement
from math import comb

import torch
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.core.errors import UserError

MOST = 20_000  # features of a basis; more do not fit in memory with any number of rows
FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "sin": torch.sin,
    "cos": torch.cos,
    "exp": torch.exp,
    "tanh": torch.tanh,
    "abs": torch.abs,
}
_FACTOR = re.compile(r"(?:(?P<function>[a-z]+)\(x(?P<inside>\d+)\)|x(?P<plain>\d+))(?:\^(?P<power>\d+))?")


@dataclass(frozen=True)
class Factor:
    """f(x_i)^power, i counted from 0; without a function x_i^power."""

    column: int
    power: int = 1
    function: str | None = None

    def __str__(self) -> str:
        base = f"x{self.column + 1}" if self.function is None else f"{self.function}(x{self.column + 1})"
        return base if self.power == 1 else f"{base}^{self.power}"


Feature = tuple[Factor, ...]  # a product; the empty one is 1


def name_of(feature: Feature) -> str:
    """The feature as one would write it.

    >>> name_of((Factor(0), Factor(1, 2)))
    'x1x2^2'
    """
    return "".join(map(str, feature)) or "1"


def polynomial(num_features: int, degree: int, *, interaction_only: bool = False, bias: bool = True) -> list[Feature]:
    """All monomials of x_1 .. x_D up to a degree: by degree, then x_1 first; C(D + degree, degree) of them.

    Args:
        num_features: D.
        degree: the largest sum of exponents, 0 or more.
        interaction_only: without powers of one feature above the first.
        bias: with the monomial 1.

    Errors: a UserError for a degree below 0, no feature, or more than 20,000 monomials.

    >>> [name_of(f) for f in polynomial(2, 2)]
    ['1', 'x1', 'x2', 'x1^2', 'x1x2', 'x2^2']
    """
    if num_features < 1 or degree < 0:
        raise UserError(
            "there is no such polynomial basis",
            expected="1 feature or more, degree 0 or more",
            found=f"{num_features} features, degree {degree}",
        )
    if comb(num_features + degree, degree) > MOST:
        raise UserError(
            "the polynomial basis is too large",
            expected=f"{MOST:,} monomials at most",
            found=f"{comb(num_features + degree, degree):,} of degree {degree} in {num_features} features",
            cure="a lower degree, or fewer columns",
        )
    choose = combinations if interaction_only else combinations_with_replacement
    monomials: list[Feature] = [()] if bias else []
    for total in range(1, degree + 1):
        for columns in choose(range(num_features), total):
            monomials.append(tuple(Factor(c, columns.count(c)) for c in dict.fromkeys(columns)))
    return monomials


def parse(text: str, num_features: int) -> Feature:
    """A feature from text: a product of x_i, powers and functions of one x_i.

    Args:
        text: such as `x1`, `x1x2`, `x1*x2`, `x1^2`, `sin(x1)`, `x2cos(x1)^3`; functions are sin, cos, exp, tanh, abs.
        num_features: how many x there are; the first is x1.

    Errors: a UserError for what cannot be read, and for an x that does not exist.

    >>> parse("x1^2sin(x2)", 2) == (Factor(0, 2), Factor(1, 1, "sin"))
    True
    """
    factors: list[Factor] = []
    rest = re.sub(r"[\s*]", "", text)
    place = 0
    while place < len(rest):
        match = _FACTOR.match(rest, place)
        if match is None or (match["function"] and match["function"] not in FUNCTIONS):
            raise UserError(
                f"the feature {text!r} is not understood",
                where=rest[place:],
                expected="a product of x1, x2, ..., powers x1^2, and " + ", ".join(f"{f}(x1)" for f in FUNCTIONS),
                found=text,
            )
        column, power = int(match["inside"] or match["plain"]), int(match["power"] or 1)
        if not 1 <= column <= num_features:
            raise UserError(
                f"the feature {text!r} names an x that does not exist",
                expected=f"x1 to x{num_features}",
                found=f"x{column}",
            )
        factors.append(Factor(column - 1, power, match["function"]))
        place = match.end()
    if not factors:
        raise UserError("a feature is empty", expected="such as x1, x1x2, x1^2, sin(x1)", found=repr(text))
    return tuple(factors)


def compute(x: Tensor, features: Sequence[Feature]) -> Tensor:
    """The features of rows x (N, D), as (N, len(features)).

    Differentiable in x. Errors: a UserError for rows that are not (N, D), or too narrow.

    >>> compute(torch.tensor([[2.0, 3.0]]), polynomial(2, 2)).tolist()
    [[1.0, 2.0, 3.0, 4.0, 6.0, 9.0]]
    """
    width = 1 + max((factor.column for feature in features for factor in feature), default=-1)
    if x.dim() != 2 or x.shape[1] < width:
        raise UserError("the rows do not fit the features", expected=f"(N, {width} or more)", found=tuple(x.shape))
    columns: list[Tensor] = []
    for feature in features:
        value = torch.ones_like(x[:, 0])
        for factor in feature:
            base = x[:, factor.column]
            value = value * (base if factor.function is None else FUNCTIONS[factor.function](base)) ** factor.power
        columns.append(value)
    return torch.stack(columns, 1) if columns else x.new_zeros(len(x), 0)


TOPICS = (Topic("Decision surfaces, features made by hand", code=("parse", "polynomial")),)
