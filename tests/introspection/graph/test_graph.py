"""The computational graph: the lecture's figures, every rule and every gradient against autograd."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chainrule.core.errors import UserError
from chainrule.inspect import check, graph, to_svg, to_text
from chainrule.introspection.graph.record import statistics
from chainrule.introspection.graph.rules import RULES, plain_name

EXACT = 1e-12


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# -- the figures of the lecture -----------------------------------------------------------------------------------------


def test_the_product_of_a_sum_and_a_difference() -> None:
    g = graph(lambda x, y, z: (x + y) * (y - z), -1, 3, 2)
    values = {node.name: node.number for node in g.nodes}
    assert values == {"x": -1, "y": 3, "z": 2, "h1": 2, "h2": 1, "f": 2}
    assert {node.name: float(node.gradient) for node in g.nodes if node.gradient is not None} == {
        "x": 1,
        "y": 3,
        "z": -2,
        "h1": 1,
        "h2": 2,
        "f": 1,
    }
    local = {(n.name, g.nodes[e.source].name): (float(e.local), e.rule) for n in g.nodes for e in n.edges}  # type: ignore[arg-type]
    assert local == {
        ("h1", "x"): (1, "1"),
        ("h1", "y"): (1, "1"),
        ("h2", "y"): (1, "1"),
        ("h2", "z"): (-1, "-1"),
        ("f", "h1"): (1, "h2"),
        ("f", "h2"): (2, "h1"),
    }
    assert check(g) == 0
    text = to_text(g)
    assert "∂L/∂y = 3 = 1 from h1 + 2 from h2" in text and "to h2: 1 × (∂f/∂h2 = h1 = 2) = 2" in text


def test_the_sigmoid_neuron() -> None:
    def neuron(x: Tensor, y: Tensor, w0: Tensor, w1: Tensor) -> Tensor:
        return y / (1 + torch.exp(-(w0 + w1 * x)))

    g = graph(neuron, -2, 1, 3, 1)
    back = [round(float(g[name].gradient), 2) for name in ("h5", "h4", "h3", "h2", "h1")]  # type: ignore[arg-type]
    assert back == [-0.53, -0.53, -0.20, 0.20, 0.20]  # the slide's numbers
    assert g["h3"].number == -1 and round(g["h4"].number or 0, 2) == 0.37 and round(g["f"].number or 0, 2) == 0.73
    s = 1 / (1 + math.exp(-1))
    by_hand = {"x": s * (1 - s), "y": s, "w0": s * (1 - s), "w1": -2 * s * (1 - s)}
    assert {n: float(g[n].gradient) for n in by_hand} == pytest.approx(by_hand, rel=1e-14)  # type: ignore[arg-type]
    assert check(g) < EXACT


# -- rules --------------------------------------------------------------------------------------------------------------

CALLS: dict[str, Callable[..., Tensor]] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "pow": torch.pow,
    "neg": torch.neg,
    "softplus": F.softplus,
    "relu": torch.relu,
    "relu6": F.relu6,
    "hardtanh": F.hardtanh,
    "silu": F.silu,
}


@pytest.mark.parametrize("op", RULES)
def test_every_rule_is_autograds_and_the_difference_quotients(op: str) -> None:
    call, count = CALLS.get(op) or getattr(torch, op), len(RULES[op].partials)
    for numbers in ((0.7, 1.3), (2.5, -0.4), (0.2, 0.2), (1.5, 2.0)):
        given = [torch.tensor(v, dtype=torch.float64) for v in numbers[:count]]
        g = graph(lambda *x: call(*x), *numbers[:count])
        node = g["f"]
        assert node.op == op and len(node.edges) == count
        assert node.value is not None and float(node.value) == float(call(*given))
        a, b = given[0], given[1] if count == 2 else given[0]
        for k, edge in enumerate(node.edges):
            assert edge.local is not None and edge.rule
            assert float(RULES[op].numbers[k](a, b, node.value)) == pytest.approx(
                float(edge.local), rel=1e-12, nan_ok=True
            )
            if op in ("maximum", "minimum") and numbers[0] == numbers[1]:
                continue  # a corner has no difference quotient
            h = 1e-6
            up, down = list(given), list(given)
            up[k], down[k] = up[k] + h, down[k] - h
            quotient = float(call(*up) - call(*down)) / (2 * h)
            assert float(edge.local) == pytest.approx(quotient, rel=1e-6, abs=1e-8)
        assert check(g) < EXACT


def test_corners_are_autograds() -> None:
    for f, at, expected in ((torch.relu, 0.0, 0.0), (torch.abs, 0.0, 0.0), (F.relu6, 6.0, 0.0)):
        edge = graph(lambda x, f=f: f(x), at)["f"].edges[0]  # type: ignore[misc]
        assert edge.local is not None and float(edge.local) == expected
    both = graph(torch.maximum, 2.0, 2.0)["f"].edges
    assert [float(e.local) for e in both] == [0.5, 0.5]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("__radd__", ("add", False, False)),
        ("__rtruediv__", ("div", True, False)),
        ("__imul__", ("mul", False, True)),
        ("relu_", ("relu", False, True)),
        ("__rpow__", ("pow", True, False)),
        ("__init__", ("init", False, False)),
    ],
)
def test_names_of_operations(name: str, expected: tuple[str, bool, bool]) -> None:
    assert plain_name(name) == expected


def test_swapped_operators_are_written_as_the_user_did() -> None:
    g = graph(lambda x: (3 - x) + 2 / x + 2**x, 1.5)
    assert [n.expression for n in g.nodes[1:4]] == ["3 - x", "2 / x", "h1 + h2"]
    assert g["h4"].expression == "2 ^ x" and check(g) < EXACT


# -- functions: every gradient against plain autograd ------------------------------------------------------------------


def plain(f: Callable[..., Any], *inputs: Tensor) -> list[Tensor | None]:
    """The gradients of the sum of all outputs by each floating-point input, without any tracing."""
    given = [x.detach().clone().requires_grad_(x.is_floating_point()) for x in inputs]
    found = f(*[x.clone() for x in given])
    outputs = [t for t in (found if isinstance(found, tuple) else (found,)) if t.requires_grad]
    total = torch.stack([t.sum() for t in outputs]).sum()
    wanted = [x for x in given if x.requires_grad]
    gradients = iter(torch.autograd.grad(total, wanted, allow_unused=True))
    return [next(gradients) if x.requires_grad else None for x in given]


def in_place(x: Tensor) -> Tensor:
    y = x * 2
    y += x
    y.sin_()
    y[0] = x[1]
    return y.tanh()


def through_a_view(x: Tensor) -> Tensor:
    y = x * 3
    y.view(-1)[1:].mul_(x[0])
    return (y * x).sum()


def write_into_input(x: Tensor) -> Tensor:
    x.mul_(2).exp_()
    return x * x


def half_without_gradient(x: Tensor) -> Tensor:
    with torch.no_grad():
        scale = x.abs().max()
    return (x / scale) + x.detach() * x


def branch(x: Tensor) -> Tensor:
    while x.norm() > 1:
        x = x / 2
    return x**2


class Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return 3 * x**2 * g


def of_its_own(x: Tensor) -> Tensor:
    return Cube.apply(x * 2).sum() + x.sum()


def gradient_inside(x: Tensor) -> Tensor:
    y = (x**3).sum()
    (g,) = torch.autograd.grad(y, x, create_graph=True)
    return (g**2).sum()


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "twice": lambda x: x * x + x @ x,
    "several results": lambda x: tuple(torch.split(x * x, 1)) + torch.max(x * 1, dim=0)[:1],
    "unbind": lambda x: sum(part * k for k, part in enumerate(x.unbind(0))),
    "sort": lambda x: torch.sort(x)[0] * torch.arange(3.0, dtype=torch.float64),
    "stack and cat": lambda x: torch.cat([torch.stack([x, x * 2]), x[None]], 0).T.reshape(-1),
    "broadcast": lambda x: x[:, None] * x[None] + 1,
    "softmax": lambda x: torch.softmax(x, 0)[0] + F.log_softmax(x, 0)[1],
    "where": lambda x: torch.where(x > 0, x, 0.1 * x),
    "norm": lambda x: x.norm() + torch.linalg.vector_norm(x),
    "in place": in_place,
    "through a view": through_a_view,
    "into the input": write_into_input,
    "no gradient": half_without_gradient,
    "branch": branch,
    "own backward": of_its_own,
    "gradient inside": gradient_inside,
    "given twice": lambda x: (lambda y: (y, y))(x * x),
    "identity": lambda x: x,
    "no-ops": lambda x: x.contiguous().to(torch.float64).requires_grad_() * 1,
    "augmented": lambda x: (x.clone().mul_(x).add_(x)).pow_(2),
    "einsum": lambda x: torch.einsum("i,j->ij", x, x),
    "property": lambda x: (x[None].T @ x[None]).mT,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_of_functions(name: str) -> None:
    f, x = FUNCTIONS[name], torch.tensor([0.3, -1.2, 2.0], dtype=torch.float64)
    kept = x.clone()
    g = graph(f, x)
    (expected,) = plain(f, x)
    found = g.nodes[0].gradient
    assert found is not None and expected is not None
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-13)
    assert check(g) < EXACT
    assert torch.equal(x, kept) and not x.requires_grad, "the user's own tensor stays as it is"
    assert to_text(g) and ET.fromstring(to_svg(g)).tag.endswith("svg")


@pytest.mark.parametrize("size", [0, 1, 7])
def test_sizes(size: int) -> None:
    x = rand(size)
    g = graph(lambda x: (x.exp() * x).sum(), x)
    assert g.nodes[0].gradient is not None
    torch.testing.assert_close(g.nodes[0].gradient, x.exp() * (1 + x))
    assert to_text(g) and to_svg(g) and check(g) < EXACT


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.complex128])
def test_kinds_of_numbers(dtype: torch.dtype) -> None:
    x = rand(4).to(dtype)
    g = graph(lambda x: (x * x).abs().sum(), x)
    expected = plain(lambda x: (x * x).abs().sum(), x)[0] if not dtype.is_complex else None
    assert g.nodes[0].gradient is not None and g.nodes[0].dtype == str(dtype)[6:]
    if expected is not None:
        assert torch.equal(g.nodes[0].gradient, expected)


def test_values_are_those_before_they_are_written_over() -> None:
    g = graph(in_place, torch.tensor([0.3, -1.2, 2.0], dtype=torch.float64))
    by_op = {node.op: node for node in g.nodes}
    assert by_op["mul"].value is not None and by_op["mul"].value.tolist() == [0.6, -2.4, 4.0]
    assert by_op["add"].in_place and by_op["sin"].in_place and by_op["setitem"].in_place and not by_op["tanh"].in_place


def test_what_a_use_in_place_hands_back_is_its_own() -> None:
    def f(x: Tensor) -> Tensor:
        y = x * 2
        z = y * 3
        return z + y.sin_()

    g = graph(f, 0.4)
    sine = next(node for node in g.nodes if node.op == "sin")
    assert sine.in_place and sine.edges[0].local is not None and sine.edges[0].passed is not None
    assert float(sine.edges[0].local) == float(sine.edges[0].passed) == pytest.approx(math.cos(0.8), rel=1e-14)
    assert check(g) < EXACT


def test_what_does_nothing_is_no_node() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.Dropout(), nn.ReLU(inplace=True)).eval()
    g = graph(lambda x: net(x.contiguous().float()), torch.randn(2, 3))
    assert [n.op for n in g.nodes if n.kind in ("operation", "hidden")] == ["linear", "relu"]


def test_what_has_no_gradient_says_so() -> None:
    g = graph(half_without_gradient, rand(3))
    stopped = [node.op for node in g.nodes if node.kind == "operation" and not node.differentiable]
    assert stopped == ["abs", "max", "detach"]
    whole = graph(lambda x, n: x * n.double().sum() + x.argmax(), rand(3), torch.tensor([1, 2]))
    assert whole["n"].gradient_norm is None and whole["n"].dtype == "int64" and whole["x"].gradient is not None
    assert whole["x"].gradient.tolist() == [3, 3, 3]


def test_branches_and_lost_numbers_are_noted() -> None:
    assert "decided a branch" in " ".join(graph(branch, rand(3) * 5).notes)
    g = graph(lambda x: x * x.max().item(), rand(3))
    assert "left the graph by item" in " ".join(g.notes)
    idle = graph(lambda x: (x * 2, x.exp() * 3)[0], 1.0)
    assert "2 operations have no effect" in " ".join(idle.notes) and len(idle.nodes) == 2


def test_the_seed() -> None:
    x, seed = rand(3), torch.tensor([1.0, 0.0, -2.0], dtype=torch.float64)
    g = graph(lambda x: x**3, x, seed=seed)
    assert g["x"].gradient is not None and g["f"].gradient is not None
    torch.testing.assert_close(g["x"].gradient, 3 * x**2 * seed)
    assert torch.equal(g["f"].gradient, seed) and "seed" in g.objective and check(g) < EXACT
    two = graph(lambda x: (x * 2, x * 3), x, seed=[seed, torch.zeros(3)])
    assert two["x"].gradient is not None and torch.equal(two["x"].gradient, 2 * seed)


def test_nested_inputs_and_outputs() -> None:
    def f(pair: tuple[Tensor, dict[str, Tensor]], k: float) -> dict[str, Tensor]:
        return {"y": pair[0] * pair[1]["b"] * k}

    g = graph(f, (rand(2), {"b": rand(2, seed=1)}), 3)
    assert [n.name for n in g.nodes[:3]] == ["pair0", "pair1.b", "k"]
    assert g["k"].gradient is not None and float(g["k"].gradient) == pytest.approx(float(rand(2) @ rand(2, seed=1)))


# -- statistics ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [0.0, 1e4, -1e8])
def test_statistics(offset: float) -> None:
    x = rand(1000) + offset
    s = statistics(x)
    assert (s.mean, s.std, s.norm) == pytest.approx(
        (float(x.mean()), float(x.std(correction=0)), float(x.norm())), rel=1e-9
    )
    assert (s.low, s.high, s.count, s.unusual) == (float(x.min()), float(x.max()), 1000, 0)
    y = torch.tensor([1.0, float("nan"), float("inf"), 0.0])
    assert statistics(y).unusual == 2 and statistics(y).mean == 0.5 and statistics(y).zeros == 0.5
    assert statistics(torch.tensor([3.0, 3.0], dtype=torch.float16)).std == 0
    assert math.isnan(statistics(torch.zeros(0)).mean) and statistics(torch.tensor([True, False])).mean == 0.5


# -- mistakes -----------------------------------------------------------------------------------------------------------


def test_an_output_that_depends_on_nothing() -> None:
    with (
        pytest.raises(UserError, match=r"left the graph(.|\n)*float(.|\n)*torch.exp instead of math.exp"),
        pytest.warns(UserWarning, match="Converting a tensor"),
    ):
        graph(lambda x: math.exp(x), 1.0)
    with pytest.raises(UserError, match="detach stops the gradient"):
        graph(lambda x: x.detach() * 2, 1.0)
    with pytest.raises(UserError, match=r"floating-point(.|\n)*n \(int64\)"):
        graph(lambda n: n * 2, torch.tensor([1, 2]))
    with pytest.raises(UserError, match="gives no tensor"):
        graph(lambda x: "text", 1.0)
    with pytest.raises(UserError, match="found:    no input"):
        graph(lambda: torch.ones(2))


def test_a_seed_of_another_shape() -> None:
    with pytest.raises(UserError, match=r"shapes \[\(3,\)\](.|\n)*shapes \[\(2,\)\]"):
        graph(lambda x: x * 2, rand(3), seed=torch.ones(2))


def test_a_function_that_fails_says_where() -> None:
    with pytest.raises(RuntimeError) as caught:
        graph(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(5, 2)), torch.randn(1, 3))
    assert caught.value.__notes__ == [
        "in the graph: the last operation that ended was number 4, relu in 1, of shape (1, 4)"
    ]
    assert not nn.modules.module._global_forward_hooks
    with pytest.raises(RuntimeError) as caught:
        graph(lambda x: (x * x + x.mul_(2)).sum(), rand(3))
    assert "on the way back" in caught.value.__notes__[0]
    with pytest.raises(UserError, match="did you mean h1"):
        graph(lambda x: x.exp() * 2, 1.0)["h11"]
