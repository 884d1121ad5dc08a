"""What commands print on stdout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click


def plain(value: Any) -> str:
    if isinstance(value, dict):
        parts = [f"{name} {plain(v)}" for name, v in value.items()]
        return ("; " if any("," in part for part in parts) else ", ").join(parts)
    if isinstance(value, (list, tuple)):
        return ",".join(plain(v) for v in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def print_metrics(metrics: dict[str, float]) -> None:
    print_table([(name, f"{value:.6g}") for name, value in metrics.items()])


def print_table(rows: Sequence[Sequence[str]]) -> None:
    from chainrule.reporting.columns import aligned

    click.echo("\n".join(aligned(rows)))
