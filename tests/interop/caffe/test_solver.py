"""Solver files: what is read, and that training by them is Caffe's arithmetic, written out."""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from chainrule.core.errors import UserError
from chainrule.interop.caffe.net import parse_net
from chainrule.interop.caffe.solver import Solver, net_of, parse_solver, read_solver

ASSETS = resources.files("chainrule.systems.image_classification.caffe") / "assets"
FIXED = 'base_lr: 0.1 lr_policy: "fixed" max_iter: 10 '


def test_what_is_read(tmp_path: Path) -> None:
    file = tmp_path / "solver.prototxt"
    file.write_text(
        'net: "train_val.prototxt" test_iter: 1000 test_interval: 2500 base_lr: 0.01 lr_policy: "multistep" gamma: 0.1\n'
        "stepvalue: 100 stepvalue: 200 display: 20 max_iter: 450 momentum: 0.9 weight_decay: 0.0005 snapshot: 10000\n"
        'snapshot_prefix: "x" solver_mode: GPU iter_size: 2 random_seed: 1701 regularization_type: "L1" clip_gradients: 35\n',
        "utf-8",
    )
    assert read_solver(file) == Solver(
        net="train_val.prototxt", type="SGD", base_lr=0.01, lr_policy="multistep", gamma=0.1, stepvalue=(100, 200), max_iter=450,
        momentum=0.9, weight_decay=0.0005, regularization_type="L1", clip_gradients=35.0, iter_size=2, test_interval=2500,
        test_iter=(1000,), random_seed=1701,
    )  # fmt: skip
    assert parse_solver(FIXED + "solver_type: NESTEROV").type == "Nesterov"
    assert parse_solver(FIXED + 'type: "AdaDelta"').type == "AdaDelta"
    assert parse_solver(FIXED + 'train_net: "t"').net == "t"


POLICIES: dict[str, Callable[[int], float]] = {
    'lr_policy: "fixed"': lambda t: 0.1,
    'lr_policy: "step" gamma: 0.5 stepsize: 3': lambda t: 0.1 * 0.5 ** (t // 3),
    'lr_policy: "exp" gamma: 0.5': lambda t: 0.1 * 0.5**t,
    'lr_policy: "inv" gamma: 0.5 power: 0.75': lambda t: 0.1 * (1 + 0.5 * t) ** -0.75,
    'lr_policy: "multistep" gamma: 0.5 stepvalue: 2 stepvalue: 5': lambda t: 0.1 * 0.5 ** ((t >= 2) + (t >= 5)),
    'lr_policy: "poly" power: 2': lambda t: 0.1 * (1 - t / 10) ** 2,
    'lr_policy: "sigmoid" gamma: -0.5 stepsize: 4': lambda t: 0.1 / (1 + math.exp(0.5 * (t - 4))),
}


@pytest.mark.parametrize("text", POLICIES)
def test_policies(text: str) -> None:
    solver = parse_solver(f"base_lr: 0.1 max_iter: 10 {text}")
    parameter = torch.nn.Parameter(torch.zeros(1))
    module = torch.nn.Module()
    module.weight = parameter
    optimizer = solver.optimizer(module)
    schedule = solver.schedule(optimizer)
    for t in range(10):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(POLICIES[text](t))
        parameter.grad = torch.zeros(1)
        optimizer.step()
        schedule.step()


LENET = (ASSETS / "lenet.prototxt").read_text("utf-8").replace("num_output: 500", "num_output: 20")


def test_lenet_trains_as_caffe_would() -> None:
    """Ten updates by the files against a loop with Caffe's update written out: V <- mu V + lr_i (g + decay_i w), w <- w - V."""
    torch.manual_seed(0)
    shapes = {"data": (4, 1, 28, 28), "label": (4,)}
    net = parse_net(LENET, "TRAIN", shapes=shapes).double()
    solver = parse_solver((ASSETS / "lenet_solver.prototxt").read_text("utf-8").replace("gamma: 0.0001", "gamma: 0.5"))
    x, y = torch.rand(4, 1, 28, 28, dtype=torch.float64), torch.tensor([3, 1, 4, 1])
    weights = {name: p.detach().clone().requires_grad_() for name, p in net.named_parameters()}
    history = {name: torch.zeros_like(p) for name, p in weights.items()}

    def by_hand() -> Tensor:
        w = {name.removeprefix("layers."): p for name, p in weights.items()}
        h = F.max_pool2d(F.conv2d(x, w["conv1.weight"], w["conv1.bias"]), 2)
        h = F.max_pool2d(F.conv2d(h, w["conv2.weight"], w["conv2.bias"]), 2).flatten(1)
        h = F.linear(h, w["ip1.weight"], w["ip1.bias"]).relu()
        return F.cross_entropy(F.linear(h, w["ip2.weight"], w["ip2.bias"]), y)

    optimizer = solver.optimizer(net)
    schedule = solver.schedule(optimizer)
    for t in range(10):
        loss = net.objective(x, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        expected = by_hand()
        torch.testing.assert_close(loss, expected)
        rate = 0.01 * (1 + 0.5 * t) ** -0.75
        for name, gradient in zip(weights, torch.autograd.grad(expected, list(weights.values())), strict=True):
            multiplier = 2.0 if name.endswith("bias") else 1.0
            history[name] = 0.9 * history[name] + multiplier * rate * (gradient + 0.0005 * weights[name].detach())
            with torch.no_grad():
                weights[name] -= history[name]
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(parameter, weights[name])


def one_step_rule(
    text: str, gradients: list[Tensor], w: Tensor, decay_mult: float = 1.0, lr_mult: float = 1.0
) -> Tensor:
    """The weight of a Bias layer after updates with these gradients."""
    net = parse_net(f"""input: "x" input_dim: [1, {len(w)}, 1, 1] layer {{ name: "b" type: "Bias" bottom: "x" top: "y"
        param {{ lr_mult: {lr_mult} decay_mult: {decay_mult} }} }}""").double()
    (parameter,) = net.parameters()
    parameter.data.copy_(w)
    solver = parse_solver(text)
    optimizer = solver.optimizer(net)
    schedule = solver.schedule(optimizer)
    for gradient in gradients:
        parameter.grad = gradient.clone()
        optimizer.step()
        schedule.step()
    return parameter.detach()


W = torch.tensor([1.0, -2.0, 0.0], dtype=torch.float64)
GRADIENTS = [torch.tensor(g, dtype=torch.float64) for g in ([0.5, 0.25, -1.0], [1.0, -0.5, 0.125], [-0.25, 1.0, 1.0])]
LR, DELTA = 0.1, 1e-3


def by_caffe(rule: str, decay: float = 0.0) -> Tensor:
    """The update rules as sgd_solver.cpp and its kin have them, one number at a time."""
    w = W.tolist()
    for i in range(3):
        h = h2 = 0.0
        for t, gradient in enumerate(GRADIENTS, 1):
            g = float(gradient[i]) + decay * w[i]
            match rule:
                case "SGD":
                    h = 0.9 * h + LR * g
                    step = h
                case "Nesterov":
                    before, h = h, 0.9 * h + LR * g
                    step = 1.9 * h - 0.9 * before
                case "AdaGrad":
                    h += g * g
                    step = LR * g / (math.sqrt(h) + DELTA)
                case "RMSProp":
                    h = 0.95 * h + 0.05 * g * g
                    step = LR * g / (math.sqrt(h) + DELTA)
                case "AdaDelta":
                    h = 0.9 * h + 0.1 * g * g
                    d = g * math.sqrt((h2 + DELTA) / (h + DELTA))
                    h2 = 0.9 * h2 + 0.1 * d * d
                    step = LR * d
                case _:
                    h, h2 = 0.9 * h + 0.1 * g, 0.98 * h2 + 0.02 * g * g
                    step = LR * math.sqrt(1 - 0.98**t) / (1 - 0.9**t) * h / (math.sqrt(h2) + DELTA)
            w[i] -= step
    return torch.tensor(w, dtype=torch.float64)


RULES = {
    "SGD": "momentum: 0.9",
    "Nesterov": "momentum: 0.9",
    "AdaGrad": "",
    "RMSProp": "rms_decay: 0.95",
    "AdaDelta": "momentum: 0.9",
    "Adam": "momentum: 0.9 momentum2: 0.98",
}


@pytest.mark.parametrize("rule", RULES)
def test_rules_are_caffes(rule: str) -> None:
    text = f'{FIXED} type: "{rule}" delta: {DELTA} {RULES[rule]}'
    torch.testing.assert_close(one_step_rule(text, GRADIENTS, W), by_caffe(rule), rtol=1e-6, atol=1e-9)
    decayed = one_step_rule(text + " weight_decay: 0.5", GRADIENTS, W, decay_mult=0.5)
    torch.testing.assert_close(decayed, by_caffe(rule, decay=0.25), rtol=1e-6, atol=1e-9)


def test_l1_clipping_and_multipliers() -> None:
    g = GRADIENTS[0]
    found = one_step_rule(FIXED + 'weight_decay: 0.5 regularization_type: "L1"', [g], W, decay_mult=2.0, lr_mult=3.0)
    torch.testing.assert_close(found, W - 0.3 * (g + W.sign()), rtol=1e-6, atol=1e-9)
    norm = float(g.norm())
    clipped = one_step_rule(FIXED + f"clip_gradients: {norm / 2}", [g], W)
    torch.testing.assert_close(clipped, W - 0.1 * g / 2, rtol=1e-6, atol=1e-9)
    loose = one_step_rule(FIXED + f"clip_gradients: {norm * 1.01}", [g], W)
    torch.testing.assert_close(loose, W - 0.1 * g, rtol=1e-6, atol=1e-9)
    # Caffe clips the sum of iter_size gradients, and divides after that.
    accumulated = one_step_rule(FIXED + f"clip_gradients: {norm} iter_size: 2", [g], W)
    torch.testing.assert_close(accumulated, W - 0.1 * g / 2, rtol=1e-6, atol=1e-9)
    penalised = one_step_rule(
        FIXED + f"clip_gradients: {norm / 2} weight_decay: 1", [g], W
    )  # the penalty is not clipped
    torch.testing.assert_close(penalised, W - 0.1 * (g / 2 + W), rtol=1e-6, atol=1e-9)


def test_frozen_parameters_are_not_in_the_optimizer() -> None:
    text = LENET.replace("param { lr_mult: 1 }  param { lr_mult: 2 }", "param { lr_mult: 0 } param { lr_mult: 0 }", 1)
    net = parse_net(text, "TRAIN")
    optimizer = parse_solver(FIXED).optimizer(net)
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert {name for name, p in net.named_parameters() if id(p) not in held} == {
        "layers.conv1.weight",
        "layers.conv1.bias",
    }
    assert [group["lr_mult"] for group in optimizer.param_groups] == [1.0, 2.0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no base_lr"),
        ("base_lr: 0.1 max_iter: 1", "no such lr_policy"),
        ('base_lr: 0.1 lr_policy: "plateau" max_iter: 1', "no such lr_policy: 'plateau'"),
        ('base_lr: 0.1 lr_policy: "steps" max_iter: 1', "did you mean step"),
        ('base_lr: 0.1 lr_policy: "step" gamma: 0.1 max_iter: 1', "stepsize"),
        ('base_lr: 0.1 lr_policy: "multistep" gamma: 0.1 stepvalue: [5, 3] max_iter: 1', "must rise"),
        ('base_lr: -0.1 lr_policy: "fixed" max_iter: 1', "base_lr"),
        ('base_lr: 0.1 lr_policy: "fixed"', "max_iter and iter_size"),
        (FIXED + 'type: "Adamw"', "unknown type 'Adamw'; did you mean Adam"),
        (FIXED + 'regularization_type: "L3"', "the penalty is unknown"),
        (FIXED + "clip_gradients: 0", "leaves no gradient"),
        (FIXED + "gamma: nan", "gamma is NaN"),
        (FIXED + 'net: "a" net_param { name: "b" }', "more than one network"),
        ("base_lr: fast", "not understood"),
        ("baselr: 1", 'no field named "baselr"'),
    ],
)
def test_wrong_solvers(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "solver.prototxt"
    file.write_text(text or "# nothing", "utf-8")
    with pytest.raises(UserError) as error:
        read_solver(file)
    assert words in str(error.value) and str(file) in str(error.value)


def test_settings_that_a_rule_does_not_have() -> None:
    net = parse_net(LENET, "TRAIN")
    with pytest.raises(UserError, match="AdaGrad has no momentum"):
        parse_solver(FIXED + 'type: "AdaGrad" momentum: 0.9').optimizer(net)
    with pytest.raises(UserError, match="momentum"):
        parse_solver(FIXED + "momentum: 1.5").optimizer(net)


def test_a_solver_in_the_place_of_a_net(tmp_path: Path) -> None:
    file = tmp_path / "s.prototxt"
    file.write_bytes(b"\x08\x01\x00")
    with pytest.raises(UserError, match="a binary file stands in the place of a text"):
        read_solver(file)
    with pytest.raises(UserError, match=r"this is a solver[\s\S]*line 1, column 1[\s\S]*no field named \"base_lr\""):
        parse_net(FIXED)
    file.write_text('# a net\nlayer { name: "a" }', "utf-8")
    with pytest.raises(UserError, match=r"this is a net description[\s\S]*line 2, column 1[\s\S]*net=FILE"):
        read_solver(file)


def test_what_a_solver_says_of_its_network(tmp_path: Path) -> None:
    """A network inside keeps the lines of the file; files are sought beside it; stages and weights are read."""
    text = (
        FIXED
        + """# net_param {
        train_state { stage: "a" stage: "b" level: 3 } weights: "x.caffemodel, y.caffemodel" weights: "z.caffemodel"
        net_param: <
          layer { name: "odd" type: "Quux" bottom: "x" top: "y" }
        >"""
    )
    (tmp_path / "there").mkdir()
    file = tmp_path / "there" / "s.prototxt"
    file.write_text(text, "utf-8")
    solver = read_solver(file)
    assert (solver.stages, solver.level) == (("a", "b"), 3)
    assert solver.weights == ("x.caffemodel", "y.caffemodel", "z.caffemodel") and solver.net == ""
    inside, where = net_of(file)
    assert where == str(file) and inside.count("\n") == 4 and inside.strip().startswith("layer")
    with pytest.raises(UserError, match=r"layer 'odd' \(Quux\) of .*s\.prototxt, line 4"):
        parse_net(inside, where=where)
    file.write_text(FIXED + 'train_net: "n.prototxt"', "utf-8")
    with pytest.raises(UserError, match=r"no such file[\s\S]*n\.prototxt"):
        net_of(file)
    (file.parent / "n.prototxt").write_text("layer { }", "utf-8")
    assert net_of(file) == ("layer { }", str(file.parent / "n.prototxt"))
    file.write_text(FIXED, "utf-8")
    assert net_of(file) is None
