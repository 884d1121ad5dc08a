"""Adversarial examples: the smallest changes of an input that do the most to a loss.

Shapes: x (B, ...) inputs with values from `low` to `high`. `loss` gives a number a sample (B,) and is what an attack
raises; for a targeted attack give the negative loss of the wanted class. A change is at most `epsilon` in each value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.core.errors import UserError

Loss = Callable[[Tensor], Tensor]


def fast_gradient_sign(
    loss: Loss, x: Tensor, epsilon: float, *, low: float = 0.0, high: float = 1.0, start: Tensor | None = None
) -> Tensor:
    """x + epsilon sign(d loss / d x), held to [low, high]: the largest rise of a loss that is linear in x.

    Args:
        loss: inputs to a number a sample.
        x: inputs.
        epsilon: at least 0, in the units of x.
        low, high: of a value.
        start: where the gradient is taken; x if none.

    Source: Goodfellow, Shlens, Szegedy: Explaining and harnessing adversarial examples, 2015, section 4.

    >>> w = torch.tensor([1.0, -2.0])
    >>> fast_gradient_sign(lambda x: x @ w, torch.tensor([[0.5, 0.5]]), 0.25).tolist()
    [[0.75, 0.25]]
    """
    _check(epsilon, low, high)
    return (x + epsilon * _gradient(loss, x if start is None else start).sign()).clamp(low, high)


def iterative_gradient_sign(
    loss: Loss,
    x: Tensor,
    epsilon: float,
    *,
    steps: int,
    step: float | None = None,
    low: float = 0.0,
    high: float = 1.0,
    random_start: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Several small steps of the sign of the gradient, each held to within epsilon of x and to [low, high].

    Args:
        loss, x, epsilon, low, high: as in `fast_gradient_sign`.
        steps: how many, at least 1.
        step: length of each; 2.5 epsilon / steps if none, so that the edge can be reached and left again.
        random_start: begins at a uniformly drawn place within epsilon of x (projected gradient descent).
        generator: draws the start.

    Source: Kurakin, Goodfellow, Bengio: Adversarial examples in the physical world, 2017, section 2.2; with
    random_start Madry et al.: Towards deep learning models resistant to adversarial attacks, 2018, section 2.1.

    >>> w = torch.tensor([1.0, -2.0])
    >>> iterative_gradient_sign(lambda x: x @ w, torch.tensor([[0.5, 0.5]]), 0.25, steps=3).tolist()
    [[0.75, 0.25]]
    """
    _check(epsilon, low, high)
    if steps < 1:
        raise UserError("an attack needs a step", expected="steps of 1 or more", found=steps)
    step = 2.5 * epsilon / steps if step is None else step
    found = x
    if random_start:
        noise = torch.rand(x.shape, dtype=x.dtype, device=x.device, generator=generator)
        found = (x + epsilon * (2 * noise - 1)).clamp(low, high)
    for _ in range(steps):
        moved = found + step * _gradient(loss, found).sign()
        found = (x + (moved - x).clamp(-epsilon, epsilon)).clamp(low, high)
    return found


def universal_perturbation(
    loss_of: Callable[[Tensor, Tensor], Tensor],
    x: Tensor,
    index: Sequence[Tensor],
    epsilon: float,
    *,
    step: float,
    low: float = 0.0,
    high: float = 1.0,
) -> Tensor:
    """One change for all inputs that raises the mean loss: signed steps over batches, held to within epsilon.

    Args:
        loss_of: (inputs, their numbers in x) to a number a sample.
        x: inputs (N, ...).
        index: the numbers of each batch, in the order of the steps.
        epsilon, low, high: as in `fast_gradient_sign`.
        step: length of each.

    Returns:
        the change (...), to be added to any input and held to [low, high].

    Source: the aim is that of Moosavi-Dezfooli et al.: Universal adversarial perturbations, 2017; the steps are those of
    Shafahi et al.: Universal adversarial training, 2020, algorithm 2.

    >>> w = torch.tensor([1.0, -2.0])
    >>> universal_perturbation(lambda x, _: x @ w, torch.full((4, 2), 0.5), [torch.arange(4)] * 3, 0.25, step=0.1).tolist()
    [0.25, -0.25]
    """
    _check(epsilon, low, high)
    change = torch.zeros_like(x[0])
    for numbers in index:
        taken = x[numbers]

        def raised(delta: Tensor, taken: Tensor = taken, numbers: Tensor = numbers) -> Tensor:
            return loss_of((taken + delta).clamp(low, high), numbers)

        change = (change + step * _gradient(raised, change).sign()).clamp(-epsilon, epsilon)
    return change


def _gradient(loss: Loss, x: Tensor) -> Tensor:
    """d sum(loss) / d x; parameters get none."""
    with torch.enable_grad():
        variable = x.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(loss(variable).sum(), variable)
    return gradient


def _check(epsilon: float, low: float, high: float) -> None:
    if epsilon < 0 or not low < high:
        raise UserError(
            "the bounds of an attack are out of range",
            expected="epsilon of 0 or more, low below high",
            found=f"epsilon={epsilon:g} low={low:g} high={high:g}",
        )


TOPICS = (
    Topic(
        "Adversarial examples and training against them",
        "对抗样本与对抗训练",
        lectures=(3,),
        code=("fast_gradient_sign", "iterative_gradient_sign", "universal_perturbation"),
        command="chainrule train attack",
    ),
)
