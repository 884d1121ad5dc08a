"""What is compiled, why, and that a resumed run repeats the choice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from chainrule import api, models
from chainrule.core.errors import Interrupted, UserError
from chainrule.run import compiling
from chainrule.run.run import Run


def test_a_run_compiles_only_where_it_is_asked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "missing_compiler", lambda: None)
    chosen = {
        (setting, device): compiling.choose(setting, torch.device(device))[0]
        for setting in ("auto", "yes", "no")
        for device in ("cpu", "cuda")
    }
    assert {key for key, value in chosen.items() if value} == {("yes", "cpu"), ("yes", "cuda")}
    assert "seldom faster" in compiling.choose("auto", torch.device("cpu"))[1]


def test_without_a_compiler_yes_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert compiling.choose("auto", torch.device("cpu"))[0] is False
    with pytest.raises(UserError, match=r"no-such-compiler is not found") as caught:
        api.train("lenet-caffe", epochs=1, compile="yes", out=tmp_path / "run")
    assert caught.value.exit_status == 2
    assert not (tmp_path / "run").exists()  # it never made a step, so nothing stays behind


def test_without_pythons_header_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling.sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    monkeypatch.setattr(compiling.shutil, "which", lambda name: name)
    assert "Python.h" in str(compiling.missing_compiler())


def test_only_full_batches_with_gradients_are_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def fake(network: nn.Module, dynamic: bool) -> object:
        def fast(x: Tensor) -> Tensor:
            calls.append(len(x))
            return network(x)

        return fast

    monkeypatch.setattr(torch, "compile", fake)
    compiled = compiling.Compiled(nn.Linear(3, 2), 4)
    compiled(torch.zeros(4, 3))
    compiled(torch.zeros(3, 3))
    with torch.no_grad():
        compiled(torch.zeros(4, 3))
    assert calls == [4]


def test_the_choice_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chainrule.api.training._report", lambda run: None)
    run = api.train("lenet-caffe", epochs=1, out=tmp_path / "auto")
    assert run.record["compile"]["chosen"] is False and "compile=yes asks for it" in run.record["compile"]["reason"]
    assert json.loads((tmp_path / "auto" / "run.json").read_text())["compile"] == run.record["compile"]


needs_compiler = pytest.mark.skipif(compiling.missing_compiler() is not None, reason="needs a C++ compiler")


def interrupt_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    between_steps = Run._between_steps

    def stop(run: Run, boundary: bool) -> None:
        if run.step == step:
            run._signals.caught = 15
        between_steps(run, boundary)

    monkeypatch.setattr(Run, "_between_steps", stop)


@needs_compiler
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # PyTorch's compiler warns of its own parts
def test_a_compiled_run_resumes_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last batch of an epoch is shorter, so both ways are taken."""
    monkeypatch.setattr("chainrule.api.training._report", lambda run: None)
    settings = {"data": "digits", "depth": 8, "epochs": 2, "batch_size": 500, "compile": "yes", "log_every": 1}
    whole = api.train("resnet20", out=tmp_path / "whole", **settings)
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        interrupt_at(patch, 4)
        api.train("resnet20", out=tmp_path / "cut", **settings)
    cut = api.resume(tmp_path / "cut")
    assert cut.record["compile"]["chosen"] is True
    plain = [[{k: v for k, v in line.items() if k != "seconds"} for line in run.log_lines()] for run in (whole, cut)]
    assert plain[0] == plain[1]
    for a, b in zip(whole.task.model.state_dict().values(), cut.task.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    monkeypatch.setenv("CXX", "no-such-compiler")
    record = json.loads((tmp_path / "cut" / "run.json").read_text())
    (tmp_path / "cut" / "run.json").write_text(json.dumps({**record, "status": "interrupted"}))
    with pytest.raises(UserError, match="cannot resume without"):
        api.resume(tmp_path / "cut")


@needs_compiler
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_compiled_and_plain_agree(tmp_path: Path) -> None:
    torch.manual_seed(0)
    plain = models.build("resnet20", depth=8).to(memory_format=torch.channels_last)
    other = models.build("resnet20", depth=8).to(memory_format=torch.channels_last)
    other.load_state_dict(plain.state_dict())
    x = torch.randn(8, 3, 16, 16).to(memory_format=torch.channels_last)
    a, b = plain(x), compiling.Compiled(other, 8)(x)
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    a.square().sum().backward()
    b.square().sum().backward()
    for p, q in zip(plain.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-2, atol=1e-2 * float(p.grad.abs().max()))
