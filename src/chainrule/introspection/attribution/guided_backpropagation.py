"""Other rules for the backward pass through a ReLU: guided back-propagation and the deconvnet.

With y = relu(x) and the gradient g that arrives at y, what is passed on to x is

    gradient                    g      where x > 0
    deconvnet                   g      where g > 0             the forward pass does not matter
    guided back-propagation     g      where x > 0 and g > 0

and 0 elsewhere. All else in a deconvnet is the gradient already: the transpose of a convolution with the same filters,
and unpooling by the switches of the forward pass, are how autograd goes back through convolution and max pooling
(Zeiler and Fergus 2014, section 2.1; Simonyan et al. 2014, section 4). So the rule alone is replaced: autograd's own
graph of the one forward pass is walked, and a hook stands at each of its rectifiers. That reaches every spelling,
nn.ReLU, functional.relu and those that work in place, changes nothing in the module, and is gone with the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from chainrule.core.course import Topic
from chainrule.introspection.attribution.target import Target, eval_with_grad, image_leaf, target_score

Rule = Callable[[Tensor, Tensor], Tensor]  # (what the gradient would pass on, what arrived) -> what is passed on


def guided_backpropagation(module: nn.Module, x: Tensor, target: Target = None) -> Tensor:
    """The gradient with respect to the image, of which only positive parts pass a rectifier, and only active ones.

    Args:
        module: a network with rectifiers; without any the result is `input_gradient`.
        x, target: as for `input_gradient`.

    Returns:
        (B, C, H, W).

    Raises:
        UserError: as `input_gradient` does.

    Source: Springenberg, Dosovitskiy, Brox, Riedmiller: Striving for simplicity, 2015 (arXiv 1412.6806), section 3.4.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 1, bias=False))
    >>> _ = net[1].weight.data.copy_(torch.eye(2)), net[3].weight.data.copy_(torch.tensor([[1.0, -3.0]]))
    >>> guided_backpropagation(net, torch.ones(1, 1, 1, 2)).tolist()  # -3 does not pass
    [[[[1.0, 0.0]]]]
    """
    return _backward(module, x, target, lambda passed, arrived: passed.clamp(min=0))


def deconvnet(module: nn.Module, x: Tensor, target: Target = None) -> Tensor:
    """What in the image a unit answered to, by the deconvolutional network attached to the network.

    From the unit down: unpooling by the switches that this image set, rectification of what comes down, the filters
    transposed. It begins with the unit's activation, or with 1 for a class. Normalisations, of which the paper's
    networks have none that a deconvnet would undo, are passed as by the gradient.

    Args:
        module: a network with rectifiers.
        x, target: as for `input_gradient`. The paper asks about a `Unit` without a place: the strongest of its map.

    Returns:
        (B, C, H, W).

    Raises:
        UserError: as `input_gradient` does.

    Source: Zeiler, Fergus: Visualizing and understanding convolutional networks, 2014 (arXiv 1311.2901), section 2.1.

    >>> from chainrule.introspection.attribution.target import Unit
    >>> net = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.ReLU(), nn.MaxPool2d((1, 2)))
    >>> _ = net[0].weight.data.fill_(2.0)
    >>> deconvnet(net, torch.tensor([[[[1.0, 3.0]]]]), Unit("2", 0)).tolist()  # activation 6, its switch at the right
    [[[[0.0, 12.0]]]]
    """
    return _backward(module, x, target, lambda passed, arrived: arrived.clamp(min=0), activation=True)


def _backward(module: nn.Module, x: Tensor, target: Target, rule: Rule, *, activation: bool = False) -> Tensor:
    """From the score down, by the rule; where `activation`, what sets out from a unit is its activation and not 1."""
    leaf = image_leaf(x)
    with eval_with_grad(module):
        score = target_score(module, leaf, target)
        values = score.values
        for node in relu_nodes(values):
            node.register_hook(_hook(rule))
        start = values.detach() if activation and score.target.layer is not None else torch.ones_like(values)
        (gradient,) = torch.autograd.grad(values, leaf, start, allow_unused=True)
    return torch.zeros_like(leaf) if gradient is None else gradient.detach()


def _hook(rule: Rule) -> Any:
    def hook(passed: tuple[Tensor | None, ...], arrived: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
        if passed[0] is None or arrived[0] is None:
            return passed
        return (rule(passed[0], arrived[0]),)

    return hook


def relu_nodes(values: Tensor) -> Iterator[Any]:
    """The rectifiers among the nodes of the autograd graph that `values` came from, each once."""
    stack: list[Any] = [values.grad_fn]
    seen: set[Any] = {None}
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if node.name().startswith("ReluBackward"):
            yield node
        stack.extend(following for following, _ in node.next_functions)


TOPICS = (
    Topic(
        "Why an answer: guided back-propagation, deconvnet, Grad-CAM, occlusion",
        "为什么这样回答：导向反向传播、反卷积网络、Grad-CAM、遮挡",
        lectures=(2, 3),
        code=("guided_backpropagation", "deconvnet"),
        command="chainrule explain RUN INPUT",
    ),
)
