"""How much the slow parts of a page may compute, in multiply-adds and not in seconds: equal runs give equal pages."""

from __future__ import annotations

from dataclasses import dataclass

MULTIPLY_ADDS = 3e10  # multiply-adds of one part of the page: some seconds on one core
GPU_FACTOR = 30  # how many times more a GPU may take


@dataclass(frozen=True)
class Budget:
    """What one image costs a network, in multiply-adds of a forward pass, and how many a part of the page may take."""

    cost: int
    multiply_adds: float = MULTIPLY_ADDS

    def forwards(self, most: int, share: float = 1.0) -> int:
        """How many forward passes of one image the budget, or a share of it, allows: at most `most`.

        >>> Budget(10**9).forwards(100), Budget(10**6).forwards(100)
        (30, 100)
        """
        return int(min(most, share * self.multiply_adds / max(self.cost, 1)))

    def gradients(self, most: int, share: float = 1.0) -> int:
        """How many forward and backward passes; a backward pass costs about two forward passes.

        >>> Budget(10**9).gradients(100)
        10
        """
        return int(min(most, share * self.multiply_adds / max(3 * self.cost, 1)))
