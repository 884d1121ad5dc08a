"""The group that every command belongs to."""

from __future__ import annotations

import click

from chainrule.cli.words import CommandGroup
from chainrule.core.version import __version__


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="chainrule")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def cli(context: click.Context, debug: bool) -> None:
    """Deep learning systems: train, evaluate, predict, generate, explain, export, report."""
    context.obj = debug
