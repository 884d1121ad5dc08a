"""The help of commands in the language of the person: what click writes is looked up before it is laid out."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import click

from chainrule.core.language.chosen import language
from chainrule.core.language.translation import translate
from chainrule.reporting.columns import columns_of

_EXTRA = re.compile(r"(.*?)(?:  \[(.*)\])?", re.DOTALL)  # an option's text, and what click adds: [default: 0; required]


class SpokenHelp(click.HelpFormatter):
    """click's own in English; in Chinese its lines are broken by columns, of which a character takes two."""

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        super().write_usage(prog, args, translate("Usage: ") if prefix is None else prefix)

    def write_heading(self, heading: str) -> None:
        super().write_heading(translate(heading))

    def write_text(self, text: str) -> None:
        if language() == "en":
            super().write_text(text)
            return
        indent = " " * self.current_indent
        paragraphs = [translate(" ".join(each.split())) for each in text.split("\n\n")]
        broken = ("\n".join(indent + line for line in wrapped(each, self.width - len(indent))) for each in paragraphs)
        self.write("\n\n".join(broken) + "\n")

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        if language() == "en":
            super().write_dl(rows, col_max, col_spacing)
            return
        rows = list(rows)
        first = min(max((columns_of(term) for term, _ in rows), default=0), col_max) + col_spacing
        for term, text in rows:
            beside = columns_of(term) <= first - col_spacing
            left = " " * self.current_indent + term
            lines = wrapped(_help_in_chinese(text), max(self.width - first - self.current_indent, 20))
            margin = " " * (self.current_indent + first)
            if beside and lines:
                left += " " * (first - columns_of(term)) + lines.pop(0)
            self.write("\n".join([left, *(margin + line for line in lines)]) + "\n")


class SpokenContext(click.Context):
    formatter_class = SpokenHelp


def _help_in_chinese(text: str) -> str:
    match = _EXTRA.fullmatch(text)
    assert match is not None
    extra = "" if match[2] is None else f"  [{'; '.join(translate(each) for each in match[2].split('; '))}]"
    return translate(match[1]) + extra


def wrapped(text: str, columns: int) -> list[str]:
    """A text as lines of so many columns; between Chinese characters a line may break, within a word not.

    >>> wrapped("种子 seed 决定所有随机数", 12)
    ['种子 seed 决', '定所有随机数']
    """
    lines, line = list[str](), ""
    for piece in re.findall(r"[\x21-\x7e]+[，。：；、）]*|\s+|.[，。：；、）]*", text):
        if line and columns_of((line + piece).rstrip()) > columns:
            lines.append(line.rstrip())
            line = piece.lstrip()
        else:
            line += piece
    return [*lines, line.rstrip()] if line.strip() else lines


def speak(command: click.Command) -> Any:
    """The command, its help written by `SpokenHelp`."""
    command.context_class = SpokenContext
    return command
