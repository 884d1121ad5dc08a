"""What a person sees while a run works: a bar on a terminal or in a notebook, plain lines elsewhere, on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from chainrule.core.files.standard_streams import say
from chainrule.core.language.translation import translate
from chainrule.run.display.notebook_bar import NotebookBar, in_notebook

T = TypeVar("T")
PATIENCE_S, EVERY_S = 2.0, 5.0  # for so long nobody is told anything; and then where this is no terminal


def describe(values: Mapping[str, Any]) -> str:
    """Metrics in one line.

    >>> describe({"loss": 0.51234567, "val_accuracy": 0.9})
    'loss 0.5123  val_accuracy 0.9'
    """
    return "  ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in values.items()
    )


class Progress:
    """Counts steps towards `total`. `line` is a message above the bar."""

    def __init__(self, title: str, quiet: bool = False) -> None:
        self.title, self.quiet = title, quiet
        self.total: int | None = None
        self._bar: Any = None
        self._task: Any = None
        self._in_notebook: NotebookBar | None = None
        self._last: tuple[int, str] = (0, "")  # the step that was told last, and the metrics
        self._shown = 0.0
        self._start: tuple[float, int] | None = None

    def begin(self, title: str) -> None:
        """A stage begins: its steps are counted anew, under its own title."""
        self.close()
        self.title, self.total, self._start, self._shown, self._last = title, None, None, 0.0, (0, "")

    def update(self, step: int, values: Mapping[str, Any] | None = None, force: bool = False) -> None:
        """Shows `step`. On a terminal the bar moves ten times a second; elsewhere a line comes where `values` do."""
        now = time.monotonic()
        if self._start is None:
            self._start = (now, step)
        if self.quiet:
            return
        self._last = (step, describe(values) if values else self._last[1])
        if in_notebook():
            if force or values or now - self._shown > 0.25:
                self._shown = now
                self._in_notebook = self._in_notebook or NotebookBar()
                self._in_notebook.draw(self.title, step, self.total, f"{self._last[1]}{self._pace(now, step)}")
        elif sys.stderr.isatty():
            if force or values or now - self._shown > 0.1:
                self._shown = now
                self._draw(step, values)
        elif values and (force or now - self._shown > 5.0 or step == self.total):
            self._shown = now
            say(
                f"{self.title}: step {step}{f'/{self.total}' if self.total else ''}  {describe(values)}{self._pace(now, step)}"
            )

    def line(self, text: str) -> None:
        if self.quiet:
            return
        text = translate(text)
        if self._bar is not None:
            self._bar.console.print(text, highlight=False, markup=False)
        elif self._in_notebook is not None:
            self._in_notebook.note = text  # the last one stands below the bar
        else:
            say(text)

    def _pace(self, now: float, step: int) -> str:
        start_s, start_step = self._start or (now, step)
        if step <= start_step or now <= start_s:
            return ""
        rate = (step - start_step) / (now - start_s)
        left = f", {(self.total - step) / rate:.0f} s left" if self.total and self.total >= step else ""
        return f"  ({rate:.1f} steps/s{left})"

    def _draw(self, step: int, values: Mapping[str, Any] | None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        if self._bar is None:
            columns = [
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[pace]} {task.fields[values]}"),
            ]
            self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task(self.title, total=self.total, values="", pace="")
            self._bar.start()
        start_s, start_step = self._start or (time.monotonic(), step)
        rate = (step - start_step) / max(time.monotonic() - start_s, 1e-9)
        fields: dict[str, Any] = {"pace": f"{rate:.1f}/s"}
        if values:
            fields["values"] = describe(values)
        self._bar.update(self._task, completed=step, total=self.total, **fields)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        if self._in_notebook is not None:  # what stays in the notebook: where it ended, and the time it took
            step, words = self._last
            seconds = time.monotonic() - (self._start or (time.monotonic(), 0))[0]
            self._in_notebook.draw(self.title, step, self.total, f"{words}  ({seconds:.1f} s)")
            self._in_notebook = None


def counted(items: Iterable[T], title: str, unit: str) -> Iterator[T]:
    """The items as they come. Where they come for more than two seconds, a person sees how many there were.

    Args:
        items: what is worked on.
        title, unit: `predict`, `answers`: what the person reads.
    """
    progress, number, begun = Progress(title), 0, time.monotonic()
    told = begun + PATIENCE_S - EVERY_S  # the next line comes `EVERY_S` after it
    try:
        for item in items:
            number += 1
            now = time.monotonic()
            if sys.stderr.isatty():
                if now - begun > PATIENCE_S:
                    progress.update(number)
            elif now - told > EVERY_S:
                told = now
                say(f"{title}: {number:,} {unit}")
            yield item
    finally:
        progress.close()
