"""Where a run stands: step, epoch, position in the epoch; and the epochs and steps that are left from there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

Item = TypeVar("Item")


class Position:
    """Counts epochs and steps as a loop takes them, and is called between any two.

    Args:
        between: called when the loop asks for the next step, with False, and after each epoch, with True. A state saved
            there is that between two steps.
    """

    def __init__(self, between: Callable[[bool], None]) -> None:
        self.step = self.epoch = self.position = 0
        self._between = between
        self._stopped: set[str] = set()  # of "steps" and "epochs": the loops that end now
        self._in_steps = False

    def epochs(self, count: int) -> Iterator[int]:
        """The epochs that are left of `count`."""
        while self.epoch < count and "epochs" not in self._stopped:
            yield self.epoch
            self.epoch, self.position = self.epoch + 1, 0
            self._stopped.discard("steps")
            self._between(True)

    def steps(self, items: Iterator[Item]) -> Iterator[Item]:
        """The items of this epoch that are left, a step each."""
        self._in_steps = True
        if "steps" not in self._stopped:
            for item in items:
                yield item
                self.position, self.step = self.position + 1, self.step + 1
                self._between(False)
                if "steps" in self._stopped:
                    break
        self._in_steps = False

    def stop(self) -> None:
        """Ends the innermost loop after this step."""
        self._stopped.add("steps" if self._in_steps else "epochs")

    def forget_stops(self) -> None:
        """Loops that were to end may continue: they are to be longer."""
        self._stopped.clear()

    def state_dict(self) -> dict[str, Any]:
        return {"step": self.step, "epoch": self.epoch, "position": self.position, "stopped": sorted(self._stopped)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step, self.epoch, self.position = state["step"], state["epoch"], state["position"]
        self._stopped = set(state["stopped"])
