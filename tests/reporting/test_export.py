"""Exported files, read again by other programs than the model."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import shutil
import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import chainrule
from chainrule.api import export
from chainrule.core.errors import RunFailed, UserError
from chainrule.core.task import Deployable
from chainrule.reporting.export import export_system
from chainrule.run.run import Run
from tests.trained import lenet_run


@pytest.fixture
def run_folder(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Path:
    return Path(shutil.copytree(lenet_run(tmp_path_factory), tmp_path / "r"))


def leftovers(folder: Path) -> list[str]:
    return [f.name for f in folder.rglob("*") if f.is_file() and ("model" in f.name or "partial" in f.name)]


def needs_onnx() -> None:
    for package in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(package)


def test_onnx(run_folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    needs_onnx()
    import onnx
    import onnxruntime

    Run.load(run_folder, "cpu").open_task()  # building it seeds the generator; exporting draws nothing more
    state = torch.get_rng_state()
    result = export(run_folder, "onnx")
    assert torch.equal(state, torch.get_rng_state())
    file = run_folder / "export" / "model.onnx"
    assert result["file"] == str(file) and result["batches"] == [1, 2, 7] and result["largest_difference"] <= 1e-4
    assert capfd.readouterr() == ("", "")
    assert leftovers(run_folder / "export") == ["model.onnx"], "one file, its weights inside"
    proto = onnx.load(file)
    onnx.checker.check_model(proto)
    notes = json.loads({p.key: p.value for p in proto.metadata_props}["chainrule"])
    assert notes["classes"] == [str(i) for i in range(10)] and notes["recipe"] == "lenet-caffe"
    task = Run.load(run_folder, "cpu").open_task()
    x = task.data.test.x[:11]  # type: ignore[attr-defined]
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    (probs,) = session.run(["probs"], {"pixels": x.float().numpy()})
    torch.testing.assert_close(torch.from_numpy(probs), task.logits(x).softmax(1), rtol=1e-4, atol=1e-6)  # type: ignore[attr-defined]


def test_torch(run_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    result = export(run_folder, "torch", out=tmp_path / "place")
    assert result["file"] == str(tmp_path / "place" / "model.pt2") and result["largest_difference"] <= 1e-4
    extra = {"chainrule.json": ""}
    program = torch.export.load(tmp_path / "place" / "model.pt2", extra_files=extra)
    assert json.loads(extra["chainrule.json"])["inputs"] == ["pixels"]
    task = Run.load(run_folder, "cpu").open_task()
    x = task.data.test.x[:5]  # type: ignore[attr-defined]
    with torch.no_grad():
        torch.testing.assert_close(program.module()(x.float()), task.logits(x).softmax(1))  # type: ignore[attr-defined]


class Two(nn.Module):
    """Two inputs, two outputs, a recurrent layer, a convolution in channels-last."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.lstm = nn.LSTM(5, 4, batch_first=True)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, image: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
        seen = self.norm(self.conv(image)).relu().mean((2, 3))
        return seen + self.lstm(words)[0][:, -1], seen.argmax(1)


@pytest.mark.parametrize("to", ["onnx", "torch"])
def test_several_inputs_and_channels_last(run_folder: Path, tmp_path: Path, to: str) -> None:
    if to == "onnx":
        needs_onnx()

    def inputs(count: int) -> tuple[Tensor, ...]:
        return torch.randn(count, 3, 8, 8).to(memory_format=torch.channels_last), torch.randn(count, 6, 5)

    deployable = Deployable(Two().eval(), inputs, ("image", "words"), ("mix", "index"))
    assert export_system(deployable, to, tmp_path / "model.bin", Run.load(run_folder))["largest_difference"] <= 1e-4


class Grows(nn.Module):
    """Its answer depends on how often it was called: no exported file can agree with it."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x * self.calls


class Fixed(nn.Module):
    """Only ever works for the batch that it was shown."""

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.ones(3, 1)


@pytest.mark.parametrize(("module", "words"), [(Grows(), "differs from the model's"), (Fixed(), "cannot be exported")])
def test_a_wrong_file_is_not_kept(run_folder: Path, tmp_path: Path, module: nn.Module, words: str) -> None:
    deployable = Deployable(module, lambda count: (torch.rand(count, 2) + 1,), ("x",), ("y",))
    with warnings.catch_warnings(), pytest.raises(RunFailed, match=words):
        warnings.simplefilter("error")
        export_system(deployable, "torch", None, Run.load(run_folder))
    assert leftovers(run_folder / "export") == []


def test_mistakes(run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="no such format"):
        export(run_folder, "caffe")
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxscript" else find(name))
    with pytest.raises(UserError, match=r"onnxscript[\s\S]*chainrule\[onnx\]"):
        export(run_folder, "onnx")


@pytest.mark.usefixtures("no_report")
def test_times_and_places_on_a_map_keep_their_digits(tmp_path: Path) -> None:
    """Seconds since 1970 that differ by a few are one number in float32; the file takes float64, as `predict` reads."""
    rows = [(1_700_000_000 + i, 5_400_000.25 + i % 3, "ab"[i // 15]) for i in range(30)]
    (tmp_path / "t.csv").write_text("unix,northing,kind\n" + "\n".join(f"{t},{n},{k}" for t, n, k in rows))
    run = chainrule.train("logistic-regression", data=tmp_path / "t.csv", target="kind", c=100, out=tmp_path / "run")
    result = export(run.folder, "torch")
    assert result["own_samples"] == 30 and result["largest_difference"] <= 1e-9
    x = torch.tensor([row[:2] for row in rows], dtype=torch.float64)
    found = ["ab"[k] for k in torch.export.load(result["file"]).module()(x).argmax(1).tolist()]
    assert found == [answer["class"] for answer in chainrule.predict(run, x)]
    assert sum(a == row[2] for a, row in zip(found, rows, strict=True)) >= 28, "in float32 all rows are one"
    (tmp_path / "t.csv").unlink()
    own = Run.load(run).open_task().deployable().own  # type: ignore[attr-defined]
    with pytest.raises(UserError):  # then random inputs alone are compared
        own()


class Elsewhere(nn.Module):
    """Far from where random inputs lie it answers otherwise than the file that was made of it."""

    def forward(self, x: Tensor) -> Tensor:
        return x if torch.compiler.is_exporting() or x.max() < 100 else 2 * x


def test_the_datas_own_samples_are_compared(run_folder: Path) -> None:
    deployable = Deployable(Elsewhere(), lambda count: (torch.rand(count, 2),), ("x",), ("y",))
    run = Run.load(run_folder)
    assert export_system(deployable, "torch", None, run)["own_samples"] == 0
    own = dataclasses.replace(deployable, own=lambda: (torch.full((3, 2), 1000.0),))
    with pytest.raises(RunFailed, match=r"differs from the model.s by 0\.5"):
        export_system(own, "torch", run_folder / "other.pt2", run)
    assert not (run_folder / "other.pt2").exists()
