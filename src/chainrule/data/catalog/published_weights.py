"""Published weights: where their files are, or how to get them. The end of such a name is the beginning of its sum."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from chainrule.core.errors import UserError
from chainrule.core.files.home import home_folder
from chainrule.data.catalog.download import download, sha256_of
from chainrule.data.catalog.sources import cache_folder


def weights_folders() -> list[Path]:
    """Where files of weights are looked for: below CHAINRULE_DATA, the cache, and where torchvision keeps its own."""
    mirrors = os.environ.get("CHAINRULE_DATA")
    torch_home = (
        os.environ.get("TORCH_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or home_folder() / ".cache") / "torch"
    )
    return [
        *([Path(mirrors) / "weights"] if mirrors else []),
        cache_folder() / "weights",
        Path(torch_home) / "hub" / "checkpoints",
    ]


def find_weights(address: str, sha256_prefix: str, say: Callable[[str], object] = lambda text: None) -> Path:
    """The file of published weights; where it is not here, it is fetched into the cache.

    Args:
        address: of the file.
        sha256_prefix: how its SHA-256 begins.
        say: is told before the fetching begins.

    Raises:
        UserError: where it cannot be fetched (it names the file, the address, and where to put it), or a file of this
            name is not the published one.
    """
    name = address.rpartition("/")[2]
    for folder in weights_folders():
        file = folder / name
        if file.is_file():
            found = sha256_of(file)
            if not found.startswith(sha256_prefix):
                raise UserError(
                    "a file of weights is not the published one",
                    where=file,
                    expected=f"SHA-256 {sha256_prefix}...",
                    found=found,
                    cure=f"remove it, and fetch it again from {address}",
                )
            return file
    file = cache_folder() / "weights" / name
    say(f"fetching {address}")
    download(
        address,
        file,
        sha256=sha256_prefix,
        what=f"the file of weights {name}",
        cure=f"put {name} into {weights_folders()[0]}, or name it: --weights FILE",
    )
    return file
