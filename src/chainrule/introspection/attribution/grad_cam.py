"""Where the evidence for a class lies, as coarse as the last maps: Grad-CAM."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from chainrule.core.course import Topic
from chainrule.core.errors import UserError
from chainrule.introspection.attribution.target import eval_with_grad, image_leaf, layers_with_maps, target_score


def grad_cam(module: nn.Module, x: Tensor, target: int | Tensor | None = None, layer: str | None = None) -> Tensor:
    """relu(sum_k alpha_k A^k): the maps A^k of a layer, weighted by how much each raises the logit of the class.

    alpha_k is the mean over the places of d logit / d A^k.

    Args:
        module: a network that gives logits (B, K).
        x: images as the network takes them, (B, C, H, W).
        target: a class, a class an image (B,), None for the top class.
        layer: whose maps; the last that are larger than one pixel where it is None (`default_target_layer`).

    Returns:
        (B, h, w) as large as the maps, 0 and above.

    Raises:
        UserError: as `input_gradient` does; the layer gives no maps, or the logits do not come from it.

    Source: Selvaraju et al.: Grad-CAM, 2017 (arXiv 1610.02391), section 3, equations 1 and 2.

    >>> net = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Flatten(), nn.Linear(2, 1))
    >>> for p, value in zip(net.parameters(), (2.0, 0.0, 1.0, 0.0), strict=True): _ = p.data.fill_(value)
    >>> grad_cam(net, torch.tensor([[[[3.0, -1.0]]]])).tolist()  # alpha = 1, A = (6, -2)
    [[[6.0, 0.0]]]
    """
    leaf = image_leaf(x)
    name = default_target_layer(module, leaf) if layer is None else layer
    with eval_with_grad(module):
        score = target_score(module, leaf, target, [name])
        maps = score.activations[name]
        if maps.dim() != 4:
            raise UserError("the layer gives no maps", where=name, expected="(B, C, h, w)", found=tuple(maps.shape))
        (gradient,) = torch.autograd.grad(score.values.sum(), maps, allow_unused=True)
    if gradient is None:
        raise UserError("the logits do not come from this layer", where=name)
    weights = gradient.mean((2, 3), keepdim=True)  # alpha, (B, K, 1, 1)
    return (weights * maps).sum(1).clamp(min=0).detach()


def default_target_layer(module: nn.Module, x: Tensor) -> str:
    """The name of the layer whose call ends last among those that give maps larger than one pixel.

    Raises:
        UserError: no layer gives such maps.

    >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    >>> default_target_layer(net, torch.zeros(1, 1, 5, 5))
    '1'
    """
    names = list(layers_with_maps(module, x, least=2))
    if not names:
        raise UserError(
            "no layer gives maps",
            where=type(module).__name__,
            expected="a layer with output (B, C, h, w), h or w above 1",
            cure="saliency and occlusion need no maps",
        )
    return names[-1]


TOPICS = (Topic("Why an answer: guided back-propagation, deconvnet, Grad-CAM, occlusion", code=("grad_cam",)),)
