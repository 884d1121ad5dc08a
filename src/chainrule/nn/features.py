"""A model over a fixed basis expansion of its input."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from chainrule.core.errors import UserError
from chainrule.functional.features import Feature, compute, name_of, parse, polynomial


class BasisExpansion(nn.Module):
    """model(phi(x)): rows x (B, D) become features phi(x) (B, F), and the model sees only those.

    Args:
        features: what `functional.features.parse` or `polynomial` gave; F of them.
        model: (B, F) to anything.

    >>> import torch
    >>> from chainrule.functional.features import polynomial
    >>> BasisExpansion(polynomial(2, 2, bias=False), nn.Identity())(torch.tensor([[2.0, 3.0]])).tolist()
    [[2.0, 3.0, 4.0, 6.0, 9.0]]
    """

    def __init__(self, features: Sequence[Feature], model: nn.Module) -> None:
        super().__init__()
        self.features, self.model = tuple(features), model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(compute(x, self.features))

    def extra_repr(self) -> str:
        names = [name_of(feature) for feature in self.features]
        return ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")


def features_of(names: Sequence[str], degree: int, num_features: int) -> list[Feature]:
    """The features that a setting asks for: those named, or all monomials up to a degree without the constant.

    Args:
        names: `all` alone for every input as it is, else features as `functional.features.parse` reads them.
        degree: above 1 the polynomial basis of all inputs; it goes with `all` only.
        num_features: inputs there are.

    Errors: a UserError where both are asked for, where a name is twice, and what `parse` and `polynomial` refuse.

    >>> [name_of(feature) for feature in features_of(["all"], 2, 2)]
    ['x1', 'x2', 'x1^2', 'x1x2', 'x2^2']
    """
    if list(names) == ["all"]:
        return polynomial(num_features, degree, bias=False)
    if degree != 1:
        raise UserError(
            "features are named and a degree is given",
            found=f"features={','.join(names)} degree={degree}",
            cure="one of the two",
        )
    chosen = [parse(name, num_features) for name in names]
    for feature in chosen:
        if chosen.count(feature) > 1:
            raise UserError("a feature is named twice", found=name_of(feature))
    return chosen
