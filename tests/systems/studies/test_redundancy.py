"""What a trained network can lose: saliencies against closed forms and torch.func, blocks against passes by hand."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from chainrule.core.errors import UserError
from chainrule.systems.feedforward.mlp import MLP
from chainrule.systems.image_classification.resnet_cifar import ResNetCifar
from chainrule.systems.studies.redundancy import pruning_study, residual_paths
from chainrule.systems.studies.redundancy.pruning import prune_weights, remove_units
from chainrule.systems.studies.redundancy.residual_paths import (
    Bypass,
    exchangeable,
    path_lengths,
    with_blocks_exchanged,
    without_blocks,
)
from chainrule.systems.studies.redundancy.saliency import magnitude, obd_saliency, second_derivatives, unit_relevance

# -- pruning --------------------------------------------------------------------------------------------------------


def half_squared(answers: Tensor, y: Tensor) -> Tensor:
    return (answers - y).square().sum(1).mean() / 2


def test_on_a_quadratic_the_saliencies_are_the_rise_of_the_loss() -> None:
    """Least squares with inputs at right angles: no terms between weights, and the expansion is the loss itself."""
    torch.manual_seed(0)
    x = torch.linalg.qr(torch.randn(8, 4, dtype=torch.float64)).Q * torch.tensor([1.0, 2.0, 3.0, 4.0])
    y = torch.randn(8, 2, dtype=torch.float64)
    net = nn.Sequential(nn.Linear(4, 2, bias=False).double())
    net[0].weight.data = torch.linalg.lstsq(x, y).solution.T.contiguous()
    saliency = obd_saliency(net, x, y, half_squared)["0"]
    by_hand = x.square().mean(0) * net[0].weight.detach().square() / 2  # h_ij = mean x_j^2
    torch.testing.assert_close(saliency, by_hand)
    whole = float(half_squared(net(x), y).detach())
    gone = [(0, 1), (1, 0), (1, 3)]
    for i, j in gone:
        net[0].weight.data[i, j] = 0.0
    rise = float(half_squared(net(x), y).detach()) - whole
    assert rise == pytest.approx(sum(float(saliency[i, j]) for i, j in gone), rel=1e-9)


def test_second_derivatives_are_the_diagonal_of_the_hessian() -> None:
    torch.manual_seed(0)
    net = MLP(3, 3, hidden=(4, 2), activation="tanh", dropout=0.5).double()
    x, y = torch.randn(6, 3, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1, 2])
    found = second_derivatives(net, x, y, cross_entropy)
    assert net.training and set(found) == {"layers.0", "layers.3", "output"}
    net.eval()
    parameters = dict(net.named_parameters())
    for name, curvature in found.items():

        def loss(weight: Tensor, name: str = name) -> Tensor:
            return cross_entropy(torch.func.functional_call(net, {**parameters, f"{name}.weight": weight}, (x,)), y)

        weight = parameters[f"{name}.weight"]
        hessian = torch.func.jacrev(torch.func.jacrev(loss))(weight).reshape(weight.numel(), -1)
        torch.testing.assert_close(curvature, hessian.diagonal().reshape(weight.shape), rtol=1e-9, atol=1e-12)


def test_an_activation_that_works_in_place_changes_no_derivative() -> None:
    torch.manual_seed(0)
    first, second, x, y = nn.Linear(3, 5), nn.Linear(5, 2), torch.randn(6, 3), torch.tensor([0, 1, 1, 0, 1, 0])
    one, other = (
        second_derivatives(nn.Sequential(first, nn.ReLU(inplace), second), x, y, cross_entropy)
        for inplace in (False, True)
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_least_salient_weights_of_all_layers_go_and_stay_away() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    sizes = np.concatenate([p.detach().abs().numpy().ravel() for p in (net[0].weight, net[2].weight)])
    border = np.sort(sizes)[round(0.6 * len(sizes)) - 1]
    prune_weights(net, magnitude(net), 0.6)
    left = np.concatenate([net[0].weight.detach().numpy().ravel(), net[2].weight.detach().numpy().ravel()])
    assert ((left == 0) == (sizes <= border)).all() and pruning_study.weights_of(net) == (left != 0).sum()
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
    for _ in range(3):
        optimizer.zero_grad()
        net(torch.ones(2, 6)).square().sum().backward()
        optimizer.step()
    net(torch.ones(1, 6))
    after = np.concatenate([net[0].weight.detach().numpy().ravel(), net[2].weight.detach().numpy().ravel()])
    assert ((after == 0) == (left == 0)).all() and (after != left).any()


def test_a_unit_matters_by_what_the_loss_rises_without_it() -> None:
    torch.manual_seed(0)
    net = MLP(4, 3, hidden=(5, 6), activation="sigmoid").double()
    x, y = torch.randn(7, 4, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1, 2, 0])
    before = {name: p.clone() for name, p in net.named_parameters()}
    rises = unit_relevance(net, "layers.0", x, y, cross_entropy)
    whole = cross_entropy(net(x), y)
    for unit in range(5):
        kept = torch.tensor([u for u in range(5) if u != unit])
        smaller = remove_units(net, "layers.0", kept)
        assert smaller.layers[0].weight.shape == (4, 4) and smaller.layers[3].weight.shape == (6, 4)
        torch.testing.assert_close(cross_entropy(smaller(x), y) - whole, rises[unit])
    assert all(torch.equal(p, before[name]) for name, p in net.named_parameters())


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda net: prune_weights(net, magnitude(net), 1.5), "share of weights to prune is out of range"),
        (lambda net: prune_weights(net, {"0": torch.ones(2, 2)}, 0.5), "another shape"),
        (lambda net: remove_units(net, "2", torch.tensor([0])), "do not go into a linear layer alone"),
        (lambda net: remove_units(net, "nothing", torch.tensor([0])), "no such linear layer"),
        (lambda net: remove_units(net, "0", torch.tensor([], dtype=torch.int64)), "no unit left"),
        (lambda net: second_derivatives(net[1:2], torch.ones(1, 5), torch.ones(1), cross_entropy), "no linear layer"),
        (lambda net: second_derivatives(net, torch.ones(1, 2, 6), torch.ones(1), cross_entropy), "more than one row"),
    ],
)
def test_what_cannot_be_pruned_is_said(call: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        call(nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)))


def test_which_share_may_go() -> None:
    assert pruning_study.share_that_may_go([0.2, 0.5, 0.9], [0.03, 0.03, 0.2], 0.04) == 0.5
    assert pruning_study.share_that_may_go([0.2, 0.5, 0.9], [0.05, 0.03, 0.03], 0.04) == 0.0


# -- paths ----------------------------------------------------------------------------------------------------------


def test_without_a_block_its_shortcut_is_left() -> None:
    torch.manual_seed(0)
    net, x = ResNetCifar(14).eval(), torch.randn(2, 3, 8, 8)
    with without_blocks(net, [0, 2, 5]):
        found = net(x)
    h = net.bn(net.conv(x)).relu()  # by hand: blocks 0, 2, 5 gone, and 2 halves the image
    h = net.stage1[1](h)
    h = torch.cat([h[:, :, ::2, ::2], torch.zeros(2, 16, 4, 4)], 1)
    h = net.stage3[0](net.stage2[1](h))
    torch.testing.assert_close(found, net.fc(h.mean((2, 3))))


def test_exchanged_blocks_take_each_others_turn() -> None:
    torch.manual_seed(0)
    net, x = ResNetCifar(20, shortcut="none").eval(), torch.randn(2, 3, 8, 8)
    assert exchangeable(net) == [(0, 1), (0, 2), (1, 2), (4, 5), (7, 8)]
    whole, stage = net(x), list(net.stage1)
    with with_blocks_exchanged(net, [(0, 1), (1, 2)]):
        found = [id(block) for block in net.stage1]
    assert found == [id(stage[1]), id(stage[2]), id(stage[0])]
    assert torch.equal(net(x), whole)


def test_path_lengths_are_those_of_all_subsets() -> None:
    lengths = [sum(taken) for taken in itertools.product((0, 1), repeat=5)]
    assert path_lengths(5) == [lengths.count(k) / 32 for k in range(6)]


def test_lesions_take_out_as_many_blocks_as_they_say() -> None:
    net = ResNetCifar(14)
    order = [id(block) for stage in (net.stage1, net.stage2, net.stage3) for block in stage]

    def moved() -> float:
        now = [block for stage in (net.stage1, net.stage2, net.stage3) for block in stage]
        gone = sum(isinstance(block, Bypass) for block in now)
        return gone or -float(sum(id(block) != before for block, before in zip(now, order, strict=True)))

    found = residual_paths.lesions(net, exchangeable(net), 2, moved)
    assert found["one_removed"] == [1] * 6 and found["removed"] == list(range(6))
    assert found["exchanged"] == [0, -2]  # the one pair there is
    assert found["changes"] == [False, False, True, False, True, False]
