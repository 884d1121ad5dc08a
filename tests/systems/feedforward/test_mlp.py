"""The perceptron against torch's own layers; what a target in units, early stopping and watching must do; learning XOR."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import chainrule
from chainrule.core.errors import UserError
from chainrule.functional.activations import ACTIVATIONS
from chainrule.introspection.watching import saturated_share, slope_of, watched
from chainrule.optim.by_name import optimizer_of
from chainrule.reporting.learning_curves import group_of
from chainrule.systems.feedforward.mlp import MLP, NO_GRADIENT, Activation
from chainrule.systems.feedforward.target_scaler import TargetScaler
from chainrule.systems.studies.optimization.vanishing_gradient import conclude, layer_gradients

pytestmark = pytest.mark.usefixtures("no_report")


def peer(model: MLP, activation: type[nn.Module]) -> nn.Sequential:
    """The same network of torch's layers, with the same weights."""
    layers: list[nn.Module] = [nn.Flatten()]
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            copied = nn.Linear(layer.in_features, layer.out_features).to(layer.weight.dtype)
            copied.load_state_dict(layer.state_dict())
            layers += [copied, activation()]
    return nn.Sequential(*layers[:-1])


@pytest.mark.parametrize(
    ("name", "oracle"), [("relu", nn.ReLU), ("tanh", nn.Tanh), ("sigmoid", nn.Sigmoid), ("elu", nn.ELU)]
)
def test_equals_torchs_layers_forward_and_backward(name: str, oracle: type[nn.Module]) -> None:
    torch.manual_seed(0)
    model = MLP(6, 3, hidden=(5, 4), activation=name).double()
    other, x = peer(model, oracle), torch.randn(7, 2, 3, dtype=torch.float64)
    found, expected = model(x), other(x)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    found.square().sum().backward()
    expected.square().sum().backward()
    theirs = [p.grad for p in other.parameters()]
    ours = [layer_p.grad for m in model.modules() if isinstance(m, nn.Linear) for layer_p in m.parameters()]
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("normalization", "oracle"), [("batch", nn.BatchNorm1d), ("layer", nn.LayerNorm)])
def test_normalised_layers_equal_torchs_in_training_and_after(normalization: Any, oracle: type[nn.Module]) -> None:
    torch.manual_seed(0)
    model, x = MLP(6, 3, hidden=(5, 4), normalization=normalization), 3 + torch.randn(20, 6)
    first, second = model.layers[0], model.layers[4]
    peer = nn.Sequential(first, oracle(5), nn.ReLU(), second, oracle(4), nn.ReLU(), model.output)  # type: ignore[call-arg]
    torch.testing.assert_close(model(x), peer(x))
    torch.testing.assert_close(model.eval()(x), peer.eval()(x))
    assert MLP(3, 2, (5,), "maxout", normalization=normalization).layers[1].weight.shape == (5,)  # type: ignore[union-attr]


def test_without_a_hidden_layer_it_is_linear() -> None:
    model, x = MLP(4, 2, hidden=(), activation="step"), torch.randn(5, 4)
    torch.testing.assert_close(model(x), nn.functional.linear(x, model.output.weight, model.output.bias))
    assert sum(p.numel() for p in model.parameters()) == 10


@pytest.mark.parametrize("name", [n for n in ACTIVATIONS if n not in NO_GRADIENT])
def test_every_activation_trains_every_parameter(name: str) -> None:
    torch.manual_seed(1)
    model = MLP(6, 3, hidden=(8, 8), activation=name)
    model(torch.randn(40, 6)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    assert torch.equal(model.eval()(torch.zeros(1, 6)), model(torch.zeros(1, 6)))


def test_activations_with_parameters_hold_one_a_unit() -> None:
    assert dict(MLP(3, 2, (5,), "prelu").named_parameters())["layers.1.weight"].shape == (5,)
    assert MLP(3, 2, (5,), "crelu").output.in_features == 10
    assert MLP(3, 2, (5,), "maxout").layers[0].pieces.out_features == 10


def test_dropout_leaves_out_inputs_and_units_in_training_alone() -> None:
    torch.manual_seed(0)
    model = MLP(1000, 1000, hidden=(1000,), activation="relu", dropout=0.5, input_dropout=0.25)
    share = (model.input_dropout(torch.ones(1, 1000)) == 0).float().mean()
    assert 0.2 < share < 0.3
    assert 0.45 < (model.layers[-1](torch.ones(1, 1000)) == 0).float().mean() < 0.55
    x = torch.randn(2, 1000)
    assert not torch.equal(model(x), model(x)) and torch.equal(model.eval()(x), model(x))


def test_initialisers_by_name() -> None:
    model = MLP(400, 10, hidden=(300,), init="msra")
    assert float(model.layers[0].weight.detach().std()) == pytest.approx((2 / 400) ** 0.5, rel=0.02)
    assert not model.layers[0].bias.any()


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"activation": "reul"}, "did you mean relu"),
        ({"activation": "step"}, "cannot be learnt by gradient descent"),
        ({"init": "xavir"}, "did you mean xavier"),
        ({"normalization": "bach"}, "did you mean batch"),
        ({"hidden": (0,)}, "a layer of the network is empty"),
        ({"dropout": 1.5}, "p is out of range"),
    ],
)
def test_what_is_wrong_is_said(config: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        MLP(3, 2, **{"hidden": (4,), **config})


def test_an_input_of_another_size_is_refused() -> None:
    with pytest.raises(UserError, match="another size"):
        MLP(784, 10)(torch.zeros(2, 1, 27, 28))


def test_answers_in_units() -> None:
    inner = nn.Linear(3, 1).double()
    model, x = TargetScaler(inner, mean=1e6, std=25.0), torch.randn(9, 3, dtype=torch.float64)
    torch.testing.assert_close(model(x), 1e6 + 25.0 * inner(x)[:, 0], rtol=1e-15, atol=0)
    assert set(model.state_dict()) == {"mean", "std", "model.weight", "model.bias"}
    assert TargetScaler(inner, 0.0, 0.0).std == 1.0
    for mean, std in ((0.0, -1.0), (float("nan"), 1.0), (0.0, float("inf"))):
        with pytest.raises(UserError, match="scale of the target"):
            TargetScaler(inner, mean, std)


def test_update_rules_by_name() -> None:
    theirs = {
        "sgd": torch.optim.SGD,
        "adagrad": torch.optim.Adagrad,
        "adadelta": torch.optim.Adadelta,
        "rmsprop": torch.optim.RMSprop,
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
    }
    for name, rule in theirs.items():
        walked = []
        for make in (optimizer_of, None):
            w = nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
            kind = {"weight_decay": 0.1}
            optimizer = optimizer_of(name, [w], 0.1, **kind) if make else rule([w], 0.1, **kind)
            for _ in range(5):
                optimizer.zero_grad()
                w.square().sum().backward()
                optimizer.step()
            walked.append(w.detach())
        torch.testing.assert_close(*walked, rtol=1e-9, atol=1e-9)
    with pytest.raises(UserError, match="did you mean adam"):
        optimizer_of("adm", [nn.Parameter(torch.zeros(1))], 0.1)
    with pytest.raises(UserError, match="no momentum of its own"):
        optimizer_of("adam", [nn.Parameter(torch.zeros(1))], 0.1, momentum=0.9)


# -- watching -------------------------------------------------------------------------------------------------------------


def test_watched_gradients_and_saturation_are_those_of_autograd() -> None:
    torch.manual_seed(0)
    model, x = MLP(4, 3, hidden=(6, 5), activation="tanh"), 5 * torch.randn(20, 4)
    seen: dict[str, torch.Tensor] = {}
    with watched(model, lambda **values: seen.update(values)):
        model(x).square().mean().backward()
        model.eval()(100 * x)  # evaluation is not watched
    linear = [m for m in model.modules() if isinstance(m, nn.Linear)]
    assert set(seen) == {"gradient_1", "gradient_2", "gradient_3", "saturated_1", "saturated_2"}
    for number, layer in enumerate(linear, 1):
        assert seen[f"gradient_{number}"] == layer.weight.grad.norm()
    first = linear[0](x)
    expected = ((1 - first.tanh() ** 2) < 0.05).float().mean()  # the steepest slope of tanh is 1
    assert float(seen["saturated_1"]) == pytest.approx(float(expected), abs=1e-6) and expected > 0.2
    seen.clear()
    model.train()(x).sum().backward()
    assert not seen, "a hook stays behind"


def test_saturation_by_hand() -> None:
    x = torch.tensor([-8.0, -1.0, 0.0, 1.0, 8.0])
    assert float(saturated_share(Activation("sigmoid"), x)) == pytest.approx(0.4)
    assert float(saturated_share(Activation("relu"), x)) == pytest.approx(0.6)  # at 0 its derivative is taken as 0
    assert float(saturated_share(Activation("linear"), x)) == 0
    assert slope_of(nn.Linear(1, 1)) is None and slope_of(nn.ReLU()) is None


def test_report_puts_the_layers_into_one_plot() -> None:
    assert group_of("gradient_1") == group_of("gradient_12") != group_of("saturated_1") == group_of("saturated_2")
    assert group_of("gradient_norm") == "Gradient norm"


def test_layer_gradients_are_those_of_the_chain_rule_by_hand() -> None:
    """Of x -> w1 x -> sigmoid -> w2 -> sigmoid -> W3: delta_1 = (w2^T delta_2) * f'(a_1)."""
    torch.manual_seed(0)
    model = MLP(3, 2, hidden=(4, 4), activation="sigmoid")
    before = {name: p.clone() for name, p in model.named_parameters()}
    x, y = torch.randn(6, 3), torch.tensor([0, 1, 0, 1, 1, 0])
    found = layer_gradients(model, x, y)
    model.requires_grad_(False)
    first, second = model.layers[0].double(), model.layers[3].double()
    a1 = first(x.double())
    a2 = second(a1.sigmoid())
    probs = model.output.double()(a2.sigmoid()).softmax(1)
    top = (probs - nn.functional.one_hot(y, 2)) / 6
    delta2 = (top @ model.output.weight) * a2.sigmoid() * (1 - a2.sigmoid())
    delta1 = (delta2 @ second.weight) * a1.sigmoid() * (1 - a1.sigmoid())
    assert found.norms == pytest.approx([float(delta1.norm()), float(delta2.norm())], rel=1e-12)
    assert found.ratio == pytest.approx(float(delta1.norm() / delta2.norm()))
    assert all(torch.equal(p.float(), before[name]) for name, p in model.named_parameters())


def test_the_gradient_vanishes_with_depth_for_sigmoid_and_not_for_relu() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(64, 16), torch.randint(0, 3, (64,))
    ratios = {
        (name, init): layer_gradients(MLP(16, 3, (32,) * 8, name, init=init), x, y).ratio
        for name, init in (("sigmoid", "xavier"), ("relu", "msra"), ("tanh", "xavier"), ("relu", "small-random"))
    }
    assert ratios["sigmoid", "xavier"] < 1e-3 < 1e-1 < ratios["relu", "msra"] < 10  # 7 slopes of at most 1/4
    assert ratios["tanh", "xavier"] > 0.1 and ratios["relu", "small-random"] < 1e-6


def test_conclude_takes_the_deepest() -> None:
    rows = [{"depth": d, "activation": "tanh", "init": "small-random", "ratio": 1 / d, "accuracy": 0.5} for d in (1, 4)]
    assert conclude(rows) == {"depth": 4, "tanh_small_random_ratio": 0.25, "tanh_small_random_accuracy": 0.5}


# -- learning ---------------------------------------------------------------------------------------------------------------


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def trained(recipe: str, **settings: Any) -> Any:
    return chainrule.train(recipe, out="run", device="cpu", **settings)


def test_stops_after_patience_without_a_better_epoch() -> None:
    run = trained("mlp-table", data="iris", epochs=60, patience=3, lr=0.1, hidden=(8,))
    losses = [line["val_loss"] for line in lines(run.folder) if "val_loss" in line]
    best = len(losses) - 1 - losses[::-1].index(min(losses))
    assert len(losses) == best + 1 + 3 < 60
    assert run.result()["chosen"]["epoch"] == best and run.result()["metrics"]["accuracy"] > 0.8


def test_penalties_begin_late_and_l1_makes_zeros() -> None:
    """The first two epochs are those of a training without a penalty, bit for bit; then many weights are exactly 0."""
    settings: dict[str, Any] = {"data": "iris", "epochs": 6, "patience": 0, "lr": 0.01, "hidden": (8,), "log_every": 1}
    free, late = (
        chainrule.train("mlp-table", out=out, device="cpu", **settings, **more)
        for out, more in (("free", {"weight_decay": 0.0}), ("late", {"l1": 0.2, "penalty_from": 2}))
    )
    without, with_it = ([line["loss"] for line in lines(run.folder) if "loss" in line] for run in (free, late))
    each = len(without) // 6
    assert without[: 2 * each + 1] == with_it[: 2 * each + 1] and without[-1] != with_it[-1]
    zeros = [line["zero_weights"] for line in lines(late.folder) if "zero_weights" in line]
    assert not any(zeros[: 2 * each]) and zeros[-1] > 0.2
    weights = late.open_task().modules()["model"]
    assert all(p.any() for name, p in weights.named_parameters() if name.endswith("bias"))


def test_patience_of_none_goes_to_the_end() -> None:
    run = trained("mlp-table", data="iris", epochs=6, patience=0, lr=0.1, hidden=(8,))
    assert sum("val_loss" in line for line in lines(run.folder)) == 6


def test_regression_learns_in_any_unit() -> None:
    """The same curve in metres and in nanometres from an offset: the same errors, times the unit."""
    x = np.linspace(-2, 2, 120)
    y = np.sin(2 * x)
    found = []
    for unit, offset in ((1.0, 0.0), (1e9, 3e10)):
        rows = "\n".join(f"{a},{float(b)!r}" for a, b in zip(x, offset + unit * y, strict=True))
        Path("wave.csv").write_text("x,y\n" + rows + "\n")
        run = chainrule.train(
            "mlp-regression",
            data="wave.csv",
            out=f"run{unit:g}",
            device="cpu",
            epochs=40,
            patience=0,
            lr=0.03,
            hidden=(20,),
        )
        metrics = run.result()["metrics"]
        found.append(metrics["rmse"] / unit)
        assert metrics["r2"] > 0.9
        answer = chainrule.predict(run.folder, ["0.5"], device="cpu")[0]["y"]
        assert answer == pytest.approx(offset + unit * np.sin(1.0), abs=0.35 * unit)
    assert found[0] == pytest.approx(found[1], rel=0.2)


def test_xor_needs_a_hidden_layer() -> None:
    settings: dict[str, Any] = {"data": "xor", "epochs": 30, "lr": 0.05, "batch_size": 60, "activation": "tanh"}
    without = chainrule.train("playground", out="without", device="cpu", hidden=(), **settings).result()["metrics"]
    with_one = chainrule.train("playground", out="with", device="cpu", hidden=(8,), **settings).result()["metrics"]
    by_hand = chainrule.train(
        "playground", out="hand", device="cpu", hidden=(), features=("x1", "x2", "x1x2"), **settings
    )
    assert without["accuracy"] < 0.75  # no line has more than three of the four squares
    assert with_one["accuracy"] > 0.97 and by_hand.result()["metrics"]["accuracy"] > 0.97


def test_a_playground_logs_gradient_and_saturation() -> None:
    run = trained("playground", data="moons", epochs=2, hidden=(4, 4), log_every=5)
    steps = [line for line in lines(run.folder) if "gradient_1" in line]
    assert steps and all({"gradient_3", "saturated_2"} <= set(line) and 0 <= line["saturated_1"] <= 1 for line in steps)
    assert any(f.title == "Decision surface" and f.png for f in run.open_task().figures())


@pytest.mark.parametrize(
    ("recipe", "settings", "words"),
    [
        ("mlp", {"activation": "sign"}, "cannot be learnt"),
        ("mlp-table", {"optimizer": "adam", "momentum": 0.9}, "no momentum"),
        ("mlp-regression", {"init": "nothing"}, "there is no initialiser"),
        ("mlp-table", {"data": "iris", "normalization": "batch", "batch_size": 101}, "a batch of one row"),
        ("playground", {"data": "xor", "penalty_from": 3}, "no penalty that could begin late"),
        ("vanishing-gradient", {"activations": ("relu", "rlu")}, "there is no activation"),
        ("hidden-layers", {"count": 7}, "number of points"),
        ("playground", {"features": ("x1", "x9")}, "names an x that does not exist"),
        ("playground", {"features": ("x1",), "degree": 3}, "features are named and a degree"),
    ],
)
def test_wrong_settings_end_before_the_first_step(recipe: str, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        trained(recipe, **settings)
    assert not Path("run").exists()
