"""Taking weights and units out of a trained network."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from chainrule.core.course import Topic
from chainrule.core.errors import UserError
from chainrule.systems.studies.redundancy.saliency import next_linear


def prune_weights(network: nn.Module, saliency: Mapping[str, Tensor], share: float) -> nn.Module:
    """Sets the least salient share of the weights of all layers together to 0, where they stay while it is trained on.

    Args:
        network: changed in place, and given back. An optimiser has to be made afterwards: torch keeps what is learnt as
            `weight_orig`, and `torch.nn.utils.prune.remove` makes it one weight again.
        saliency: of the weights of each layer, by the layer's name; by its size, without its sign.
        share: of the weights that have a saliency, from 0 to 1; their number is rounded.

    Errors: a UserError for a share out of range, and for a saliency of another shape.

    >>> net = nn.Sequential(nn.Linear(2, 2, bias=False))
    >>> net[0].weight.data = torch.tensor([[3.0, -0.5], [1.0, 2.0]])
    >>> prune_weights(net, {"0": net[0].weight.detach().abs()}, 0.5)[0].weight.tolist()
    [[3.0, -0.0], [0.0, 2.0]]
    """
    if not 0 <= share <= 1:
        raise UserError("the share of weights to prune is out of range", expected="0 to 1", found=share)
    modules = dict(network.named_modules())
    layers = {(modules[name], "weight"): scores for name, scores in saliency.items()}
    for name, scores in saliency.items():
        shape = modules[name].get_parameter("weight").shape
        if shape != scores.shape:
            raise UserError(
                "a saliency has another shape than the weights",
                where=name,
                expected=tuple(shape),
                found=tuple(scores.shape),
            )
    prune.global_unstructured(list(layers), prune.L1Unstructured, importance_scores=layers, amount=float(share))
    return network


def remove_units(network: nn.Module, layer: str, kept: Tensor) -> nn.Module:
    """A copy in which a hidden linear layer has only the units `kept`, and the next one only the weights from them.

    Args:
        network: a chain of linear layers with activations between them.
        layer: the name of the layer.
        kept: the numbers of the units that stay, one or more.

    Errors: a UserError where the next linear layer does not take these units, and where none stays.

    >>> net = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))
    >>> remove_units(net, "0", torch.tensor([0, 3]))
    Sequential(
      (0): Linear(in_features=4, out_features=2, bias=True)
      (1): ReLU()
      (2): Linear(in_features=2, out_features=2, bias=True)
    )
    """
    if not len(kept):
        raise UserError("a hidden layer has no unit left", where=layer, expected="one unit or more")
    smaller = copy.deepcopy(network)
    after = next_linear(smaller, layer)
    own = dict(smaller.named_modules())[layer]
    assert isinstance(own, nn.Linear)
    with torch.no_grad():
        own.weight = nn.Parameter(own.weight[kept])
        if own.bias is not None:
            own.bias = nn.Parameter(own.bias[kept])
        after.weight = nn.Parameter(after.weight[:, kept])
    own.out_features = after.in_features = len(kept)
    return smaller


TOPICS = (Topic("Pruning: magnitude, optimal brain damage, units", code=("prune_weights", "remove_units")),)
