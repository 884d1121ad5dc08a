"""Tables and arrays of images, and the splits that are made of any: what each form gives, and how it can be wrong."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from chainrule import api
from chainrule.core.errors import UserError
from chainrule.data.images.files import read_images
from chainrule.data.splits import stratified
from tests.data.image_sets import idx_folder, npz, read, refused, stripes, write_images

pytestmark = pytest.mark.usefixtures("no_report")

# -- tables -----------------------------------------------------------------------------------------------------


def pixel_table(file: Path, rows: list[list[Any]], side: int = 2) -> Path:
    header = ["label", *(f"pixel{i}" for i in range(side * side))]
    file.write_text("\n".join(",".join(map(str, row)) for row in [header, *rows]) + "\n", "utf-8")
    return file


def test_csv_of_pixels(tmp_path: Path) -> None:
    rows = [[("ten", "nine")[i % 2], i, 50, 100, 255] for i in range(12)]
    spec, splits = read(pixel_table(tmp_path / "t.csv", rows), size=2)
    assert spec.classes == ["nine", "ten"] and sum(spec.counts.values()) == 12
    x, y = splits["train"].x[0], splits["train"].y[0]
    assert x[0, 0, 0] % 2 == 1 - int(y) and x.flatten()[1:].tolist() == [50, 100, 255]
    numbers = [[10 - i % 3, 0, 0, 0, i] for i in range(30)]
    assert read(pixel_table(tmp_path / "n.csv", numbers), size=2)[0].classes == ["8", "9", "10"]
    (tmp_path / "d").mkdir()
    for split in ("train", "test"):
        pixel_table(tmp_path / "d" / f"{split}.csv", rows)
    assert read(tmp_path / "d", size=2)[0].counts["test"] == 12


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda rows: rows[3].__setitem__(2, "x"), ("not numeric", "line 5, column 'pixel1'")),
        (lambda rows: rows[3].__setitem__(2, 256), ("out of range", "0 to 255")),
        (lambda rows: rows[3].__setitem__(2, -1), ("out of range",)),
        (lambda rows: rows[3].__setitem__(2, "nan"), ("missing or infinite", "line 5, column 'pixel1'")),
        (lambda rows: rows[3].pop(), ("another number of columns", "line 5")),
        (lambda rows: rows[3].append(0), ("another number of columns", "line 5")),
        (lambda rows: rows[3].__setitem__(0, ""), ("a label is missing", "line 5")),
        (lambda rows: rows.clear(), ("the table is empty",)),
    ],
)
def test_a_wrong_cell_is_named(tmp_path: Path, spoil: Callable[[list[list[Any]]], Any], words: tuple[str, ...]) -> None:
    rows: list[list[Any]] = [["ab"[i % 2], i, 50, 100, 255] for i in range(12)]
    spoil(rows)
    refused(pixel_table(tmp_path / "t.csv", rows), "t.csv", *words, size=2)


def test_tables_that_will_not_do(tmp_path: Path) -> None:
    rows = [["ab"[i % 2], i, 50, 100, 255] for i in range(12)]
    table = pixel_table(tmp_path / "t.csv", rows)
    refused(table, "no column 'kind'", "--target", target="kind")
    table.write_text("label,a,b\n" + "a,1,2\n" * 6 + "b,1,2\n" * 6)
    refused(table, "no square image", "2 columns")
    table.write_bytes(b"label,p\xff\xfe\n")
    refused(table, "cannot be read")
    (tmp_path / "d").mkdir()
    pixel_table(tmp_path / "d" / "train.csv", rows)
    test = pixel_table(tmp_path / "d" / "test.csv", [["c", 1, 2, 3, 4]])
    refused(tmp_path / "d", "out of range", "test.csv, line 2", "one of the 2 in train")
    test.write_text("pixel0,pixel1,pixel2,pixel3\n1,2,3,4\n")
    refused(tmp_path / "d", "different columns", "test.csv")


def test_csv_of_files(tmp_path: Path) -> None:
    write_images(tmp_path / "的 files", 10, mode="RGB")
    table = tmp_path / "t.csv"
    table.write_text("path,kind\n" + "".join(f"的 files/{i}.png,{'ab'[i % 2]}\n" for i in range(10)), "utf-8-sig")
    spec, _ = read(table, target="kind")
    assert spec.classes == ["a", "b"] and spec.channels == 3 and sum(spec.counts.values()) == 10
    with table.open("a", encoding="utf-8") as stream:
        stream.write("gone.png,a\n")
    refused(table, "not there", "line 12", "gone.png")


# -- npz --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["bytes", "shares", "booleans", "channels first", "channels last"])
def test_npz(tmp_path: Path, form: str) -> None:
    x, y = stripes(40, channels=3 if "channels" in form else 0)
    given = {"shares": x / 255.0, "booleans": x > 99, "channels first": np.moveaxis(x, -1, 1)}.get(form, x)
    spec, splits = read(npz(tmp_path / "a.npz", x=given, y=y.astype(np.float32)))
    expected = (x > 99) * np.uint8(255) if form == "booleans" else x
    kept = {image.numpy().tobytes() for image in torch.from_numpy(expected.reshape(40, 8, 8, -1)).permute(0, 3, 1, 2)}
    assert {image.numpy().tobytes() for part in splits.values() for image in part.x} == kept
    assert spec.classes == ["0", "1"] and spec.counts == {"train": 28, "val": 4, "test": 8}


def test_npz_with_published_splits(tmp_path: Path) -> None:
    x, y = stripes(12)
    np.savez(tmp_path / "a.npz", x_train=x, y_train=y, x_test=x[:4], y_test=y[:4], x_val=x[:2], y_val=y[:2])
    assert read(tmp_path / "a.npz")[0].counts == {"train": 12, "val": 2, "test": 4}


X, Y = stripes(40)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"images": X, "labels": Y}, ("lacks its arrays", "images, labels")),
        ({"x": X, "y": Y[:-1]}, ("does not fit", "(40,)", "(39,)")),
        ({"x": X, "y": Y[:, None]}, ("broadcast silently", "y = y[:, 0]")),
        ({"x": X, "y": Y * 0.5}, ("not integers", "float64")),
        ({"x": X, "y": np.where(Y, np.nan, 0)}, ("not integers",)),
        ({"x": X, "y": np.array(["cat", "dog"])[Y]}, ("not integers", "<U3")),
        ({"x": X, "y": Y - 1}, ("out of range", "y[0]", "-1")),
        ({"x": X, "y": Y * 2}, ("no training sample", "none of 1")),
        ({"x": X, "y": Y * 10**12}, ("fewer samples than classes", "1000000000000")),
        ({"x": X, "y": Y * 0}, ("only one class",)),
        ({"x": X[:0], "y": Y[:0]}, ("only one class",)),
        ({"x": X, "y": np.arange(40) // 39}, ("too few samples", "1 of 1")),
        ({"x": X[0], "y": Y}, ("does not fit",)),
        ({"x": np.float64(3), "y": Y}, ("does not fit",)),
        ({"x": X[:, None, None], "y": Y}, ("no shape that is known", "(40, 1, 1, 8, 8)")),
        ({"x": X.reshape(40, 64), "y": Y}, ("no shape that is known",)),
        ({"x": X.astype(str), "y": Y}, ("pixels are not numeric", "<U3")),
        ({"x": X * (1 + 1j), "y": Y}, ("pixels are not numeric", "complex")),
        ({"x": X * 2.0, "y": Y}, ("out of range",)),
        ({"x": np.where(X[3, 0, 0] == X, np.inf, X / 255), "y": Y}, ("NaN or infinite",)),
        ({"x": np.zeros_like(X), "y": Y}, ("one constant colour",)),
        ({"x": X.astype(object), "y": Y}, ("Python objects, which are a pickle",)),
        ({"x": X, "y": Y.astype(object)}, ("Python objects, which are a pickle",)),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_npz_that_will_not_do(tmp_path: Path, arrays: dict[str, Any], words: tuple[str, ...]) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    refused(tmp_path / "a.npz", "a.npz", *words)


def test_damaged_npz(tmp_path: Path) -> None:
    whole = Path(npz(tmp_path / "a.npz")).read_bytes()
    np.save(tmp_path / "b.npy", X)
    for content in (
        whole[:-30],
        whole[:300] + bytes(200) + whole[500:],
        b"",
        b"text",
        (tmp_path / "b.npy").read_bytes(),
    ):
        (tmp_path / "a.npz").write_bytes(content)
        assert "pickle" not in refused(tmp_path / "a.npz", "cannot be read", "a.npz")


# -- splits -----------------------------------------------------------------------------------------------------


def test_splits_are_stratified_and_follow_the_seed(tmp_path: Path) -> None:
    y = np.repeat([0, 1, 2], [100, 60, 40])
    x = np.arange(200, dtype=np.uint16).view(np.uint8).reshape(200, 1, 2).repeat(2, 1)  # every sample is another
    file = npz(tmp_path / "a.npz", x=x, y=y)
    spec, splits = read(file, size=2)
    assert splits["test"].y.bincount().tolist() == [20, 12, 8]
    assert splits["val"].y.bincount().tolist() == [8, 5, 3]
    rows = torch.cat([part.x for part in splits.values()]).flatten(1)
    assert len(rows.unique(dim=0)) == len(rows) == 200  # none is lost, none is in two splits
    again, other = read(file, size=2)[0], read(file, size=2, seed=1)[0]
    assert again == spec and other.fingerprint != spec.fingerprint
    assert "stratified, seed 0, indices " in spec.splits["val"] and other.splits != spec.splits


def test_a_split_is_never_empty(tmp_path: Path) -> None:
    """Two classes of four: a twelfth of what is left after the test split is less than half a sample."""
    spec, splits = read(npz(tmp_path / "a.npz", count=8), val_fraction=1 / 12)
    assert spec.counts == {"train": 5, "val": 1, "test": 2} and set(splits["train"].y.tolist()) == {0, 1}
    for fraction in (0.01, 0.5, 0.99, 1.0):
        kept, held = stratified(torch.tensor([0, 0, 1, 1, 1]), fraction, 3)
        assert len(held) >= 1 and sorted([*kept.tolist(), *held.tolist()]) == [0, 1, 2, 3, 4]
        assert set(torch.tensor([0, 0, 1, 1, 1])[kept].tolist()) == {0, 1}
    assert len(stratified(torch.tensor([0, 1, 2]), 0.5, 0)[1]) == 0  # nothing to spare
    for split, count in (("train", 1), ("test", 2)):
        for label in ("a", "b"):
            write_images(tmp_path / "d" / split / label, count)
    refused(tmp_path / "d", "too few samples to hold out a val split", "2 samples of 2 classes")
    (tmp_path / "d" / "test" / "a" / "0.png").rename(tmp_path / "d" / "train" / "a" / "more.png")
    for file in (tmp_path / "d" / "test").rglob("*.png"):
        file.unlink()
    refused(tmp_path / "d", "the test split is empty")


def test_a_run_records_its_splits_and_refuses_to_choose_by_nothing(tmp_path: Path) -> None:
    file = npz(tmp_path / "a.npz")
    run = api.train("lenet-caffe", data=file, epochs=1, batch_size=8, out="run", device="cpu")
    spec = json.loads(Path("run/run.json").read_text("utf-8"))["data"]["spec"]
    assert spec["counts"] == {"train": 30, "val": 2, "test": 8} and spec == run.record["data"]["spec"]
    assert "stratified, seed 0" in spec["splits"]["val"] and len(spec["fingerprint"]) == 12
    with pytest.raises(UserError, match="validation split is empty"):
        api.train("lenet-caffe", data=file, epochs=1, batch_size=8, val_fraction="0", out="other", device="cpu")
    with pytest.raises(UserError, match=r"smaller than one batch[\s\S]*at least 64[\s\S]*30[\s\S]*batch_size=30"):
        api.train("lenet-caffe", data=file, epochs=1, batch_size=64, out="large", device="cpu")
    npz(tmp_path / "a.npz", x=np.roll(X, 1, 2))
    with pytest.raises(UserError, match="not those that this run began with"):
        api.evaluate("run", device="cpu")


def test_sources_that_are_no_images(tmp_path: Path) -> None:
    refused("iris", "iris is a table, not a set of images")
    assert read_images(idx_folder(tmp_path / "fashion"), None).classes == ["0", "1"]


def test_other_data_are_measured_whole_and_own_data_on_the_test_split(tmp_path: Path) -> None:
    own = npz(tmp_path / "own.npz")
    run = api.train("lenet-caffe", data=own, epochs=1, batch_size=8, out="run", device="cpu")
    assert api.evaluate("run", data=own, device="cpu") == api.evaluate("run", device="cpu") == run.result()["metrics"]  # type: ignore[index]
    for same in (f"{tmp_path}/./own.npz", os.path.relpath(own)):  # however its place is written
        assert api.evaluate("run", data=same, device="cpu") == run.result()["metrics"]  # type: ignore[index]
    x, y = stripes(9)
    y[4] = 1 - y[4]  # so that no network is right in all
    for name, arrays in (("all", {"x": x, "y": y}), ("test", {"x": X, "y": Y, "x_test": x, "y_test": y})):
        np.savez(tmp_path / f"{name}.npz", **arrays)
        found = api.evaluate("run", data=str(tmp_path / f"{name}.npz"), device="cpu")
        logits = run.open_task().logits(
            torch.nn.functional.interpolate(  # type: ignore[attr-defined]
                torch.from_numpy(x)[:, None].float(), (28, 28), mode="bilinear", antialias=True
            )
            .round()
            .to(torch.uint8)
        )
        assert found["accuracy"] == pytest.approx(float((logits.argmax(1).numpy() == y).mean()))
        assert round(found["accuracy"] * 9, 6) in range(9)
    with pytest.raises(UserError, match=r"other classes[\s\S]*0, 1[\s\S]*0, 1, 2"):
        api.evaluate("run", data=npz(tmp_path / "three.npz", y=np.arange(40) % 3), device="cpu")
    with pytest.raises(UserError, match=r"out of range[\s\S]*sample 3"):
        api.evaluate(
            "run", data=npz(tmp_path / "range.npz", x_test=x, y_test=y + 5 * (np.arange(9) == 3)), device="cpu"
        )
