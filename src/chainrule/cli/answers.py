"""`evaluate`, `predict` and `generate`: what a run is asked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click

from chainrule.cli.group import cli
from chainrule.cli.output import print_metrics
from chainrule.cli.run_options import RunCommand, complete_options
from chainrule.cli.shared_options import AS_JSON, CODE, DEVICE, OUT
from chainrule.core.data.words import parse_sources
from chainrule.core.seeds import LARGEST
from chainrule.core.settings import bind_to, parse_pairs
from chainrule.core.verbs import later_options
from chainrule.run.folder.record import recipe_of_run


@cli.command()
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
    metrics = api.measure(opened, parse_sources(data), pairs)
    if as_json:
        click.echo(json.dumps(api.summary(opened, metrics)))
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
    from chainrule.reporting.answers import is_answer_file

    answers = api.predict_each(run, inputs, out=out, device=device, code=code, **options)
    if is_answer_file(out):
        count = sum(1 for _ in answers)
        written = {"out": out, "answers": count}
        click.echo(
            json.dumps(written, ensure_ascii=False)
            if as_json
            else f"{count:,} answer{'' if count == 1 else 's'}: {out}"
        )
        return
    found = list(answers)  # all of them before the first is printed: what fails prints nothing
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
        return
    for answer in found:
        click.echo(
            "\t".join(
                f"{value:.4g}" if isinstance(value, float) else str(value)
                for value in answer.values()
                if not isinstance(value, dict)
            )
        )


@cli.command(cls=RunCommand)
@click.argument("run", type=click.Path(), shell_complete=complete_options)
@click.option("-n", "count", type=click.IntRange(1), default=1, show_default=True, help="How many samples.")
@click.option("--seed", type=click.IntRange(0, LARGEST), help="The run's own by default.")
@OUT
@DEVICE
@AS_JSON
@click.pass_context
def generate(context: click.Context, run: str, count: int, as_json: bool, **ordinary: Any) -> None:
    """Samples from RUN."""
    options = _options_given(context)
    from chainrule import api

    words = {name: ordinary[name] for name in ("seed", "out", "device")}
    samples = api.generate(run, count=count, **words, **options)
    if as_json:
        click.echo(json.dumps(samples, ensure_ascii=False))
        return
    for sample in samples:
        click.echo(sample.get("text") or "\t".join(str(value) for value in sample.values()))


def _options_given(context: click.Context) -> dict[str, Any]:
    """The options of the run that a RunCommand was given, checked before anything loads."""
    assert isinstance(context.command, RunCommand)
    return context.command.options_given(context)
