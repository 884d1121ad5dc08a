"""What is compiled, why, and that a resumed run repeats the choice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from chainrule import api, models
from chainrule.errors import Interrupted, UserError
from chainrule.run import compiling
from chainrule.run.run import Run


def test_elements_are_those_counted_by_hand() -> None:
    n, elements, operations = 3, 0, 0
    for side, channels, blocks in ((32, 16, n), (16, 32, n), (8, 64, n)):
        elements += blocks * 5 * side * side * channels  # two normalisations, two ReLUs, one addition
        operations += blocks * 5
    elements += 2 * 32 * 32 * 16  # the first layer's
    module = models.build("resnet20").train()
    found = compiling.count_fusible(module, (torch.zeros(1, 3, 32, 32),))
    assert found == (elements, operations + 2)
    assert module.training and float(module.bn.running_mean.abs().sum()) == 0


def test_the_choice_is_the_same_each_time_and_follows_the_work_left() -> None:
    module, example = models.build("resnet20"), (torch.zeros(1, 3, 32, 32),)

    def choice(steps: int) -> tuple[bool, str]:
        return compiling.choose("auto", module, example, batch_size=128, steps=steps, processes=1, threads=1)

    assert choice(352) == choice(352) and choice(352)[0] is False
    assert choice(64_000)[0] is (compiling.missing_compiler() is None)
    lenet = models.build("lenet-caffe")
    assert not compiling.choose(
        "auto", lenet, (torch.zeros(1, 1, 28, 28),), batch_size=64, steps=10_000, processes=1, threads=1
    )[0]
    for processes, threads in ((2, 1), (1, 2)):
        several = compiling.choose(
            "auto", module, example, batch_size=128, steps=64_000, processes=processes, threads=threads
        )
        assert several[0] is False and "one CPU core" in several[1]


def test_without_a_compiler_auto_says_no_and_yes_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    module, example = models.build("resnet20"), (torch.zeros(1, 3, 32, 32),)
    chosen, reason = compiling.choose("auto", module, example, batch_size=128, steps=64_000, processes=1, threads=1)
    assert not chosen and "no-such-compiler is not found" in reason
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


def test_the_choice_is_said_and_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "_report", lambda run: None)
    run = api.train("lenet-caffe", epochs=1, out=tmp_path / "auto")
    assert run.record["compile"]["chosen"] is False
    assert f"not compiled: {run.record['compile']['reason']}" in capsys.readouterr().err
    assert json.loads((tmp_path / "auto" / "run.json").read_text())["compile"] == run.record["compile"]
    api.train("lenet-caffe", epochs=1, compile="no", out=tmp_path / "no")
    assert "compiled" not in capsys.readouterr().err


needs_compiler = pytest.mark.skipif(compiling.missing_compiler() is not None, reason="needs a C++ compiler")


def interrupt_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    advance = Run._advance

    def stop(run: Run) -> None:
        if run.step + 1 == step:
            run._signals.caught = 15
        advance(run)

    monkeypatch.setattr(Run, "_advance", stop)


@needs_compiler
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # PyTorch's compiler warns of its own parts
def test_a_compiled_run_resumes_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last batch of an epoch is shorter, so both ways are taken."""
    monkeypatch.setattr(api, "_report", lambda run: None)
    settings = {"data": "digits", "depth": 8, "epochs": 2, "batch_size": 500, "compile": "yes", "log_every": 1}
    whole = api.train("resnet20", out=tmp_path / "whole", **settings)
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        interrupt_at(patch, 4)
        api.train("resnet20", out=tmp_path / "cut", **settings)
    cut = api.resume(tmp_path / "cut")
    assert cut.record["compile"]["chosen"] is True
    plain = [[{k: v for k, v in line.items() if k != "seconds"} for line in run.log_lines()] for run in (whole, cut)]
    assert plain[0] == plain[1]
    for a, b in zip(whole.system.model.state_dict().values(), cut.system.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    monkeypatch.setenv("CXX", "no-such-compiler")
    record = json.loads((tmp_path / "cut" / "run.json").read_text())
    (tmp_path / "cut" / "run.json").write_text(json.dumps({**record, "status": "interrupted"}))
    with pytest.raises(UserError, match="cannot go on without"):
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
