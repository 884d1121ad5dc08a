"""Texts too long for memory: encoded once, a part at a time, into a file in the cache that is then mapped."""

from __future__ import annotations

import codecs
import contextlib
import hashlib
import json
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from chainrule.core.files import atomic
from chainrule.data.catalog.sources import cache_folder
from chainrule.data.formats.encoding import decode, encoding_of, not_decoded
from chainrule.data.images.cache import make_room

READ_AT_A_TIME = 2**20  # bytes, and what is left of the line
ZEROS = 0.2  # of the characters of a text may be zeros; in UTF-16 half of the bytes of Western letters are
FORM = 1  # of what is cached: another number leaves older files unread

Encode = Callable[[str, list[str], object], Tensor]


def map_codes(
    texts: Mapping[str, Sequence[Path]], characters: int, encode: Encode, encoding: str | None = None
) -> tuple[list[str], dict[str, Tensor]]:
    """The vocabulary of some texts, and the characters' numbers (N,) of each, mapped from the cache.

    Args:
        texts: the files of each; several are one text, with a line end between them where it lacks.
        characters: of each text, only so many from the beginning (0: all).
        encode: gives the numbers of the characters of a part, from the vocabulary.
        encoding: of the files, as the user names it; without it UTF-8, or what a byte-order mark says.

    Raises:
        UserError: a file is no such text: line and byte are named.
        OSError: the cache cannot be written.
    """
    folder = cache_folder() / "texts"
    note = folder / f"{_key(texts, characters, encoding)}.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # not there, or broken: it is made anew
        return _mapped(note, list(texts))
    # 1. The vocabulary, and how many characters each text has.
    found: set[str] = set()
    counts = dict.fromkeys(texts, 0)
    for name, files in texts.items():
        for part in _parts(files, characters, encoding):
            found.update(part)
            counts[name] += len(part)
    vocabulary = sorted(found)
    # 2. Their numbers, part after part, one text after the other in one file.
    kind = encode("", vocabulary, "").numpy().dtype
    folder.mkdir(parents=True, exist_ok=True)
    make_room(folder, sum(counts.values()) * kind.itemsize)
    growing, place = folder / f".{note.stem}.npy.{os.getpid()}", note.with_suffix(".npy")
    try:
        codes = np.lib.format.open_memmap(growing, "w+", kind, (sum(counts.values()),))
        end = 0
        for files in texts.values():
            for part in _parts(files, characters, encoding):
                codes[end : end + len(part)] = encode(part, vocabulary, "").numpy()
                end += len(part)
        codes.flush()
        growing.replace(place)
    except BaseException:
        growing.unlink(missing_ok=True)
        raise
    atomic.write_json(note, {"vocabulary": vocabulary, "counts": counts})
    return _mapped(note, list(texts))


def _mapped(note: Path, names: Sequence[str]) -> tuple[list[str], dict[str, Tensor]]:
    known = json.loads(note.read_text("utf-8"))
    codes = np.load(note.with_suffix(".npy"), mmap_mode="r", allow_pickle=False)
    ends = np.cumsum([0, *(known["counts"][name] for name in names)]).tolist()
    if ends[-1] != len(codes):
        raise ValueError
    os.utime(note.with_suffix(".npy"))
    with warnings.catch_warnings():  # it may not be written to, and is not
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        whole = torch.from_numpy(np.asarray(codes))
    return known["vocabulary"], {name: whole[a:b] for name, a, b in zip(names, ends, ends[1:], strict=False)}


def _parts(files: Sequence[Path], characters: int, encoding: str | None) -> Iterator[str]:
    """The text of some files in parts that end with lines."""
    left = characters or None
    for number, file in enumerate(files):
        last = ""
        for part in _parts_of(file, encoding):
            last = part[:left]
            yield last
            if left is not None:
                left -= len(last)
                if not left:
                    return
        if number + 1 < len(files) and not last.endswith("\n"):
            yield "\n"
            if left is not None:
                left -= 1
                if not left:
                    return


def _parts_of(file: Path, encoding: str | None) -> Iterator[str]:
    with file.open("rb") as stream:
        name = encoding_of(stream.read(2**16), encoding)
        stream.seek(0)
        decoder = codecs.getincrementaldecoder(name)()
        line, at, first = 0, 0, True
        while content := stream.read(READ_AT_A_TIME) + stream.readline():
            try:
                text = decoder.decode(content, final=not stream.peek(1))
            except UnicodeDecodeError as error:
                whole = bytes(error.object)  # with what was left of the part before
                before = at + len(content) - len(whole)
                raise not_decoded(file, whole, error, named=encoding, lines=line, bytes_before=before) from None
            if text.count("\0") > ZEROS * len(text):
                decode(content, file, encoding, zeros=ZEROS)  # says that it is no text
            yield text.removeprefix("\ufeff") if first else text
            line, at, first = line + content.count(b"\n"), at + len(content), False


def _key(texts: Mapping[str, Sequence[Path]], characters: int, encoding: str | None) -> str:
    known = [
        [name, *((str(f.resolve()), s.st_size, s.st_mtime_ns) for f in files if (s := f.stat()))]
        for name, files in texts.items()
    ]
    text = json.dumps([FORM, characters, known, *([encoding] if encoding else [])])
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
