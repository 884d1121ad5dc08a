"""The weights of the first layer as images: they are laid over pixels, so they look like what they answer to."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from chainrule.introspection.layers import evaluating


@dataclass(frozen=True)
class Filters:
    """The filters (N, C, h, w) of the layer `name`; `kind` says of what kind it is."""

    name: str
    kind: str
    weight: Tensor


def first_filters(module: nn.Module, x: Tensor) -> Filters | None:
    """The weights of the layer that first meets the pixels: a convolution's, or a linear layer's as images.

    Args:
        module: the network.
        x: one image as the network takes it, (1, C, H, W).

    Returns:
        the filters; None where the first layer with weights is neither, or a linear one that does not take all pixels.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(12, 5))
    >>> filters = first_filters(net, torch.zeros(1, 3, 2, 2))
    >>> filters.name, filters.weight.shape
    ('1', torch.Size([5, 3, 2, 2]))
    """
    called: list[tuple[str, nn.Conv2d | nn.Linear]] = []
    hooks = [
        layer.register_forward_pre_hook(lambda layer, args, name=name: called.append((name, layer)))
        for name, layer in module.named_modules()
        if isinstance(layer, (nn.Conv2d, nn.Linear))
    ]
    try:
        with torch.no_grad(), evaluating(module):
            module(x)
    finally:
        for hook in hooks:
            hook.remove()
    if not called:
        return None
    name, layer = called[0]
    weight = layer.weight.detach()
    if isinstance(layer, nn.Conv2d):
        return Filters(name, "convolution", weight)
    return Filters(name, "linear layer", weight.view(-1, *x.shape[1:])) if weight.shape[1] == x[0].numel() else None
