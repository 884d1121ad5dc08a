"""Adversarial examples: small perturbations of an input that raise a loss, by FGSM, BIM, PGD, and one for all inputs.

Shapes: x (B, ...) inputs with values from `low` to `high`. `loss` gives a number a sample (B,), which the attack raises; a
targeted attack is given the negative loss of the target class. Perturbations lie in the l-infinity ball of radius
epsilon: no value changes by more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.core.errors import UserError

Loss = Callable[[Tensor], Tensor]


def fgsm(
    loss: Loss, x: Tensor, epsilon: float, *, low: float = 0.0, high: float = 1.0, start: Tensor | None = None
) -> Tensor:
    """The fast gradient sign method: x + epsilon sign(d loss / d x), clipped to [low, high].

    Within the ball that is the largest rise of a loss that is linear in x.

    Args:
        loss: inputs to a number a sample.
        x: inputs.
        epsilon: at least 0, in the units of x.
        low, high: of a value.
        start: where the gradient is taken; x if None.

    Source: Goodfellow, Shlens, Szegedy: Explaining and harnessing adversarial examples, 2015, section 4.

    >>> w = torch.tensor([1.0, -2.0])
    >>> fgsm(lambda x: x @ w, torch.tensor([[0.5, 0.5]]), 0.25).tolist()
    [[0.75, 0.25]]
    """
    _check(epsilon, low, high)
    return (x + epsilon * _gradient(loss, x if start is None else start).sign()).clamp(low, high)


def pgd(
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
    """Projected gradient descent: steps of FGSM, each projected onto the l-infinity ball about x and clipped to [low, high].

    From x itself it is the basic iterative method (BIM, or I-FGSM), with `random_start` PGD.

    Args:
        loss, x, epsilon, low, high: as in `fgsm`.
        steps: how many, at least 1.
        step: size of each; 2.5 epsilon / steps if None, so that the ball's surface can be reached and left again.
        random_start: begins at a point that is uniform in the ball, not at x.
        generator: draws the start.

    Source: Kurakin, Goodfellow, Bengio: Adversarial examples in the physical world, 2017, section 2.2; with
    random_start Madry et al.: Towards deep learning models resistant to adversarial attacks, 2018, section 2.1.

    >>> w = torch.tensor([1.0, -2.0])
    >>> pgd(lambda x: x @ w, torch.tensor([[0.5, 0.5]]), 0.25, steps=3).tolist()
    [[0.75, 0.25]]
    """
    _check(epsilon, low, high)
    if steps < 1:
        raise UserError("an attack needs a step", expected="steps of 1 or more", found=steps)
    step = 2.5 * epsilon / steps if step is None else step
    adversarial = x
    if random_start:
        noise = torch.rand(x.shape, dtype=x.dtype, device=x.device, generator=generator)
        adversarial = (x + epsilon * (2 * noise - 1)).clamp(low, high)
    for _ in range(steps):
        # Ascend along the sign of the gradient.
        ascended = adversarial + step * _gradient(loss, adversarial).sign()
        # Project onto the l-infinity ball about x, and clip to the range of inputs.
        adversarial = (x + (ascended - x).clamp(-epsilon, epsilon)).clamp(low, high)
    return adversarial


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
    """One perturbation for all inputs that raises the mean loss: steps of FGSM over batches, projected onto the ball.

    Args:
        loss_of: (inputs, their indices in x) to a number a sample.
        x: inputs (N, ...).
        index: the indices of each batch, in the order of the steps.
        epsilon, low, high: as in `fgsm`.
        step: size of each.

    Returns:
        The perturbation (...), to be added to any input and clipped to [low, high].

    Source: the aim is that of Moosavi-Dezfooli et al.: Universal adversarial perturbations, 2017; the steps are those of
    Shafahi et al.: Universal adversarial training, 2020, algorithm 2.

    >>> w = torch.tensor([1.0, -2.0])
    >>> universal_perturbation(lambda x, _: x @ w, torch.full((4, 2), 0.5), [torch.arange(4)] * 3, 0.25, step=0.1).tolist()
    [0.25, -0.25]
    """
    _check(epsilon, low, high)
    delta = torch.zeros_like(x[0])
    for batch in index:

        def loss(delta: Tensor, batch: Tensor = batch) -> Tensor:
            return loss_of((x[batch] + delta).clamp(low, high), batch)

        delta = (delta + step * _gradient(loss, delta).sign()).clamp(-epsilon, epsilon)
    return delta


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
        code=("fgsm", "pgd", "universal_perturbation"),
        command="chainrule train attack",
    ),
)
