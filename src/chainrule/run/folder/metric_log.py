"""metrics.jsonl: a line a log step. Values wait on the device and are read together, so a step never waits for them."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from chainrule.core.errors import RunFailed, UserError
from chainrule.core.files import atomic
from chainrule.core.files.finite_json import from_json, to_json
from chainrule.core.files.standard_streams import say


class MetricLog:
    """Gathers what `track` is given, and writes lines to the file. `on_line` is told of each that was written.

    `state_dict` holds the values not yet written, and length and checksum of the file, so that after a kill the file is cut
    back to where the checkpoint saw it and continues with the same numbers.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.on_line: Callable[[dict[str, Any]], object] | None = None
        self.pending: dict[str, list[Tensor | float]] = {}
        self.length = 0
        self._digest = ""

    def track(self, values: dict[str, Tensor | float]) -> None:
        for name, value in values.items():
            kept = value.detach() if isinstance(value, Tensor) else float(value)
            self.pending.setdefault(name, []).append(kept)

    def gather(self) -> dict[str, Tensor]:
        """The mean of each tracked metric since the last call; tensors stay on their device."""
        means: dict[str, Tensor] = {}
        for name, values in self.pending.items():
            means[name] = _stack(values).mean()
        self.pending = {}
        return means

    def write(self, line: dict[str, Any]) -> None:
        if self.path is None:
            return
        data = (to_json(line) + "\n").encode("utf-8")
        with atomic.explain_os_errors(self.path), atomic.open_to_append(self.path) as file:
            file.write(data)
        self.length += len(data)
        self._digest = _chained(self._digest, data)
        if self.on_line is not None:
            try:
                self.on_line(dict(line))
            except Exception as error:
                name = getattr(self.on_line, "__name__", type(self.on_line).__name__)
                raise RunFailed(f"the callback on_log={name} raised {type(error).__name__}: {error}") from error

    def sync(self) -> None:
        """Makes the lines survive a power cut, before a checkpoint says that they are there."""
        if self.length and self.path is not None:
            with atomic.explain_os_errors(self.path):
                atomic.sync_file(self.path)

    def state_dict(self) -> dict[str, Any]:
        pending = {name: _stack(values) for name, values in self.pending.items()}
        return {"pending": pending, "length": self.length, "sha256": self._digest}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The file as the checkpoint saw it. Lines that are lost or were changed are told: they are no part of the state."""
        self.pending = {
            name: values.tolist() if values.dtype == torch.float64 else list(values.unbind())
            for name, values in state["pending"].items()
        }
        if self.path is None:
            return
        length = state["length"]
        content = self.path.read_bytes() if self.path.is_file() else b""
        kept = content[:length]
        if len(kept) < length:
            kept = kept[: kept.rfind(b"\n") + 1]
            say(
                f"{self.path} is shorter than the checkpoint says ({len(content):,} < {length:,} bytes): lines are lost"
            )
        self.length, self._digest = len(kept), functools.reduce(_chained, kept.splitlines(keepends=True), "")
        if len(kept) == length and self._digest != state.get("sha256", self._digest):
            say(f"{self.path} was changed after it was written; its curves are not those of this run")
        if kept != content:  # replaced in one step, not cut: a file of several names stays what it is under the others
            atomic.write_bytes(self.path, kept)


def _chained(digest: str, line: bytes) -> str:
    """The checksum of a file with one line more: SHA-256 of the checksum before and the line."""
    return hashlib.sha256(digest.encode() + line).hexdigest()


def _stack(values: list[Tensor | float]) -> Tensor:
    """All values as one tensor: doubles where they are numbers, on the newest tensor's device where they are tensors."""
    last = values[-1]
    if not isinstance(last, Tensor):
        return torch.tensor(values, dtype=torch.float64)
    dtype = last.dtype if last.dtype.is_floating_point else torch.float32  # of counts, too, the mean is a fraction
    return torch.stack([torch.as_tensor(value, dtype=dtype, device=last.device) for value in values])


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl; a last line cut short by a kill is left out.

    Raises:
        UserError: a line is damaged; its number is told.
    """
    if not path.is_file():
        return []
    lines: list[dict[str, Any]] = []
    texts = path.read_bytes().split(b"\n")
    for number, text in enumerate(texts, 1):
        try:
            lines.append(_checked(from_json(text.decode("utf-8"))))
        except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError) as error:
            if number == len(texts):  # without an end of its line
                break
            raise UserError(
                "the file of metrics is damaged",
                where=f"{path}, line {number}",
                expected='a line as {"step": 50, "epoch": 0, "loss": 0.3, "seconds": 1.2}',
                found=error,
            ) from None
    return lines


def _checked(line: Any) -> dict[str, Any]:
    """A line as the reports read it; ValueError where it is something else."""
    if not isinstance(line, dict):
        raise ValueError(f"a {type(line).__name__}")
    for name, kind in (("step", int), ("epoch", int), ("seconds", (int, float)), ("stage", str)):
        if not isinstance(line.get(name, kind() if isinstance(kind, type) else 0.0), kind):
            raise ValueError(f"{name} is {line[name]!r}")
    if "step" not in line:
        raise ValueError("no step")
    return line
