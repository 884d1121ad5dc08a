"""Known series in time."""

from __future__ import annotations

from chainrule.data.catalog.record import Source
from chainrule.data.catalog.tables import CSV_FILES

_END = "none: the end is held out"


def _csv(name: str, content: str, licence: str, file: str, sha256: str) -> Source:
    return Source(name, "series", content, _END, licence, CSV_FILES, {file: sha256}, folder="tabular")


SOURCES = (
    Source(
        "mackey-glass",
        "series",
        "1,000 values of a chaotic equation with a delay",
        _END,
        "made by a formula (Mackey and Glass 1977)",
        shipped_with="Chainrule",
    ),
    _csv(
        "airline-passengers",
        "passengers of international airlines, 144 months from 1949",
        "none stated (Box and Jenkins 1976)",
        "airline-passengers.csv",
        "8cb51be753a718d9be5d76d7e238cc224792754676adc21faa59e954b0201621",
    ),
    _csv(
        "sunspots",
        "sunspots, 2,820 months from 1749",
        "none stated (Andrews and Herzberg 1985)",
        "monthly-sunspots.csv",
        "c4ec8cc57d9f6fb6ecdb3e1f37f25b6f4badd5124c55931052b0cd2fc3bc71f3",
    ),
    _csv(
        "melbourne-temperatures",
        "lowest temperature of 3,650 days from 1981",
        "none stated (Australian Bureau of Meteorology)",
        "daily-min-temperatures.csv",
        "8b9de63ed6789492bf497625e7f9beb96a63d367b4b0a21754006f749fa5e5da",
    ),
)
