"""A run that continues longer: a new run that names its parent; with a constant rate the numbers of one run of that length."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

import chainrule
from chainrule.cli import cli
from chainrule.core.errors import UserError

pytestmark = pytest.mark.usefixtures("no_report")
SETTINGS: dict[str, Any] = {"data": "iris", "hidden": 4, "batch_size": 32, "log_every": 2, "device": "cpu"}


def weights(run: Path) -> dict[str, torch.Tensor]:
    latest = json.loads((run / "checkpoint" / "latest.json").read_text())["folder"]
    return load_file(run / "checkpoint" / latest / "weights.safetensors")


def lines(run: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in found]


def files(run: Path) -> dict[str, bytes]:
    return {str(f.relative_to(run)): f.read_bytes() for f in run.rglob("*") if f.is_file()}


def test_it_equals_a_run_of_the_whole_length(tmp_path: Path) -> None:
    whole = chainrule.train("mlp-table", epochs=4, out=tmp_path / "whole", **SETTINGS)
    short = chainrule.train("mlp-table", epochs=2, out=tmp_path / "short", **SETTINGS)
    before = files(short.folder)
    longer = chainrule.resume(short, epochs=4)
    assert longer.folder == tmp_path / "short-2" and files(short.folder) == before, "the parent stays as it is"
    assert weights(longer.folder).items() and all(
        torch.equal(value, weights(whole.folder)[name]) for name, value in weights(longer.folder).items()
    )
    assert lines(longer.folder) == lines(whole.folder) and longer.result()["metrics"] == whole.result()["metrics"]
    record = json.loads((longer.folder / "run.json").read_text("utf-8"))
    assert record["parent"] == {
        "folder": str(short.folder.resolve()), "recipe": "mlp-table", "step": short.step, "longer": True,
    }  # fmt: skip
    assert record["settings"]["epochs"] == 4 and record["status"] == "done"


def test_a_falling_rate_is_that_of_the_new_length(tmp_path: Path) -> None:
    """It falls as half a cosine over all steps: the second half continues where a run of the whole length is."""
    common = {"data": "digits", "hidden": 8, "batch_size": 500, "log_every": 1, "device": "cpu", "dropout": 0.0}
    whole = chainrule.train("mlp", epochs=4, out=tmp_path / "whole", **common)
    short = chainrule.train("mlp", epochs=2, out=tmp_path / "short", **common)
    longer = chainrule.resume(short.folder, epochs="4", out=tmp_path / "other")
    rates = [[line["lr"] for line in lines(run.folder) if "lr" in line] for run in (whole, longer)]
    half = len(rates[0]) // 2
    assert rates[1][half:] == pytest.approx(rates[0][half:], rel=1e-6) and len(rates[0]) == len(rates[1])
    assert min(rates[0][half:-1]) > 0 and longer.folder == tmp_path / "other"


def test_a_kill_in_the_longer_run_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = chainrule.train("mlp-table", epochs=2, out=tmp_path / "short", **SETTINGS)
    copy = shutil.copytree(short.folder, tmp_path / "copy")
    whole = chainrule.resume(short, epochs=4)
    monkeypatch.setattr("chainrule.api.training._train", lambda run, resume: run)  # as if killed before the first step
    stopped = chainrule.resume(copy, epochs=4).folder
    monkeypatch.undo()
    chainrule.resume(stopped)
    assert lines(stopped) == lines(whole.folder)


def test_what_is_no_length_is_refused(tmp_path: Path) -> None:
    run = chainrule.train("mlp-table", epochs=2, out=tmp_path / "run", **SETTINGS).folder
    for given, words in (
        ({"lr": 0.1}, ["other settings than how long", "epochs=, above 2", "--weights"]),
        ({"epochs": 2}, ["as long as that", "epochs above 2"]),
        ({"epoch": 9}, ["did you mean 'epochs'"]),
        ({"out": tmp_path / "new"}, ["must learn longer"]),
        ({}, ["this run is done", "epochs=N"]),
    ):
        with pytest.raises(UserError) as caught:
            chainrule.resume(run, **given)
        assert all(word in str(caught.value) for word in words), str(caught.value)
    fitted = chainrule.train("logistic-regression", data="iris", c=1, out=tmp_path / "fitted").folder
    with pytest.raises(UserError, match="no length to change"):
        chainrule.resume(fitted, max_iter=400)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fitted", "run"], "nothing half written"


def test_weights_of_a_run_name_it_as_the_parent(tmp_path: Path) -> None:
    first = chainrule.train("mlp-table", epochs=1, out=tmp_path / "first", **SETTINGS)
    second = chainrule.train("mlp-table", epochs=1, weights=first, out=tmp_path / "second", **SETTINGS)
    record = json.loads((second.folder / "run.json").read_text("utf-8"))
    assert record["parent"] == {"folder": str(first.folder.resolve()), "recipe": "mlp-table", "step": first.step}
    assert lines(second.folder)[0]["step"] == 2 and second.step == first.step, "it counts from its own beginning"


def test_the_command(tmp_path: Path) -> None:
    run = chainrule.train("mlp-table", epochs=1, out=tmp_path / "run", **SETTINGS).folder
    done = CliRunner().invoke(cli, ["resume", str(run), "epochs=2", "--json"])
    assert done.exit_code == 0, done.exception
    assert json.loads(done.stdout.splitlines()[-1])["run"] == str(tmp_path / "run-2")
