"""Properties of windows on a line: how many fit, and which pixels a unit sees, against torch on random geometries."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from chainrule.core.errors import UserError
from chainrule.functional.pooling import pool_output_size
from chainrule.introspection.attribution.receptive_field.arithmetic import ReceptiveField

FIXED = settings(max_examples=60, deadline=None, derandomize=True)
SMALL = st.integers(1, 5)
LAYER = st.tuples(SMALL, st.integers(1, 3), st.integers(0, 2), st.integers(1, 2))  # kernel, stride, padding, dilation


@FIXED
@given(st.integers(1, 30), SMALL, st.integers(1, 4), st.integers(0, 2), st.integers(1, 3), st.booleans())
def test_as_many_windows_as_torch_lays(
    size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool
) -> None:
    assume(2 * padding <= kernel)  # torch's pooling takes no more
    x = torch.zeros(1, 1, size)
    try:
        expected = F.max_pool1d(x, kernel, stride, padding, dilation, ceil_mode).shape[2]
    except RuntimeError:
        expected = 0  # no window fits
    try:
        found = pool_output_size(size, kernel, stride, padding, dilation, ceil_mode=ceil_mode)
    except UserError:
        found = 0
    assert found == expected


@FIXED
@given(st.lists(LAYER, min_size=1, max_size=3), st.data())
def test_a_unit_sees_what_its_gradient_reaches(layers: list[tuple[int, int, int, int]], data: st.DataObject) -> None:
    """With positive weights the first and the last pixel with a gradient are the ends of the receptive field."""
    length = 60
    x = torch.ones(1, 1, length, dtype=torch.float64, requires_grad=True)
    field, out = ReceptiveField(), x
    for kernel, stride, padding, dilation in layers:
        assume((kernel - 1) * dilation + 1 <= out.shape[2] + 2 * padding)
        weight = torch.ones(1, 1, kernel, dtype=torch.float64)
        out = F.conv1d(out, weight, stride=stride, padding=padding, dilation=dilation)
        field = field.through(kernel, stride, padding, dilation)
    unit = data.draw(st.integers(0, out.shape[2] - 1))
    (gradient,) = torch.autograd.grad(out[0, 0, unit], x)
    reached = gradient[0, 0].nonzero().flatten()
    first, last = field.of(unit)
    assume(len(reached) > 0)  # a unit may see the padding alone
    assert first <= int(reached[0]) and int(reached[-1]) <= last
    if first >= 0 and last < length:  # no edge cuts it
        assert (int(reached[0]), int(reached[-1])) == (first, last)
