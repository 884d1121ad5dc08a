"""Image files decoded once: into a file in the cache that later starts map into memory."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from chainrule.data.catalog.sources import cache_folder
from chainrule.data.images.decoding import decode, ignore_warnings
from chainrule.data.images.packed import ImageFile, state_of

CACHED_FROM = 500  # images; fewer are decoded in a second or two
MOST_BYTES = 20 * 2**30  # of all cached sets together; the least lately used go first
WAITING = 1024  # images that are handed to the threads at a time
LEFT_S = 86_400  # a file that grows and has not been touched for so long has nobody who writes it
FORM = 1  # of what is cached: another number leaves older files unread


def decoded(
    files: Sequence[ImageFile], size: int, channels: int, margin: float | None = None, border: int = 0
) -> np.ndarray:
    """The images as bytes (N, size, size, channels), in the order of the files; see `decode` for margin and border.

    Threads decode them. Of many images the result is kept: the same files, by name, length and time of change, are
    not opened again. A cache that cannot be written is done without.

    Raises:
        UserError: for the first of the files that is no image; nothing is kept then.
    """
    shape = (len(files), size, size, channels)
    if len(files) >= CACHED_FROM:
        found = map_decoded(files, size, channels, margin, border, mode="c")
        if found is not None:
            return found
    return _decode_into(np.empty(shape, np.uint8), files, margin, border)


def map_decoded(
    files: Sequence[ImageFile],
    size: int,
    channels: int,
    margin: float | None = None,
    border: int = 0,
    mode: Literal["r", "c"] = "r",
) -> np.ndarray | None:
    """The same images, mapped from the cache, where they are put if they are not there; None where it cannot be written.

    Mapped with `r` they take none of the memory that a limit counts; `c` lets what is read be written to.
    """
    shape = (len(files), size, size, channels)
    place = cache_folder() / "pictures" / f"{_key(files, size, channels, margin, border)}.npy"
    with contextlib.suppress(OSError, ValueError):  # not there, or broken: it is made anew
        found = np.load(place, mmap_mode=mode, allow_pickle=False)
        if found.shape == shape and found.dtype == np.uint8:
            os.utime(place)
            return found
    growing = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        make_room(place.parent, int(np.prod(shape)))
        mapped = np.lib.format.open_memmap(growing, "w+", np.uint8, shape)
    except OSError:
        return None
    try:
        _decode_into(mapped, files, margin, border)
        mapped.flush()
        growing.replace(place)
    except BaseException:
        growing.unlink(missing_ok=True)
        raise
    return np.load(place, mmap_mode=mode, allow_pickle=False)


def _decode_into(out: np.ndarray, files: Sequence[ImageFile], margin: float | None, border: int) -> np.ndarray:
    with ignore_warnings():
        return decode_files_into(out, files, margin, border)


def decode_files_into(out: np.ndarray, files: Sequence[ImageFile], margin: float | None, border: int) -> np.ndarray:
    """The files decoded into `out` (N, H, W, C) by threads, in their order."""
    one = partial(decode, channels=out.shape[3], size=(out.shape[1], out.shape[2]), margin=margin, border=border)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            for first in range(0, len(files), WAITING):  # what waits for a thread takes memory too
                for index, image in enumerate(pool.map(one, files[first : first + WAITING]), first):
                    out[index] = image
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return out


def _key(files: Sequence[ImageFile], size: int, channels: int, margin: float | None, border: int) -> str:
    """Says what the result depends on; a file that is gone is told of when it is decoded."""
    known = []
    for file in files:
        with contextlib.suppress(OSError):
            known.append(state_of(file))
    text = json.dumps([FORM, size, channels, margin, border, known])
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def make_room(folder: Path, wanted: int) -> None:
    """Removes what was least lately used until what stays and what comes are within the bound; and what a kill left."""
    for growing in folder.glob(".*.npy.*"):
        if growing.stat().st_mtime < time.time() - LEFT_S:
            growing.unlink(missing_ok=True)
    kept = sorted(folder.glob("*.npy"), key=lambda file: file.stat().st_mtime_ns, reverse=True)
    total = wanted
    for file in kept:
        total += file.stat().st_size
        if total > MOST_BYTES:
            file.unlink(missing_ok=True)
            file.with_suffix(".json").unlink(missing_ok=True)  # what a text's codes mean
