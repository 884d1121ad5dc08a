"""What a diagnosis gives: one record a problem."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One problem of a network.

    Attributes:
        what: its name.
        layer: where.
        number: what was measured.
        limit: what it should have been, in words.
        meaning: what the number is, in a sentence.
        remedy: what helps.
        by_design: it is how the network is meant to be, and worth knowing.
    """

    what: str
    layer: str
    number: float
    limit: str
    meaning: str
    remedy: str
    by_design: bool = False

    def __str__(self) -> str:
        return f"{self.what} in {self.layer}: {self.number:.3g} ({self.limit}). {self.meaning} {self.remedy}"
