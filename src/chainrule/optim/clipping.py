"""Clipping of gradients: by the norm over all, by the norm of each, by value."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.optim.settings import ABOVE_0, check


def _gradients(parameters: Iterable[Tensor]) -> list[Tensor]:
    parameters = [parameters] if isinstance(parameters, Tensor) else parameters
    return [p.grad for p in parameters if p.grad is not None]


def _scales(norms: Tensor, max_norm: float) -> Tensor:
    """max_norm / norm where the norm is larger, else 1. A norm that is NaN stays so, for the guard of the run."""
    return (max_norm / norms).clamp(max=1.0)


@torch.no_grad()
def clip_norm(parameters: Iterable[Tensor], max_norm: float) -> Tensor:
    """Scales all gradients by min(1, max_norm / n), n the Euclidean norm over all of them together.

    The direction stays. Gradients are changed in place; nothing waits for the device.

    Args:
        parameters: those whose gradients are meant; one without a gradient is passed over.
        max_norm: the bound, above 0.

    Returns:
        n, the norm before, a scalar (0 where there is no gradient).

    Raises:
        UserError: the bound is not above 0.

    Source: Pascanu, Mikolov, Bengio 2013, algorithm 1; Caffe, SGDSolver::ClipGradients. PyTorch's function of that
    purpose divides by n + 1e-6.

    >>> w = torch.nn.Parameter(torch.zeros(2))
    >>> w.grad = torch.tensor([3.0, 4.0])
    >>> clip_norm([w], 1.0), w.grad
    (tensor(5.), tensor([0.6000, 0.8000]))
    """
    check("clip_norm", "max_norm", max_norm, ABOVE_0)
    grads = _gradients(parameters)
    if not grads:
        return torch.zeros(())
    norms = torch._foreach_norm(grads, 2, dtype=_wide(grads))
    total = torch.linalg.vector_norm(torch.stack([norm.to(norms[0].device) for norm in norms]))
    scale = _scales(total, max_norm)
    torch._foreach_mul_(grads, [scale.to(grad.device) for grad in grads])
    return total


@torch.no_grad()
def clip_each_norm(parameters: Iterable[Tensor], max_norm: float) -> Tensor:
    """Scales each gradient by min(1, max_norm / n), n its own Euclidean norm.

    Args:
        parameters: those whose gradients are meant; one without a gradient is passed over.
        max_norm: the bound, above 0.

    Returns:
        the norms before, one a gradient (N,).

    Raises:
        UserError: the bound is not above 0.

    >>> w, b = torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(1))
    >>> w.grad, b.grad = torch.tensor([3.0, 4.0]), torch.tensor([0.5])
    >>> clip_each_norm([w, b], 1.0), w.grad, b.grad
    (tensor([5.0000, 0.5000]), tensor([0.6000, 0.8000]), tensor([0.5000]))
    """
    check("clip_each_norm", "max_norm", max_norm, ABOVE_0)
    grads = _gradients(parameters)
    if not grads:
        return torch.zeros(0)
    norms = torch._foreach_norm(grads, 2, dtype=_wide(grads))
    torch._foreach_mul_(grads, [_scales(norm, max_norm) for norm in norms])
    return torch.stack([norm.to(norms[0].device) for norm in norms])


@torch.no_grad()
def clip_value(parameters: Iterable[Tensor], max_value: float) -> None:
    """Brings each element of each gradient into [-max_value, max_value]. The direction may change.

    Args:
        parameters: those whose gradients are meant; one without a gradient is passed over.
        max_value: the bound, above 0.

    Raises:
        UserError: the bound is not above 0.

    >>> w = torch.nn.Parameter(torch.zeros(3))
    >>> w.grad = torch.tensor([-7.0, 0.5, 2.0])
    >>> clip_value([w], 1.0)
    >>> w.grad
    tensor([-1.0000,  0.5000,  1.0000])
    """
    check("clip_value", "max_value", max_value, ABOVE_0)
    grads = _gradients(parameters)
    if grads:
        torch._foreach_clamp_min_(grads, -max_value)
        torch._foreach_clamp_max_(grads, max_value)


def _wide(grads: list[Tensor]) -> torch.dtype:
    """The type to sum squares in: half precision would overflow at a norm of 65504."""
    return torch.float64 if any(grad.dtype is torch.float64 for grad in grads) else torch.float32


TOPICS = (
    Topic(
        "Gradient clipping",
        "梯度截断",
        lectures=(3, 4),
        code=("clip_norm", "clip_value"),
        command="chainrule train char-lstm clip=0.5",
    ),
)
