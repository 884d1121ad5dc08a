"""Which files of code the user has named on this machine: kept in the user's own state, never in a run folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path

from chainrule.core.errors import ChainruleError
from chainrule.core.files.atomic import write_bytes
from chainrule.core.files.home import home_folder
from chainrule.core.own_code.loading import OwnFile

_named_here: set[str] = set()  # in this process, also where the state cannot be written


def state_folder() -> Path:
    """Where it is remembered: a file for each path, name and content that was named."""
    default = os.environ.get("XDG_STATE_HOME") or os.environ.get("LOCALAPPDATA") or home_folder() / ".local" / "state"
    return Path(default) / "chainrule" / "own-code"


def remember(file: OwnFile) -> None:
    """The user has named it: what a run folder names by this path, name and content may run from now on."""
    key = _key(file)
    _named_here.add(key)
    with contextlib.suppress(OSError, ChainruleError):  # then the user is asked again
        folder = state_folder()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not (folder / key).is_file():
            write_bytes(folder / key, json.dumps(asdict(file)).encode())


def is_named(file: OwnFile) -> bool:
    """Whether the user has named exactly this: path, name, content, and the content of what it imports."""
    try:
        return _key(file) in _named_here or (state_folder() / _key(file)).is_file()
    except (OSError, ChainruleError):
        return False


def _key(file: OwnFile) -> str:
    return hashlib.sha256(json.dumps(asdict(file), sort_keys=True).encode()).hexdigest()
