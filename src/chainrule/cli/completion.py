"""What a shell completes: names of recipes, settings of a recipe, names of data sets, all read from the records.

eval "$(_CHAINRULE_COMPLETE=bash_source chainrule)"      # or zsh_source, fish_source
"""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem


def recipes(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Recipes that begin so, each with its summary."""
    from chainrule.core.discovery import all_recipes

    return [CompletionItem(r.name, help=r.summary) for r in all_recipes().values() if r.name.startswith(incomplete)]


def settings(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Settings `key=` of the recipe named before, behind its own how its data are read, and those of every recipe."""
    from chainrule.core.discovery import all_recipes, known_settings
    from chainrule.core.settings import describe, parameters
    from chainrule.run.settings import run_settings

    found = all_recipes().get(context.params.get("recipe") or "")
    known = {**(known_settings(found) if found else {}), **parameters(run_settings)}
    return [
        CompletionItem(f"{name}=", help=describe(p.annotation))
        for name, p in known.items()
        if name.startswith(incomplete)
    ]


def data(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Known data sets that begin so, and files and folders."""
    from chainrule.data.catalog.sources import SOURCES

    names = [CompletionItem(source.name, help=source.content) for source in SOURCES.values()]
    return [item for item in names if item.value.startswith(incomplete)] or [CompletionItem(incomplete, type="file")]
