"""Which pixels a score hangs on: its gradient with respect to the image, and what is made of such gradients."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from chainrule.core.course import Topic
from chainrule.core.errors import UserError
from chainrule.introspection.attribution.target import Target, eval_with_grad, image_leaf, target_score


def input_gradient(module: nn.Module, x: Tensor, target: Target = None) -> Tensor:
    """The derivative of the score with respect to each pixel, d s / d x, in eval mode.

    Args:
        module: a network that gives logits (B, K), or any network where the target is a unit.
        x: images as the network takes them, (B, C, H, W).
        target: a class, a class an image (B,), a `Unit`; the top class of each image where it is None.

    Returns:
        (B, C, H, W). Modes, hooks and gradients of the module are as before.

    Raises:
        UserError: x is no images; no such class or unit; a network that autograd does not follow.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False))
    >>> _ = net[1].weight.data.copy_(torch.tensor([[1.0, -3.0], [0.0, 0.0]]))
    >>> input_gradient(net, torch.zeros(1, 1, 1, 2), 0).tolist()
    [[[[1.0, -3.0]]]]
    """
    leaf = image_leaf(x)
    with eval_with_grad(module):
        return _gradient(target_score(module, leaf, target).values, leaf)


def saliency(module: nn.Module, x: Tensor, target: Target = None) -> Tensor:
    """The absolute gradient, the largest over the channels: max_c |d s / d x_c|, (B, H, W).

    Arguments and errors are those of `input_gradient`.

    Source: Simonyan, Vedaldi, Zisserman: Deep inside convolutional networks, 2014 (arXiv 1312.6034), section 3.1.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(2, 1, bias=False))
    >>> _ = net[1].weight.data.copy_(torch.tensor([[1.0, -3.0]]))
    >>> saliency(net, torch.zeros(1, 1, 1, 2)).tolist()
    [[[1.0, 3.0]]]
    """
    return input_gradient(module, x, target).abs().amax(1)


def integrated_gradients(
    module: nn.Module, x: Tensor, target: Target = None, baseline: Tensor | float = 0.0, steps: int = 32
) -> Tensor:
    """What each pixel adds to the score on the straight way from a baseline b to the image.

    (x_i - b_i) times the mean of d s / d x_i along the way, by the midpoint rule. The sum over the pixels tends to
    s(x) - s(b) as the steps grow (completeness).

    Args:
        module, x, target: as for `input_gradient`; the target is resolved at x and kept along the way.
        baseline: an image without content, of the shape of x, or one number for all pixels; 0 is the mean colour of
            normalised images.
        steps: points of the sum.

    Returns:
        (B, C, H, W), in units of the score.

    Raises:
        UserError: as there, and fewer than one step.

    Source: Sundararajan, Taly, Yan: Axiomatic attribution for deep networks, 2017 (arXiv 1703.01365), section 3.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(2, 1, bias=False))
    >>> _ = net[1].weight.data.copy_(torch.tensor([[1.0, -3.0]]))
    >>> integrated_gradients(net, torch.tensor([[[[2.0, 5.0]]]]), steps=1).tolist()
    [[[[2.0, -15.0]]]]
    """
    if steps < 1:
        raise UserError("there are too few steps", expected="steps of 1 or more", found=steps)
    leaf = image_leaf(x)
    with eval_with_grad(module):
        resolved = target_score(module, leaf, target).target
        away = leaf.detach() - baseline
        total = torch.zeros_like(away)
        for step in range(steps):
            point = image_leaf(baseline + away * ((step + 0.5) / steps))
            total += _gradient(target_score(module, point, resolved).values, point)
        return away * total / steps


def smooth_grad(
    module: nn.Module, x: Tensor, target: Target = None, noise: float = 0.15, samples: int = 16, seed: int = 0
) -> Tensor:
    """The mean gradient over copies of the image with normal noise: what is no accident of one point stays.

    Args:
        module, x, target: as for `input_gradient`; the target is resolved at x.
        noise: deviation, as a share of the image's range max x - min x.
        samples: copies.
        seed: of the noise.

    Returns:
        (B, C, H, W).

    Raises:
        UserError: as there; no sample, a negative noise.

    Source: Smilkov et al.: SmoothGrad: removing noise by adding noise, 2017 (arXiv 1706.03825), section 3.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(2, 1, bias=False))
    >>> _ = net[1].weight.data.copy_(torch.tensor([[1.0, -3.0]]))
    >>> smooth_grad(net, torch.tensor([[[[2.0, 5.0]]]]), samples=4).tolist()
    [[[[1.0, -3.0]]]]
    """
    if samples < 1 or noise < 0:
        raise UserError(
            "noise or samples are out of range",
            expected="samples of 1 or more, noise of 0 or more",
            found=f"samples={samples}, noise={noise}",
        )
    leaf = image_leaf(x)
    # Drawn where the processor is, so that the same seed gives the same noise on every device.
    generator = torch.Generator().manual_seed(seed)
    spread = noise * (x.amax((1, 2, 3), keepdim=True) - x.amin((1, 2, 3), keepdim=True))
    with eval_with_grad(module):
        resolved = target_score(module, leaf, target).target
        total = torch.zeros_like(leaf, requires_grad=False)
        for _ in range(samples):
            drawn = torch.randn(x.shape, generator=generator).to(x.device, x.dtype)
            point = image_leaf(x + spread * drawn)
            total += _gradient(target_score(module, point, resolved).values, point)
        return total / samples


def _gradient(values: Tensor, leaf: Tensor) -> Tensor:
    """Images do not mix in eval mode, so the gradient of the sum holds that of each."""
    (gradient,) = torch.autograd.grad(values.sum(), leaf, allow_unused=True)
    return torch.zeros_like(leaf) if gradient is None else gradient.detach()


TOPICS = (Topic("Feature maps and saliency of one input", code=("saliency",)),)
