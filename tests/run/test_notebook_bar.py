"""The bar in a notebook: one output, written over, whose last state stays. IPython is a stand-in here."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest

from chainrule.run.display.notebook_bar import in_notebook
from tests.run.test_run import interrupt
from tests.run.toy import Net, learn, new, rows


class Output:
    """What a cell shows, and what it showed before."""

    def __init__(self, data: dict[str, str]) -> None:
        self.states = [data]

    def update(self, data: dict[str, str], *, raw: bool) -> None:
        assert raw
        self.states.append(data)


@pytest.fixture
def outputs(monkeypatch: pytest.MonkeyPatch) -> list[Output]:
    shown: list[Output] = []

    def display(data: dict[str, str], *, raw: bool, display_id: bool) -> Output:
        assert raw and display_id
        shown.append(Output(data))
        return shown[-1]

    ipython, displays = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    vars(ipython).update(get_ipython=lambda: types.SimpleNamespace(kernel=object()), display=displays)
    vars(displays).update(display=display)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", displays)
    return shown


def test_a_kernel_alone_is_a_notebook(outputs: list[Output], monkeypatch: pytest.MonkeyPatch) -> None:
    assert in_notebook()
    for shell in (None, types.SimpleNamespace()):  # imported and not running; on a terminal
        monkeypatch.setattr(sys.modules["IPython"], "get_ipython", lambda shell=shell: shell)
        assert not in_notebook()


def test_the_last_state_stays(outputs: list[Output], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    learn(new(tmp_path / "run"), *rows())
    (output,) = outputs
    first, last = output.states[0]["text/html"], output.states[-1]
    assert 'value="0" max="18"' in first and "toy" in first
    assert 'value="18" max="18"' in last["text/html"] and "loss 0." in last["text/html"]
    assert "epoch 3/3: val_loss" in last["text/html"] and "epoch 3/3: val_loss" in last["text/plain"]
    assert " s)" in last["text/plain"], "the time that it took"
    assert not capsys.readouterr().err, "what the bar shows is printed as well"


def test_each_stage_has_a_bar(outputs: list[Output], tmp_path: Path) -> None:
    run = new(tmp_path / "run")
    with run.active():
        for name, steps in (("one", 3), ("two", 5)):
            with run.stage(name):
                run.keep(net=Net())
                for _ in run.steps(steps):
                    run.track(x=1.0)
    ends = [output.states[-1]["text/plain"].partition("  ")[0] for output in outputs]
    assert ends == ["toy, one: 3/3", "toy, two: 5/5"]


def test_an_interrupted_bar_says_where_it_is(outputs: list[Output], tmp_path: Path) -> None:
    run, seen = new(tmp_path / "run"), list[Any]()
    with pytest.raises(Exception, match="stopped after step 2"), run.active():
        run.keep(net=Net())
        for step in run.steps(9):
            seen.append(step)
            if step == 1:
                interrupt()
    assert outputs[-1].states[-1]["text/plain"].startswith("toy: 2/9")
