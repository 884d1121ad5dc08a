"""Folders of Hugging Face's `datasets`: images, sentences and tables by what their schema says, and broken ones told."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from chainrule.core.errors import UserError
from chainrule.data.check import check
from chainrule.data.images.loading import read_image_splits
from chainrule.data.streams.stored import StoredImages

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

LABEL = {"names": ["cat", "dog"], "_type": "ClassLabel"}
TEXT = {"dtype": "string", "_type": "Value"}


def with_features(table: Any, features: dict[str, Any]) -> Any:
    info = json.dumps({"info": {"features": features}})
    return table.replace_schema_metadata({"huggingface": info})


def png(number: int) -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, "png")
    return stream.getvalue()


def images(count: int, first: int = 0) -> Any:
    rows = [{"image": {"bytes": png(first + n), "path": None}, "label": n % 2} for n in range(count)]
    return with_features(pa.Table.from_pylist(rows), {"image": {"_type": "Image"}, "label": LABEL})


def texts(count: int) -> Any:
    rows = [{"text": f"sentence {n}", "label": n % 2, "id": n} for n in range(count)]
    return with_features(pa.Table.from_pylist(rows), {"text": TEXT, "label": LABEL})


def save_to_disk(folder: Path, splits: dict[str, Any], parts: int = 1) -> Path:
    """As `DatasetDict.save_to_disk` lays it out."""
    folder.mkdir()
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": [*splits]}))
    for name, table in splits.items():
        (folder / name).mkdir()
        each = -(-len(table) // parts)
        for part in range(parts):
            file = folder / name / f"data-{part:05d}-of-{parts:05d}.arrow"
            with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table.slice(part * each, each))
        (folder / name / "state.json").write_text("{}")
        (folder / name / "dataset_info.json").write_text("{}")
    return folder


def published(folder: Path, splits: dict[str, Any], parts: int = 1, inside: str = "data") -> Path:
    """As a set lies that was downloaded from the hub."""
    (folder / inside).mkdir(parents=True)
    (folder / "README.md").write_text("---\ndataset_info: {}\n---\n")
    for name, table in splits.items():
        each = -(-len(table) // parts)
        for part in range(parts):
            place = folder / inside / f"{name}-{part:05d}-of-{parts:05d}.parquet"
            parquet.write_table(table.slice(part * each, each), place)
    return folder


@pytest.mark.parametrize("write", [save_to_disk, published])
@pytest.mark.parametrize("parts", [1, 3])
def test_images_with_names_of_classes(write: Callable[..., Path], parts: int, tmp_path: Path) -> None:
    folder = write(tmp_path / "d", {"train": images(20), "validation": images(4, 50)}, parts)
    found = check(str(folder), None)
    assert found["kind"] == "images" and found["classes"] == ["cat", "dog"] and found["sizes"] == "6x6"
    assert found["found"] == {"train": 20, "val": 4} and found["train by class"] == {"cat": 10, "dog": 10}
    common: dict[str, Any] = {"target": None, "size": 6, "channels": 0, "seed": 0, "val_fraction": 0.1}
    spec, here = read_image_splits(str(folder), **common)
    expected = np.stack([np.asarray(Image.open(io.BytesIO(png(50 + n)))) for n in range(4)])
    assert np.array_equal(here["val"].x.permute(0, 2, 3, 1), expected)
    other, there = read_image_splits(str(folder), **common, fits=lambda wanted: False)
    assert isinstance(there["val"].x, StoredImages) and np.array_equal(there["val"].x[:], here["val"].x)
    assert spec.mean == other.mean


def test_sentences_and_tables(tmp_path: Path) -> None:
    found = check(str(save_to_disk(tmp_path / "a", {"train": texts(20), "test": texts(6)})), None)
    assert found["kind"] == "sentences" and found["classes"] == ["cat", "dog"]
    assert found["found"] == {"train": 20, "test": 6}
    rows = pa.table({"width": np.arange(20.0), "label": np.arange(20) % 2})
    found = check(str(published(tmp_path / "b", {"train": rows}, inside=".")), None)
    assert found["kind"] == "table" and found["columns"] == ["width"]
    whole = save_to_disk(tmp_path / "c", {"train": rows}) / "train"  # one Dataset, as its own `save_to_disk` writes it
    assert check(str(whole), None)["found"] == {"train": 20}


@pytest.mark.parametrize("write", [save_to_disk, published])
def test_splits_by_their_usual_names(write: Callable[..., Path], tmp_path: Path) -> None:
    folder = write(
        tmp_path / "d", {"Training": texts(20), "devel": texts(4), "EVAL": texts(6), "unsupervised": texts(2)}
    )
    assert check(str(folder), None)["found"] == {"train": 20, "val": 4, "test": 6}


def test_two_of_one_split_are_told(tmp_path: Path) -> None:
    folder = published(tmp_path / "d", {"train": texts(8), "dev": texts(2), "validation": texts(2)})
    with pytest.raises(UserError, match=r"(?s)the split val is there twice.*dev-\*.*validation-\*"):
        check(str(folder), None)


def test_an_image_by_its_path_and_plain_bytes(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(png(1))
    rows = [{"image": {"bytes": None if n == 1 else png(n), "path": "1.png"}, "label": "ab"[n % 2]} for n in range(8)]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    assert check(str(tmp_path / "t.parquet"), None)["train by class"] == {"a": 4, "b": 4}
    plain = [{"pixels": png(n), "label": "ab"[n % 2]} for n in range(8)]
    parquet.write_table(pa.Table.from_pylist(plain), tmp_path / "p.parquet")
    assert check(str(tmp_path / "p.parquet"), None)["kind"] == "images"


def part_missing(folder: Path) -> Path:
    found = published(folder, {"train": images(12)}, 3)
    (folder / "data" / "train-00001-of-00003.parquet").unlink()
    return found


def cut(folder: Path) -> Path:
    found = save_to_disk(folder, {"train": texts(200)})
    file = next(folder.rglob("*.arrow"))
    file.write_bytes(file.read_bytes()[:900])
    return found


def image_of(content: bytes | None) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        rows = [{"image": {"bytes": png(n) if n else content, "path": None}, "label": n % 2} for n in range(8)]
        return published(folder, {"train": pa.Table.from_pylist(rows)})

    return make


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (part_missing, ["a part of the table is missing", "3 parts", "without number 00001"]),
        (cut, ["cannot be read", "data-00000-of-00001.arrow", "cut short"]),
        (image_of(None), ["an image is missing", "row 1, column 'image'"]),
        (image_of(b"no image"), ["cannot be read", "row 1, column 'image'", "no image of a format"]),
    ],
)
def test_broken_folders_are_told(make: Callable[[Path], Path], words: list[str], tmp_path: Path) -> None:
    folder = make(tmp_path / "d")
    for read in (
        lambda: check(str(folder), None),
        lambda: read_image_splits(str(folder), target=None, size=6, channels=0, seed=0, val_fraction=0.1),
    ):
        with pytest.raises(UserError) as error:
            read()
    assert all(word in str(error.value) for word in words), str(error.value)
