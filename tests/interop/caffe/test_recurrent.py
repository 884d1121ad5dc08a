"""Caffe's LSTM and RNN against loops over time, sequences and units, written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.interop.caffe.test_layers import net_of, numbers

T, N, FEATURES, D = 5, 3, 4, 2
CONT = torch.tensor([[0, 1, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1], [1, 1, 1]], dtype=torch.float64)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def by_loop(
    kind: str, weights: list[Tensor], x: Tensor, h: np.ndarray, c: np.ndarray, static: Tensor | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The outputs (T, N, D) and last states of one step after another, one sequence after another."""
    w = [p.detach().numpy() for p in weights]
    w_x, b, *rest = w
    w_s, rest = (rest[0], rest[1:]) if static is not None else (None, rest)
    h, c, out = h.copy(), c.copy(), np.zeros((len(x), N, D))
    for t in range(len(x)):
        for n in range(N):
            cont = float(CONT[t, n])
            a = w_x @ x[t, n].numpy() + b + rest[0] @ (cont * h[n])
            if static is not None and w_s is not None:
                a = a + w_s @ static[n].numpy()
            if kind == "RNN":
                h[n] = np.tanh(a)
                out[t, n] = np.tanh(rest[1] @ h[n] + rest[2])
                continue
            i, f, o, g = a[:D], a[D : 2 * D], a[2 * D : 3 * D], a[3 * D :]
            c[n] = cont * sigmoid(f) * c[n] + sigmoid(i) * np.tanh(g)
            h[n] = out[t, n] = sigmoid(o) * np.tanh(c[n])
    return out, h, c


def layer(kind: str, more: str = "") -> str:
    return f'layer {{ type: "{kind}" ENDS recurrent_param {{ num_output: {D} {more} }} }}'


@pytest.mark.parametrize("with_static", [False, True])
@pytest.mark.parametrize("kind", ["LSTM", "RNN"])
def test_a_sequence_is_the_loop_and_continues(kind: str, with_static: bool) -> None:
    x, static = numbers(T, N, FEATURES), numbers(N, 6, seed=3) if with_static else None
    given = [x, CONT, *([static] if static is not None else [])]
    net = net_of(layer(kind), *[tuple(blob.shape) for blob in given])
    weights = list(net.parameters())
    assert [tuple(p.shape) for p in weights][-1] == ((4 * D, D) if kind == "LSTM" else (D,))
    zeros = np.zeros((N, D))
    expected, h, c = by_loop(kind, weights, x, zeros, zeros, static)
    np.testing.assert_allclose(net(*given)["y0"].detach(), expected, rtol=1e-9)
    # The second call continues where the first ended, but where a sequence begins.
    again, _, _ = by_loop(kind, weights, x, h, c, static)
    assert not np.allclose(again, expected)
    np.testing.assert_allclose(net(*given)["y0"].detach(), again, rtol=1e-9)


@pytest.mark.parametrize(("kind", "states"), [("LSTM", 2), ("RNN", 1)])
def test_states_that_are_bottoms_and_tops(kind: str, states: int) -> None:
    begun = [numbers(1, N, D, seed=4 + k) for k in range(states)]
    given = [numbers(T, N, FEATURES), CONT, *begun]
    net = net_of(layer(kind, "expose_hidden: true"), *[tuple(b.shape) for b in given], tops=1 + states)
    c = begun[-1][0].numpy()
    expected = by_loop(kind, list(net.parameters()), given[0], begun[0][0].numpy(), c, None)
    made = net(*given)
    for index in range(1 + states):
        found = made[f"y{index}"].detach()
        np.testing.assert_allclose(found if index == 0 else found[0], expected[index], rtol=1e-9)
    assert torch.equal(net(*given)["y0"], made["y0"])  # nothing is kept


def test_gradients_go_through_time() -> None:
    net = net_of(layer("LSTM", "expose_hidden: true"), (T, N, FEATURES), (T, N), (1, N, D), (1, N, D), tops=3)
    x, h, c = (numbers(*shape).requires_grad_() for shape in ((T, N, FEATURES), (1, N, D), (1, N, D)))
    assert torch.autograd.gradcheck(lambda x, h, c: net(x, CONT, h, c)["y0"], (x, h, c))
