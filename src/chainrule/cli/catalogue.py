"""`list` and `show`: what there is."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import click

from chainrule.cli import completion
from chainrule.cli.group import cli
from chainrule.cli.output import print_table
from chainrule.cli.shared_options import AS_JSON
from chainrule.cli.spoken_help import wrapped
from chainrule.core.files.finite_json import to_json
from chainrule.core.language.chosen import language
from chainrule.core.language.settings import described
from chainrule.core.language.translation import translate
from chainrule.core.meanings import meaning_of
from chainrule.core.recipe import Recipe
from chainrule.core.settings import describe, parameters, shown_default


@cli.command("list")
@click.option("--family", help="Only this family.")
@AS_JSON
def list_(family: str | None, as_json: bool) -> None:
    """The recipes."""
    from chainrule.core.discovery import all_recipes
    from chainrule.core.errors import unknown
    from chainrule.data.catalog.places import how_to_get

    recipes = all_recipes().values()
    families = sorted({r.family for r in recipes})
    if family is not None and family not in families:
        raise unknown("there is no family", family, families)
    rows = [r for r in recipes if family in (None, r.family)]
    fields = ("name", "family", "task", "data", "source")
    if as_json:
        click.echo(to_json([{field: getattr(r, field) for field in fields} for r in rows]))
        return
    told = [tuple(getattr(r, field) for field in fields) for r in rows]
    marks = ["  ".join([row[3], f"({how})"]) if (how := how_to_get(row[3])) else row[3] for row in told]
    print_table(
        [
            tuple(map(translate, ("recipe", *fields[1:]))),
            *((*row[:2], translate(row[2]), mark, row[4]) for row, mark in zip(told, marks, strict=True)),
        ]
    )
    if any(mark.endswith(")") for mark in marks):
        _echo(
            "\n(download): by the first training, or chainrule data get; (by hand): that says how. Times: docs/recipes.md"
        )


@cli.command()
@click.argument("recipe", metavar="RECIPE|NETWORK|TOPIC|FILE.prototxt", shell_complete=completion.recipes)
@click.argument("inputs", nargs=-1, metavar="[NAME=C,H,W ...]")
@click.option("--out", type=click.Path(), help="For a topic: a file for its images, .html, .svg or .png.")
def show(recipe: str, inputs: Sequence[str], out: str | None) -> None:
    """A recipe's card: source, deviations, layers and shapes, parameters, target, settings, the command.

    Or the card of a network. Or a topic, `activations`, `losses`, `policies` or `networks`: a table of all of them; of
    the first three with --out their images. Or the layers of a net description of Caffe's, FILE.prototxt, or a solver and those of
    its network; data=3,224,224 says the sizes of an input that it leaves to the data, phase=TRAIN, stage=deploy and
    level=1 which layers are there.
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
    from chainrule.core.discovery import reading_options
    from chainrule.core.verbs import verb_options, verbs_of
    from chainrule.introspection.layers import card_text
    from chainrule.models import get_card
    from chainrule.run.settings import run_settings

    _echo(card_text(found, get_card(found.model) if found.model else None))
    for title, function, advice in (
        ("Settings", found.build, found.advice),
        ("Settings of every recipe", run_settings, ""),
    ):
        _echo(f"\n{title}:")
        _show_options(found, parameters(function))
        if advice:
            _echo(f"\n{advice}")
    reading = reading_options(found).values()
    if reading:
        _echo("\nHow its data are read:")
        _show_settings([(o.name, o.default, o.text if language() == "en" else o.text_zh, o.type) for o in reading])
    for verb in verbs_of(found):
        options = verb_options(found, verb)
        if options:
            _echo(f"\nOptions of {verb}:")
            _show_options(found, options, verb)


def _echo(text: str) -> None:
    click.echo(translate(text))


def _show_options(recipe: Recipe, options: Mapping[str, inspect.Parameter], verb: str = "") -> None:
    _show_settings(
        [
            (name, p.default, meaning_of(recipe, name, language(), verb=verb), p.annotation)
            for name, p in options.items()
        ]
    )


def _show_settings(rows: Sequence[tuple[str, Any, str, Any]]) -> None:
    """Each setting (name, default, meaning, type) with what it means and what it may be, lines set in below it."""
    heads = [f"  {name}={shown_default(default)}" for name, default, *_ in rows]
    wide = min(36, max(map(len, heads), default=0)) + 2
    for head, (_, _, meaning, annotation) in zip(heads, rows, strict=True):
        parts = filter(None, (meaning.rstrip(".。"), described(describe(annotation))))
        begin = head.ljust(wide) if len(head) < wide else head + "  "
        if language() == "en":
            click.echo(textwrap.fill("; ".join(parts), 118, initial_indent=begin, subsequent_indent=" " * wide))
        else:
            click.echo(begin + ("\n" + " " * wide).join(wrapped("；".join(parts), 118 - wide)))


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
    _echo(model_text(card, command))


def _show_description(file: str, words: Sequence[str], out: str | None) -> None:
    from chainrule.core.errors import UserError
    from chainrule.models import description_rows, read_description, solver_rows

    if out is not None:
        raise UserError("--out is for topics", found=f"the description {file}", cure=f"chainrule explain {file}")
    solver = solver_rows(file)
    if solver is not None:
        rows, notes_of_solver = solver
        _echo(f"{file} is a solver\n")
        print_table(rows)
        _echo("".join(f"\n{note}" for note in notes_of_solver))
    try:
        net, notes = read_description(file, words, empty=True)
    except UserError as error:
        if solver is None or words:
            raise
        click.echo(translate(f"the network of this solver cannot be shown: {error}"), err=True)
        return
    _echo(f"{net.name or file}, phase {net.phase}")
    for note in notes:
        _echo(note)
    click.echo()
    print_table(description_rows(net))


def _show_activations(out: str | None) -> None:
    from chainrule.reporting.activation_tables import LEGEND, activation_rows, write_activations

    place = None if out is None else write_activations(out)
    print_table(activation_rows())
    click.echo("\n" + "\n".join(LEGEND))
    if place is not None:
        click.echo(f"\n{place}")


def _show_losses(out: str | None) -> None:
    from chainrule.reporting.loss_tables import LEGEND, loss_rows, write_losses

    place = None if out is None else write_losses(out)
    print_table(loss_rows())
    click.echo("\n" + "\n".join(LEGEND))
    if place is not None:
        click.echo(f"\n{place}")


def _show_policies(out: str | None) -> None:
    from chainrule.reporting.policy_plots import policies_table, write_policies

    place = None if out is None else write_policies(out)
    print_table(policies_table())
    if place is not None:
        click.echo(f"\n{place}")


def _show_networks(out: str | None) -> None:
    from chainrule.core.errors import UserError
    from chainrule.introspection.layers import network_rows
    from chainrule.models import image_networks

    if out is not None:
        raise UserError("networks have no image in common", found=f"--out {out}", cure="chainrule explain RECIPE")
    print_table(network_rows(image_networks()))


_TOPICS = {  # of `show`
    "activations": _show_activations,
    "losses": _show_losses,
    "policies": _show_policies,
    "networks": _show_networks,
}
