"""`evaluate`, `predict` and `generate`: what a run is asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from chainrule.cli.group import cli
from chainrule.cli.output import print_answers, print_metrics
from chainrule.cli.run_options import RunCommand, complete_options
from chainrule.cli.shared_options import AS_JSON, CODE, DEVICE, OUT
from chainrule.cli.words import SettingsCommand
from chainrule.core.data.words import parse_sources
from chainrule.core.files.finite_json import to_json
from chainrule.core.language.translation import translate
from chainrule.core.seeds import LARGEST
from chainrule.core.settings import bind_to, parse_pairs
from chainrule.core.verbs import later_options
from chainrule.run.folder.record import recipe_of_run


@cli.command(cls=SettingsCommand)
@click.argument("run", type=click.Path())
@click.argument("reading", nargs=-1, metavar="[KEY=VALUE ...]")
@click.option("--data", multiple=True, help="Other data of the same kind; several by role, as for train.")
@DEVICE
@CODE
@AS_JSON
def evaluate(
    run: str, reading: Sequence[str], data: Sequence[str], device: str, code: tuple[str, ...], as_json: bool
) -> None:
    """Test metrics of RUN, on its own test split or on other data; KEY=VALUE says how these are read."""
    pairs = parse_pairs(reading)
    if pairs:
        bind_to(pairs, later_options(recipe_of_run(run)), owner="evaluate of this run", word="option")
    from chainrule import api
    from chainrule.run.run import Run

    opened = Run.load(run, device, code=code)
    sources = parse_sources(data)
    api.tell_unfinished(opened)
    metrics = api.measure(opened, sources, pairs)
    found = api.measured(opened, sources)
    api.tell_measured(found, warn_only=as_json)  # the object says it all
    if as_json:
        click.echo(to_json({**api.summary(opened, metrics), **found}))
    else:
        print_metrics(metrics)


@cli.command(cls=RunCommand)
@click.argument("run", type=click.Path())
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...", shell_complete=complete_options)
@click.option("--out", type=click.Path(), help="A file for the answers, .csv or .jsonl; a folder for images.")
@DEVICE
@CODE
@AS_JSON
@click.pass_context
def predict(
    context: click.Context,
    run: str,
    inputs: Sequence[str],
    out: str | None,
    device: str,
    code: tuple[str, ...],
    as_json: bool,
    **_: Any,
) -> None:
    """Answers of RUN for your own files, folders, lists in a CSV, rows or sentences; `-` reads stdin."""
    options = _options_given(context)
    from chainrule import api
    from chainrule.core.verbs import expect_verb
    from chainrule.reporting.answers import place_of_answers
    from chainrule.run.folder.record import recipe_of_run

    answers = api.predict_each(run, inputs, out=out, device=device, code=code, **options)
    file = place_of_answers(out, makes_files=expect_verb(recipe_of_run(run), "predict").makes_files)
    if file is not None:
        count = sum(1 for _ in answers)
        written = {"out": str(file), "answers": count}
        click.echo(to_json(written) if as_json else translate(f"{count:,} answer{'' if count == 1 else 's'}: {file}"))
        return
    found = list(answers)  # all of them before the first is printed: what fails prints nothing
    if as_json:
        click.echo(to_json(found))
        return
    print_answers(found)


@cli.command(cls=RunCommand)
@click.argument("run", type=click.Path(), shell_complete=complete_options)
@click.option("-n", "count", type=click.IntRange(1), default=1, show_default=True, help="How many samples.")
@click.option("--seed", type=click.IntRange(0, LARGEST), help="The run's own by default.")
@OUT
@DEVICE
@CODE
@AS_JSON
@click.pass_context
def generate(context: click.Context, run: str, count: int, as_json: bool, **ordinary: Any) -> None:
    """Samples from RUN."""
    options = _options_given(context)
    from chainrule import api

    words = {name: ordinary[name] for name in ("seed", "out", "device", "code")}
    samples = api.generate(run, count=count, **words, **options)
    if as_json:
        click.echo(to_json(samples))
        return
    if all("text" in sample for sample in samples):
        click.echo("\n".join(sample["text"] for sample in samples))
    else:
        print_answers(samples)


def _options_given(context: click.Context) -> dict[str, Any]:
    """The options of the run that a RunCommand was given, checked before anything loads."""
    assert isinstance(context.command, RunCommand)
    return context.command.options_given(context)
