"""Operations as they are called: options in the rules, complex values, writing through views, functions of one's own."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chainrule.inspect import check, graph, to_svg, to_text
from chainrule.introspection.graph.elementwise import OPERATIONS, RULES, rule_of

EXACT = 1e-12
POINTS = ((0.7, 1.3, -0.2), (2.5, -0.4, 0.6), (-0.2, 0.3, 1.7), (-1.5, 2.0, 0.1), (6.5, 0.6, 0.9))

CALLS: dict[str, Callable[..., Tensor]] = {
    "add alpha": lambda a, b: torch.add(a, b, alpha=2.5),
    "add method": lambda a, b: a.add(b, alpha=-3),
    "sub alpha": lambda a, b: torch.sub(a, b, alpha=2),
    "rsub alpha": lambda a, b: torch.rsub(a, b, alpha=2),
    "sub by name": lambda a, b: torch.sub(other=b, input=a),
    "sub of itself": lambda a: torch.sub(other=a, input=a, alpha=3),
    "add in place": lambda a, b: (a * 1).add_(b, alpha=4),
    "number by name": lambda a: torch.sub(a, other=2.0, alpha=3),
    "div floor": lambda a, b: torch.div(a, b, rounding_mode="floor"),
    "div trunc": lambda a, b: a.div(b, rounding_mode="trunc") + 0 * a,
    "softplus beta": lambda a: F.softplus(a, beta=3),
    "softplus threshold": lambda a: F.softplus(a, 2.0, 1.0),
    "hardtanh bounds": lambda a: F.hardtanh(a, -0.5, 2.6),
    "hardtanh over its argument": lambda a: F.hardtanh(a * 1, -0.5, 2.6, True),
    "relu over its argument": lambda a: F.relu(a * 1, True),
    "elu": lambda a: F.elu(a, alpha=1.5),
    "elu module": lambda a: nn.ELU(0.3, inplace=True)(a * 1),
    "celu": lambda a: F.celu(a, 0.5),
    "leaky": lambda a: F.leaky_relu(a, 0.2),
    "leaky as it is": lambda a: F.leaky_relu(a),
    "threshold": lambda a: F.threshold(a, 0.5, -7.0),
    "gelu": lambda a: F.gelu(a),
    "gelu tanh": lambda a: F.gelu(a, approximate="tanh"),
    "logsigmoid": lambda a: F.logsigmoid(a),
    "addcmul": lambda a, b, c: torch.addcmul(a, b, c, value=-2),
    "addcdiv": lambda a, b, c: torch.addcdiv(a, b, c, value=3.0),
    "lerp": lambda a, b, c: torch.lerp(a, b, c),
    "lerp number": lambda a, b: torch.lerp(a, b, 0.25),
    "clamp tensors": lambda a, b, c: torch.clamp(a, b, c),
    "clamp a tensor from below": lambda a, b: torch.clamp(a, min=b),
    "clamp a tensor from above": lambda a, b: a.clamp(None, b),
    "clamp numbers": lambda a: a.clamp(-0.5, 2.0),
    "clamp number from above": lambda a: torch.clip(a, max=2.0),
    "clamp_min": lambda a, b: torch.clamp_min(a, b),
    "clamp_max": lambda a: a.clamp_max(1.0),
}


def operands(g: Any, node: Any) -> list[Tensor]:
    """The values of what the operation was given, tensors and numbers."""
    return [
        g.nodes[node.edges[a].source].value if isinstance(a, int) else torch.tensor(float(a), dtype=torch.float64)
        for a in node.arguments
    ]


@pytest.mark.parametrize("name", CALLS)
def test_rules_with_options_are_autograds_and_the_difference_quotients(name: str) -> None:
    call = CALLS[name]
    count = call.__code__.co_argcount
    for numbers in POINTS:
        given = [torch.tensor(v, dtype=torch.float64) for v in numbers[:count]]
        g = graph(call, *numbers[:count])
        nodes = [node for node in g.nodes if node.op in OPERATIONS and node.op not in ("mul",)]
        node = next(n for n in nodes if n.options or n.op not in RULES or n.in_place or len(nodes) == 1)
        rule = rule_of(node.op, node.options)
        assert rule is not None and len(node.arguments) == len(rule.partials)
        values = operands(g, node)
        for place, argument in enumerate(node.arguments):
            if not isinstance(argument, int):
                continue
            edge = node.edges[argument]
            assert edge.local is not None and edge.rule and "{" not in edge.rule
            padded = values if len(values) > 1 else [values[0], values[0]]
            by_rule = float(rule.numbers[place](*padded, node.value))
            assert by_rule == pytest.approx(float(edge.local), rel=1e-12, abs=1e-12), (name, numbers, place)
        assert check(g) < EXACT
        # The whole call by difference quotients: what is written is what was computed.
        for k in range(count):
            up, down = list(given), list(given)
            up[k], down[k] = up[k] + 1e-6, down[k] - 1e-6
            quotient = float(call(*up) - call(*down)) / 2e-6
            gradient = g.nodes[k].gradient
            assert (0.0 if gradient is None else float(gradient)) == pytest.approx(quotient, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize(
    ("call", "expression", "rules"),
    [
        (lambda x, y: torch.add(x, y, alpha=2), "x + 2 * y", ["1", "2"]),
        (lambda x, y: torch.rsub(x, y, alpha=2), "y - 2 * x", ["-2", "1"]),
        (lambda x, y: torch.div(x, y, rounding_mode="floor"), "floor(x / y)", ["0: a step has no slope"] * 2),
        (lambda x, y: F.hardtanh(x - y, -2, 3), "clip(h1, (-2), 3)", ["1 if (-2) < h1 < 3, else 0"]),
        (lambda x, y: F.softplus(x - y, beta=2), "ln(1 + exp(2 * h1)) / 2", ["sigmoid(2 * h1)"]),
        (lambda x, y: F.softplus(x - y, 1.0, 20.0), "softplus h1", ["sigmoid h1"]),
        (lambda x, y: torch.clamp(x, max=y), "min(x, y)", ["1 if x <= y, else 0", "1 if x > y, else 0"]),
    ],
)
def test_how_options_are_written(call: Callable[..., Tensor], expression: str, rules: list[str]) -> None:
    g = graph(call, 5.0, 2.0)
    assert g["f"].expression == expression and [edge.rule for edge in g["f"].edges] == rules


def test_what_is_done_to_g_depends_on_options_too() -> None:
    c, a, b = (torch.ones(2, 2, dtype=torch.float64) for _ in range(3))
    rules = [e.rule for e in graph(lambda c, a, b: torch.addmm(c, a, b, beta=3, alpha=2), c, a, b)["f"].edges]
    assert rules == [
        "3 * g, summed over what c was copied to",
        "2 * g times the second factor transposed",
        "2 * the first factor transposed times g",
    ]
    summed = graph(lambda a, b: F.mse_loss(a, b, reduction="sum"), a, b)["f"].edges[0].rule
    assert summed == "2 (prediction - target), times g"
    mean = graph(F.mse_loss, a, b)["f"].edges[0].rule
    assert mean == "2 (prediction - target) / n, times g"


# -- complex values -----------------------------------------------------------------------------------------------------

COMPLEX: dict[str, Callable[..., Tensor]] = {
    "spectrum": lambda x: torch.fft.fft(x).abs().sum(),
    "there and back": lambda x: torch.fft.irfft(torch.fft.rfft(x) * 2).square().sum(),
    "square": lambda x: (torch.complex(x, x * 2) ** 2).real.sum(),
    "a constant": lambda x: (x * 1j * x + x).imag.sum(),
    "pairs": lambda x: torch.view_as_real(torch.view_as_complex(x.view(-1, 2)) ** 3).sum(),
    "on the circle": lambda x: torch.polar(x.abs(), x).imag.sum(),
    "conjugate": lambda x: (torch.complex(x, x) * torch.complex(x, 2 * x).conj()).real.mean(),
    "eigenvalues": lambda x: torch.linalg.eigvals(torch.stack([x, x.flip(0), x * x, x + 1])).abs().sum(),
    "written": lambda x: (lambda z: (z.real.mul_(2), z.abs().sum())[1])(torch.complex(x, x * 3)),
    "a complex answer": lambda x: torch.exp(1j * x),
}


@pytest.mark.parametrize("name", COMPLEX)
def test_complex_values_on_the_way(name: str) -> None:
    f, x = COMPLEX[name], torch.tensor([0.3, -1.2, 2.0, 0.7], dtype=torch.float64)
    g = graph(f, x)
    given = x.clone().requires_grad_()
    result = f(given.clone())
    (expected,) = torch.autograd.grad(result, given, torch.ones_like(result))
    torch.testing.assert_close(g["x"].gradient, expected, rtol=1e-13, atol=1e-13)
    assert check(g) < EXACT and to_text(g) and ET.fromstring(to_svg(g)) is not None


def test_a_complex_number_is_an_input_and_is_written() -> None:
    g = graph(lambda z: (z * z).real, 1 + 2j)
    assert g["z"].gradient is not None and complex(g["z"].gradient) == 2 - 4j  # the conjugate of 2 z
    text = to_text(g)
    assert (
        "z: scalar complex128, 1+2i" in text
        and "h1 = z * z: scalar complex128, -3+4i" in text
        and g["z"].number is None
        and check(g) == 0
    )
    assert "g × conj(z); 1-2i" in text


# -- written through views -----------------------------------------------------------------------------------------------


def rows_in_turn(x: Tensor) -> Tensor:
    for k in range(1, 4):
        x[k] += x[k - 1] * 2
    return (x * x).sum()


def two_views(x: Tensor) -> Tensor:
    y = x * 1
    u, v = y[:2], y[1:]
    u.mul_(2)
    v.mul_(3)
    return (u * v[:2]).sum() + y.sum()


def old_view_of_a_buffer(x: Tensor) -> Tensor:
    buffer = torch.zeros(4, dtype=torch.float64)
    view = buffer[1:]
    buffer[1] = x[0] * x[1]
    return (view * view).sum()


def view_given_back(x: Tensor) -> Tensor:
    y = x * 1
    view = y[1:]
    y.mul_(2)
    return view


VIEWS: dict[str, Callable[..., Any]] = {
    "transposed input": lambda x: x.view(2, 2).T.mul_(2).sum() + (x * x).sum(),
    "input through a view": lambda x: (x.view(2, 2).mul_(x[0].exp()) * 3).sum() + x.sum(),
    "a row of the input": lambda x: (x[1:2].copy_(x[:1]), x.sin())[1],
    "the diagonal": lambda x: (lambda m: (m.diagonal().add_(x), (m * m).sum())[1])(x[:, None] * x),
    "rows in turn": rows_in_turn,
    "two views": two_views,
    "an old view": old_view_of_a_buffer,
    "a view given back": view_given_back,
    "another shape in place": lambda x: ((x[None] * 1).t_() * x.unsqueeze(1)).sum() + (x * 1).unsqueeze_(0).sum(),
    "an operation's inner view": lambda x: (torch.einsum("i,j->ij", x, x).add_(1) ** 2).sum(),
    "activation over a view": lambda x: (lambda y: (F.silu(y[1:], inplace=True), y.sum())[1])(x * 2),
    "dropout that does nothing": lambda x: F.dropout(F.relu(x * 2), 0.5, False, True) * 2,
}


@pytest.mark.parametrize("name", VIEWS)
def test_what_is_written_through_a_view_is_followed(name: str) -> None:
    f, x = VIEWS[name], torch.tensor([0.3, -1.2, 2.0, 0.7], dtype=torch.float64)
    g = graph(f, x)
    given = x.clone().requires_grad_()
    result = f(given.clone())
    (expected,) = torch.autograd.grad(result, given, torch.ones_like(result))
    torch.testing.assert_close(g["x"].gradient, expected, rtol=1e-13, atol=1e-13)
    assert check(g) < EXACT
    lost = [node.name for node in g.nodes if node.kind in ("operation", "hidden") and node.gradient is None]
    assert not lost and not any(node.kind == "hidden" for node in g.nodes)


def test_what_only_autograd_sees_is_hidden_and_no_false_alarm() -> None:
    def turned(x: Tensor) -> Tensor:
        return (x.view(1, 4).t_() * x.unsqueeze(1)).sum()

    def without_gradient(x: Tensor) -> Tensor:
        with torch.no_grad():
            x.view(2, 2).T.mul_(2)
        return (x * x).sum()

    for f in (turned, without_gradient):
        g = graph(f, torch.tensor([0.3, -1.2, 2.0, 0.7], dtype=torch.float64))
        assert [n.op for n in g.nodes if n.kind == "hidden"] == ["written through a view"] and check(g) < EXACT


# -- functions of one's own -----------------------------------------------------------------------------------------------


class Triple(torch.autograd.Function):
    """Its backward is not that of its forward, so that one sees which of the two decides."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * x

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:  # type: ignore[override]
        return 3 * g


class Over(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.mark_dirty(x)
        return x.mul_(3)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:  # type: ignore[override]
        return 3 * g


class TwoResults(torch.autograd.Function):
    @staticmethod
    def forward(a: Tensor, b: Tensor, k: float) -> tuple[Tensor, Tensor]:
        return Triple.apply(a) * b * k, a + b  # a function within a function

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(*inputs[:2])
        ctx.k = inputs[2]

    @staticmethod
    def backward(ctx: Any, g: Tensor, h: Tensor) -> tuple[Tensor, Tensor, None]:  # type: ignore[override]
        a, b = ctx.saved_tensors
        return g * b * ctx.k + h, g * a * ctx.k + h, None


class relu(torch.autograd.Function):  # noqa: N801  (named as an operation is)
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:  # type: ignore[override]
        return g / 2


kept_under_another_name = Triple.apply


def test_a_function_of_ones_own_is_one_node_and_its_backward_decides() -> None:
    x = torch.tensor([1.0, 2.0])
    g = graph(lambda x: kept_under_another_name(x).sum(), x)
    assert [(n.op, n.expression) for n in g.nodes[1:]] == [("Triple", "Triple(x)"), ("sum", "sum(h1)")]
    node = g["h1"]
    assert node.own_backward and node.edges[0].passed is not None and node.edges[0].local is not None
    assert node.edges[0].passed.tolist() == g["x"].gradient.tolist() == [3, 3]  # type: ignore[union-attr]
    assert node.edges[0].local.tolist() == [[3, 0], [0, 3]] and check(g) == 0
    assert "to x: [3, 3], by the backward of Triple" in to_text(g)
    assert "apply" not in vars(torch.autograd.function._SingleLevelFunction), "nothing stays replaced"


def test_functions_that_write_over_their_argument_or_have_several_results() -> None:
    x = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
    for f in (
        lambda x: (lambda y: (Over.apply(y), (y * y).sum())[1])(x * 2),
        lambda x: (lambda y: (Over.apply(y[1:]), (y * y).sum())[1])(x * 2),
        lambda x: sum(t.sum() for t in TwoResults.apply(x, x * 2, 3.0)),
        lambda x: Triple.apply(x * 2).exp().sum() + Over.apply(x * 1).sum(),
        lambda x: (relu.apply(x) * x).sum(),
    ):
        g = graph(f, x)
        given = x.clone().requires_grad_()
        (expected,) = torch.autograd.grad(f(given.clone()), given)
        torch.testing.assert_close(g["x"].gradient, expected, rtol=1e-13, atol=1e-13)
        assert check(g) < EXACT and not any(node.kind == "hidden" for node in g.nodes)
        assert not any(n.gradient is None and not any(e.sibling for e in n.edges) for n in g.nodes)
    edge = graph(lambda x: relu.apply(x).sum(), x)["h1"].edges[0]
    assert edge.rule == "" and graph(lambda x: relu.apply(x).sum(), x)["h1"].op == "relu.apply"


@pytest.mark.parametrize(
    "normalised",
    [nn.LayerNorm(3), nn.BatchNorm1d(3), nn.InstanceNorm1d(2), lambda x: x.softmax(1), lambda x: x - x.mean()],
)
def test_gradients_that_cancel_are_no_error(normalised: Any) -> None:
    """The sum of what is normalised does not depend on x: what arrives there is rounding, and no wrong gradient."""
    torch.manual_seed(0)
    if isinstance(normalised, nn.Module):
        normalised = normalised.double()
    assert check(graph(lambda x: normalised(x), torch.randn(2, 3, dtype=torch.float64))) < EXACT
