"""A network, a loss and metrics of the user's own: all verbs, exact resume, and what is said before the first step."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

import chainrule
from chainrule import api
from chainrule.cli import main
from chainrule.core.errors import Interrupted, RunFailed, UserError
from chainrule.core.own_code import trust
from chainrule.run.run import Run
from chainrule.tasks.own.building import build_network, memory_format_of
from chainrule.tasks.own.checks import check_on_batch
from chainrule.tasks.own.choice import read_choice
from chainrule.tasks.own.criterion import OwnCriterion
from chainrule.tasks.own.metrics import OwnMetrics

pytestmark = pytest.mark.usefixtures("no_report")

FILE = '''\
import torch
from torch import nn
from torch.nn import functional as F


class Net(nn.Module):
    """As tutorials write it: `view` of what a convolution gives, dropout, batch normalisation, a lazy layer."""

    def __init__(self, num_classes, in_channels=1):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(in_channels, 6, 3), nn.BatchNorm2d(6)
        self.drop, self.fc = nn.Dropout(0.2), nn.LazyLinear(num_classes)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.norm(self.conv(x))), 2)
        return self.fc(self.drop(x.view(x.size(0), -1)))


class Rows(nn.Sequential):
    def __init__(self, in_features, out_features):
        super().__init__(nn.Linear(in_features, 8), nn.ReLU(), nn.Linear(8, out_features))


class Shifted(nn.Module):
    """Cross entropy of logits that are shifted by a learnt number a class; gives the mean."""

    def __init__(self, num_classes):
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(num_classes))

    def forward(self, logits, y):
        return F.cross_entropy(logits + self.shift, y)


def focal(logits, y):
    log_p = logits.log_softmax(1).gather(1, y[:, None])[:, 0]
    return -((1 - log_p.exp()) ** 2) * log_p


def certainty(probs, y):
    return {"certainty": probs.max(1).values.mean(), "right": float((probs.argmax(1) == y).double().mean())}


def pinball(answers, y):
    return torch.maximum(0.9 * (y - answers), 0.1 * (answers - y))
'''
SMALL: dict[str, Any] = {
    "size": 8,
    "channels": 1,
    "epochs": 2,
    "batch_size": 64,
    "crop": "none",
    "flip": False,
    "colour": 0.0,
    "log_every": 5,
    "threads": 1,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the user's file and a run of it."""
    place = tmp_path_factory.mktemp("own")
    (place / "net.py").write_text(FILE)
    own = {"network": "Net", "loss": "focal", "metrics": "certainty"}
    named = {setting: f"{place / 'net.py'}:{name}" for setting, name in own.items()}
    api.train("image-classifier", **SMALL, **named, choose_by="max:right", out=place / "run")
    return place


# -- all verbs ----------------------------------------------------------------------------------------------------------


def test_a_run_is_as_every_other(folder: Path) -> None:
    run = Run.load(folder / "run")
    result = run.result()
    assert result is not None
    metrics, lines = result["metrics"], run.log_lines()
    assert metrics["right"] == metrics["accuracy"] > 0.6 and 0 < metrics["certainty"] < 1
    assert result["chosen"]["metric"] == "val_right" and "by its right" in result["protocol"]
    assert {"val_right", "val_certainty", "val_error"} <= lines[-1].keys()
    kept = run.record["code"]["network"]
    assert kept["file"] == str(folder / "net.py") and len(kept["sha256"]) == 64
    task = run.open_task()
    logits = task.logits(task.data.test.x)
    assert metrics["certainty"] == pytest.approx(float(logits.softmax(1).max(1).values.mean()), abs=1e-6)
    log_p = logits.log_softmax(1)[torch.arange(len(logits)), task.data.test.y]
    assert metrics["loss"] == pytest.approx(float((-((1 - log_p.exp()) ** 2) * log_p).mean()), abs=1e-6)


def test_every_verb_answers(folder: Path, tmp_path: Path) -> None:
    from PIL import Image

    run = folder / "run"
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(tmp_path / "one.png")
    (answer,) = api.predict(run, [str(tmp_path / "one.png")])
    assert answer["class"] in "0123456789"
    assert api.evaluate(run) == json.loads((run / "result.json").read_text())["metrics"]
    assert "net.py:Net" in api.explain(run, out=tmp_path / "explain.html").read_text("utf-8")
    assert api.export(run, "torch", out=tmp_path / "net.pt2")["largest_difference"] < 1e-5
    assert "val_right" in api.report(run, out=tmp_path / "report.html").read_text("utf-8").replace(" ", "_")


def test_weights_of_a_file_begin_it(folder: Path, tmp_path: Path) -> None:
    learnt = Run.load(folder / "run").open_task().modules()["model"].state_dict()
    save_file({name: value.contiguous() for name, value in learnt.items()}, tmp_path / "plain.safetensors")
    for file in (tmp_path / "plain.safetensors", folder / "run" / "checkpoint" / "best.safetensors"):
        run = api.train(
            "image-classifier",
            **{**SMALL, "epochs": 1, "lr": 1e-9},
            network=f"{folder / 'net.py'}:Net",
            loss=f"{folder / 'net.py'}:Shifted",  # with numbers that the file does not have
            weights=str(file),
            out=tmp_path / file.stem,
        )
        begun = run.task.modules()["model"].state_dict()
        assert torch.allclose(begun["fc.weight"], learnt["fc.weight"], atol=1e-6)
    with pytest.raises(UserError, match="publishes no weights"):
        api.train("image-classifier", **SMALL, network=f"{folder / 'net.py'}:Net", weights="torchvision")


def stopped(after: int, monkeypatch: pytest.MonkeyPatch, **words: Any) -> None:
    """Trains until the run has made so many steps, is then interrupted, and has saved."""
    seen = Run.track

    def track(run: Run, **values: Any) -> None:
        seen(run, **values)
        if run.step == after - 1:
            run._signals.caught = 2  # type: ignore[assignment]

    with monkeypatch.context() as patch:
        patch.setattr(Run, "track", track)
        with pytest.raises(Interrupted):
            api.train("image-classifier", **SMALL, **words)


@pytest.mark.parametrize("loss", ["focal", "Shifted"])
def test_a_stopped_run_ends_as_if_it_never_was(
    loss: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = {"network": f"{folder / 'net.py'}:Net", "loss": f"{folder / 'net.py'}:{loss}"}
    api.train("image-classifier", **SMALL, **words, mixup=0.2, out=tmp_path / "whole")
    stopped(30, monkeypatch, **words, mixup=0.2, out=tmp_path / "run")
    api.resume(tmp_path / "run")
    whole, run = (load_file(tmp_path / name / "checkpoint" / "best.safetensors") for name in ("whole", "run"))
    assert whole.keys() == run.keys() and all(torch.equal(whole[name], run[name]) for name in whole)
    assert ("loss.found.shift" in whole) == (loss == "Shifted")
    assert loss == "focal" or float(whole["loss.found.shift"].abs().max()) > 0  # it has learnt


def test_a_changed_file_does_not_resume_unnoticed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "net.py"
    file.write_text(FILE)
    stopped(30, monkeypatch, network=f"{file}:Net", out=tmp_path / "run")
    file.write_text(FILE.replace("Dropout(0.2)", "Dropout(0.3)"))
    for verb in ("resume", "evaluate"):
        with pytest.raises(SystemExit) as end:
            main([verb, str(tmp_path / "run")])
        assert end.value.code == 2 and "has changed since the run" in capsys.readouterr().err
    file.write_text(FILE.replace("2d(in_channels, 6", "2d(in_channels, 7").replace("BatchNorm2d(6)", "BatchNorm2d(7)"))
    with pytest.raises(UserError, match="weights of another network"):
        api.resume(tmp_path / "run", code=[file])
    file.write_text(FILE.replace("Dropout(0.2)", "Dropout(0.3)"))
    assert main(["resume", str(tmp_path / "run"), "--code", str(file)]) is None
    assert 0 < api.evaluate(tmp_path / "run")["accuracy"] <= 1  # the record knows the new one


def test_a_run_folder_of_another_runs_nothing(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "_named_here", set())
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another"))
    with pytest.raises(UserError, match="not named on this machine"):
        api.evaluate(folder / "run")
    assert "not named on this machine" in api.report(folder / "run", out=tmp_path / "report.html").read_text("utf-8")
    api.evaluate(folder / "run", code=[folder / "net.py"])
    assert api.predict(folder / "run", [str(write_image(tmp_path))])


def write_image(place: Path) -> Path:
    from PIL import Image

    Image.new("L", (8, 8), 7).save(place / "grey.png")
    return place / "grey.png"


# -- from Python ----------------------------------------------------------------------------------------------------------


class Tiny(nn.Module):
    def __init__(self, num_classes: int, image_size: int) -> None:
        super().__init__()
        self.fc = nn.Linear(image_size**2, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.flatten(1))


def test_a_network_is_given_from_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    mine = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    before = mine[1].weight.detach().clone()
    given: dict[str, Any] = {"model": mine, "loss": nn.CrossEntropyLoss(), "metrics": {"mean": lambda z, y: z.mean()}}
    run = chainrule.train("image-classifier", **SMALL, **given, out=tmp_path / "run")
    assert run.task.modules()["model"] is mine and not torch.equal(mine[1].weight, before)  # it is what was trained
    metrics = json.loads((tmp_path / "run" / "result.json").read_text())["metrics"]
    assert metrics["accuracy"] > 0.5 and "mean" in metrics
    assert run.record["settings"]["network"] == "python:Sequential"
    for act in (lambda: api.evaluate(tmp_path / "run"), lambda: api.resume(tmp_path / "run")):
        with pytest.raises(UserError, match=r"was given from Python|this run is done"):
            act()
    again = {**given, "model": nn.Sequential(nn.Flatten(), nn.Linear(64, 10))}
    assert api.evaluate(tmp_path / "run", **again) == metrics
    assert Run.load(tmp_path / "run", **again).open_task().classes == list("0123456789")
    assert api.predict(tmp_path / "run", [str(write_image(tmp_path))], **again, top=1)
    stopped(30, monkeypatch, model=Tiny, out=tmp_path / "stopped")
    chainrule.resume(tmp_path / "stopped", model=Tiny)
    whole = chainrule.train("image-classifier", **SMALL, model=Tiny, out=tmp_path / "whole")
    resumed = Run.load(tmp_path / "stopped", model=Tiny).open_task().modules()["model"].state_dict()
    assert torch.equal(resumed["fc.weight"], whole.task.modules()["model"].state_dict()["fc.weight"])


def test_what_python_may_not_give() -> None:
    with pytest.raises(UserError, match="takes no network of your own"):
        chainrule.train("lenet5", model=nn.Identity())
    with pytest.raises(UserError, match="given twice"):
        chainrule.train("image-classifier", model=nn.Identity(), network="resnet18")
    with pytest.raises(UserError, match="wrong type"):
        chainrule.train("image-classifier", epochs=nn.Identity())


# -- tables -----------------------------------------------------------------------------------------------------------------


def test_rows_into_classes_and_into_a_number(folder: Path, tmp_path: Path) -> None:
    file = folder / "net.py"
    words: dict[str, Any] = {"network": f"{file}:Rows", "epochs": 20, "threads": 1}
    run = api.train(
        "mlp-table", **words, loss=f"{file}:focal", metrics=f"{file}:certainty", data="iris", out=tmp_path / "classes"
    )
    metrics = api.evaluate(run.folder)
    assert metrics["accuracy"] > 0.7 and metrics["right"] == pytest.approx(metrics["accuracy"])
    run = api.train("mlp-regression", **words, loss=f"{file}:pinball", standardize=True, out=tmp_path / "number")
    task, found = run.open_task(), api.evaluate(run.folder)
    over = task.answers(task.data.test.x) >= task.data.test.y
    assert run.best is not None and run.best["metric"] == "val_loss" and float(over.double().mean()) > 0.7
    residual = task.data.test.y.double() - task.answers(task.data.test.x).double()
    assert found["loss"] == pytest.approx(float(torch.maximum(0.9 * residual, -0.1 * residual).mean()), rel=1e-5)
    assert api.export(run.folder, "torch", out=tmp_path / "rows.pt2")["largest_difference"] < 1e-3
    for settings, says in (
        ({"hidden": (3,)}, "hidden has no meaning beside a network of your own"),
        ({"network": f"{file}:Net"}, "in_features|num_classes|needs what nobody gives|the network fails"),
    ):
        with pytest.raises(UserError, match=says):
            api.train("mlp-regression", **{**words, **settings}, out=tmp_path / "wrong")
        assert not (tmp_path / "wrong").exists()


# -- what is said before the first step -----------------------------------------------------------------------------------------


class Base(nn.Module):
    def __init__(self, outputs: int = 3) -> None:
        super().__init__()
        self.fc = nn.Linear(4, outputs)

    def forward(self, x: Tensor) -> Any:
        return self.fc(x)


class Tuple(Base):
    def forward(self, x: Tensor) -> Any:
        return self.fc(x), x


class Raises(Base):
    def forward(self, x: Tensor) -> Any:
        raise ValueError("not today")


class Centred(Base):
    def forward(self, x: Tensor) -> Any:
        return self.fc(x) - self.fc(x).mean(0)


class Fixed(Base):
    def forward(self, x: Tensor) -> Any:
        return self.fc(x.reshape(8, 4))


class AlwaysDrops(Base):
    def forward(self, x: Tensor) -> Any:
        return self.fc(F.dropout(x, 0.5))


class Detached(Base):
    def forward(self, x: Tensor) -> Any:
        return self.fc(x).detach()


class Whole(Base):
    def forward(self, x: Tensor) -> Any:
        return self.fc(x).argmax(1, keepdim=True).expand(-1, 3)


class Sparse(Base):
    def forward(self, x: Tensor) -> Any:
        return self.fc(x).to_sparse()


def cross_entropy(z: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(z, y, reduction="none")


@pytest.mark.parametrize(
    ("network", "says"),
    [
        (Base(2), r"gives float32 \(8, 2\)[\s\S]*\(8, 3\)[\s\S]*3 outputs instead of 2"),
        (Tuple(), "a tuple of float32"),
        (Raises(), "the network fails: ValueError: not today"),
        (Centred(), "depends on the other samples"),
        (nn.Sequential(Base(), nn.BatchNorm1d(3, track_running_stats=False)), "depends on the other samples|fails"),
        (Fixed(), "the network fails"),
        (AlwaysDrops(), "otherwise the second time"),
        (Detached(), "no gradient reaches the network"),
        (Whole(), r"gives int64 \(8, 3\)"),
        (Sparse(), r"gives float32 \(8, 3\), sparse_coo"),
    ],
)
def test_a_network_that_does_not_do(network: nn.Module, says: str) -> None:
    with pytest.raises(UserError, match=says):
        check_on_batch(network, cross_entropy, torch.randn(8, 4), torch.arange(8) % 3, 3)


@pytest.mark.parametrize(
    ("loss", "says"),
    [
        (lambda z, y: z**2, r"gives float32 \(8, 3\) for a batch of 8[\s\S]*axis 1"),
        (lambda z, y: cross_entropy(z, y)[:, None], r"\(8, 1\)[\s\S]*squeeze"),
        (lambda z, y: 1.0, "gives float for"),
        (lambda z, y: z.argmax(1), "gives int64"),
        (lambda z, y: cross_entropy(z, y) * float("nan"), "not finite"),
        (lambda z, y: torch.where(y == 2, torch.inf, cross_entropy(z, y)), "inf for sample 2"),
        (lambda z, y: cross_entropy(z.detach(), y), "no gradient"),
        (lambda z: z, "the loss fails: TypeError"),
    ],
)
def test_a_loss_that_does_not_do(loss: Any, says: str) -> None:
    with pytest.raises(UserError, match=says):
        check_on_batch(Base(), OwnCriterion(loss, {}), torch.randn(8, 4), torch.arange(8) % 3, 3)


def test_a_scalar_loss_is_that_of_each_sample() -> None:
    z, y = torch.randn(8, 3, requires_grad=True), torch.arange(8) % 3
    mean, each = OwnCriterion(F.cross_entropy, {}), OwnCriterion(cross_entropy, {})
    gradients = [torch.autograd.grad(loss(z, y).mean(), z)[0] for loss in (mean, each)]
    assert torch.allclose(*gradients) and mean(z, y).shape == (8,)
    with pytest.raises(UserError, match="several processes"):
        OwnCriterion(F.cross_entropy, {}, processes=2)(z, y)
    assert torch.equal(OwnCriterion(cross_entropy, {}, processes=2)(z, y), each(z, y))
    with pytest.raises(UserError, match="learnt in one process"):
        OwnCriterion(nn.Linear(1, 1), {}, processes=2)


def test_the_trial_leaves_no_trace_and_tells_what_rests() -> None:
    network = nn.Sequential(Base(), nn.BatchNorm1d(3), nn.Dropout(0.5))
    network[0].aside = nn.Linear(2, 2)  # type: ignore[union-attr]
    network[0].fc.bias.requires_grad_(False)  # type: ignore[union-attr, operator]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    x, state = torch.randn(8, 4), torch.get_rng_state()
    notes = check_on_batch(network, cross_entropy, x, torch.arange(8) % 3, 3)
    assert notes == [
        "1 parameters of the network are frozen: they do not learn",
        "no gradient reaches 0.aside.weight, 0.aside.bias",
    ]
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_what_is_no_network() -> None:
    example = torch.zeros(2, 4)
    for found, says in (
        (3, "this is no network"),
        (lambda: 3, "gives no network"),
        (nn.Flatten, "nothing to learn"),
        (lambda depth: Base(), "needs what nobody gives it"),
        (lambda: sys.exit(3), "cannot be built: SystemExit: 3"),
        (lambda: nn.Linear(2, "a"), "cannot be built: TypeError"),  # type: ignore[arg-type]
        (lambda: nn.Linear(2, 3, device="meta"), "no values, on the device meta"),
    ):
        with pytest.raises(UserError, match=says):
            build_network(found, {"num_classes": 3}, example)
    assert isinstance(build_network(Base, {"outputs": 3, "in_channels": 1}, example), Base)
    lazy = build_network(lambda num_classes: nn.LazyLinear(num_classes), {"num_classes": 3}, example)
    assert tuple(lazy.weight.shape) == (3, 4)  # type: ignore[arg-type]


def test_a_network_that_views_keeps_its_layout() -> None:
    class Views(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x).view(len(x), -1)

    example = torch.zeros(2, 1, 5, 5)
    assert memory_format_of(Views(), example) == torch.contiguous_format
    assert memory_format_of(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten()), example) == torch.channels_last


# -- metrics and the choice -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "says"),
    [
        (lambda z, y: "good", "something else than a number"),
        (lambda z, y: {"a": 1, "b": [1]}, "b: list"),
        (lambda z, y: None, "NoneType"),
        (lambda z, y: z, r"Tensor \(16, 3\)"),
        (lambda z, y: True, "bool"),
        (lambda z, y: {"error": 1.0}, "the name of one that is there"),
        (lambda z, y: z.nope, "AttributeError"),
        ({}, "no metrics"),
        ({"a": 3}, "no metrics"),
        (3, "no metrics"),
    ],
)
def test_metrics_that_do_not_do(metric: Any, says: str) -> None:
    with pytest.raises(UserError, match=says):
        OwnMetrics(metric, ("error",)).try_out(torch.zeros(16, 3), torch.zeros(16))


def test_metrics_are_given_what_they_ask_for() -> None:
    def by_class(probs: Tensor, y: Tensor) -> dict[str, Any]:
        return {"total": probs.sum(1).mean(), "count": np.int64(len(y)), "half": np.float32(0.5), "one": torch.ones(1)}

    metrics = OwnMetrics(by_class, ())
    metrics.try_out(torch.randn(6, 3), torch.zeros(6))
    assert metrics(torch.randn(4, 3), torch.zeros(4)) == pytest.approx(
        {"total": 1.0, "count": 4, "half": 0.5, "one": 1}
    )
    assert OwnMetrics(lambda z, y: z.sum(), ())(torch.ones(2, 2), torch.zeros(2)) == {"lambda": 4.0}
    changing = OwnMetrics(lambda z, y: {f"of_{len(y)}": 1.0}, ())
    changing.try_out(torch.zeros(2, 2), torch.zeros(2))
    with pytest.raises(RunFailed, match="changed their names"):
        changing(torch.zeros(3, 2), torch.zeros(3))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("f1", "max:f1 or min:f1"),
        ("max:f2", "one of error, accuracy, f1"),
        ("most:f1", "not understood"),
        ("max:error", "not to be high"),
        ("", "there is no validation metric"),
    ],
)
def test_a_choice_that_is_none(text: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        read_choice(text, {"error": True, "accuracy": False}, ["f1"])


def test_the_choice_decides_which_epoch_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A metric that falls from epoch to epoch: max keeps the first, min the last."""
    values = iter(())

    def falling(logits: Tensor, y: Tensor) -> float:
        return next(values, 0.0)

    for choice, epoch in (("max:falling", 0), ("min:falling", 2)):
        values = iter([0.0, 9.0, 8.0, 7.0])  # the first is asked for when it is tried
        run = chainrule.train(
            "image-classifier",
            **{**SMALL, "epochs": 3},
            model=Tiny,
            metrics=falling,
            choose_by=choice,
            out=tmp_path / choice[:3],
        )
        assert run.best is not None and run.best["epoch"] == epoch and run.best["metric"] == "val_falling"


def test_an_error_at_a_later_step_is_told_by_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "late.py").write_text(
        "from torch import nn\n\nclass Net(nn.Sequential):\n    calls = 0\n\n"
        "    def __init__(self):\n        super().__init__(nn.Flatten(), nn.Linear(64, 10))\n\n"
        "    def forward(self, x):\n        Net.calls += 1\n        if Net.calls > 20:\n            raise OSError('late')\n"
        "        return super().forward(x)\n"
    )
    words = [f"{key}={'no' if value is False else value}" for key, value in SMALL.items()]
    with pytest.raises(SystemExit) as end:
        main(
            ["train", "image-classifier", f"network={tmp_path / 'late.py'}:Net", *words, "--out", str(tmp_path / "run")]
        )
    said = capsys.readouterr().err
    assert end.value.code == 1 and "late.py, line 12, in forward: raise OSError('late')" in said
    assert "Traceback" not in said
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "failed"


def test_nothing_stays_of_a_start_that_came_to_nothing(folder: Path, tmp_path: Path) -> None:
    for network in ("Nett", "focal"):
        with pytest.raises(SystemExit) as end:
            main(
                ["train", "image-classifier", f"network={folder / 'net.py'}:{network}", "--out", str(tmp_path / "run")]
            )
        assert end.value.code == 2 and not (tmp_path / "run").exists()
