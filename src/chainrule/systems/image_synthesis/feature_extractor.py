"""A network as a feature extractor: the outputs of some of its layers; it runs no further than the last of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from chainrule.core.errors import UserError, unknown
from chainrule.introspection.attribution.target import layers_with_maps
from chainrule.nn.normalization.normalize import Normalize
from chainrule.nn.pooling import CaffeAvgPool2d, CaffeMaxPool2d

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
Features = Callable[[Tensor], dict[str, Tensor]]  # pixels (1, 3, H, W) in [0, 255] to the outputs of layers, by name


class FeatureExtractor(nn.Module):
    """Inputs of a network to the outputs of some of its layers, by name, with autograd's history.

    The forward pass ends where all of them have answered: so a network whose last layers take one size of image alone
    gives the features of those before them for any. Of a layer that is called more than once the first output is given.

    Args:
        network: any module.
        layers: names of layers as `named_modules` has them.
        preprocess: pixels to inputs of the network, for `features`; see `preprocessing`.

    Raises:
        UserError: no layer, or none of such a name; when called, a layer that was not reached or gives no tensor.

    >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3))
    >>> FeatureExtractor(net, ["1"])(torch.zeros(1, 1, 9, 9))["1"].shape  # the linear layer would not take it
    torch.Size([1, 2, 7, 7])
    """

    def __init__(
        self, network: nn.Module, layers: Sequence[str], preprocess: Callable[[Tensor], Tensor] = lambda pixels: pixels
    ) -> None:
        super().__init__()
        known = [name for name, _ in network.named_modules() if name]
        if not layers:
            raise UserError("no layer is named", expected="one at least, of " + ", ".join(known))
        for name in layers:
            if name not in known:
                raise unknown("there is no layer", name, known)
        self.network, self.layers, self.preprocess = network, tuple(dict.fromkeys(layers)), preprocess

    def features(self, pixels: Tensor) -> dict[str, Tensor]:
        """The outputs of the layers for pixels (B, 3, H, W) in [0, 255]."""
        return self(self.preprocess(pixels))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        outputs: dict[str, Tensor] = {}

        def record(name: str) -> Callable[[nn.Module, object, object], Tensor | None]:
            def hook(layer: nn.Module, args: object, output: object) -> Tensor | None:
                if name in outputs or not isinstance(output, Tensor):
                    return None
                outputs[name] = output
                if len(outputs) == len(self.layers):
                    raise _AllRecorded
                return output.clone()  # an in-place operation behind this layer does not write over its output

            return hook

        with contextlib.ExitStack() as hooks:
            for name in self.layers:
                hooks.enter_context(self.network.get_submodule(name).register_forward_hook(record(name)))
            with contextlib.suppress(_AllRecorded):
                self.network(x)
        for name in self.layers:
            if name not in outputs:
                raise UserError("the layer gives no tensor in this network's forward pass", where=name)
        return {name: outputs[name] for name in self.layers}

    def drop_unused_layers(self, x: Tensor) -> None:
        """Removes the layers that `forward` does not call, with their weights; `x` is an example of its input."""
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


class _AllRecorded(Exception):
    """Every layer's output is known: the rest of the forward pass is left out."""


def preprocessing(normalize: Normalize, channels: int) -> Callable[[Tensor], Tensor]:
    """Pixels (B, 3, H, W) in [0, 255] to what a network was trained on; one of grey images sees their luma."""

    def preprocess(pixels: Tensor) -> Tensor:
        if channels == 1:
            pixels = (pixels * pixels.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)  # (B, 1, H, W)
        return normalize(pixels)

    return preprocess


def last_layer_of_each_size(network: nn.Module, example: Tensor) -> tuple[str, ...]:
    """For each size of feature maps that an example (1, C, H, W) has in the network, the last layer with it, in order.

    >>> net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(2, 2, 1), nn.AdaptiveAvgPool2d(1))
    >>> last_layer_of_each_size(net, torch.zeros(1, 1, 8, 8))
    ('1', '3')
    """
    found = {(height, width): name for name, (_, height, width) in layers_with_maps(network, example, least=2).items()}
    if not found:
        raise UserError("the network has no layers with maps", where=type(network).__name__, expected="convolutions")
    return tuple(found.values())


def average_pooling(network: nn.Module) -> int:
    """Replaces max pooling by average pooling in the network itself; gives how many layers it replaced.

    Source: Gatys, Ecker, Bethge 2016, section 2: it gives slightly more appealing results.

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
