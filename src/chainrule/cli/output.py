"""What commands print on stdout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from chainrule.core.language.chosen import language
from chainrule.core.language.translation import translate


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
    print_table([(_in_words(name), f"{value:.6g}") for name, value in metrics.items()])


def _in_words(metric: str) -> str:
    return metric if language() == "en" else translate(metric.replace("_", " "))


def print_answers(answers: Sequence[dict[str, Any]]) -> None:
    """Answers a line each, their columns parted by tabs; what is nested is left to --json and --out.

    The names of the columns go to stderr, above the answers for a person who reads, and out of the way of a program.
    """
    from chainrule.reporting.answers import merge_columns

    columns: list[str] = []
    for answer in answers:
        merge_columns(columns, [name for name, value in answer.items() if not isinstance(value, dict)])
    click.echo("\t".join(columns), err=True)
    for answer in answers:
        cells = (answer.get(name, "") for name in columns)
        click.echo("\t".join(f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in cells))


def print_table(rows: Sequence[Sequence[str]]) -> None:
    from chainrule.reporting.columns import aligned

    click.echo("\n".join(aligned(rows)))
