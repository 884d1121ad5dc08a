"""Which words of a command line are options and which are inputs: a row or a formula may begin with a minus."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from chainrule.cli.spoken_help import SpokenContext, speak
from chainrule.core.errors import Interrupted, UserError, unknown
from chainrule.core.files.standard_streams import silence

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


class SettingsCommand(click.Command):
    """A command that takes settings, KEY=VALUE: one that is written as an option, --epochs 3, is told how it is written."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        words = list(args)
        known = {name for p in self.get_params(ctx) if isinstance(p, click.Option) for name in p.opts}
        found = list(split_words(self.get_params(ctx), words))
        if "--data" in known and not ctx.resilient_parsing:
            _expect_no_option_as_setting([word for word, is_option in found if not is_option][1:], known)
        for (word, is_option), after in zip(found, [*found[1:], None], strict=False):
            name, equals, value = word.partition("=")
            if not is_option or not name.startswith("--") or name in known or ctx.resilient_parsing:
                continue
            setting = name[2:].replace("-", "_")
            if not equals:
                value = after[0] if after is not None and not after[1] and "=" not in after[0] else "VALUE"
            if setting in every_setting():
                raise UserError(f"{setting} is a setting, not an option", found=name, cure=f"write {setting}={value}")
            cure = f"{ctx.command_path} --help; a setting is written without dashes, {setting}={value}"
            raise unknown(f"{ctx.command_path} has no option", name, sorted(known), cure=cure)
        return super().parse_args(ctx, args)


def _expect_no_option_as_setting(words: Sequence[str], known: Collection[str]) -> None:
    """UserError where an option is written as a setting is, data=t.csv, or a path stands where a setting belongs."""
    for word in words:
        name, equals, value = word.partition("=")
        option = f"--{name.strip()}"
        if equals and option in known and name.strip() not in every_setting():
            raise UserError(f"{name} is an option, not a setting", found=word, cure=f"write {option} {value}")
        if not equals and is_path(word):
            raise UserError("data are named by --data", found=word, cure=f"write --data {word}")


def is_path(word: str) -> bool:
    """Whether there is a file or a folder of this name; a word may be longer than a name can be."""
    try:
        return Path(word).exists()
    except (OSError, ValueError):
        return False


def every_setting() -> set[str]:
    """The settings of all recipes, of how data are read, and of every run."""
    from chainrule.core.discovery import all_options, all_recipes
    from chainrule.core.settings import parameters
    from chainrule.run.settings import run_settings

    own = {name for recipe in all_recipes().values() for name in parameters(recipe.build)}
    return own | {option.name for option in all_options()} | set(parameters(run_settings))


class CommandGroup(click.Group):
    """The commands; an option of a command that stands before it is told where it belongs."""

    context_class = SpokenContext

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        super().add_command(speak(cmd), name)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        words = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            command = next((word for word in words if word in self.commands), None)
            own = [] if command is None else self.commands[command].params
            if command is None or not any(error.option_name in p.opts for p in own):
                raise
            raise UserError(
                f"{error.option_name} is an option of {command} and stands behind it",
                cure=f"chainrule {command} ... {error.option_name}",
            ) from None

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:  # stdout that nobody reads: quiet, as a program that SIGPIPE ended
            silence(sys.stdout)
            raise Interrupted("", READER_GONE) from error


READER_GONE = 13  # SIGPIPE, which Windows has not

_BESIDE = {
    "recipe": "chainrule list names the recipes.",
    "run": "A run is a folder that train wrote: runs/mlp-1.",
    "inputs": "Inputs are your own files, folders, rows or sentences; - reads stdin.",
}


def told_beside(error: click.ClickException) -> str:
    """A line below click's own, where an argument is missing."""
    name = getattr(getattr(error, "param", None), "name", None)
    return f"\n{_BESIDE[name]}" if isinstance(error, click.MissingParameter) and name in _BESIDE else ""


class InputsCommand(click.Command):
    """A command whose inputs may be formulas and rows: -x+y, -0.5,1.2."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        found = list(split_words(self.get_params(ctx), args, formulas=True))
        inputs = [word for word, is_option in found if not is_option]
        options = [word for word, is_option in found if is_option]
        return super().parse_args(ctx, [*options, "--", *inputs] if inputs else options)
