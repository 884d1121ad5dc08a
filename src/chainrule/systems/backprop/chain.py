"""Layers made of layers: one after another, and one beside another."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from chainrule.core.course import Topic
from chainrule.systems.backprop.layers.layer import Layer, without_graph


class Chain(Layer):
    """Layers one after another; the backward pass goes through them from the last to the first.

    This is back-propagation: the delta at the output is given, each layer turns the delta of its output into that of
    its input, and on the way adds the gradients of its own weights.

    Args:
        layers: the layers by name, in the order of the forward pass. The weights lie in the state as `name.weight`.

    Attributes:
        deltas: after `backward`, for each layer the derivative of the loss with respect to its output, by name, from
            the last layer to the first. For a fully connected layer or a convolution that is the delta of its net
            input z. What lies within a layer has a name with a dot, `block.conv1`.

    Raises:
        UserError: where there is no layer, a name is taken, or a layer occurs twice (it keeps one forward pass only).

    Source: Rumelhart, Hinton, Williams: Learning representations by back-propagating errors, 1986.

    >>> import torch
    >>> from chainrule.systems.backprop.layers.activations import Sigmoid
    >>> from chainrule.systems.backprop.layers.linear import Linear
    >>> network = Chain({"hidden": Linear(2, 3), "act": Sigmoid(), "out": Linear(3, 1)})
    >>> y = network(torch.ones(5, 2))
    >>> network.backward(torch.ones(5, 1)).shape
    torch.Size([5, 2])
    >>> {name: tuple(delta.shape) for name, delta in network.deltas.items()}
    {'out': (5, 1), 'act': (5, 3), 'hidden': (5, 3)}
    """

    def __init__(self, layers: Mapping[str, Layer]) -> None:
        super().__init__()
        self.require(len(layers) > 0, "a chain without layers", "at least one", "none")
        for name, layer in layers.items():
            free = name.isidentifier() and not hasattr(self, name)
            self.require(free, "a layer cannot have this name", "a word that is no attribute of a layer", repr(name))
            self.require(
                isinstance(layer, Layer),
                f"{name} has no backward pass written out",
                "a layer of chainrule.backprop",
                type(layer).__name__,
            )
            self.add_module(name, layer)
        _require_distinct(self)

    @without_graph
    def forward(self, x: Tensor) -> Tensor:
        for layer in self.children():
            x = layer(x)
        return self.keep(x)

    @without_graph
    def backward(self, delta: Tensor) -> Tensor:
        self.recall(delta)
        self.deltas = {}
        # From the last layer to the first: the delta of a layer's input is that of the output of the layer below.
        for name, layer in reversed(list(self.named_children())):
            assert isinstance(layer, Layer)
            self.deltas[name] = delta
            delta = layer.backward(delta)
            self.deltas.update({f"{name}.{inner}": value for inner, value in layer.deltas.items()})
        return delta


class Residual(Layer):
    """A sum of two paths: y = branch(x) + shortcut(x), with shortcut(x) = x where none is given.

    The delta of a sum goes to both summands unchanged, and what the two paths bring back to x is added:

        dE/dx = branch.backward(delta) + shortcut.backward(delta)

    With the identity as shortcut, delta itself is a summand of the result: it arrives, however small the part of the
    branch is.

    Args:
        branch: what is learnt.
        shortcut: the path around it, where shapes change; the identity by default.

    Raises:
        UserError: where the two paths give different shapes, or share a layer.

    Source: He et al.: Deep residual learning for image recognition, 2016, equations 1 and 2.

    >>> import torch
    >>> from chainrule.systems.backprop.layers.activations import ReLU
    >>> layer = Residual(ReLU())
    >>> layer(torch.tensor([-1.0, 2.0])), layer.backward(torch.ones(2))
    (tensor([-1.,  4.]), tensor([1., 2.]))
    """

    def __init__(self, branch: Layer, shortcut: Layer | None = None) -> None:
        super().__init__()
        self.branch = branch
        self.shortcut = shortcut
        _require_distinct(self)

    @without_graph
    def forward(self, x: Tensor) -> Tensor:
        learnt = self.branch(x)
        past = x if self.shortcut is None else self.shortcut(x)
        self.require(
            learnt.shape == past.shape, "branch and shortcut cannot be added", tuple(past.shape), tuple(learnt.shape)
        )
        return self.keep(learnt + past)

    @without_graph
    def backward(self, delta: Tensor) -> Tensor:
        self.recall(delta)
        through = self.branch.backward(delta)
        past = delta if self.shortcut is None else self.shortcut.backward(delta)
        self.deltas = {f"branch.{name}": value for name, value in self.branch.deltas.items()}
        if self.shortcut is not None:
            self.deltas |= {f"shortcut.{name}": value for name, value in self.shortcut.deltas.items()}
        return through + past


def _require_distinct(layer: Layer) -> None:
    """UserError where the same layer occurs at two places: the second forward pass would overwrite the first."""
    seen: dict[int, str] = {}
    for name, inner in layer.named_modules(remove_duplicate=False):
        layer.require(
            id(inner) not in seen,
            "a layer occurs at two places",
            "a layer of its own at each",
            f"{seen.get(id(inner))} and {name}",
        )
        seen[id(inner)] = name


TOPICS = (
    Topic(
        "Back-propagation by hand, delta rule",
        "手写反向传播、delta 规则",
        lectures=(1, 2, 3, 4, 5),
        code=("Chain",),
        command="chainrule train mlp-backprop",
    ),
)
