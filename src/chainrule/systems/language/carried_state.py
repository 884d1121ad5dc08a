"""What truncated back-propagation through time carries from one window of a text to the next: the state, detached."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from chainrule.core.device import World
from chainrule.systems.language.lstm import State


class CarriedState:
    """The state that one batch leaves to the next: without its gradient, and zero where an epoch begins.

    With several processes each holds that of its own streams; `state_dict` has that of all.

    Args:
        device: of the streams.
        mine: the numbers of this process's streams.
        streams: how many there are.
        world: the processes.
    """

    def __init__(self, device: torch.device, mine: Tensor, streams: int, world: World) -> None:
        self.device, self.mine, self.streams, self.world = device, mine.to(device), streams, world
        self._before: State | None = None
        self._after: State | None = None
        self._step = -1

    def before(self, step: int, at_beginning: bool) -> State | None:
        """The state that batch `step` begins with, the same when the batch is computed a second time."""
        if step != self._step:
            self._before, self._step = None if at_beginning else self._after, step
        return self._before

    def after(self, state: State) -> None:
        """Keeps the state after a batch, cut off from its graph: here the gradient is truncated."""
        self._after = (state[0].detach().float(), state[1].detach().float())

    def state_dict(self) -> dict[str, Any]:
        if self._after is None or self.world.size == 1:
            return {"state": self._after}
        # Each process writes its own streams; the sum over processes has all.
        whole = [part.new_zeros(part.shape[0], self.streams, part.shape[2]) for part in self._after]
        for part, own in zip(whole, self._after, strict=True):
            part[:, self.mine] = own
            torch.distributed.all_reduce(part)
        return {"state": tuple(whole)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        saved: State | None = state["state"]
        self._after, self._step = None, -1
        if saved is not None:
            h, c = (part.to(self.device)[:, self.mine] for part in saved)
            self._after = (h, c)
