"""Update rules against torch.optim, against Caffe's arithmetic in NumPy, and on problems whose optimum is known."""

from __future__ import annotations

import copy
import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from chainrule.core.errors import UserError
from chainrule.optim import SGD, AdaDelta, AdaGrad, Adam, AdamW, Newton, RMSProp, clip_each_norm, clip_norm, clip_value
from chainrule.run.checkpoint.tree import load_tree, save_tree
from chainrule.run.distributed import parallel

Make = Callable[[list[nn.Parameter]], torch.optim.Optimizer]
PLAIN = {"foreach": False, "fused": False}  # torch's loop over parameters, none of the kernels that ours call

# ours and torch's: the same formula, another implementation
PAIRS: dict[str, tuple[Make, Make]] = {
    "sgd": (lambda p: SGD(p, 0.05), lambda p: torch.optim.SGD(p, 0.05, **PLAIN)),
    "momentum": (
        lambda p: SGD(p, 0.05, 0.9, weight_decay=0.1),
        lambda p: torch.optim.SGD(p, 0.05, 0.9, weight_decay=0.1, **PLAIN),
    ),
    "nesterov": (
        lambda p: SGD(p, 0.05, 0.9, nesterov=True, weight_decay=0.1),
        lambda p: torch.optim.SGD(p, 0.05, 0.9, nesterov=True, weight_decay=0.1, **PLAIN),
    ),
    "adagrad": (
        lambda p: AdaGrad(p, 0.05, weight_decay=0.1),
        lambda p: torch.optim.Adagrad(p, 0.05, weight_decay=0.1, **PLAIN),
    ),
    "adadelta": (
        lambda p: AdaDelta(p, 0.5, 0.9, 1e-6, weight_decay=0.1),
        lambda p: torch.optim.Adadelta(p, 0.5, 0.9, 1e-6, weight_decay=0.1, foreach=False),
    ),
    "rmsprop": (
        lambda p: RMSProp(p, 0.05, 0.95, weight_decay=0.1),
        lambda p: torch.optim.RMSprop(p, 0.05, 0.95, weight_decay=0.1, foreach=False),
    ),
    "adam": (
        lambda p: Adam(p, 0.05, (0.8, 0.99), weight_decay=0.1),
        lambda p: torch.optim.Adam(p, 0.05, (0.8, 0.99), weight_decay=0.1, **PLAIN),
    ),
    "adamw": (
        lambda p: AdamW(p, 0.05, (0.8, 0.99), weight_decay=0.1),
        lambda p: torch.optim.AdamW(p, 0.05, (0.8, 0.99), weight_decay=0.1, **PLAIN),
    ),
}
CAFFE_FORMS: dict[str, Make] = {
    "momentum-caffe": lambda p: SGD(p, 0.05, 0.9, weight_decay=0.1, form="caffe"),
    "nesterov-caffe": lambda p: SGD(p, 0.05, 0.9, nesterov=True, weight_decay=0.1, form="caffe"),
    "adam-caffe": lambda p: Adam(p, 0.05, (0.8, 0.99), 1e-3, weight_decay=0.1, form="caffe"),
}
EVERY: dict[str, Make] = {**{name: ours for name, (ours, _) in PAIRS.items()}, **CAFFE_FORMS}
SHAPES = ((), (1,), (3,), (4, 2), (3, 2, 2, 2), (5, 4, 1, 1), (0, 3))


def parameters(dtype: torch.dtype = torch.float64, shapes: tuple[tuple[int, ...], ...] = SHAPES) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(3)
    values = [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes]
    return [nn.Parameter(v.contiguous(memory_format=torch.channels_last) if v.dim() == 4 else v) for v in values]


def gradients(step: int, params: list[nn.Parameter]) -> list[Tensor]:
    """Of step and weights both: a quadratic's, and noise; some elements are 0 at first, as of a ReLU that is off."""
    generator = torch.Generator().manual_seed(100 + step)
    grads = [
        0.3 * p.detach() + torch.randn(p.shape, generator=generator, dtype=torch.float64).to(p.dtype) for p in params
    ]
    return [torch.where(p.detach() > 1, 0 * g, g) if step < 3 else g for p, g in zip(params, grads, strict=True)]


def advance(optimizer: torch.optim.Optimizer, params: list[nn.Parameter], steps: range) -> None:
    for step in steps:
        if step == 20:
            optimizer.param_groups[0]["lr"] *= 0.1
        for p, g in zip(params, gradients(step, params), strict=True):
            p.grad = g
        optimizer.step()


# -- against torch.optim --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PAIRS)
def test_as_torch_does_it(name: str) -> None:
    """Fifty steps in float64, the rate changed on the way; scalars, empty and channels-last weights among them."""
    results = []
    for make in PAIRS[name]:
        params = parameters()
        advance(make(params), params, range(50))
        results.append([p.detach() for p in params])
    start = parameters()
    for ours, theirs, first in zip(*results, start, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
        assert not ours.numel() or (ours - first).abs().min() > 1e-4


@pytest.mark.parametrize("name", PAIRS)
def test_bfloat16_follows_float32(name: str) -> None:
    results = []
    for dtype in (torch.float32, torch.bfloat16):
        params = parameters(dtype)
        advance(PAIRS[name][0](params), params, range(10))
        assert all(p.dtype is dtype for p in params)
        results.append(torch.cat([p.detach().double().flatten() for p in params]))
    assert (results[0] - results[1]).norm() < 0.03 * results[0].norm()


# -- against Caffe's arithmetic -------------------------------------------------------------------------------------------


def caffe(
    name: str, w: np.ndarray, gradient: Callable[[int, np.ndarray], np.ndarray], rates: list[float]
) -> np.ndarray:
    """Caffe's solvers line by line, with momentum 0.9, decay 0.95, delta and the betas as in the rules they are set beside."""
    history, other = np.zeros_like(w), np.zeros_like(w)
    for iteration, rate in enumerate(rates):
        diff = gradient(iteration, w) + 0.1 * w
        if name == "momentum-caffe":
            history = rate * diff + 0.9 * history
            diff = history
        elif name == "nesterov-caffe":
            before = history
            history = rate * diff + 0.9 * history
            diff = (1 + 0.9) * history + -0.9 * before
        elif name == "adagrad":
            history = history + diff**2
            diff = rate * (diff / (history**0.5 + 1e-10))
        elif name == "rmsprop":
            history = (1 - 0.95) * diff**2 + 0.95 * history
            diff = rate * (diff / (history**0.5 + 1e-8))
        elif name == "adadelta":
            history = (1 - 0.9) * diff**2 + 0.9 * history
            diff = diff * ((1e-6 + other) / (1e-6 + history)) ** 0.5
            other = (1 - 0.9) * diff**2 + 0.9 * other
            diff = rate * diff
        elif name == "adam-caffe":
            t = iteration + 1
            correction = math.sqrt(1 - 0.99**t) / (1 - 0.8**t)
            history = (1 - 0.8) * diff + 0.8 * history
            other = (1 - 0.99) * diff * diff + 0.99 * other
            diff = rate * correction * (history / (other**0.5 + 1e-3))
        w = w - diff
    return w


@pytest.mark.parametrize("name", ["momentum-caffe", "nesterov-caffe", "adagrad", "rmsprop", "adadelta", "adam-caffe"])
def test_as_caffe_does_it(name: str) -> None:
    params = parameters(shapes=((6,),))
    base = 0.5 if name == "adadelta" else 0.05
    noise = np.random.default_rng(0).standard_normal((50, 6))
    optimizer = EVERY[name](params)
    start = params[0].detach().numpy().copy()
    rates = [base if step < 20 else 0.1 * base for step in range(50)]
    for step, rate in enumerate(rates):
        optimizer.param_groups[0]["lr"] = rate
        params[0].grad = 0.3 * params[0].detach() + torch.from_numpy(noise[step])
        optimizer.step()
    expected = caffe(name, start, lambda iteration, w: 0.3 * w + noise[iteration], rates)
    np.testing.assert_allclose(params[0].detach().numpy(), expected, rtol=0, atol=1e-12)


def trace(optimizer: torch.optim.Optimizer, w: nn.Parameter, rates: list[float]) -> list[float]:
    values = []
    for rate in rates:
        optimizer.param_groups[0]["lr"] = rate
        w.grad = torch.ones_like(w)
        optimizer.step()
        values.append(round(w.item(), 10))
    return values


@pytest.mark.parametrize("nesterov", [False, True])
def test_the_momentum_forms_part_where_the_rate_changes(nesterov: bool) -> None:
    """By hand, with g = 1 and mu = 0.5: torch's buffer is 1, 1.5, 1.75; Caffe's 1, 1.5 and then 0.75 + 0.1."""
    traces = {}
    for form in ("torch", "caffe"):
        w = nn.Parameter(torch.zeros((), dtype=torch.float64))
        traces[form] = trace(SGD([w], 1.0, 0.5, nesterov=nesterov, form=form), w, [1.0, 1.0, 0.1])
    assert traces["torch"][:2] == traces["caffe"][:2]
    if nesterov:  # g + 0.5 v = 1.5, 1.75, 1.875; 1.5 v - 0.5 u = 1.5, 1.75, 0.525
        assert traces["torch"] == [-1.5, -3.25, -3.4375]
        assert traces["caffe"] == [-1.5, -3.25, -3.775]
    else:
        assert traces["torch"] == [-1.0, -2.5, -2.675]
        assert traces["caffe"] == [-1.0, -2.5, -3.35]


def test_the_eps_of_adam_weighs_more_on_the_uncorrected_root() -> None:
    """One step by hand, g = 3: torch 3 / (3 + eps); Caffe 3 / (3 + eps / sqrt(1 - b2))."""
    for form, expected in (("torch", 3 / (3 + 0.1)), ("caffe", 3 / (3 + 0.1 / math.sqrt(1 - 0.99)))):
        w = nn.Parameter(torch.zeros((), dtype=torch.float64))
        optimizer = Adam([w], 1.0, (0.9, 0.99), 0.1, form=form)
        w.grad = torch.full((), 3.0, dtype=torch.float64)
        optimizer.step()
        assert w.item() == pytest.approx(-expected, abs=1e-12)


def test_decay_in_the_gradient_and_decoupled() -> None:
    """With a gradient of 0, L2 in Adam is a step of lr whatever the weight; decoupled it is lr times decay of it."""
    found = []
    for make in (partial(Adam, lr=0.1, weight_decay=0.5), partial(AdamW, lr=0.1, weight_decay=0.5)):
        w = nn.Parameter(torch.tensor([10.0, 1.0], dtype=torch.float64))
        w.grad = torch.zeros_like(w)
        make([w]).step()
        found.append(w.tolist())
    assert found[0] == pytest.approx([9.9, 0.9], abs=1e-6)
    assert found[1] == pytest.approx([9.5, 0.95], abs=1e-12)


# -- state ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVERY)
def test_resumes_bit_for_bit(name: str, tmp_path: Path) -> None:
    """Through the file that a run writes: 25 steps, saved, 25 more, as 50 in one go; the rate changes after 20."""
    whole = parameters(torch.float32)
    advance(EVERY[name](whole), whole, range(50))

    first = parameters(torch.float32)
    optimizer = EVERY[name](first)
    advance(optimizer, first, range(25))
    save_tree({"weights": [p.detach() for p in first], "optimizer": optimizer.state_dict()}, tmp_path / "state")

    saved = load_tree(tmp_path / "state")
    second = parameters(torch.float32)
    for p, value in zip(second, saved["weights"], strict=True):
        p.data.copy_(value)
    optimizer = EVERY[name](second)
    optimizer.load_state_dict(saved["optimizer"])
    advance(optimizer, second, range(25, 50))
    assert all(torch.equal(a, b) for a, b in zip(whole, second, strict=True))


@pytest.mark.parametrize("name", PAIRS)
def test_goes_on_from_torchs_state(name: str) -> None:
    """The state of torch's own class fits, by name and meaning."""
    make_ours, make_theirs = PAIRS[name]
    theirs = parameters()
    optimizer = make_theirs(theirs)
    advance(optimizer, theirs, range(5))
    ours = [nn.Parameter(p.detach().clone()) for p in theirs]
    mine = make_ours(ours)
    state = copy.deepcopy(optimizer.state_dict()["state"])  # loading copies nothing
    mine.load_state_dict({"state": state, "param_groups": mine.state_dict()["param_groups"]})
    advance(optimizer, theirs, range(5, 10))
    advance(mine, ours, range(5, 10))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", EVERY)
def test_a_parameter_without_a_gradient_stays_and_is_not_counted(name: str) -> None:
    """After two rounds without a gradient it goes on as one that begins then."""
    late, other, alone = parameters(shapes=((3,), (3,), (3,)))
    alone.data.copy_(late.data)
    start, both, single = late.detach().clone(), EVERY[name]([late, other]), EVERY[name]([alone])
    for step in range(5):
        other.grad = torch.ones_like(other)
        late.grad = None if step < 2 else torch.full_like(late, float(step))
        both.step()
        if step < 2:
            assert torch.equal(late, start)
            assert late not in both.state
        else:
            alone.grad = late.grad.clone()
            single.step()
    assert torch.equal(late, alone)
    assert not torch.equal(late, start)


@pytest.mark.parametrize("name", EVERY)
def test_the_layout_in_memory_does_not_matter(name: str) -> None:
    """Channels-last weights with plain gradients, and weights laid out anew between steps: the kernels go by memory."""
    results = []
    for odd in (False, True):
        (p,) = parameters(shapes=((3, 2, 2, 2),))
        p.data = p.data.contiguous()
        optimizer = EVERY[name]([p])
        for step in range(6):
            if odd and step in (0, 4):
                layout = torch.channels_last if step == 0 else torch.contiguous_format
                p.data = p.data.contiguous(memory_format=layout)
            (p.grad,) = (g.contiguous() for g in gradients(step, [p]))
            if odd and step == 5:
                p.grad = p.grad.contiguous(memory_format=torch.channels_last)
            optimizer.step()
        results.append(p.detach().contiguous())
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=1e-14)


def test_groups_have_their_own_settings() -> None:
    a, b = parameters(shapes=((2,), (2,)))
    optimizer = SGD([{"params": [a]}, {"params": b, "lr": 0.5, "momentum": 0.9, "lr_mult": 2.0}], lr=0.1)
    before = [a.detach().clone(), b.detach().clone()]
    a.grad, b.grad = torch.ones_like(a), torch.ones_like(b)
    optimizer.step()
    torch.testing.assert_close(a.detach(), before[0] - 0.1)
    torch.testing.assert_close(b.detach(), before[1] - 0.5)
    assert set(optimizer.state[b]) == {"momentum_buffer"}
    assert not optimizer.state[a]


def test_a_closure_is_called_with_gradients_on() -> None:
    w = nn.Parameter(torch.tensor(3.0))
    optimizer = SGD(iter([w]), lr=0.25)  # a generator will do

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = w**2
        loss.backward()
        return loss

    with torch.no_grad():
        assert optimizer.step(closure).item() == 9.0
    assert w.item() == 1.5


def test_named_parameters_are_taken() -> None:
    model = nn.Linear(2, 1)
    optimizer = Adam(model.named_parameters(), 0.1)
    model(torch.ones(1, 2)).sum().backward()
    before = model.weight.detach().clone()
    optimizer.step()
    torch.testing.assert_close(model.weight.detach(), before - 0.1)
    assert optimizer.state_dict()["param_groups"][0]["param_names"] == ["weight", "bias"]


@pytest.fixture
def one_process() -> Iterator[None]:
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def gathered(node: Any) -> Any:
    """A state with its sharded tensors whole."""
    if isinstance(node, dict):
        return {key: gathered(value) for key, value in node.items()}
    return node.full_tensor() if hasattr(node, "full_tensor") else node


def test_sharded_parameters_are_updated_alike(one_process: None) -> None:
    """With FSDP, in one process: every kernel that a rule calls must know shards; clipping and resuming too."""
    x = torch.randn(8, 5, generator=torch.Generator().manual_seed(1))
    for name, make in EVERY.items():
        found = []
        for sharded in (False, True):
            torch.manual_seed(0)
            net = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))
            if sharded:
                fully_shard(net, mesh=init_device_mesh("cpu", (1,)))
            optimizer = make(list(net.parameters()))
            for step in range(6):
                optimizer.zero_grad()
                net(x).square().mean().backward()
                clip_norm(net.parameters(), 0.2)
                optimizer.step()
                if sharded and step == 2:
                    state = copy.deepcopy(gathered(optimizer.state_dict()))
                    optimizer = make(list(net.parameters()))
                    parallel.load_state(optimizer, state)
            found.append(gathered(net.state_dict()))
        for key, value in found[0].items():
            torch.testing.assert_close(
                found[1][key], value, rtol=0, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}"
            )


# -- what is refused ------------------------------------------------------------------------------------------------------


def w(dtype: torch.dtype = torch.float32) -> nn.Parameter:
    return nn.Parameter(torch.ones(2, dtype=dtype))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SGD([w()], lr=-0.1), "lr cannot be -0.1.*at least 0"),
        (lambda: SGD([w()], lr=float("nan")), "lr cannot be nan.*finite|lr cannot be nan"),
        (lambda: SGD([w()], lr="0.1"), "lr cannot be '0.1'"),
        (lambda: SGD([w()], lr=True), "lr cannot be True"),
        (lambda: SGD([w()], momentum=1.0), "momentum cannot be 1.0.*below 1"),
        (lambda: SGD([w()], momentum=-0.1), "momentum cannot be -0.1"),
        (lambda: SGD([w()], nesterov=True), "nesterov looks ahead.*momentum=0.9"),
        (lambda: SGD([w()], weight_decay=-1e-4), "weight_decay cannot be"),
        (lambda: SGD([w()], form="lecture"), "form cannot be 'lecture'.*torch or caffe"),
        (lambda: AdaGrad([w()], eps=0.0), "eps cannot be 0.0.*above 0"),
        (lambda: AdaGrad([w()], lr=-1), "AdaGrad: lr"),
        (lambda: AdaDelta([w()], rho=1.0), "rho cannot be 1.0"),
        (lambda: AdaDelta([w()], eps=-1e-6), "AdaDelta: eps"),
        (lambda: RMSProp([w()], decay=1.5), "decay cannot be 1.5"),
        (lambda: RMSProp([w()], eps=0), "RMSProp: eps"),
        (lambda: Adam([w()], betas=(0.9, 1.0)), r"betas\[1\] cannot be 1.0"),
        (lambda: Adam([w()], betas=(-0.1, 0.9)), r"betas\[0\] cannot be -0.1"),
        (lambda: Adam([w()], betas=0.9), "betas must be two numbers"),
        (lambda: Adam([w()], form="lecun"), "form cannot be 'lecun'"),
        (lambda: AdamW([w()], weight_decay=-0.1), "AdamW: weight_decay"),
        (lambda: Newton([w()], lr=0), "Newton: lr cannot be 0"),
        (lambda: Newton([nn.Parameter(torch.zeros(5001))]), "too large.*at most 5000.*5001"),
        (lambda: Newton([{"params": [w()]}, {"params": [w()]}]), "one group"),
        (lambda: Newton([w(), w(torch.float64)]), "several devices or types"),
        (lambda: SGD([]), "nothing to optimise.*empty list"),
        (lambda: SGD([{"params": [w()], "momentum": 2.0}]), "momentum cannot be 2.0"),
        (lambda: SGD([{"params": [w()], "learning_rate": 2.0}]), "no setting 'learning_rate'"),
        (lambda: SGD(w()), "a tensor in the place of a list"),
        (lambda: SGD([1.0]), "cannot optimise a float"),
        (lambda: SGD([w() * 2]), "cannot optimise a tensor that was computed"),
        (lambda: SGD([w(torch.complex64)]), "complex64.*view_as_real"),
        (lambda: SGD([nn.Parameter(torch.ones(2, dtype=torch.int64), requires_grad=False)]), "int64"),
        (lambda: SGD([w(), nn.Parameter(torch.zeros(4, 4)[:, :2])]), "gaps or overlaps.*parameter 1"),
        (lambda: Adam([w(torch.float16)]), "float16 parameters"),
        (lambda: RMSProp([w(torch.float16)]), "float16 parameters"),
        (lambda: clip_norm([w()], 0.0), "max_norm cannot be 0.0"),
        (lambda: clip_each_norm([w()], -1.0), "max_norm cannot be -1.0"),
        (lambda: clip_value([w()], 0.0), "max_value cannot be 0.0"),
    ],
)
def test_wrong_settings_are_told(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(UserError, match=f"(?s){words}"):
        make()


@pytest.mark.parametrize("name", EVERY)
def test_a_sparse_gradient_is_told(name: str) -> None:
    table = nn.Embedding(5, 2, sparse=True)
    table(torch.tensor([1])).sum().backward()
    before = table.weight.detach().clone()
    with pytest.raises(UserError, match="sparse=False"):
        EVERY[name]([table.weight]).step()
    assert torch.equal(table.weight, before)


def test_sgd_takes_float16() -> None:
    weight = w(torch.float16)
    weight.grad = torch.full_like(weight, 0.5)
    SGD([weight], 0.5).step()
    assert weight.tolist() == [0.75, 0.75]


# -- clipping -------------------------------------------------------------------------------------------------------------


def with_gradients(*values: list[float], dtype: torch.dtype = torch.float64) -> list[nn.Parameter]:
    params = [nn.Parameter(torch.zeros(len(value), dtype=dtype)) for value in values]
    for p, value in zip(params, values, strict=True):
        p.grad = torch.tensor(value, dtype=dtype)
    return [*params, nn.Parameter(torch.zeros(2))]  # the last has no gradient


def test_clipping_by_the_norm_over_all() -> None:
    params = with_gradients([3.0, 0.0], [4.0])
    assert clip_norm(params, 10.0).item() == 5.0
    assert params[0].grad.tolist() == [3.0, 0.0]
    assert clip_norm(iter(params), 2.0).item() == 5.0  # Caffe's scale is exact
    assert [p.grad.tolist() for p in params[:2]] == [
        pytest.approx([1.2, 0.0], abs=1e-15),
        pytest.approx([1.6], abs=1e-15),
    ]
    ours, theirs = parameters(), parameters()
    for group in (ours, theirs):
        for p, g in zip(group, gradients(5, group), strict=True):
            p.grad = g
    torch.testing.assert_close(clip_norm(ours, 1.5), nn.utils.clip_grad_norm_(theirs, 1.5))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-6, atol=0)  # torch divides by the norm + 1e-6


def test_clipping_by_the_norm_of_each() -> None:
    params = with_gradients([3.0, 4.0], [0.5], [0.0, 0.0])
    assert clip_each_norm(params, 1.0).tolist() == [5.0, 0.5, 0.0]
    assert [p.grad.tolist() for p in params[:3]] == [pytest.approx([0.6, 0.8], abs=1e-15), [0.5], [0.0, 0.0]]


def test_clipping_by_value() -> None:
    params = with_gradients([-3.0, 0.25, float("inf")], [7.0])
    clip_value(params, 0.5)
    assert [p.grad.tolist() for p in params[:2]] == [[-0.5, 0.25, 0.5], [0.5]]


def test_what_clipping_meets() -> None:
    nothing = [nn.Parameter(torch.zeros(2))]
    assert clip_norm(nothing, 1.0).item() == 0.0
    assert clip_each_norm(nothing, 1.0).tolist() == []
    clip_value(nothing, 1.0)
    zero = with_gradients([0.0, 0.0])
    clip_norm(zero, 1.0)
    assert zero[0].grad.tolist() == [0.0, 0.0]
    broken = with_gradients([1.0], [float("nan")])  # stays visible to the guard of the run
    assert clip_norm(broken, 1.0).isnan()
    assert broken[0].grad.isnan().all()
    half = with_gradients([60000.0] * 4, dtype=torch.float16)  # the norm, 120000, is no float16
    assert clip_norm(half, 1.0).item() == pytest.approx(120_000, rel=1e-3)
    assert half[0].grad.tolist() == pytest.approx([0.5] * 4, rel=1e-3)
    single = nn.Parameter(torch.zeros(2))
    single.grad = torch.tensor([3.0, 4.0])
    assert clip_norm(single, 1.0).item() == 5.0  # a parameter by itself


# -- the package ----------------------------------------------------------------------------------------------------------


def test_policies_need_no_torch() -> None:
    code = (
        "import sys, chainrule.optim as o; o.inv(0.1, 1e-4, 0.75)(3); o.policies; assert 'torch' not in sys.modules;"
        "o.SGD; assert 'torch' in sys.modules; assert all(hasattr(o, name) for name in o.__all__);"
        "assert not hasattr(o, 'Momentum')"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
