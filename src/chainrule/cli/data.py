"""`data list`, `data get` and `data check`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from chainrule.cli.group import cli
from chainrule.cli.output import plain, print_table
from chainrule.cli.shared_options import AS_JSON
from chainrule.cli.words import SettingsCommand
from chainrule.core.data.words import parse_sources, request_of, separate_options
from chainrule.core.files.finite_json import to_json
from chainrule.core.language.translation import translate
from chainrule.core.settings import bind_to


@cli.group()
def data() -> None:
    """Known data sets, and checks of your own."""


@data.command("list")
def data_list() -> None:
    """Known data sets, and whether they are here."""
    from chainrule.data.catalog.sources import SOURCES, find

    rows = [tuple(map(translate, ("name", "kind", "content", "split", "licence", "here")))]
    for source in SOURCES.values():
        place = (
            f"with {source.shipped_with}"
            if source.shipped_with
            else str(find(source.name) or "no: chainrule data get " + source.name)
        )
        rows.append((source.name, source.kind, source.content, source.split, source.licence, place))
    print_table(rows)


@data.command("get")
@click.argument("name")
def data_get(name: str) -> None:
    """Fetch a known data set, with its checksum."""
    from chainrule.data.catalog.sources import SOURCES, find, get

    place = find(name) if name in SOURCES and not SOURCES[name].shipped_with else None
    click.echo(place or get(name))


@data.command("check", cls=SettingsCommand)
@click.argument("words", nargs=-1, required=True, metavar="PATH|ROLE=PATH... [KEY=VALUE ...]")
@click.option("--target", help="The column of labels, for tables.")
@AS_JSON
def data_check(words: Sequence[str], target: str | None, as_json: bool) -> None:
    """Say what PATH is recognised as, with counts, and what is wrong with it; or train=PATH test=PATH and the like.

    KEY=VALUE says how it is read, as for train: encoding=gb18030.
    """
    from chainrule.core.discovery import all_options

    known = {option.name: option.parameter for option in all_options()}
    paths, pairs = separate_options(words, known)
    bound = bind_to(pairs, known, owner="data check")
    from chainrule.data.check import check

    options = {name: bound[name] for name in pairs if bound[name] is not None}
    request = request_of(parse_sources(paths) or "", target=target, options=options)
    found = check(request, request.target)
    if as_json:
        click.echo(to_json(found))
        return
    print_table([(translate(name), plain(_told(name, value))) for name, value in found.items()])


_OF_THE_DATA = {
    "where",
    "target",
    "columns",
    "categories",
    "first text",
    "first line",
    "train by class",
}  # not our words


def _told(name: str, value: Any) -> Any:
    """What `check` found, in the language that is spoken; names and texts of the data stay."""
    if name in _OF_THE_DATA:
        return value
    if isinstance(value, dict):
        return {key: _told("", each) for key, each in value.items()}
    return translate(value) if isinstance(value, str) else value
