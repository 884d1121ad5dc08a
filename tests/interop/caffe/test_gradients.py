"""Where Caffe's gradients are not autograd's own: ties, maps without variance, and blobs that hand none back."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from chainrule.core.errors import UserError
from chainrule.interop.caffe.net import parse_net
from chainrule.systems.image_classification.caffe.classifier import parse_classifier
from tests.interop.caffe.test_layers import net_of, numbers


def gradients(layer: str, *inputs: Tensor) -> list[Tensor]:
    """Of the sum of what the layer makes, weighted by 1, 2, 3, ..."""
    inputs = tuple(x.clone().requires_grad_() for x in inputs)
    made = net_of(f"layer {{ {layer} ENDS }}", *[tuple(x.shape) for x in inputs])(*inputs)["y0"]
    weights = torch.arange(1.0, made.numel() + 1, dtype=made.dtype).view(made.shape)
    return list(torch.autograd.grad((made * weights).sum(), inputs))


def test_of_equal_maxima_one_has_the_gradient() -> None:
    """Caffe takes the first of two where it is larger, else the second; a third where it is larger than both."""
    ones = torch.ones(1, 2, dtype=torch.float64)
    found = gradients('type: "Eltwise" eltwise_param { operation: MAX }', ones, ones, ones)
    assert [g.tolist() for g in found] == [[[0, 0]], [[1, 2]], [[0, 0]]]
    pooled = gradients('type: "Pooling" pooling_param { global_pooling: true }', torch.ones(1, 1, 2, 2).double())
    assert pooled[0].flatten().tolist() == [1, 0, 0, 0]


def test_a_map_without_variance_has_a_gradient() -> None:
    """By hand: y = (x - m) / eps there, whose gradient is (g - mean g) / eps."""
    (found,) = gradients('type: "MVN" mvn_param { eps: 0.5 }', torch.full((1, 1, 1, 4), 3.0, dtype=torch.float64))
    assert found.flatten().tolist() == [-3.0, -1.0, 1.0, 3.0]
    x = numbers(2, 3, 2, 2).requires_grad_()
    net = net_of('layer { type: "MVN" ENDS }', (2, 3, 2, 2))
    assert torch.autograd.gradcheck(lambda x: net(x)["y0"], (x,))


CHAIN = """
input: "data" input_dim: [4, 3, 1, 1] input: "label" input_dim: [4, 1, 1, 1]
layer { name: "body" type: "InnerProduct" bottom: "data" top: "body" inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "side" type: "InnerProduct" bottom: "body" top: "side" inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
layer { name: "head" type: "InnerProduct" bottom: "body" top: "head" %s inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
layer { name: "sum" type: "Eltwise" bottom: "head" bottom: "side" top: "sum" %s }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "sum" bottom: "label" top: "loss" %s }
"""


def chain(head: str = "", both: str = "", loss: str = "", first: str = "") -> dict[str, Tensor | None]:
    """The gradients of the weights by layer."""
    torch.manual_seed(0)
    net = parse_net(first + CHAIN % (head, both, loss), "TRAIN")
    objective = net.objective(numbers(4, 3, 1, 1).float(), label=torch.tensor([0, 1, 0, 1]).view(4, 1, 1, 1))
    if objective.requires_grad:
        objective.backward()
    return {name: net.layer(name).weight.grad for name in ("body", "side", "head")}


def test_no_gradient_goes_back_where_it_is_not_propagated() -> None:
    whole, cut = chain(), chain(head="propagate_down: false")
    assert torch.equal(cut["head"], whole["head"]) and torch.equal(cut["side"], whole["side"])
    through_side = chain(both="propagate_down: [false, true]")
    assert torch.equal(cut["body"], through_side["body"]) and not torch.equal(cut["body"], whole["body"])
    assert through_side["head"] is None and torch.equal(through_side["side"], whole["side"])
    assert all(gradient is None for gradient in chain(loss="propagate_down: [false, false]").values())
    forced = chain(head="propagate_down: false", first="force_backward: true ")
    assert torch.equal(forced["body"], whole["body"])


def test_a_classifier_keeps_it_too() -> None:
    text = (
        'layer { name: "d" type: "Input" top: "x" input_param { shape { dim: 1 dim: 1 dim: 2 dim: 2 } } }'
        + """
        layer { name: "l" type: "Input" top: "y" input_param { shape { dim: 1 } } }
        layer { name: "body" type: "InnerProduct" bottom: "x" top: "b" inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
        layer { name: "head" type: "InnerProduct" bottom: "b" top: "h" HEAD inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
        layer { name: "loss" type: "SoftmaxWithLoss" bottom: "h" bottom: "y" LOSS }"""
    )
    model = parse_classifier(text.replace("HEAD", "propagate_down: false").replace("LOSS", ""), 1, 2)
    scores = model(torch.randn(3, 1, 2, 2))
    model.criterion(scores, torch.tensor([0, 1, 2])).mean().backward()
    grads = {name: p.grad is not None for name, p in model.named_parameters() if name.endswith("weight")}
    assert grads == {"net.layers.body.weight": False, "net.layers.head.weight": True}
    with pytest.raises(UserError, match=r"no loss of .* hands a gradient back"):
        parse_classifier(text.replace("HEAD", "").replace("LOSS", "propagate_down: [false, false]"), 1, 2)
