"""Kernels: inner products of rows in a feature space that is never written out.

Shapes: M and N rows, D columns. A kernel gives the matrix (M, N) of k(x_i, z_j).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.core.errors import UserError, unknown

KERNELS = ("linear", "poly", "rbf", "sigmoid")


def squared_distances(x: Tensor, z: Tensor) -> Tensor:
    """|x_i - z_j|^2 as one matrix product, (M, N), never below zero.

    |x|^2 + |z|^2 - 2 x.z loses all digits where the rows lie far from the origin and near each other. So both are
    moved by the mean of z first; what is left of the rounding is eps times the squared spread of the rows.

    Args:
        x: rows (M, D).
        z: rows (N, D).

    >>> squared_distances(torch.tensor([[1e6, 0.0]]), torch.tensor([[1e6, 2.0], [1e6, 0.0]]))
    tensor([[4., 0.]])
    """
    _check(x, z)
    centre = z.mean(0)
    x, z = x - centre, z - centre
    return torch.addmm(x.square().sum(1)[:, None] + z.square().sum(1), x, z.T, alpha=-2.0).clamp_min(0.0)


def linear_kernel(x: Tensor, z: Tensor) -> Tensor:
    """k(x, z) = x.z, (M, N).

    >>> linear_kernel(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]]))
    tensor([[11.]])
    """
    _check(x, z)
    return x @ z.T


def polynomial_kernel(x: Tensor, z: Tensor, *, degree: int = 3, gamma: float = 1.0, coef0: float = 0.0) -> Tensor:
    """k(x, z) = (gamma x.z + coef0)^degree, (M, N).

    Args:
        x: rows (M, D).
        z: rows (N, D).
        degree: a whole number, at least 1.
        gamma: the factor of the inner product, above 0.
        coef0: what is added; above 0, all monomials up to the degree take part, at 0 those of the degree alone.

    >>> polynomial_kernel(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]]), degree=2, coef0=1.0)
    tensor([[144.]])
    """
    _check(x, z)
    if degree < 1 or degree != int(degree):
        raise UserError("the degree of a polynomial kernel", expected="a whole number, at least 1", found=degree)
    return (_positive(gamma) * (x @ z.T) + coef0) ** int(degree)


def rbf_kernel(x: Tensor, z: Tensor, *, gamma: float = 1.0) -> Tensor:
    """k(x, z) = exp(-gamma |x - z|^2), (M, N): radial basis function, or Gaussian, of variance 1 / (2 gamma).

    >>> rbf_kernel(torch.tensor([[0.0]]), torch.tensor([[0.0], [1.0]]), gamma=2.0)
    tensor([[1.0000, 0.1353]])
    """
    return torch.exp(-_positive(gamma) * squared_distances(x, z))


def sigmoid_kernel(x: Tensor, z: Tensor, *, gamma: float = 1.0, coef0: float = 0.0) -> Tensor:
    """k(x, z) = tanh(gamma x.z + coef0), (M, N). It is no inner product: its matrix can have negative eigenvalues.

    >>> sigmoid_kernel(torch.tensor([[1.0]]), torch.tensor([[0.0], [1.0]]))
    tensor([[0.0000, 0.7616]])
    """
    _check(x, z)
    return torch.tanh(_positive(gamma) * (x @ z.T) + coef0)


def kernel_width(gamma: float | Literal["scale", "auto"], x: Tensor) -> float:
    """gamma as a number: "scale" is 1 / (D Var[x]) with the variance over all entries, "auto" is 1 / D.

    Rows that are all alike have no variance; "scale" is 1 for them.

    >>> kernel_width("scale", torch.tensor([[0.0, 2.0], [2.0, 0.0]])), kernel_width("auto", torch.ones(3, 4))
    (0.5, 0.25)
    """
    if gamma == "auto":
        return 1.0 / x.shape[1]
    if gamma == "scale":
        variance = float(x.double().var(correction=0))
        return 1.0 / (x.shape[1] * variance) if variance > 0 else 1.0
    if isinstance(gamma, str):
        raise unknown("there is no gamma", gamma, ("scale", "auto"), cure="one of the two, or a number above 0")
    return _positive(gamma)


@dataclass(frozen=True)
class Kernel:
    """A kernel with its settings fixed: called with rows (M, D) and (N, D), it gives (M, N).

    Args:
        name: linear, poly, rbf or sigmoid.
        gamma: above 0; the linear kernel has none.
        degree: of poly.
        coef0: of poly and sigmoid.

    >>> Kernel("poly", degree=2)(torch.tensor([[2.0]]), torch.tensor([[3.0]]))
    tensor([[36.]])
    """

    name: str
    gamma: float = 1.0
    degree: int = 3
    coef0: float = 0.0

    def __post_init__(self) -> None:
        if self.name not in KERNELS:
            raise unknown("there is no kernel", self.name, KERNELS)

    def __call__(self, x: Tensor, z: Tensor) -> Tensor:
        if self.name == "linear":
            return linear_kernel(x, z)
        if self.name == "poly":
            return polynomial_kernel(x, z, degree=self.degree, gamma=self.gamma, coef0=self.coef0)
        if self.name == "rbf":
            return rbf_kernel(x, z, gamma=self.gamma)
        return sigmoid_kernel(x, z, gamma=self.gamma, coef0=self.coef0)

    def rows_of(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        """A function from indices (M,) to those rows (M, N) of the matrix of x (N, D) with itself.

        It is for many calls on the same x: what depends on x alone is computed once.

        >>> Kernel("rbf").rows_of(torch.tensor([[0.0], [3.0], [0.0]]))(torch.tensor([2]))
        tensor([[1.0000e+00, 1.2341e-04, 1.0000e+00]])
        """
        if self.name != "rbf":
            return lambda index: self(x[index], x)
        _check(x, x)
        x = x - x.mean(0)
        exponent = x.square().sum(1).mul_(-_positive(self.gamma))

        def rows(index: Tensor) -> Tensor:
            product = torch.addmm(exponent, x[index], x.T, alpha=2.0 * self.gamma)
            return product.add_(exponent[index, None]).clamp_(max=0.0).exp_()

        return rows


def _positive(gamma: float) -> float:
    if not (gamma > 0 and math.isfinite(gamma)):
        raise UserError("gamma is out of range", expected="a number above 0", found=gamma)
    return float(gamma)


def _check(x: Tensor, z: Tensor) -> None:
    if x.ndim != 2 or z.ndim != 2 or x.shape[1] != z.shape[1]:
        raise UserError(
            "a kernel takes two matrices with the same number of columns",
            expected="(M, D) and (N, D)",
            found=f"{tuple(x.shape)} and {tuple(z.shape)}",
            cure="reshape(1, -1) makes one row of a vector",
        )
    if not len(z):
        raise UserError("a kernel needs at least one row to compare with", expected="(N, D), N above 0", found="N = 0")


TOPICS = (Topic("Support vector machine, kernels, SMO", code=("rbf_kernel",)),)
