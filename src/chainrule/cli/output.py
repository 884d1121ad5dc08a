"""What commands print on stdout."""

from __future__ import annotations

import re
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
    """Answers a line each, their columns parted by tabs, a list a column for each; what is nested is left to --json and --out.

    The names of the columns go to stderr, above the answers for a person who reads, and out of the way of a program.
    """
    from chainrule.core.answers import flat
    from chainrule.reporting.answers import merge_columns

    columns: list[str] = []
    rows = [flat({name: value for name, value in answer.items() if not isinstance(value, dict)}) for answer in answers]
    for answer in rows:
        merge_columns(columns, answer)
    click.echo("\t".join(columns), err=True)
    for answer in rows:
        click.echo("\t".join(_on_a_line(answer.get(name, "")) for name in columns))


def _on_a_line(cell: Any) -> str:
    """A cell of an answer: a number with four digits, or those before the point and more; a text without line ends and tabs.

    >>> _on_a_line(0.123456), _on_a_line(245317.5), _on_a_line("two\\nlines")
    ('0.1235', '245317.5', 'two lines')
    """
    if isinstance(cell, float):
        return f"{cell:.4g}" if not abs(cell) >= 1000 else f"{cell:.8g}"
    return " ".join(re.split(r"[\t\r\n]+", str(cell)))


def print_table(rows: Sequence[Sequence[str]]) -> None:
    from chainrule.reporting.columns import aligned

    click.echo("\n".join(aligned(rows)))
