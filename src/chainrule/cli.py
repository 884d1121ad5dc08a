"""The command: a thin layer on the Python functions of the same names. It loads PyTorch only where a verb needs it."""

from __future__ import annotations

import inspect
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from chainrule import completion
from chainrule.core.data_words import parse_sources, request_of
from chainrule.core.errors import ChainruleError
from chainrule.core.own_code.loading import told_by_line
from chainrule.core.settings import describe, parameters, parse_pairs
from chainrule.core.version import __version__
from chainrule.run_options import RunCommand, complete_options, shown_default

_AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object as the last line of stdout.")
_DEVICE = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
_CODE = click.option(
    "--code", multiple=True, metavar="FILE.py", help="Your own code that RUN names and that may run here."
)
_OUT = click.option("--out", type=click.Path(), help="Where to write.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="chainrule")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def cli(context: click.Context, debug: bool) -> None:
    """Deep learning systems: train, evaluate, predict, generate, explain, export, report."""
    context.obj = debug


@cli.command("list")
@click.option("--family", help="Only this family.")
@_AS_JSON
def list_(family: str | None, as_json: bool) -> None:
    """The recipes."""
    from chainrule.core.discovery import all_recipes
    from chainrule.core.errors import unknown

    recipes = all_recipes().values()
    families = sorted({r.family for r in recipes})
    if family is not None and family not in families:
        raise unknown("there is no family", family, families)
    rows = [r for r in recipes if family in (None, r.family)]
    fields = ("name", "family", "task", "data", "source")
    if as_json:
        click.echo(json.dumps([{field: getattr(r, field) for field in fields} for r in rows], ensure_ascii=False))
        return
    _table([("recipe", *fields[1:]), *(tuple(getattr(r, field) for field in fields) for r in rows)])


@cli.command()
@click.argument("recipe", metavar="RECIPE|NETWORK|TOPIC|FILE.prototxt", shell_complete=completion.recipes)
@click.argument("inputs", nargs=-1, metavar="[NAME=C,H,W ...]")
@click.option("--out", type=click.Path(), help="For a topic: a file for its images, .html, .svg or .png.")
def show(recipe: str, inputs: Sequence[str], out: str | None) -> None:
    """A recipe's card: source, deviations, layers and shapes, parameters, target, settings, the command.

    Or the card of a network. Or a topic, `activations`, `policies` or `networks`: a table of all of them; of the first
    two with --out their images. Or the layers of a net description of Caffe's, FILE.prototxt; data=3,224,224 says
    the sizes of an input that it leaves to the data.
    """
    from chainrule.core.discovery import all_recipes
    from chainrule.core.errors import UserError

    if recipe.endswith(".prototxt"):
        _show_description(recipe, inputs, out)
        return
    if inputs:
        raise UserError(
            "only a net description takes words beside it", expected="FILE.prototxt", found=f"{recipe} {inputs[0]}"
        )
    if recipe in _TOPICS:
        _TOPICS[recipe](out)
        return
    if out is not None:
        raise UserError(
            "--out is for topics", expected=", ".join(_TOPICS), found=recipe, cure=f"chainrule explain {recipe}"
        )
    found = all_recipes().get(recipe)
    if found is None:
        _show_network(recipe)
        return
    from chainrule.core.verbs import verbs_of
    from chainrule.introspection.layers import card_text
    from chainrule.models import get_card
    from chainrule.run.settings import run_settings

    click.echo(card_text(found, get_card(found.model) if found.model else None))
    for title, function, advice in (
        ("Settings", found.build, found.advice),
        ("Settings of every recipe", run_settings, ""),
    ):
        click.echo(f"\n{title}:")
        _show_options(parameters(function))
        if advice:
            click.echo(f"\n{advice}")
    for verb, found_verb in verbs_of(found).items():
        if found_verb.options:
            click.echo(f"\nOptions of {verb}:")
            _show_options(found_verb.options)


def _show_options(options: Mapping[str, inspect.Parameter]) -> None:
    _table([(f"  {name}={shown_default(p.default)}", describe(p.annotation)) for name, p in options.items()])


def _show_network(name: str) -> None:
    """The card of a network; for its sake no other network is loaded."""
    from chainrule.core.discovery import all_recipes
    from chainrule.core.errors import UserError, unknown
    from chainrule.introspection.layers import model_text
    from chainrule.models import all_cards, classifies_images, get_card

    try:
        card = get_card(name)
    except UserError:
        raise unknown(
            "there is no recipe, network or topic",
            name,
            [*all_recipes(), *_TOPICS],
            near=all_cards(),
            cure="chainrule list, or chainrule show networks",
        ) from None
    command = f"chainrule train image-classifier network={name}" if classifies_images(card) else None
    click.echo(model_text(card, command))


def _show_description(file: str, words: Sequence[str], out: str | None) -> None:
    from chainrule.core.errors import UserError
    from chainrule.models import description_rows, read_description

    if out is not None:
        raise UserError("--out is for topics", found=f"the description {file}", cure=f"chainrule explain {file}")
    net, notes = read_description(file, words, empty=True)
    click.echo(f"{net.name or file}, phase {net.phase}")
    for note in notes:
        click.echo(note)
    click.echo()
    _table(description_rows(net))


def _show_activations(out: str | None) -> None:
    from chainrule.reporting.activation_tables import LEGEND, activation_rows, write_activations

    place = None if out is None else write_activations(out)
    _table(activation_rows())
    click.echo("\n" + "\n".join(LEGEND))
    if place is not None:
        click.echo(f"\n{place}")


def _show_policies(out: str | None) -> None:
    from chainrule.reporting.policy_plots import policies_table, write_policies

    place = None if out is None else write_policies(out)
    _table(policies_table())
    if place is not None:
        click.echo(f"\n{place}")


def _show_networks(out: str | None) -> None:
    from chainrule.core.errors import UserError
    from chainrule.introspection.layers import network_rows
    from chainrule.models import image_networks

    if out is not None:
        raise UserError("networks have no image in common", found=f"--out {out}", cure="chainrule explain RECIPE")
    _table(network_rows(image_networks()))


_TOPICS = {"activations": _show_activations, "policies": _show_policies, "networks": _show_networks}  # of `show`


@cli.command(
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
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Decides every random draw.")
@_DEVICE
@click.option(
    "--weights",
    help="What to start from: a file (safetensors, a state dict in .pth, .caffemodel), a run, or torchvision.",
)
@_AS_JSON
def train(recipe: str, settings: Sequence[str], data: Sequence[str], as_json: bool, **options: Any) -> None:
    """Train RECIPE, evaluate it on the test split, write a run folder."""
    from chainrule.core.discovery import get_recipe
    from chainrule.core.settings import bind

    found = get_recipe(recipe)
    pairs = parse_pairs(settings)
    from chainrule.run.settings import run_settings

    bind(pairs, found.build, run_settings, owner=f"the recipe {recipe}")
    from chainrule import api
    from chainrule.optim.compiler_import import spare_compiler

    clash = {"data", "target", "val", "test", "out", "seed", "device", "weights"} & set(pairs)
    if clash:  # a recipe's setting never has these names
        raise click.UsageError(f"--{clash.pop()} is an option, not a setting")
    words: dict[str, Any] = {**options, **pairs, "data": parse_sources(data)}
    spare_compiler()
    _done(api.train(recipe, **words), as_json)


@cli.command()
@click.argument("run", type=click.Path())
@click.option("--device", help="By default the run's own.")
@_CODE
@_AS_JSON
def resume(run: str, device: str | None, code: tuple[str, ...], as_json: bool) -> None:
    """Resume RUN exactly where it stopped."""
    from chainrule import api
    from chainrule.optim.compiler_import import spare_compiler

    spare_compiler()
    _done(api.resume(run, device=device, code=code), as_json)


def _done(run: Any, as_json: bool) -> None:
    from chainrule import api

    if not run.world.is_main_process:
        return
    result = api.summary(run)
    if as_json:
        click.echo(json.dumps(result))
        return
    _metrics(result["metrics"])
    click.echo(f"run folder: {run.folder}\nreport:     {run.folder / 'report.html'}")


@cli.command()
@click.argument("run", type=click.Path())
@click.option("--data", multiple=True, help="Other data of the same kind; several by role, as for train.")
@_DEVICE
@_CODE
@_AS_JSON
def evaluate(run: str, data: Sequence[str], device: str, code: tuple[str, ...], as_json: bool) -> None:
    """Test metrics of RUN, on its own test split or on other data."""
    from chainrule import api
    from chainrule.run.run import Run

    opened = Run.load(run, device, code=code)
    metrics = api.measure(opened, parse_sources(data))
    if as_json:
        click.echo(json.dumps(api.summary(opened, metrics)))
    else:
        _metrics(metrics)


@cli.command(cls=RunCommand)
@click.argument("run", type=click.Path())
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...", shell_complete=complete_options)
@click.option("--out", type=click.Path(), help="A file for the answers, .csv or .jsonl; a folder for images.")
@_DEVICE
@_CODE
@_AS_JSON
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
@click.option("--seed", type=click.IntRange(0), help="The run's own by default.")
@_OUT
@_DEVICE
@_AS_JSON
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


@cli.command(context_settings={"ignore_unknown_options": True})  # a formula may begin with a minus
@click.argument("what", metavar="RUN|RECIPE|FORMULA|FILE.prototxt")
@click.argument("inputs", nargs=-1, metavar="[INPUT | NAME=VALUE ...]")
@click.option("--class", "target", help="Of an image classifier: the class to ask about, not the one it answers.")
@_OUT
@_DEVICE
@_CODE
def explain(
    what: str, inputs: Sequence[str], target: str | None, out: str | None, device: str, code: tuple[str, ...]
) -> None:
    """Look inside a run, a recipe, a net description, a formula or a function of your own; one HTML file.

    A formula, "(x+y)*(y-z)" x=-1 y=3 z=2, or a function or module, FILE.py:NAME x=1 y=[1,2] z=randn(2,3), is shown as a
    computational graph with every value and gradient, here as text and in the file to step through. Beside a net
    description of Caffe's, data=3,224,224 says the sizes of an input that it leaves to the data.
    """
    from chainrule import api

    if api.is_computation(what, list(inputs)):
        from chainrule.inspect import to_text
        from chainrule.introspection.explain import explain_graph

        graph = api.explain_text(what, list(inputs))
        click.echo(to_text(graph))
        click.echo(explain_graph(graph, Path(out) if out else None))
        return
    click.echo(api.explain(what, list(inputs), target=target, out=out, device=device, code=code))


@cli.command()
@click.argument("run", type=click.Path())
@click.option("--to", type=click.Choice(["onnx", "torch"]), required=True)
@_OUT
@_CODE
@_AS_JSON
def export(run: str, to: str, out: str | None, code: tuple[str, ...], as_json: bool) -> None:
    """A file to deploy, checked against the model."""
    from chainrule import api

    result = api.export(run, to, out=out, code=code)
    if as_json:
        click.echo(json.dumps(result))
        return
    click.echo(
        f"{result['file']}: equal to the model within {result['largest_difference']:.2g} at batches {result['batches']}"
    )


@cli.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@_OUT
@_CODE
def report(runs: Sequence[str], out: str | None, code: tuple[str, ...]) -> None:
    """One HTML file on one run, or a comparison of several."""
    from chainrule import api

    click.echo(api.report(*runs, out=out, code=code))


@cli.group()
def data() -> None:
    """Known data sets, and checks of your own."""


@data.command("list")
def data_list() -> None:
    """Known data sets, and whether they are here."""
    from chainrule.data.catalog.sources import SOURCES, find

    rows: list[tuple[str, ...]] = [("name", "kind", "content", "split", "licence", "here")]
    for source in SOURCES.values():
        place = (
            f"with {source.shipped_with}"
            if source.shipped_with
            else str(find(source.name) or "no: chainrule data get " + source.name)
        )
        rows.append((source.name, source.kind, source.content, source.split, source.licence, place))
    _table(rows)


@data.command("get")
@click.argument("name")
def data_get(name: str) -> None:
    """Fetch a known data set, with its checksum."""
    from chainrule.data.catalog.sources import SOURCES, find, get

    place = find(name) if name in SOURCES and not SOURCES[name].shipped_with else None
    click.echo(place or get(name))


@data.command("check")
@click.argument("paths", nargs=-1, required=True, metavar="PATH|ROLE=PATH...")
@click.option("--target", help="The column of labels, for tables.")
@_AS_JSON
def data_check(paths: Sequence[str], target: str | None, as_json: bool) -> None:
    """Say what PATH is recognised as, with counts, and what is wrong with it; or train=PATH test=PATH and the like."""
    from chainrule.data.check import check

    found = check(request_of(parse_sources(paths) or "", target=target), target)
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
        return
    _table([(name, _plain(value)) for name, value in found.items()])


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        parts = [f"{name} {_plain(v)}" for name, v in value.items()]
        return ("; " if any("," in part for part in parts) else ", ").join(parts)
    if isinstance(value, (list, tuple)):
        return ",".join(_plain(v) for v in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _metrics(metrics: dict[str, float]) -> None:
    _table([(name, f"{value:.6g}") for name, value in metrics.items()])


def _table(rows: Sequence[Sequence[str]]) -> None:
    from chainrule.reporting.columns import aligned

    click.echo("\n".join(aligned(rows)))


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
