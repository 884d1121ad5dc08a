"""Convolution and correlation against scipy.signal, and the lecture's own examples."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import scipy.signal
import torch

from chainrule.core.errors import UserError
from chainrule.functional import convolve, correlate

MODES = ("full", "same", "valid")
SHAPES: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((7,), (3,)),
    ((7,), (4,)),
    ((6,), (1,)),
    ((3,), (7,)),  # the kernel is the larger one
    ((4,), (4,)),
    ((6, 7), (3, 2)),
    ((5, 4), (4, 3)),
    ((2, 3), (5, 4)),
    ((1, 1), (1, 1)),
]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_equal_to_scipy(shapes: tuple[tuple[int, ...], tuple[int, ...]], mode: Any) -> None:
    random = np.random.default_rng(0)
    real = [random.normal(size=shape) for shape in shapes]
    both = [random.normal(size=shape) + 1j * random.normal(size=shape) for shape in shapes]
    for (x, w), (ours, theirs) in itertools.product(
        (real, both), ((convolve, scipy.signal.convolve), (correlate, scipy.signal.correlate))
    ):
        expected = theirs(x, w, mode, method="direct")
        found = ours(x, w, mode)
        assert isinstance(found, np.ndarray) and found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
        again = ours(torch.from_numpy(x), w, mode)
        assert isinstance(again, torch.Tensor) and np.array_equal(again.numpy(), found)


def test_whole_numbers_stay_whole() -> None:
    x, w = [1, 2, 3, 4, 5], [1, 0, -1]
    for ours, theirs in ((convolve, np.convolve), (correlate, np.correlate)):
        for mode in MODES:
            found = ours(x, w, mode)
            assert found.dtype == np.int64 and found.tolist() == theirs(x, w, mode).tolist()


def test_a_convolution_commutes_and_a_correlation_turns_the_kernel() -> None:
    x, w = torch.randn(5, 6, dtype=torch.float64), torch.randn(3, 2, dtype=torch.float64)
    torch.testing.assert_close(convolve(x, w), convolve(w, x))
    torch.testing.assert_close(correlate(x, w), convolve(x, w.flip(0, 1)))
    edges = torch.tensor(
        [[1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, -1.0]]
    )  # along the diagonal, as the lecture has it
    image = torch.arange(25.0).view(5, 5)
    assert (convolve(image, edges, "valid") == 12).all() and (correlate(image, edges, "valid") == -12).all()


def test_gradients_flow_through_both() -> None:
    for shapes, mode in itertools.product((((5,), (3,)), ((4, 3), (2, 2)), ((2,), (4,))), MODES):
        x, w = (torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes)
        for function in (convolve, correlate):
            assert torch.autograd.gradcheck(lambda a, b, f=function, m=mode: f(a, b, m), (x, w))


@pytest.mark.parametrize(
    ("x", "w", "mode", "says"),
    [
        ([1.0], [1.0], "circular", "no mode"),
        ([[1.0]], [1.0], "full", "cannot be convolved"),
        (np.ones((2, 2, 2)), np.ones((2, 2, 2)), "full", "cannot be convolved"),
        ([], [1.0], "full", "cannot be convolved"),
        (np.ones((2, 5)), np.ones((3, 2)), "valid", "neither fits"),
    ],
)
def test_what_is_refused(x: Any, w: Any, mode: Any, says: str) -> None:
    for function in (convolve, correlate):
        with pytest.raises(UserError, match=says):
            function(x, w, mode)


def test_whole_numbers_keep_all_their_digits() -> None:
    large = 2**60 + 1
    assert convolve([large, 3], [1, 1]).tolist() == [large, large + 3, 3]
    assert convolve(np.array([100, 100], np.int8), np.array([2, 0], np.int8)).tolist() == [-56, -56, 0]  # as NumPy's
    found = convolve(np.ones(2, np.int32), np.ones(2, np.float32))
    assert found.dtype == np.result_type(np.int32, np.float32)


@pytest.mark.parametrize("given", [["a"], [None, 1], [[1], [1, 2]], {}])
def test_what_is_no_array_of_numbers_is_told(given: object) -> None:
    with pytest.raises(UserError, match="no signal"):
        convolve(given, [1])
