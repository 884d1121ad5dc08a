"""metrics.jsonl: means of what was tracked, lines that survive a kill, values that wait in the checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from chainrule.core.errors import UserError
from chainrule.run.checkpoint.tree import pack, unpack
from chainrule.run.folder.metric_log import MetricLog, read_metrics


def test_means_of_numbers_and_tensors() -> None:
    metrics = MetricLog(None)
    for value in (1.0, 2.0, 6.0):
        metrics.track({"number": value, "tensor": torch.tensor(value, requires_grad=True) * 2})
    metrics.track({"rare": torch.tensor(5.0)})
    found = metrics.gather()
    assert float(found["number"]) == 3 and float(found["tensor"]) == 6 and found["number"].dtype == torch.float64
    assert not found["tensor"].requires_grad and metrics.gather() == {}


def test_a_mean_of_counts() -> None:
    """Whole numbers have a mean too: how many were right, in each of some steps."""
    metrics = MetricLog(None)
    for value in (1, 2):
        metrics.track({"right": torch.tensor(value)})
    assert float(metrics.gather()["right"]) == 1.5


@pytest.mark.parametrize(
    "values",
    [[0.1, 0.2, 0.7], [torch.tensor(0.1), torch.tensor(0.2)], [torch.tensor(0.1), 0.2], [0.1, torch.tensor(0.2)]],
)
def test_pending_values_survive(values: list, tmp_path: Path) -> None:
    """Saved between two log steps and gone on with: the mean is, bit for bit, that of a run without the stop."""
    straight, stopped = MetricLog(tmp_path / "a"), MetricLog(tmp_path / "b")
    for value in values:
        straight.track({"loss": value})
    for value in values[:-1]:
        stopped.track({"loss": value})
    other = MetricLog(tmp_path / "b")
    other.load_state_dict(unpack(*pack(stopped.state_dict())))
    other.track({"loss": values[-1]})
    one, two = straight.gather()["loss"], other.gather()["loss"]
    assert one.dtype == two.dtype and torch.equal(one, two)


def test_pending_values_keep_their_precision() -> None:
    """Where nothing more comes: the mean of float32 stays one of float32, as without the stop."""
    values = [torch.tensor(v) for v in (0.1, 0.2, 0.4, 1e-7, 3.3)]
    straight, stopped, other = MetricLog(None), MetricLog(None), MetricLog(None)
    for value in values:
        straight.track({"loss": value})
        stopped.track({"loss": value})
    other.load_state_dict(unpack(*pack(stopped.state_dict())))
    one, two = straight.gather()["loss"], other.gather()["loss"]
    assert one.dtype == two.dtype == torch.float32 and torch.equal(one, two)


def test_lines_after_the_checkpoint_are_cut_away(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    metrics = MetricLog(file)
    metrics.write({"step": 1, "文": "é"})
    state = metrics.state_dict()
    metrics.write({"step": 2})
    with file.open("ab") as stream:
        stream.write(b'{"step": 3, "lo')  # the kill
    again = MetricLog(file)
    again.load_state_dict(state)
    again.write({"step": 2, "again": True})
    assert read_metrics(file) == [{"step": 1, "文": "é"}, {"step": 2, "again": True}]
    assert again.length == file.stat().st_size


def test_a_last_half_line_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    assert read_metrics(file) == []
    lines = [json.dumps({"step": step, "loss": float("nan") if step else 0.5}) for step in range(3)]
    for cut in range(1, len(lines[2])):
        file.write_text("\n".join(lines)[: -cut or None] + ("" if cut else "\n"))
        assert [line["step"] for line in read_metrics(file)] == [0, 1]


def test_a_file_shorter_than_the_checkpoint_says_continues(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "metrics.jsonl"
    metrics = MetricLog(file)
    metrics.write({"step": 1})
    metrics.write({"step": 2})
    state = metrics.state_dict()
    for kept, steps in ((b'{"step": 1}\n{"st', [1, 3]), (b"", [3]), (None, [3])):
        file.unlink()
        if kept is not None:
            file.write_bytes(kept)
        again = MetricLog(file)
        again.load_state_dict(state)
        assert "shorter than the checkpoint says" in capsys.readouterr().err
        again.write({"step": 3})
        assert [line["step"] for line in read_metrics(file)] == steps and again.length == file.stat().st_size


def test_lines_that_were_changed_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "metrics.jsonl"
    metrics = MetricLog(file)
    metrics.write({"step": 1})
    state = metrics.state_dict()
    MetricLog(file).load_state_dict({name: state[name] for name in ("pending", "length")})  # of an earlier version
    MetricLog(file).load_state_dict(state)
    assert capsys.readouterr().err == ""
    file.write_bytes(b'{"step": 9}\n')
    MetricLog(file).load_state_dict(state)
    assert "was changed" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line", [b'{"step": 1', b"[]", b"3", b'{"epoch": 1}', b'{"step": "1"}', b'{"step": 1, "stage": 3}', b"\xff"]
)
def test_a_damaged_line_is_told_by_its_number(line: bytes, tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_bytes(b'{"step": 1, "loss": NaN}\n' + line + b'\n{"step": 3}\n')
    with pytest.raises(UserError, match=r"metrics.jsonl, line 2"):
        read_metrics(file)


def test_another_name_of_the_file_stays_as_it_is(tmp_path: Path) -> None:
    """A hard link, as copies by `cp -al` are."""
    file, other = tmp_path / "metrics.jsonl", tmp_path / "other"
    metrics = MetricLog(file)
    metrics.write({"step": 1})
    state = metrics.state_dict()
    metrics.write({"step": 2})
    other.hardlink_to(file)
    again = MetricLog(file)
    again.load_state_dict(state)
    again.write({"step": 3})
    assert [line["step"] for line in read_metrics(other)] == [1, 2]
    assert [line["step"] for line in read_metrics(file)] == [1, 3]
