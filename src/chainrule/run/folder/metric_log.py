"""metrics.jsonl: a line a log step. Values wait on the device and are read together, so a step never waits for them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from chainrule.core import atomic
from chainrule.core.errors import RunFailed
from chainrule.core.finite_json import from_json, to_json


class MetricLog:
    """Gathers what `track` is given, and writes lines to the file. `on_line` is told of each that was written.

    `state_dict` holds the values not yet written and the length of the file, so that after a kill the file is cut back
    to where the checkpoint saw it and continues with the same numbers.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.on_line: Callable[[dict[str, Any]], object] | None = None
        self.pending: dict[str, list[Tensor | float]] = {}
        self.length = 0

    def track(self, values: dict[str, Tensor | float]) -> None:
        for name, value in values.items():
            kept = value.detach() if isinstance(value, Tensor) else float(value)
            self.pending.setdefault(name, []).append(kept)

    @property
    def pending_steps(self) -> int:
        """How many steps the next line is the mean of."""
        return max(map(len, self.pending.values()), default=0)

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
        with atomic.explain_os_errors(self.path), self.path.open("ab") as file:
            file.write(data)
        self.length += len(data)
        if self.on_line is not None:
            try:
                self.on_line(dict(line))
            except Exception as error:
                name = getattr(self.on_line, "__name__", type(self.on_line).__name__)
                raise RunFailed(f"the callback on_log={name} raised {type(error).__name__}: {error}") from error

    def state_dict(self) -> dict[str, Any]:
        return {"pending": {name: _stack(values) for name, values in self.pending.items()}, "length": self.length}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.pending = {
            name: values.tolist() if values.dtype == torch.float64 else list(values.unbind())
            for name, values in state["pending"].items()
        }
        self.length = state["length"]
        if self.path is None:
            return
        size = self.path.stat().st_size if self.path.is_file() else 0
        if size < self.length:
            raise RunFailed(f"{self.path} is shorter than the checkpoint says ({size} < {self.length} bytes)")
        with atomic.explain_os_errors(self.path), self.path.open("ab") as file:
            file.truncate(self.length)


def _stack(values: list[Tensor | float]) -> Tensor:
    """All values as one tensor: doubles where they are numbers, on the newest tensor's device where they are tensors."""
    last = values[-1]
    if not isinstance(last, Tensor):
        return torch.tensor(values, dtype=torch.float64)
    dtype = last.dtype if last.dtype.is_floating_point else torch.float32  # of counts, too, the mean is a fraction
    return torch.stack([torch.as_tensor(value, dtype=dtype, device=last.device) for value in values])


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl; a last line cut short by a kill is left out."""
    if not path.is_file():
        return []
    lines = []
    for text in path.read_text("utf-8").splitlines():
        try:
            lines.append(from_json(text))
        except json.JSONDecodeError:
            break
    return lines
