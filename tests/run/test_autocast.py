"""When a run multiplies in bfloat16, that it says so, and that a resumed run repeats it bit for bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from chainrule import api
from chainrule.core import device
from chainrule.core.errors import Interrupted
from chainrule.models import get_card
from chainrule.nn.cost import Cost, cost
from chainrule.run import autocast
from chainrule.run.run import Run
from tests.run.test_compiling import interrupt_at

pytestmark = pytest.mark.usefixtures("no_report")

CPU = torch.device("cpu")
SETTINGS: dict[str, Any] = {"data": "digits", "epochs": 1, "batch_size": 400, "device": "cpu", "log_every": 1}


@pytest.fixture
def amx(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU that has units for bfloat16; one that has none computes the same numbers, slowly."""
    monkeypatch.setattr(autocast, "bfloat16_units", lambda: "AMX")


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autocast, "bfloat16_units", lambda: None)


@pytest.mark.parametrize(
    "has, units",
    [
        ({"avx512_f": True, "avx512_bf16": True, "amx_bf16": True}, "AMX"),
        ({"avx512_bf16": True, "amx_bf16": False}, "AVX512-BF16"),
        ({"avx2": True, "avx512_f": True, "avx512_bf16": False}, None),
        ({"architecture": "aarch64"}, None),
    ],
)
def test_what_a_cpu_has(has, units, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
    assert device.bfloat16_units() == units


@pytest.mark.parametrize(
    "name, options, batch, dtype",
    [
        ("lenet5", {}, 128, "float32"),  # long enough nowhere: six maps, then sixteen
        ("lenet5", {}, 1000, "float32"),
        ("lenet-caffe", {}, 64, "bfloat16"),
        ("lenet-caffe", {}, 8, "float32"),
        ("resnet20", {}, 128, "bfloat16"),
        ("cifar-net", {"widths": (32, 128, 128)}, 500, "bfloat16"),
        ("char-lstm", {}, 32, "bfloat16"),
        ("char-lstm", {"vocabulary_size": 11, "hidden_size": 16}, 16, "float32"),
    ],
)
def test_the_rule_on_networks_that_were_measured(name, options, batch, dtype, amx):
    card = get_card(name)
    example = card.tiny_example(1) if "vocabulary_size" in options else card.example(1)
    one = cost(card.build(**options), example)
    chosen, why = autocast.choose("auto", CPU, Cost(batch * one.multiply_adds, batch * one.values))
    assert (chosen, "AMX" in why, "million multiply-adds" in why) == (dtype, True, True)


def test_without_the_units_nothing_is_chosen(plain):
    chosen, why = autocast.choose("auto", CPU, Cost(10**12, 10**9))
    assert chosen == "float32" and "no units" in why
    assert autocast.choose("yes", CPU, Cost()) == ("bfloat16", "autocast=yes")
    assert autocast.choose("no", CPU, Cost()) == ("float32", "autocast=no")
    assert autocast.choose("auto", torch.device("mps"), Cost(10**12, 10**9))[0] == "float32"


def test_a_gpu_is_asked_itself(monkeypatch):
    for there, dtype in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda there=there: there)
        assert autocast.choose("auto", torch.device("cuda"), Cost())[0] == dtype


def lines(folder: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in found]


def record(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "run.json").read_text("utf-8"))


def test_a_run_says_it_keeps_float32_where_it_must_and_resumes_bit_for_bit(tmp_path, amx, monkeypatch, capfd):
    whole = api.train("lenet-caffe", out=tmp_path / "whole", **SETTINGS)
    assert record(tmp_path / "whole")["autocast"]["dtype"] == "bfloat16"
    assert "AMX; 917 million multiply-adds a batch, in sums of 151" in record(tmp_path / "whole")["autocast"]["why"]
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        interrupt_at(patch, 2)
        api.train("lenet-caffe", out=tmp_path / "cut", **SETTINGS)
    monkeypatch.setattr(autocast, "bfloat16_units", lambda: None)  # resumed where there are none
    capfd.readouterr()
    cut = api.resume(tmp_path / "cut")
    assert "resumes in it; this CPU has no units for it" in capfd.readouterr().err
    assert lines(tmp_path / "whole") == lines(tmp_path / "cut")
    for a, b in zip(whole.task.model.state_dict().values(), cut.task.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    # in float32: weights, the optimiser's velocities, answers
    assert {p.dtype for p in whole.task.model.parameters()} == {torch.float32}
    state = whole.task.optimizer.state_dict()["state"]
    assert {value.dtype for one in state.values() for value in one.values() if torch.is_tensor(value)} == {
        torch.float32
    }
    assert whole.task.logits(whole.task.data.test.x).dtype == torch.float32


def test_a_finished_run_answers_with_the_products_that_it_was_chosen_by(tmp_path, amx, monkeypatch):
    """evaluate repeats result.json, also where the rule would choose otherwise; float32 gives other digits."""
    run = api.train("lenet-caffe", out=tmp_path / "run", **SETTINGS)
    monkeypatch.setattr(autocast, "bfloat16_units", lambda: None)
    metrics = run.result()["metrics"]
    assert api.evaluate(tmp_path / "run", device="cpu") == metrics
    changed = record(tmp_path / "run")
    changed["autocast"]["dtype"] = "float32"
    del changed["sha256"]
    (tmp_path / "run" / "run.json").write_text(json.dumps(changed))
    other = api.evaluate(tmp_path / "run", device="cpu")
    assert other["loss"] != metrics["loss"] and other["loss"] == pytest.approx(metrics["loss"], rel=0.02)
    assert other["accuracy"] == pytest.approx(metrics["accuracy"], abs=0.01)


def test_losses_see_float32(tmp_path, amx):
    seen = []

    def criterion(logits, y):
        seen.append(logits.dtype)
        return torch.nn.functional.cross_entropy(logits, y, reduction="none")

    run = api.train("lenet-caffe", out=tmp_path / "run", **SETTINGS)
    task = Run.load(run.folder, "cpu").open_task()
    task.criterion = task.objective.__dict__["criterion"] = criterion
    from chainrule.data.batches import Batches
    from chainrule.tasks.images import classification

    caught = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classification, "fit", lambda run, **words: caught.update(words))
        classification.descend(task, Batches(task.data.train.x, task.data.train.y, 100, seed=0))
    with task.run.autocast():
        loss = caught["objective"](next(iter(caught["train"].epoch(0))))
    assert seen == [torch.float32] and loss.dtype == torch.float32
    nested = autocast.in_float32(((torch.ones(1).bfloat16(),), {"a": torch.ones(1).bfloat16()}, None))
    assert nested[0][0].dtype == nested[1]["a"].dtype == torch.float32 and nested[2] is None


def test_a_run_that_an_earlier_version_began_stays_as_it_was(tmp_path, amx, monkeypatch):
    """It has no such key, and may not change its products in the middle."""
    settings = {**SETTINGS, "autocast": "no"}
    whole = api.train("lenet-caffe", out=tmp_path / "whole", **settings)
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        interrupt_at(patch, 2)
        api.train("lenet-caffe", out=tmp_path / "cut", **settings)
    old = record(tmp_path / "cut")
    del old["autocast"], old["sha256"]
    old["common"]["autocast"] = "auto"
    (tmp_path / "cut" / "run.json").write_text(json.dumps(old))
    cut = api.resume(tmp_path / "cut")
    assert "autocast" not in cut.record
    for a, b in zip(whole.task.model.state_dict().values(), cut.task.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_a_task_that_was_not_measured_stays_in_float32(tmp_path, amx):
    """Answers of a regression need more digits than bfloat16 has, however wide its layers are."""
    run = api.train("mlp-regression", epochs=1, hidden=(2000, 2000), batch_size=300, out=tmp_path / "run")
    assert "autocast" not in run.record
    assert type(run.autocast()).__name__ == "nullcontext"


def test_text_is_learnt_in_bfloat16_and_resumes_bit_for_bit(tmp_path, amx, monkeypatch):
    settings = {"data": "pydoc-topics", "characters": 20_000, "epochs": 1, "batch_size": 32, "length": 32}
    settings |= {"hidden_size": 128, "device": "cpu", "log_every": 4, "threads": 1}
    whole = api.train("char-lstm", out=tmp_path / "whole", **settings)
    assert record(tmp_path / "whole")["autocast"]["dtype"] == "bfloat16"
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        interrupt_at(patch, 7)
        api.train("char-lstm", out=tmp_path / "cut", **settings)
    api.resume(tmp_path / "cut")
    assert lines(tmp_path / "whole") == lines(tmp_path / "cut")
    assert {p.dtype for p in whole.task.model.parameters()} == {torch.float32}
