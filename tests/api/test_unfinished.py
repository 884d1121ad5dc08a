"""A run that has not ended says so, whatever it is asked, and which of its weights answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import chainrule
from chainrule.run.run import Run

pytestmark = pytest.mark.usefixtures("no_report")


def test_it_is_said_by_every_verb(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stops = []

    def stop(line: dict[str, object]) -> None:
        stops.append(line)
        if "val_loss" in line and line["epoch"] == 1:
            raise KeyError("stop")

    folder = tmp_path / "run"
    settings = {"data": "iris", "epochs": 30, "hidden": 4, "log_every": 1, "checkpoint_s": 0, "out": folder}
    with pytest.raises(chainrule.RunFailed):
        chainrule.train("mlp-table", on_log=stop, **settings)
    steps = json.loads((folder / "checkpoint" / "latest.json").read_text())["step"]
    total = json.loads((folder / "run.json").read_text())["planned_steps"]
    expected = f"has not ended (it failed): step {steps} of {total}; its best so far answer"
    assert total == 15 * steps
    row = "5.1,3.5,1.4,0.2"
    monkeypatch.setattr("chainrule.reporting.export.export_system", lambda *given: {})  # what they write costs seconds
    monkeypatch.setattr("chainrule.reporting.report.write_report", lambda *given: Path("report.html"))
    verbs = [
        lambda: chainrule.predict(folder, row),
        lambda: chainrule.evaluate(folder),
        lambda: chainrule.explain(folder, row),
        lambda: chainrule.export(folder, "torch"),
        lambda: chainrule.report(folder),
    ]
    for verb in verbs:
        capsys.readouterr()
        verb()
        assert expected in capsys.readouterr().err
    done = chainrule.resume(folder, device="cpu")
    capsys.readouterr()
    chainrule.predict(Run.load(done), row)
    assert capsys.readouterr().err == ""
