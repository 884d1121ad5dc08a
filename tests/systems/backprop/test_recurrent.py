"""Back-propagation through time by hand: against autograd, with truncation, and by a worked example."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from chainrule.core.errors import UserError
from chainrule.systems.backprop.layers.recurrent import GRU, LSTM, RNN
from tests.systems.backprop.oracle import near, same_as_autograd

CELLS = [(RNN, nn.RNN, {}), (RNN, nn.RNN, {"nonlinearity": "relu"}), (LSTM, nn.LSTM, {}), (GRU, nn.GRU, {})]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize(("ours", "theirs", "settings"), CELLS, ids=lambda v: getattr(v, "__name__", str(v)))
@pytest.mark.parametrize("shape", [(3, 7, 4), (1, 1, 4), (2, 40, 4)], ids=str)
def test_all_states_and_all_gradients(
    ours: type, theirs: type, settings: dict[str, str], shape: tuple[int, ...]
) -> None:
    same_as_autograd(ours(4, 5, **settings), theirs(4, 5, batch_first=True, **settings), torch.randn(shape))


@pytest.mark.parametrize(("ours", "theirs", "settings"), CELLS[::2], ids=lambda v: getattr(v, "__name__", str(v)))
def test_saturated_by_large_inputs(ours: type, theirs: type, settings: dict[str, str]) -> None:
    same_as_autograd(ours(4, 5, **settings), theirs(4, 5, batch_first=True, **settings), torch.randn(2, 6, 4) * 1e3)


def cut_off(cell: nn.RNNBase, x: Tensor, every: int) -> Tensor:
    """PyTorch's own layer over pieces of `every` steps, each beginning from the last state without its history."""
    state, parts = None, []
    for piece in x.split(every, 1):
        out, state = cell(piece, state)
        state = tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()
        parts.append(out)
    return torch.cat(parts, 1)


@pytest.mark.parametrize(("ours", "theirs", "settings"), CELLS, ids=lambda v: getattr(v, "__name__", str(v)))
@pytest.mark.parametrize("every", [1, 3, 7, 50])
def test_truncation(ours: type, theirs: type, settings: dict[str, str], every: int) -> None:
    mine = ours(4, 5, truncation=every, **settings).double()
    other = theirs(4, 5, batch_first=True, **settings).double()
    other.load_state_dict(mine.state_dict())
    x = torch.randn(3, 7, 4, dtype=torch.float64)
    leaf, delta = x.clone().requires_grad_(True), torch.randn(3, 7, 5, dtype=torch.float64)
    expected = cut_off(other, leaf, every)
    near(mine(x), expected, "states: what is computed forward does not change")
    expected.backward(delta)
    near(mine.backward(delta), leaf.grad, "delta of the input")
    for name, parameter in mine.named_parameters():
        near(parameter.grad, dict(other.named_parameters())[name].grad, name)


@pytest.mark.parametrize(("ours", "theirs", "settings"), CELLS, ids=lambda v: getattr(v, "__name__", str(v)))
def test_the_delta_of_every_state_can_be_read(ours: type, theirs: type, settings: dict[str, str]) -> None:
    """dE/dh(t), with the steps of PyTorch's layer taken one at a time so that each state can be asked."""
    mine, other = ours(2, 3, **settings).double(), theirs(2, 3, batch_first=True, **settings).double()
    other.load_state_dict(mine.state_dict())
    x, delta = torch.randn(2, 6, 2, dtype=torch.float64), torch.randn(2, 6, 3, dtype=torch.float64)
    state, states = None, []
    for t in range(6):
        _, state = other(x[:, t : t + 1], state)
        h = state[0] if isinstance(state, tuple) else state
        h.retain_grad()
        states.append(h)
    torch.stack([h[0] for h in states], 1).backward(delta)
    mine(x)
    mine.backward(delta)
    expected = torch.stack([h.grad[0] for h in states], 1)
    near(mine.state_deltas, expected, "deltas of the states")
    near(mine.deltas["first_state"], expected[:, 0], "first")
    near(mine.deltas["last_state"], expected[:, -1], "last")


def test_vanishing_by_hand() -> None:
    """One unit, no input: dE/dh(1) is the product of u f'(z) over the steps that it went back."""
    layer = RNN(1, 1).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.fill_(0.4)
    h, states = 0.0, []
    for _ in range(5):
        h = math.tanh(0.8 + 0.4 * h)
        states.append(h)
    delta = torch.zeros(1, 5, 1, dtype=torch.float64)
    delta[0, -1] = 1.0
    assert layer(torch.zeros(1, 5, 1, dtype=torch.float64)).flatten().tolist() == pytest.approx(states, abs=1e-15)
    layer.backward(delta)
    assert layer.state_deltas is not None
    by_hand = [math.prod(0.4 * (1 - s * s) for s in states[t + 1 :]) for t in range(5)]
    assert layer.state_deltas.flatten().tolist() == pytest.approx(by_hand, abs=1e-15)


WRONG = {
    "no units": lambda: RNN(0, 3),
    "truncation": lambda: LSTM(1, 1, truncation=0),
    "nonlinearity": lambda: RNN(1, 1, nonlinearity="sigmoid"),  # type: ignore[arg-type]
    "no steps": lambda: GRU(2, 3)(torch.ones(1, 0, 2)),
    "other width": lambda: LSTM(2, 3)(torch.ones(1, 4, 3)),
    "no batch": lambda: RNN(2, 3)(torch.ones(4, 2)),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments_are_told(name: str) -> None:
    with pytest.raises(UserError, match="expected:"):
        WRONG[name]()  # type: ignore[no-untyped-call]
