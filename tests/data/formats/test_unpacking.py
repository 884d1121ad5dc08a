"""Small files that unpack to more than the memory holds are refused with the bytes, before those are kept."""

from __future__ import annotations

import gzip
import io
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from chainrule.core import memory
from chainrule.core.errors import UserError
from chainrule.data.check import check
from chainrule.data.formats import unpacking
from chainrule.data.formats.npz import rank_of_inputs, read_npz
from chainrule.data.formats.unpacking import read_unpacked
from chainrule.data.images.published import read_idx
from chainrule.data.tables.formats.table_files import read_cells
from chainrule.run.weights.files import read_weights

ALLOWED = 2**20  # bytes of memory, in these tests


@pytest.fixture
def small_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "memory_bytes", lambda: ALLOWED)
    monkeypatch.setattr(unpacking, "SMALL", 2**16)
    monkeypatch.setattr(unpacking, "PIECE", 2**16)


def csv_gz(folder: Path) -> Path:
    place = folder / "t.csv.gz"
    place.write_bytes(gzip.compress(b"a,b\n" + b"1,2\n" * 2**20))
    return place


def jsonl_gz(folder: Path) -> Path:
    place = folder / "t.jsonl.gz"
    place.write_bytes(gzip.compress(b'{"a": 1}\n' * 2**18))
    return place


def xlsx(folder: Path) -> Path:
    openpyxl = pytest.importorskip("openpyxl")
    book, place = openpyxl.Workbook(), folder / "t.xlsx"
    book.active.append(["a", "b"])
    book.active.append([1, 2])
    book.save(place)
    with zipfile.ZipFile(place, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/media/image.png", bytes(2**21))
    return place


def parquet(folder: Path) -> Path:
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pa.table({"a": np.zeros(2**19), "b": np.zeros(2**19)}), folder / "t.parquet")
    return folder / "t.parquet"


def idx_gz(folder: Path) -> Path:
    place = folder / "train-images-idx3-ubyte.gz"
    place.write_bytes(gzip.compress(b"\0\0\x08\x01" + (2**21).to_bytes(4, "big") + bytes(2**21)))
    return place


def npz(folder: Path) -> Path:
    np.savez_compressed(folder / "t.npz", x=np.zeros(2**19))
    return folder / "t.npz"


def state_dict(folder: Path) -> Path:
    torch.save({"w": torch.zeros(2**19)}, folder / "raw.pth")
    with zipfile.ZipFile(folder / "raw.pth") as raw, zipfile.ZipFile(folder / "w.pth", "w", zipfile.ZIP_DEFLATED) as to:
        for part in raw.infolist():
            to.writestr(part.filename, raw.read(part))
    return folder / "w.pth"


READERS: list[tuple[Callable[[Path], Path], Callable[[Path], object]]] = [
    (csv_gz, read_cells),
    (csv_gz, lambda place: check(str(place), None)),
    (jsonl_gz, read_cells),
    (xlsx, read_cells),
    (parquet, read_cells),
    (idx_gz, read_idx),
    (npz, lambda place: read_npz(place, "x")),
    (state_dict, read_weights),
]


@pytest.mark.usefixtures("small_machine")
@pytest.mark.parametrize(("make", "read"), READERS, ids=lambda value: value.__name__.strip("<>"))
def test_what_unpacks_to_too_much_is_refused(
    make: Callable[[Path], Path], read: Callable[[Path], object], tmp_path: Path
) -> None:
    place = make(tmp_path)
    assert place.stat().st_size < ALLOWED
    with pytest.raises(UserError, match=r"(?s)not enough memory.*a need of .* bytes"):
        read(place)


@pytest.mark.usefixtures("small_machine")
def test_nothing_of_it_is_kept_while_it_is_counted(tmp_path: Path) -> None:
    place = csv_gz(tmp_path)
    tracemalloc.start()
    try:
        with pytest.raises(UserError):
            read_unpacked(place)
        assert tracemalloc.get_traced_memory()[1] < ALLOWED // 2
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("small", [2**4, 2**20])
def test_what_fits_is_as_it_was(small: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "SMALL", small)
    monkeypatch.setattr(unpacking, "PIECE", 7)
    content = bytes(range(256)) * 3
    (tmp_path / "a.gz").write_bytes(gzip.compress(content[:100]) + gzip.compress(content[100:]))  # of two members
    assert read_unpacked(tmp_path / "a.gz") == content


def test_a_header_without_end_is_not_read(tmp_path: Path) -> None:
    content = io.BytesIO()
    content.write(b"\x93NUMPY\x02\x00" + (2**31).to_bytes(4, "little") + bytes(2**16))
    with zipfile.ZipFile(tmp_path / "t.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", content.getvalue())
    assert rank_of_inputs(tmp_path / "t.npz") is None
    with pytest.raises(UserError, match="its header has 2,147,483,648 bytes"):
        read_npz(tmp_path / "t.npz", "x")


def test_a_sheet_that_says_it_is_huge_is_as_large_as_its_cells(tmp_path: Path) -> None:
    place = tmp_path / "t.xlsx"
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.append(["a", "b"])
    book.active.append([1, 2])
    book.save(tmp_path / "small.xlsx")
    with zipfile.ZipFile(tmp_path / "small.xlsx") as small, zipfile.ZipFile(place, "w") as large:
        for part in small.infolist():
            large.writestr(part.filename, small.read(part).replace(b'ref="A1:B2"', b'ref="A1:XFD1048576"'))
    assert read_cells(place).rows == [["1", "2"]]
