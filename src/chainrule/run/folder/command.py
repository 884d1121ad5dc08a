"""The command that makes a run again, from its record."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from chainrule.core.data.request import DataRequest
from chainrule.core.discovery import get_recipe
from chainrule.core.errors import UserError
from chainrule.core.settings import as_word, parameters
from chainrule.run.settings import run_settings


def command_of(record: Mapping[str, Any]) -> str:
    """The command that makes this run again: the one given, or that which Python's call amounts to."""
    if record.get("command") and " train " in record["command"]:
        return str(record["command"])
    words = ["chainrule", "train", record["recipe"]]
    words += [f"{key}={as_word(value)}" for key, value in changed_settings(record)]
    words += DataRequest.from_record(record["data"]).arguments
    words += ["--weights", record["weights"]] if record.get("weights") else []
    return shlex.join([*words, "--seed", str(record["seed"])])


def changed_settings(record: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The settings that are not at their defaults; all of them where the recipe is no longer there."""
    try:
        known = parameters(get_recipe(record["recipe"]).build, run_settings)
    except UserError:
        known = {}
    for key, value in {**record["settings"], **record["common"]}.items():
        default = known[key].default if key in known else None
        if (list(default) if isinstance(default, tuple) else default) != (
            list(value) if isinstance(value, tuple) else value
        ):
            yield key, value
