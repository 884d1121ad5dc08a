"""A function of the user's own that is told each line of metrics; and the lines as a frame."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import chainrule
from chainrule.core.errors import RunFailed, UserError
from tests.run.test_run import lines
from tests.run.toy import Net, new

SETTINGS: dict[str, Any] = {"data": "iris", "device": "cpu", "epochs": 3, "log_every": 2, "checkpoint_s": 0}


@pytest.fixture(autouse=True)
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chainrule.api.training._report", lambda run: None)


def without_seconds(line: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in line.items() if key != "seconds"}


def test_each_line_is_told_once_it_is_written() -> None:
    told: list[dict[str, Any]] = []

    def on_log(line: dict[str, Any]) -> bool:
        written = Path("run/metrics.jsonl").read_text().splitlines()
        assert json.loads(written[-1]) == line and len(written) == len(told) + 1
        told.append(dict(line))
        line.clear()  # what it does to its line is its own affair
        return False  # and so is what it returns

    run = chainrule.train("mlp-table", out="run", on_log=on_log, **SETTINGS)
    assert told == run.log_lines() and len(told) > 6
    assert "on_log" not in {**run.record, **run.record["settings"], **run.common}


def test_what_it_raises_fails_the_run_and_another_resumes_it(capsys: pytest.CaptureFixture[str]) -> None:
    count = [0]

    def my_logger(line: dict[str, Any]) -> None:
        count[0] += 1
        if count[0] == 6:
            raise KeyError("no such column")

    with pytest.raises(RunFailed, match=r"the callback on_log=my_logger raised KeyError: 'no such column'") as caught:
        chainrule.train("mlp-table", out="run", on_log=my_logger, **SETTINGS)
    assert caught.value.exit_status == 1 and isinstance(caught.value.__cause__, KeyError)
    record = json.loads(Path("run/run.json").read_text())
    assert record["status"] == "failed" and "my_logger" in record["reason"]
    told: list[dict[str, Any]] = []
    chainrule.resume("run", on_log=told.append)
    whole = chainrule.train("mlp-table", out="whole", **SETTINGS)
    assert lines(Path("run")) == lines(whole.folder)
    assert [without_seconds(line) for line in told] == lines(whole.folder)[-len(told) :] and told


def test_what_cannot_be_called_is_told_before_anything_is_written() -> None:
    with pytest.raises(UserError, match="on_log cannot be called"):
        chainrule.train("mlp-table", out="run", on_log="print", **SETTINGS)  # type: ignore[arg-type]
    assert not Path("run").exists()


def test_the_lines_as_a_frame(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    run = new(tmp_path / "run")
    assert run.metrics().empty
    with run.stage("one"):
        run.keep(net=Net())
        for step in run.steps(4):
            run.track(loss=float(step))
        run.log(val_loss=0.5)
    frame = run.metrics()
    assert list(frame["stage"]) == ["one", "one"] and list(frame["step"]) == [4, 4]
    assert frame["loss"].tolist()[0] == 1.5 and frame["loss"].isna().tolist() == [False, True]
    assert frame["val_loss"].tolist()[1] == 0.5 and len(frame) == len(run.log_lines())


def test_without_pandas_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UserError, match=r"pip install 'chainrule\[tables\]'"):
        new(tmp_path / "run").metrics()
