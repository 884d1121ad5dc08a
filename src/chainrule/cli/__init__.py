"""The command: a thin layer on the Python functions of the same names. It loads PyTorch only where a verb needs it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from chainrule.cli import answers, catalogue, data, inspection, training  # noqa: F401  # each adds its commands
from chainrule.cli.group import cli
from chainrule.core.errors import ChainruleError
from chainrule.core.own_code.loading import told_by_line


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command and exits: 0 done, 1 the run failed, 2 the input is wrong, 130 interrupted."""
    debug = "--debug" in (arguments or sys.argv[1:])
    try:
        with told_by_line():
            cli.main(args=arguments, prog_name="chainrule", standalone_mode=False)
    except ChainruleError as error:
        if debug:
            raise
        click.echo(f"chainrule: {error}", err=True)
        sys.exit(error.exit_status)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("chainrule: stopped", err=True)
        sys.exit(130)
    except BrokenPipeError:
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  # nobody reads any more
        sys.exit(1)
