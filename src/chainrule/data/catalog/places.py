"""Where the files of known data sets are: light enough for a list of recipes that says which of them are here."""

from __future__ import annotations

import os
from pathlib import Path

from chainrule.core.errors import UserError
from chainrule.core.files.home import home_folder
from chainrule.data.catalog import images, series, tables, texts

SOURCES = {source.name: source for source in (*images.SOURCES, *tables.SOURCES, *series.SOURCES, *texts.SOURCES)}


def cache_folder() -> Path:
    """Where fetched data sets are kept: CHAINRULE_CACHE, else the user's cache folder."""
    if named := os.environ.get("CHAINRULE_CACHE"):
        return Path(named)
    caches = os.environ.get("LOCALAPPDATA") or os.environ.get("XDG_CACHE_HOME") or home_folder() / ".cache"
    return Path(caches) / "chainrule"


def find(name: str) -> Path | None:
    """The folder that holds a known data set's files, or None where it must be fetched first."""
    source = SOURCES[name]
    mirrors = os.environ.get("CHAINRULE_DATA")
    for root in [Path(mirrors)] if mirrors else []:
        for place in (root / name, root / (source.folder or name)):
            if all((place / file).is_file() for file in source.files):
                return place
    try:
        folder = cache_folder() / name
    except UserError:  # nothing can have been fetched
        return None
    return folder if all((folder / file).is_file() for file in source.files) else None


def how_to_get(name: str) -> str:
    """What comes before a first training on these data: a download, or files to be had by hand; empty where they are here."""
    source = SOURCES.get(name)
    return source.how_to_get if source is not None and source.how_to_get and find(name) is None else ""
