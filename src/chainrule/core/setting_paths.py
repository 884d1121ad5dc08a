"""Settings that are paths, `of=RUN`, `style=FILE`: kept whole, so that a run is resumed and answers from any folder."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chainrule.core.files.named_paths import expect_path, is_there
from chainrule.core.settings import names_beside_paths


def located(settings: Mapping[str, Any], known: Mapping[str, inspect.Parameter]) -> dict[str, Any]:
    """The settings of a recipe, each path that is there made absolute; UserError for one that no file can have."""
    return {name: _whole(name, value, known) for name, value in settings.items()}


def found_again(
    settings: Mapping[str, Any], known: Mapping[str, inspect.Parameter], working_folder: str | None
) -> dict[str, Any]:
    """Settings as a run keeps them, with the paths at which things lie now.

    What is not where it was is looked for as it was named: `working_folder` is the one in which that was. A run of an
    earlier version kept the name alone.
    """
    if working_folder is None:
        return dict(settings)
    found = dict(settings)
    for name, value in settings.items():
        if _is_path(name, value, known):
            places = [str(Path(working_folder) / value), value]
            places += [os.path.relpath(value, working_folder)] if Path(value).is_absolute() else []
            found[name] = next((place for place in places if is_there(place)), value)
    return found


def _whole(name: str, value: Any, known: Mapping[str, inspect.Parameter]) -> Any:
    if not _is_path(name, value, known):
        return value
    expect_path(name, value)
    return str(Path(value).absolute()) if is_there(value) else value


def _is_path(name: str, value: Any, known: Mapping[str, inspect.Parameter]) -> bool:
    names = names_beside_paths(known[name].annotation) if name in known else None
    return isinstance(value, str) and value != "" and names is not None and value not in names
