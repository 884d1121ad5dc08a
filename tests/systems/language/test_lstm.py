"""The LSTM layers and their dropout: torch's own, with other masks."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from chainrule.systems.language.lstm import FastDropout, LayerwiseLSTM, dropout


def pair(inputs: int, hidden: int, layers: int) -> tuple[LayerwiseLSTM, nn.LSTM]:
    torch.manual_seed(1)
    ours, torchs = LayerwiseLSTM(inputs, hidden, layers), nn.LSTM(inputs, hidden, layers, batch_first=True)
    torchs.load_state_dict(ours.state_dict())
    return ours, torchs


@pytest.mark.parametrize("layers, dtype", [(1, torch.float32), (3, torch.float32), (2, torch.float64)])
@pytest.mark.parametrize("training", [True, False])
def test_without_dropout_outputs_states_and_gradients_are_torchs_to_the_last_bit(layers, dtype, training):
    ours, torchs = (network.to(dtype).train(training) for network in pair(5, 8, layers))
    x = torch.randn(3, 7, 5, dtype=dtype)
    state = (torch.randn(layers, 3, 8, dtype=dtype), torch.randn(layers, 3, 8, dtype=dtype))
    for given in (None, state):
        results = []
        for network in (ours, torchs):
            y, (h, c) = network(x, given)
            gradients = torch.autograd.grad(y.square().sum() + h.sum() + (3 * c).sum(), list(network.parameters()))
            results.append((y, h, c, *gradients))
        for mine, theirs in zip(*results, strict=True):
            assert torch.equal(mine, theirs)


def test_gradients_with_dropout_are_those_of_finite_differences():
    torch.manual_seed(2)
    network = LayerwiseLSTM(3, 4, 2, dropout=0.4).double()
    names = [name for name, _ in network.named_parameters()]
    x = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)

    def outputs(x, *parameters):
        torch.manual_seed(3)  # the same masks each time
        y, (h, c) = torch.func.functional_call(network, dict(zip(names, parameters, strict=True)), (x,))
        return y, h, c

    assert torch.autograd.gradcheck(outputs, (x, *network.parameters()))


def test_dropout_stands_between_the_layers_alone_and_never_along_time():
    torch.manual_seed(4)
    network = LayerwiseLSTM(5, 64, 2, dropout=0.5)
    x = torch.randn(4, 9, 5)
    whole = network.eval()(x)
    torch.manual_seed(5)
    y, (h, _) = network.train()(x)
    assert torch.equal(h[0], whole[1][0][0])  # the first layer's state has seen no mask
    assert not torch.equal(y, whole[0])
    below = nn.LSTM(5, 64, batch_first=True)
    below.load_state_dict({name: value for name, value in network.state_dict().items() if name.endswith("_l0")})
    above = nn.LSTM(64, 64, batch_first=True)
    above.load_state_dict(
        {name.replace("_l1", "_l0"): value for name, value in network.state_dict().items() if name.endswith("_l1")}
    )
    torch.manual_seed(5)
    torch.testing.assert_close(y, above(dropout(below(x)[0], 0.5))[0])


@pytest.mark.parametrize("inputs", [65, 64, 8])
def test_in_bfloat16_the_values_are_those_of_float32_within_its_digits(inputs):
    ours, _ = pair(inputs, 32, 2)
    x = torch.randn(4, 20, inputs)
    exact = ours(x)[0]
    exact.square().mean().backward()
    gradients = [p.grad.clone() for p in ours.parameters()]
    ours.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        y, (h, c) = ours(x)
    y.float().square().mean().backward()
    torch.testing.assert_close(y.float(), exact, rtol=0.02, atol=0.02)
    assert h.shape == c.shape == (2, 4, 32)
    for p, gradient in zip(ours.parameters(), gradients, strict=True):
        assert p.dtype == p.grad.dtype == torch.float32
        assert float((p.grad - gradient).norm() / gradient.norm()) < 0.03


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5, 0.75])
def test_the_mask_keeps_one_minus_p_of_the_numbers_and_their_mean(p):
    torch.manual_seed(6)
    x = torch.ones(101, 1003, requires_grad=True)
    y = dropout(x, p)
    kept = y != 0
    count = x.numel()
    assert abs(float(kept.float().mean()) - (1 - p)) < 4 * (p * (1 - p) / count) ** 0.5
    values = y.detach()[kept].unique()
    assert len(values) == 1 and abs(float(values) * (1 - p) - 1) < 1e-4
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(gradient, y.detach())  # of ones, the mask itself
    columns = kept.float().mean(0)  # neighbours share a 64-bit draw, and are independent
    assert float((kept[:, 1:] & kept[:, :-1]).float().mean() - columns.mean() ** 2) == pytest.approx(0, abs=0.01)


def test_a_seed_gives_a_mask_and_eval_gives_none():
    x = torch.randn(5, 7)
    layer = FastDropout(0.4)
    torch.manual_seed(7)
    first = layer(x)
    torch.manual_seed(7)
    assert torch.equal(first, layer(x)) and not torch.equal(first, layer(x))
    assert torch.equal(layer.eval()(x), x)


@pytest.mark.parametrize("p, scale", [(0.0, 1.0), (1.0, 0.0)])
def test_nothing_and_everything_left_out(p, scale):
    x = torch.randn(9)
    assert torch.equal(dropout(x, p), x * scale)
