"""How far the slow parts of a page are taken: by counting multiply-adds, never by the clock, so equal runs look alike."""

from __future__ import annotations

from dataclasses import dataclass

BUDGET = 3e10  # multiply-adds of one part of the page: some seconds on one core
FASTER = 30  # how many times more a GPU is allowed


@dataclass(frozen=True)
class Effort:
    """What one image costs a network, in multiply-adds of a forward pass, and how many a part of the page may take."""

    cost: int
    budget: float = BUDGET

    def forwards(self, most: int, share: float = 1.0) -> int:
        """How many forward passes of one image the budget, or a share of it, allows: at most `most`.

        >>> Effort(10**9).forwards(100), Effort(10**6).forwards(100)
        (30, 100)
        """
        return int(min(most, share * self.budget / max(self.cost, 1)))

    def gradients(self, most: int, share: float = 1.0) -> int:
        """How many passes forward and back; the way back costs about twice the way forward.

        >>> Effort(10**9).gradients(100)
        10
        """
        return int(min(most, share * self.budget / max(3 * self.cost, 1)))
