"""A network asked for what some of its layers give; it runs no further than the last of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from chainrule.core.errors import UserError, unknown
from chainrule.nn.pooling import CaffeAvgPool2d, CaffeMaxPool2d


class LayerOutputs(nn.Module):
    """Images to the outputs of the named layers of a network, by name, with autograd's history.

    The forward pass ends where all of them have answered: so a network whose last layers take one size of image alone
    can be asked about those before them with any. Of a layer that is called more than once the first output is given.

    Args:
        network: any module.
        layers: names of layers as `named_modules` has them.

    Raises:
        UserError: no layer, or none of such a name; when called, a layer that was not reached or gives no tensor.

    >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3))
    >>> LayerOutputs(net, ["1"])(torch.zeros(1, 1, 9, 9))["1"].shape  # the linear layer would not take it
    torch.Size([1, 2, 7, 7])
    """

    def __init__(self, network: nn.Module, layers: Sequence[str]) -> None:
        super().__init__()
        known = [name for name, _ in network.named_modules() if name]
        if not layers:
            raise UserError("no layer is named", expected="one at least, of " + ", ".join(known))
        for name in layers:
            if name not in known:
                raise unknown("there is no layer", name, known)
        self.network, self.layers = network, tuple(dict.fromkeys(layers))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        seen: dict[str, Tensor] = {}

        def keeping(name: str) -> Any:
            def hook(layer: nn.Module, args: object, output: object) -> Tensor | None:
                if name in seen or not isinstance(output, Tensor):
                    return None
                seen[name] = output
                if len(seen) == len(self.layers):
                    raise _Enough
                return output.clone()  # what works in place behind it does not write over it

            return hook

        with contextlib.ExitStack() as hooks:
            for name in self.layers:
                hooks.enter_context(self.network.get_submodule(name).register_forward_hook(keeping(name)))
            with contextlib.suppress(_Enough):
                self.network(x)
        for name in self.layers:
            if name not in seen:
                raise UserError("the layer gives no tensor in this network's forward pass", where=name)
        return {name: seen[name] for name in self.layers}

    def drop_unused(self, x: Tensor) -> None:
        """Takes the layers out that are not called on the way, with their weights; `x` is an example."""
        called: set[nn.Module] = set()
        with contextlib.ExitStack() as hooks, torch.no_grad():
            for layer in self.network.modules():
                hooks.enter_context(layer.register_forward_pre_hook(lambda layer, args: called.add(layer)))
            self(x)
        used = {parent for parent in self.network.modules() if any(child in called for child in parent.modules())}
        for parent in list(self.network.modules()):
            for name, child in parent.named_children():
                if child not in used:
                    setattr(parent, name, nn.Identity())


class _Enough(Exception):
    """All layers have answered: the rest of the forward pass is left out."""


def average_pooling(network: nn.Module) -> int:
    """Puts pooling by the mean in the place of pooling by the maximum, in the network itself; gives how often it did.

    Source: Gatys, Ecker, Bethge 2016, section 2: gradients flow better, and images made this way please more.

    >>> net = nn.Sequential(nn.MaxPool2d(2))
    >>> average_pooling(net), net(torch.tensor([[[[1.0, 3.0], [0.0, 0.0]]]])).item()
    (1, 1.0)
    """
    count = 0
    for parent, name, layer in list(_children(network)):
        if isinstance(layer, nn.MaxPool2d):
            new: nn.Module = nn.AvgPool2d(
                layer.kernel_size, layer.stride, layer.padding, layer.ceil_mode, count_include_pad=False
            )
        elif isinstance(layer, CaffeMaxPool2d):
            new = CaffeAvgPool2d(layer.kernel_size, layer.stride, layer.padding)
        else:
            continue
        setattr(parent, name, new)
        count += 1
    return count


def _children(network: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    for parent in network.modules():
        for name, child in parent._modules.items():
            if child is not None:
                yield parent, name, child
