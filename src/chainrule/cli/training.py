"""`train` and `resume`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from chainrule.cli import completion
from chainrule.cli.group import cli
from chainrule.cli.output import print_metrics
from chainrule.cli.shared_options import AS_JSON, CODE, DEVICE
from chainrule.cli.words import SettingsCommand
from chainrule.core.data.words import parse_sources
from chainrule.core.files.finite_json import to_json
from chainrule.core.language.translation import translate
from chainrule.core.seeds import LARGEST
from chainrule.core.settings import parse_pairs


@cli.command(
    cls=SettingsCommand,
    context_settings={"ignore_unknown_options": False},
    epilog="Settings of a recipe and their ranges: chainrule show RECIPE",
)
@click.argument("recipe", shell_complete=completion.recipes)
@click.argument("settings", nargs=-1, metavar="[KEY=VALUE ...]", shell_complete=completion.settings)
@click.option(
    "--data",
    multiple=True,
    help="A known data set (chainrule data list) or a path; several by role: train=, val=, test=, images=, labels=.",
    shell_complete=completion.data,
)
@click.option("--target", help="The column of labels, for tables.")
@click.option("--val", help="What validates: a share to hold out, or a path of its own.")
@click.option("--test", help="What measures: a share to hold out, or a path of its own.")
@click.option("--out", type=click.Path(), help="The run folder, new or empty; runs/RECIPE-N by default.")
@click.option(
    "--seed", type=click.IntRange(0, LARGEST), default=0, show_default=True, help="Decides every random draw."
)
@DEVICE
@click.option(
    "--weights",
    help="What to start from: a file (safetensors, a state dict in .pth, .caffemodel), a run, or torchvision.",
)
@AS_JSON
def train(recipe: str, settings: Sequence[str], data: Sequence[str], as_json: bool, **options: Any) -> None:
    """Train RECIPE, evaluate it on the test split, write a run folder."""
    from chainrule.core.discovery import get_recipe, known_settings
    from chainrule.core.settings import bind_to

    found = get_recipe(recipe)
    pairs = parse_pairs(settings)
    from chainrule.run.settings import run_settings

    bind_to(pairs, known_settings(found, run_settings), owner=f"the recipe {recipe}")
    from chainrule import api
    from chainrule.optim.compiler_import import spare_compiler

    words: dict[str, Any] = {**options, **pairs, "data": parse_sources(data)}
    spare_compiler()
    _done(api.train(recipe, **words), as_json)


@cli.command(cls=SettingsCommand)
@click.argument("run", type=click.Path())
@click.argument("settings", nargs=-1, metavar="[epochs=N]")
@click.option("--out", type=click.Path(), help="With epochs=N: the folder of the run that continues; RUN-2 by default.")
@click.option("--device", help="By default the run's own.")
@CODE
@AS_JSON
def resume(
    run: str, settings: Sequence[str], out: str | None, device: str | None, code: tuple[str, ...], as_json: bool
) -> None:
    """Resume RUN exactly where it stopped; with epochs=N continue it longer, as a new run that names RUN as its parent."""
    pairs = parse_pairs(settings)
    from chainrule import api
    from chainrule.optim.compiler_import import spare_compiler

    clash = {"data", "device", "on_log", "out", "code", "model", "loss", "metrics"} & set(pairs)
    if clash:
        raise click.UsageError(f"{clash.pop()} is no setting that resume changes")
    words: dict[str, Any] = {"device": device, "code": code, "out": out, **pairs}
    spare_compiler()
    _done(api.resume(run, **words), as_json)


def _done(run: Any, as_json: bool) -> None:
    from chainrule import api

    if not run.world.is_main_process:
        return
    result = api.summary(run)
    if as_json:
        click.echo(to_json(result))
        return
    print_metrics(result["metrics"])
    click.echo(translate(f"run folder: {run.folder}\nreport:     {run.folder / 'report.html'}"))
