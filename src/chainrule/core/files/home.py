"""The user's home folder, below which caches and states are kept."""

from __future__ import annotations

from pathlib import Path

from chainrule.core.errors import UserError


def home_folder() -> Path:
    """The home folder; UserError where the system knows none: no HOME, and a user that has no entry."""
    try:
        return Path.home()
    except (RuntimeError, KeyError):
        raise UserError(
            "there is no home folder for what is downloaded", cure="set HOME, or CHAINRULE_CACHE to a folder"
        ) from None
