"""Killed at every operation on a file, in turn: the run resumes from a whole checkpoint, to the same numbers."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.run.toy import learn, new, reopened, rows, weights_of

OPERATIONS = ("open", "fsync", "replace", "rename", "unlink", "mkdir", "rmdir")


class Killed(BaseException):
    """No line runs after a kill: whatever cleans up dies in its first operation, too."""


def kill_at(number: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The operation `number`, counted from 0, is not carried out, nor any after it; gives those that were begun."""
    begun: list[str] = []

    def watch(name: str) -> None:
        true = getattr(os, name)

        def operation(*args: Any, **kwargs: Any) -> Any:
            begun.append(name)
            if len(begun) > number:
                raise Killed
            return true(*args, **kwargs)

        monkeypatch.setattr(os, name, operation)

    for name in OPERATIONS:
        watch(name)
    return begun


def numbers(folder: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Every line but its seconds; the latest weights and the best."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()]
    weights = {
        f"{kind}.{name}": value
        for kind in ("latest", "best")
        for name, value in weights_of(folder, kind)["net"].items()
    }
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines], weights


def test_killed_at_every_operation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two epochs of one step, a checkpoint at each of them and at each epoch's end."""

    def train(run: Any) -> None:
        torch.manual_seed(0)
        learn(run, *rows(4), epochs=2)

    monkeypatch.setattr("chainrule.run.folder.record._commit", lambda: None)  # a process less for each run
    settings = {"log_every": 1, "checkpoint_s": 0.0}
    train(new(tmp_path / "whole", **settings))
    lines, weights = numbers(tmp_path / "whole")
    number, was_killed = 0, True
    while was_killed:
        folder = tmp_path / str(number)
        run = new(folder, **settings)
        with monkeypatch.context() as patch:
            begun = kill_at(number, patch)
            try:
                train(run)
                was_killed = False
            except Killed:
                pass
        if was_killed:
            train(reopened(folder))
        found, other = numbers(folder)
        assert found == lines, f"killed at operation {number}, {begun[-1]}"
        assert other.keys() == weights.keys() and all(torch.equal(other[name], weights[name]) for name in weights), (
            number
        )
        number += 1
    assert number > 40, "it hardly wrote anything"
