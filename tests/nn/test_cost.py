"""Multiply-adds by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from chainrule.models import get_card
from chainrule.nn.cost import Cost, cost

BY_HAND = {
    "linear": (nn.Linear(7, 5), (torch.zeros(3, 7),), Cost(3 * 7 * 5, 3 * 5)),
    "grouped, strided": (
        nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2),
        (torch.zeros(2, 4, 8, 8),),
        Cost(2 * 6 * 16 * (2 * 9), 2 * 6 * 16),
    ),
    "lstm": (
        nn.LSTM(3, 5, 2, batch_first=True),
        (torch.zeros(2, 7, 3),),
        Cost(2 * 7 * 4 * 5 * ((3 + 5) + (5 + 5)), 2 * 7 * 2 * 4 * 5),
    ),
    "gru, both ways": (
        nn.GRU(3, 5, bidirectional=True),
        (torch.zeros(7, 2, 3),),
        Cost(2 * 14 * 3 * 5 * (3 + 5), 2 * 14 * 3 * 5),
    ),
    "nothing": (nn.ReLU(), (torch.zeros(4),), Cost()),
}


@pytest.mark.parametrize("module, inputs, expected", BY_HAND.values(), ids=BY_HAND)
def test_cost_by_hand(module, inputs, expected):
    assert cost(module, inputs) == expected


def test_lenet_by_hand():
    """Two convolutions of 5 x 5 on 28 x 28, two linear layers."""
    products = [(20 * 24 * 24, 25), (50 * 8 * 8, 20 * 25), (500, 800), (10, 500)]
    expected = Cost(sum(values * length for values, length in products), sum(values for values, _ in products))
    card = get_card("lenet-caffe")
    assert cost(card.build(), card.example(1)) == expected
    assert expected.length == pytest.approx(150.6, abs=0.1)


def test_counting_changes_nothing():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(0.5), nn.Flatten(), nn.Linear(72, 3))
    net[2].eval()
    before, random = {name: value.clone() for name, value in net.state_dict().items()}, torch.get_rng_state()
    cost(net, (torch.randn(1, 1, 8, 8).zero_(),))
    torch.set_rng_state(random)
    cost(net, (torch.zeros(1, 1, 8, 8),))
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert [module.training for module in net] == [True, True, False, True, True]
    assert all(p.grad is None for p in net.parameters())
