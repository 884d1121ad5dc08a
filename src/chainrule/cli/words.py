"""Which words of a command line are options and which are inputs: a row or a formula may begin with a minus."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence

import click

_OPTION = re.compile(r"--?[^\W\d_][\w-]*(=.*)?", re.DOTALL)  # --top, --top=5, -n, -n5; not -0.5,1.2 nor -a,b
_NUMBERS = ("-inf", "-infinity", "-nan")


def looks_like_option(word: str) -> bool:
    """Whether a word is written as options are; a row, a sentence, a number that begins with a minus is not.

    >>> [looks_like_option(word) for word in ("--top=5", "-n5", "-", "-0.5,1.2", "-a,b", "-inf", "-no good")]
    [True, True, False, False, False, False, False]
    """
    return _OPTION.fullmatch(word) is not None and word.lower() not in _NUMBERS


def split_words(
    parameters: Sequence[click.Parameter], args: Sequence[str], own: Collection[str] = (), formulas: bool = False
) -> Iterator[tuple[str, bool]]:
    """Each word of a command line and whether it is an option; an option with its value is one word.

    Args:
        parameters: of the command.
        args: the words.
        own: further options that take a value.
        formulas: whether a word with one minus is a formula, -x, unless it is an option that there is.
    """
    options = [p for p in parameters if isinstance(p, click.Option)]
    known = {name for option in options for name in option.opts}
    takes = {name for option in options if not option.is_flag for name in option.opts} | set(own)
    remaining = iter(args)
    for word in remaining:
        if word == "--":
            yield from ((rest, False) for rest in remaining)
        elif not looks_like_option(word) or (formulas and not word.startswith("--") and word not in known):
            yield word, False
        elif word in takes:
            value = next(remaining, None)
            glue = "=" if word.startswith("--") else ""
            yield (word if value is None else f"{word}{glue}{value}"), True
        else:
            yield word, True


class InputsCommand(click.Command):
    """A command whose inputs may be formulas and rows: -x+y, -0.5,1.2."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        found = list(split_words(self.get_params(ctx), args, formulas=True))
        inputs = [word for word, is_option in found if not is_option]
        options = [word for word, is_option in found if is_option]
        return super().parse_args(ctx, [*options, "--", *inputs] if inputs else options)
