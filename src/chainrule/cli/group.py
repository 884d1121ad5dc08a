"""The group that every command belongs to."""

from __future__ import annotations

import click

from chainrule.cli.words import CommandGroup
from chainrule.core.language.choice import set_language
from chainrule.core.version import __version__


def _set_language(context: click.Context, option: click.Parameter, language: str | None) -> None:
    if language is not None:
        set_language(language)


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="chainrule")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.option(
    "--lang",
    is_eager=True,
    expose_value=False,
    callback=_set_language,
    metavar="en|zh",
    help="The language of messages, reports and pages; by default CHAINRULE_LANG, or the locale's.",
)
@click.pass_context
def cli(context: click.Context, debug: bool) -> None:
    """Deep learning systems: train, evaluate, predict, generate, explain, export, report."""
    context.obj = debug
