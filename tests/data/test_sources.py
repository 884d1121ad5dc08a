"""Known data sets that come as an archive: complete or not at all. The address is a file's."""

from __future__ import annotations

import io
import os
import tarfile
import time
from pathlib import Path

import pytest

from chainrule.core.errors import UserError
from chainrule.data.catalog import sources
from chainrule.data.catalog.sources import Source, find, get
from chainrule.data.images import cache as decoded

FILES = ("pos.txt", "deep/neg.txt")


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data set `packed` whose archive has a folder of its own around one of the two files."""
    monkeypatch.setenv("CHAINRULE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CHAINRULE_DATA", raising=False)
    file = tmp_path / "packed.tar.gz"
    with tarfile.open(file, "w:gz") as tar:
        for name in ("around/pos.txt", "deep/neg.txt", "readme"):
            info = tarfile.TarInfo(name)
            info.size = len(name)
            tar.addfile(info, io.BytesIO(name.encode()))
    source = Source("packed", "text", "", "", "", file.as_uri(), dict.fromkeys(FILES))
    monkeypatch.setitem(sources.SOURCES, "packed", source)
    return file


def test_files_come_out_of_the_archive(archive: Path, tmp_path: Path) -> None:
    assert find("packed") is None
    folder = get("packed")
    assert find("packed") == folder == tmp_path / "cache" / "packed"
    assert [(folder / name).read_text() for name in FILES] == ["around/pos.txt", "deep/neg.txt"]
    assert sorted(path.name for path in folder.rglob("*")) == ["deep", "neg.txt", "pos.txt"]


def test_a_broken_archive_is_told_and_leaves_nothing(archive: Path, tmp_path: Path) -> None:
    whole = archive.read_bytes()
    for content in (whole[: len(whole) // 2], b"no archive"):
        archive.write_bytes(content)
        with pytest.raises(UserError, match="cannot be read"):
            get("packed")
        assert not list((tmp_path / "cache" / "packed").rglob("*"))
    archive.write_bytes(whole)
    assert find("packed") is None and get("packed")  # fetched anew, though it was here before


@pytest.mark.parametrize("kind", ["../", "/", "link", "hard link", "device"])
def test_an_archive_writes_nothing_outside(kind: str, archive: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    with tarfile.open(archive, "w:gz") as tar:
        names = {"../": "../../../outside/pos.txt", "/": f"{outside}/pos.txt"}
        info = tarfile.TarInfo(names.get(kind, "pos.txt"))
        if kind in ("link", "hard link"):
            info.type, info.linkname = tarfile.SYMTYPE if kind == "link" else tarfile.LNKTYPE, "../../../outside"
        elif kind == "device":
            info.type = tarfile.CHRTYPE
        else:
            info.size = 4
        tar.addfile(info, io.BytesIO(b"evil"))
    if kind == "/":  # the leading slash is taken off, and the file stays inside
        get("packed")
    else:
        with pytest.raises(UserError, match="cannot be read"):
            get("packed")
    assert not list(outside.iterdir())


def test_a_cache_that_was_killed_while_it_grew_is_cleared(tmp_path: Path) -> None:
    old, new, whole = (tmp_path / name for name in (".a.npy.1", ".b.npy.2", "c.npy"))
    for file in (old, new, whole):
        file.write_bytes(b"x")
    for file in (old, whole):
        os.utime(file, (time.time() - 100_000,) * 2)
    decoded.make_room(tmp_path, 0)
    assert (old.exists(), new.exists(), whole.exists()) == (False, True, True)
