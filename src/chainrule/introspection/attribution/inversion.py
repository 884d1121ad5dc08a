"""Images made from inside a network: one that has the same features as a given one, one that a class likes best.

Both descend on an objective of the image itself, with priors that keep it an image: the alpha-norm bounds the pixels,
the total variation lets neighbours agree.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from chainrule.core.course import Topic
from chainrule.core.errors import UserError
from chainrule.introspection.attribution.target import (
    eval_with_grad,
    forward_with_activations,
    image_leaf,
    target_score,
)


@dataclass(frozen=True)
class OptimizedImage:
    """An image (B, C, H, W) and the objective before the first step and after each one."""

    image: Tensor
    objective: tuple[float, ...]


def total_variation(x: Tensor, beta: float = 2.0) -> Tensor:
    """sum over pixels of ((x[i, j+1] - x[i, j])^2 + (x[i+1, j] - x[i, j])^2)^(beta / 2), an image's sum over channels.

    Beyond the last row and column nothing is added.

    Args:
        x: (B, C, H, W).
        beta: above 1 spikes are spread out instead of kept.

    Returns:
        (B,).

    Source: Mahendran, Vedaldi: Understanding deep image representations by inverting them, 2015 (arXiv 1412.0035),
    section 2.2.

    >>> total_variation(torch.tensor([[[[0.0, 3.0], [4.0, 4.0]]]])).tolist()  # 9 + 16, 1, 0, 0
    [26.0]
    """
    across = nn.functional.pad(x[..., :, 1:] - x[..., :, :-1], (0, 1))
    down = nn.functional.pad(x[..., 1:, :] - x[..., :-1, :], (0, 0, 0, 1))
    squares = across.square() + down.square()
    if beta != 2.0:
        squares = (squares + 1e-12).pow(beta / 2)  # the root of 0 has no derivative
    return squares.sum((1, 2, 3))


def alpha_norm(x: Tensor, alpha: float = 6.0) -> Tensor:
    """sum over pixels and channels of |x|^alpha, (B,): large powers keep pixels within a range.

    Source: Mahendran and Vedaldi 2015, section 2.2.

    >>> alpha_norm(torch.tensor([[[[-2.0, 1.0]]]]), alpha=3.0).tolist()
    [9.0]
    """
    return x.abs().pow(alpha).sum((1, 2, 3))


def invert(
    module: nn.Module,
    x: Tensor,
    layer: str,
    *,
    steps: int = 150,
    lr: float = 0.05,
    variation: float = 0.01,
    norm: float = 1e-4,
    alpha: float = 6.0,
    beta: float = 2.0,
    seed: int = 0,
) -> OptimizedImage:
    """An image z whose features are those of x: what the layer kept of x is seen in z, what it lost is free.

    Minimises |F(z) - F(x)|^2 / |F(x)|^2 + norm / n alpha_norm(z) + variation / n total_variation(z), a mean over the
    n numbers of an image, from small normal noise on, by Adam at a rate that falls to zero as a cosine.

    Args:
        module: the network; eval mode, autograd must follow it.
        x: images as the network takes them, (B, C, H, W).
        layer: whose output F is, by name.
        steps, lr: of Adam; the rate is in units of the normalised image.
        variation, norm, alpha, beta: weights and powers of the priors.
        seed: of the noise that it begins with.

    Returns:
        z and the objectives, means over the images.

    Raises:
        UserError: x is no images, no such layer, no gradient, a step count below 1.

    Source: Mahendran and Vedaldi 2015, equation 1; with Adam where the paper has gradient descent with momentum.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 4, bias=False))
    >>> _ = net[1].weight.data.copy_(torch.eye(4))
    >>> x = torch.tensor([[[[0.0, 1.0], [-1.0, 0.5]]]])
    >>> invert(net, x, "1", variation=0, norm=0, steps=300).image.round(decimals=2).flatten().tolist()
    [0.0, 1.0, -1.0, 0.5]
    """
    leaf = image_leaf(x)
    with eval_with_grad(module):
        wanted = forward_with_activations(module, leaf, [layer])[1][layer].detach()
    power = wanted.flatten(1).square().sum(1)
    power = torch.where(power > 0, power, 1.0)

    def objective(z: Tensor) -> Tensor:
        found = forward_with_activations(module, z, [layer])[1][layer]
        distance = (found - wanted).flatten(1).square().sum(1) / power
        return distance + _priors(z, variation, norm, alpha, beta)

    return _descend(module, objective, x, steps, lr, seed)


def class_image(
    module: nn.Module,
    x: Tensor,
    target: int,
    *,
    steps: int = 150,
    lr: float = 0.05,
    variation: float = 3.0,
    norm: float = 1.0,
    seed: int = 0,
) -> OptimizedImage:
    """An image that raises the logit of a class: what the network takes the class to look like.

    Maximises logit(z) - norm / n |z|^2 - variation / n total_variation(z), from small normal noise on, by Adam at a
    rate that falls to zero as a cosine; n is the numbers of an image. The logit is divided by its size at the image
    that is given, so that the priors weigh alike in every network.

    Args:
        module: a network that gives logits (B, K).
        x: images of the shape that is wanted, (B, C, H, W): each gives one answer, from noise of its own.
        target: the class.
        steps, lr, variation, norm, seed: as for `invert`.

    Returns:
        z and the objectives, which fall; means over the images.

    Raises:
        UserError: as `invert`, and where there is no such class.

    Source: Simonyan, Vedaldi, Zisserman 2014 (arXiv 1312.6034), section 2, with the total variation added.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(2, 1, bias=False))
    >>> _ = net[1].weight.data.copy_(torch.tensor([[1.0, -1.0]]))
    >>> made = class_image(net, torch.ones(1, 1, 1, 2), 0, norm=1.0, variation=0)
    >>> made.image[0, 0, 0, 0] > 0 > made.image[0, 0, 0, 1], made.objective[-1] < made.objective[0]
    (tensor(True), True)
    """
    leaf = image_leaf(x)
    with eval_with_grad(module):
        score = target_score(module, leaf, target)
    size = score.values.detach().abs().clamp(min=1.0)

    def objective(z: Tensor) -> Tensor:
        return -target_score(module, z, target).values / size + _priors(z, variation, norm, 2.0, 2.0)

    return _descend(module, objective, x, steps, lr, seed)


def _priors(z: Tensor, variation: float, norm: float, alpha: float, beta: float) -> Tensor:
    count = z[0].numel()
    return (norm * alpha_norm(z, alpha) + variation * total_variation(z, beta)) / count


def _descend(
    module: nn.Module, objective: Callable[[Tensor], Tensor], like: Tensor, steps: int, lr: float, seed: int
) -> OptimizedImage:
    """Adam on the image; the sum over images is descended, so that each goes its own way."""
    if steps < 1:
        raise UserError("there are too few steps", expected="steps of 1 or more", found=steps)
    generator = torch.Generator().manual_seed(seed)
    z = image_leaf(0.1 * torch.randn(like.shape, generator=generator).to(like.device, like.dtype))
    optimizer = torch.optim.Adam([z], lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    values = []
    with eval_with_grad(module):
        for _ in range(steps):
            value = objective(z)
            if not value.requires_grad:
                raise UserError("no gradient reaches the image", where=type(module).__name__)
            (z.grad,) = torch.autograd.grad(value.sum(), z)
            values.append(value.detach().mean())
            optimizer.step()
            schedule.step()
        values.append(objective(z).detach().mean())
    return OptimizedImage(z.detach(), tuple(torch.stack(values).tolist()))


TOPICS = (Topic("What excites a map, what a layer keeps", code=("invert",)),)
