"""`explain`, `export` and `report`: what a run is made of, and what it leaves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from chainrule.cli.group import cli
from chainrule.cli.shared_options import AS_JSON, CODE, DEVICE, OUT
from chainrule.cli.words import InputsCommand
from chainrule.core.files.finite_json import to_json
from chainrule.core.language.translation import translate


@cli.command(cls=InputsCommand)
@click.argument("what", metavar="RUN|RECIPE|NETWORK|FORMULA|FILE.prototxt")
@click.argument("inputs", nargs=-1, metavar="[INPUT | NAME=VALUE ...]")
@click.option("--class", "target", help="Of an image classifier: the class to ask about, not the one it answers.")
@OUT
@DEVICE
@CODE
def explain(
    what: str, inputs: Sequence[str], target: str | None, out: str | None, device: str, code: tuple[str, ...]
) -> None:
    """Look inside a run, a recipe, a network, a net description, a formula or a function of your own; one HTML file.

    A formula, "(x+y)*(y-z)" x=-1 y=3 z=2, or a function or module, FILE.py:NAME x=1 y=[1,2] z=randn(2,3), is shown as a
    computational graph with every value and gradient, here as text and in the file to step through. Beside a net
    description of Caffe's, data=3,224,224 says the sizes of an input that it leaves to the data.
    """
    from chainrule import api

    if api.is_computation(what, list(inputs)):
        from chainrule.inspect import to_text
        from chainrule.introspection.explain import explain_graph

        graph = api.explain_text(what, list(inputs))
        click.echo("\n".join(map(translate, to_text(graph).splitlines())))
        click.echo(explain_graph(graph, Path(out) if out else None))
        return
    click.echo(api.explain(what, list(inputs), target=target, out=out, device=device, code=code))


@cli.command()
@click.argument("run", type=click.Path())
@click.option("--to", type=click.Choice(["onnx", "torch"]), required=True)
@OUT
@CODE
@AS_JSON
def export(run: str, to: str, out: str | None, code: tuple[str, ...], as_json: bool) -> None:
    """A file to deploy, checked against the model."""
    from chainrule import api

    result = api.export(run, to, out=out, code=code)
    if as_json:
        click.echo(to_json(result))
        return
    own = result["own_samples"]
    words = (
        f"{result['file']}: equal to the model within {result['largest_difference']:.2g} at batches {result['batches']}, "
        + (f"and on {own:,} of the data's own samples" if own else "of random inputs: the data are not at hand")
    )
    click.echo(translate(words))


@cli.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@OUT
@CODE
def report(runs: Sequence[str], out: str | None, code: tuple[str, ...]) -> None:
    """One HTML file on one run, or a comparison of several."""
    from chainrule import api

    click.echo(api.report(*runs, out=out, code=code))
