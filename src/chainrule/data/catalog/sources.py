"""Known data sets: where their files are, or how to get them. A name resolves to a folder; a path to itself.

The order: what ships inside a dependency; the mirrors below CHAINRULE_DATA; the cache; the official address. A name is
never a path: of a folder that is called like a known data set the path is `./digits`.
The data sets stand in `images`, `tables`, `series` and `texts` beside this.
"""

from __future__ import annotations

import difflib
import itertools
import os
from dataclasses import replace
from pathlib import Path

from chainrule.core.data.request import DataRequest
from chainrule.core.errors import UserError, unknown
from chainrule.core.files.regular_files import expect_regular
from chainrule.data.catalog.checksums import expect_published, note_sums
from chainrule.data.catalog.download import download
from chainrule.data.catalog.places import SOURCES as SOURCES
from chainrule.data.catalog.places import cache_folder as cache_folder
from chainrule.data.catalog.places import find as find
from chainrule.data.catalog.record import Source
from chainrule.data.given.source import MARK, Given, not_here


def resolve(name: str) -> Source | Path:
    """A path to the user's own data, or a Source that ships with a dependency, or the folder of a known data set.

    A Source also where the data were given in Python.
    """
    if isinstance(name, Given):
        return name.source
    if name.startswith(MARK):
        raise not_here(name)
    if name not in SOURCES:
        if not is_path(name):
            raise _missing(name)
        expect_regular(name)
        return Path(name)
    source = SOURCES[name]
    if source.shipped_with:
        return source
    folder = find(name) or get(name)
    expect_published(source, folder)
    return folder / next(iter(source.files)) if source.is_one_table else folder


def is_path(name: str) -> bool:
    """Whether there is something at a path; FILE.xlsx#SHEET is one of a workbook.

    >>> is_path("."), is_path("")
    (True, False)
    """
    try:
        return bool(name) and (Path(name).exists() or Path(name.rpartition("#")[0] or "#").is_file())
    except (OSError, ValueError):  # too long for a path
        return False


def expect_one_meaning(*names: str) -> None:
    """UserError where a name that the user wrote is that of a known data set, and of something in the working folder too."""
    for name in names:
        if name in SOURCES and is_path(name):
            raise UserError(
                f"{name} is a known data set, and there is a path of that name",
                where=Path(name).absolute(),
                found=f"--data {name}",
                cure=f"--data ./{name} for the path; rename or move it for the data set",
            )


def located(request: DataRequest) -> DataRequest:
    """The request with the absolute path of each source that is one, so that it is found from another working folder."""
    named = {
        role: name for role, name in request.sources.items() if not isinstance(name, Given) and name not in SOURCES
    }
    return replace(request, places={role: str(Path(name).absolute()) for role, name in named.items() if is_path(name)})


def expect_there(request: DataRequest) -> None:
    """UserError where a path that a run began with is gone: it says where it was."""
    for role, place in (request.places or {}).items():
        name = request.sources[role]
        if not is_path(name) and not is_path(place):
            raise UserError(
                f"there is no data set and no path {name!r}",
                where=place,
                found="nothing there now; there it was when the run began",
                cure="put the data back, or name others: --data PATH",
            )


def same_place(one: str, other: str) -> bool:
    """Whether two names mean the same data: the same word, or the same place however it is written."""
    paths = [name not in SOURCES and is_path(name) and Path(name).exists() for name in (one, other)]
    return one == other or (all(paths) and Path(one).samefile(other))


def _missing(name: str) -> UserError:
    """The error for what is neither a path nor a known data set. A path is told how much of it is there."""
    path = Path(name)
    if path.name == name:
        return unknown(
            "there is no data set and no path",
            name,
            SOURCES,
            near=_held_by(Path()),
            expected="a path, or one of ",
            cure="chainrule data list",
        )
    there = next(folder for folder in path.parents if folder.exists() or folder == folder.parent)
    lacking = path.relative_to(there).parts[0]
    close = [there / each for each in difflib.get_close_matches(lacking, _held_by(there), n=3)]
    hint = f"; did you mean {' or '.join(map(str, close))}?" if close else ""
    return UserError(
        f"there is no data set and no path {name!r}{hint}", found=f"{there.absolute()}, without {lacking!r} in it"
    )


def _held_by(folder: Path) -> list[str]:
    """The first thousand names in a folder that are not hidden; none where it cannot be read."""
    try:
        return [entry.name for entry in itertools.islice(folder.iterdir(), 1000) if not entry.name.startswith(".")]
    except OSError:
        return []


def get(name: str) -> Path:
    """Fetches a known data set into the cache and checks it; the error names file, address and where to put it."""
    if name not in SOURCES:
        raise unknown("there is no data set", name, SOURCES)
    source, folder = SOURCES[name], cache_folder() / name
    if source.shipped_with:
        raise UserError(f"{name} ships with {source.shipped_with}: there is nothing to fetch")
    if not source.address:
        raise UserError(
            f"the data set {name!r} is not here and cannot be fetched",
            expected=", ".join(source.files),
            cure=f"put them into {folder}; they are {source.made}",
        )
    if source.address.endswith((".tar.gz", ".tgz")):
        return _get_archive(source, folder)
    for file, digest in source.files.items():
        if not (folder / file).is_file():
            _fetch(source.address + file, folder / file, digest, name)
    return folder


def _get_archive(source: Source, folder: Path) -> Path:
    import tarfile
    import tempfile
    import zlib

    archive = folder / source.address.rpartition("/")[2]
    if not archive.is_file():
        _fetch(source.address, archive, source.archive_sha256, source.name)
    with tempfile.TemporaryDirectory(prefix=".", dir=folder) as inside:  # a kill leaves no half file in its place
        try:
            with tarfile.open(archive) as tar:
                tar.extractall(inside, filter="data")
        except (tarfile.TarError, EOFError, zlib.error) as error:
            archive.unlink()
            raise UserError(
                f"the archive of the data set {source.name!r} cannot be read",
                where=source.address,
                found=error,
                cure="fetch it again",
            ) from None
        for name in source.files:  # some archives have a folder of their own around them
            found = next(Path(inside).rglob(Path(name).name), None)
            if found is not None:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                found.replace(folder / name)
    archive.unlink()
    note_sums(folder, source.files)
    return folder


def _fetch(address: str, file: Path, digest: str | None, name: str) -> None:
    mirrors = os.environ.get("CHAINRULE_DATA")
    place = Path(mirrors) / name if mirrors else cache_folder() / name
    download(
        address,
        file,
        sha256=digest,
        what=f"the data set {name!r}",
        cure=f"put {file.name} into {place}, or set CHAINRULE_DATA to a folder that has {name}/{file.name}",
    )
