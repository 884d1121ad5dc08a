"""Data given in Python: each kind recognised, equal to the same data in a file, and each mistake named."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

import chainrule
from chainrule import api
from chainrule.core.data.words import request_of
from chainrule.core.errors import Interrupted, UserError
from chainrule.data.catalog.sources import resolve
from chainrule.data.given.inputs import named_inputs
from chainrule.data.given.reading import given
from chainrule.data.images.files import read_images
from chainrule.data.images.loading import read_image_splits
from chainrule.data.tables.files import read_table
from chainrule.data.text.sentence_files import read_sentences
from chainrule.run.run import Run

RANDOM = np.random.default_rng(0)
X = RANDOM.integers(0, 256, (60, 9, 7), dtype=np.uint8)
Y = np.arange(60) % 3


class Samples(Dataset):
    """Images (9, 7) and labels, of which one may fail, be no pair, or be of another size."""

    def __init__(self, bad: int = -1, what: Any = None, length: int = 60) -> None:
        self.bad, self.what, self.length = bad, what, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        if index == self.bad:
            if self.what is None:
                raise OSError("the disk is on fire")
            return self.what
        return torch.from_numpy(X[index]), int(Y[index])


class Ended(Samples):
    def __getitem__(self, index: int) -> Any:
        return next(iter(())) if index == 17 else super().__getitem__(index)


class Unmeasured(Dataset):
    def __getitem__(self, index: int) -> Any:
        return X[index], int(Y[index])


class Broken(IterableDataset):
    def __iter__(self):
        return iter([1 / 0])


class Stream(IterableDataset):
    def __iter__(self):
        return iter(zip(X, Y, strict=True))


def images(data: Any) -> dict[str, tuple[np.ndarray, list[str]]]:
    raw = read_images(resolve(given(data)), None)
    return {name: (part.arrays, [raw.classes[i] for i in part.labels]) for name, part in raw.splits.items()}


@pytest.mark.parametrize(
    "data",
    [
        (X, Y),
        [X, Y.tolist()],
        (X[..., None], Y.astype(np.float64)),
        (torch.from_numpy(X)[:, None], torch.from_numpy(Y)),
        ((X / 255).astype(np.float32), Y),
        (X.astype(np.float64), Y.astype(str)),
        Samples(),
        Subset(Samples(), range(60)),
        DataLoader(Samples(), batch_size=7, shuffle=True),
        TensorDataset(torch.from_numpy(X), torch.from_numpy(Y)),
        Stream(),
    ],
    ids=[
        "arrays",
        "lists",
        "channel-last",
        "tensors",
        "floats",
        "texts",
        "set",
        "subset",
        "loader",
        "tensors-set",
        "it",
    ],
)
def test_images_are_these_bytes(data: Any) -> None:
    arrays, labels = images(data)["train"]
    assert np.array_equal(arrays, X[..., None]) and labels == [str(i) for i in Y]


def test_the_same_images_in_a_file_give_the_same_run_of_numbers(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=X, y=Y)
    common: dict[str, Any] = {"target": None, "size": 9, "channels": 0, "seed": 0, "val_fraction": 0.1}
    specs = [read_image_splits(source, **common)[0] for source in (given((X, Y)), str(tmp_path / "x.npz"))]
    plain = [{**(spec if isinstance(spec, dict) else vars(spec)), "where": ""} for spec in specs]
    assert plain[0] == plain[1]


def test_splits_and_one_scale_for_all_of_them() -> None:
    dark = {"train": (X.astype(np.float32), Y), "test": (np.ones((3, 9, 7), np.float32), Y[:3])}
    found = images(dark)
    assert set(found) == {"train", "test"} and found["test"][0].max() == 1
    with pytest.raises(UserError, match=r"(?s)names that are not known.*train.*trian"):
        given({"trian": (X, Y)})


def test_classes_have_the_names_that_the_dataset_gives_them() -> None:
    data = TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
    data.classes = ["cat", "dog", "eel", "fox"]
    assert set(images(data)["train"][1]) == {"cat", "dog", "eel"}


def test_rows() -> None:
    x = RANDOM.normal(size=(20, 4))
    table = read_table(resolve(given((torch.from_numpy(x).float(), ["a", "b"] * 10))), None, needs_target=True)
    assert np.array_equal(table.splits["train"].x, x.astype(np.float32)) and table.columns == ["x0", "x1", "x2", "x3"]
    assert table.splits["train"].labels.tolist() == ["a", "b"] * 10
    assert read_table(resolve(given(x)), None, needs_target=False).target is None


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames(library: str) -> None:
    module = pytest.importorskip(library)
    frame = module.DataFrame(
        {"age": [30, None, 50], "ripe": [True, False, True], "sort": ["a", None, "b"], "price": [1.5, 2, 3]}
    )
    table = read_table(resolve(given(frame)), "price", needs_target=True, encode=True, missing="count")
    rows = table.splits["train"]
    assert table.columns == ["age", "ripe", "sort"] and table.categories == {"sort": ["a", "b"]}
    assert np.array_equal(rows.x, [[30, 1, 0], [np.nan, 0, np.nan], [50, 1, 1]], equal_nan=True)
    assert rows.labels.tolist() == ["1.5", "2", "3"]
    with pytest.raises(UserError, match=r"(?s)missing.*train, row 1, column 'age'"):
        read_table(resolve(given(frame)), "price", needs_target=True, encode=True)
    texts = module.DataFrame({"text": ["good", "bad"], "label": [1, 0]})
    assert read_sentences(given(texts), None).splits["train"].texts == ["good", "bad"]
    with pytest.raises(UserError, match=r"(?s)more than one value.*row 0, column 'a'"):
        given(module.DataFrame({"a": [[1], [2]]}))


def test_sentences() -> None:
    class Texts(Dataset):
        def __len__(self) -> int:
            return 2

        def __getitem__(self, index: int) -> tuple[str, str]:
            return ("good", "yes") if index else ("bad, really", "no")

    for data in ((["bad, really", "good"], ["no", "yes"]), Texts()):
        found = read_sentences(given(data), None).splits["train"]
        assert (found.texts, found.labels) == (["bad, really", "good"], ["no", "yes"])


class Opaque:
    pass


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (Samples(17), ["train, sample 17", "OSError: the disk is on fire", "Subset"]),
        (Samples(17, (torch.zeros(9, 8, dtype=torch.uint8), 0)), ["unequal shape", "sample 17", "(9, 7)", "(9, 8)"]),
        (Samples(17, (torch.zeros(9, 7), 0)), ["unequal shape or type", "sample 17", "uint8", "float32"]),
        (Ended(), ["cannot be read", "train, sample 17", "StopIteration"]),  # not 17 samples
        (Unmeasured(), ["how many samples", "train", "__len__"]),
        (Samples(0, (torch.zeros(9, 7, device="meta"), 0)), ["no array", "sample 0", "a meta tensor"]),
        (Samples(0, ([[1], [1, 2]], 0)), ["no array", "sample 0"]),
        (Samples(length=-1), ["how many samples", "ValueError"]),
        (Broken(), ["gives no samples", "ZeroDivisionError"]),
        ((X[:, :0], Y), ["no pixels", "(60, 0, 7, 1)"]),
        ((X, np.where(Y == 1, np.inf, Y)), ["not integers", "train", "inf"]),
        (Samples(3, torch.zeros(9, 7)), ["no pair", "sample 3", "Tensor"]),
        (Samples(3, (X[0], [1, 2])), ["neither a number", "sample 3", "list"]),
        ({"train": (X, Y), "test": Samples(5)}, ["test, sample 5"]),
        ((X, Y[:59]), ["unequal lengths", "60", "59"]),
        ((X, np.eye(3)[Y]), ["several numbers", "argmax"]),
        ((np.zeros((50, 3, 32, 3), np.uint8), np.arange(50) % 2), ["two ways", "(N, H, W, C)", "(N, C, H, W)"]),
        ((np.zeros((50, 5, 32, 4), np.uint8), np.arange(50) % 2), ["no shape that is known", "(50, 5, 32, 4)"]),
        ((X / 128 - 1, Y), ["out of range", "-1 to", "normalises by itself"]),
        ((np.where(X[4, 0, 0] == X, np.nan, X), Y), ["NaN"]),
        ((np.zeros(5), np.zeros(5)), ["one number a sample", "x[:, None]"]),
        (np.array([Opaque()]), ["Python objects", "Opaque"]),
        (([[1, 2], [3]], [0, 1]), ["no array"]),
        ([(X[0], 0), (X[1], 1)], ["no kind that is known", "(x, y) of arrays"]),
        (Opaque(), ["no kind that is known", "Opaque"]),
        (lambda: 0, ["no kind that is known"]),
        ({"train": (X, Y), "test": (X.reshape(60, -1), Y)}, ["unequal layouts"]),
        ({"train": (X, Y.astype(str)), "test": (X, np.full(60, "9"))}, ["out of range", "test, sample 0", "9"]),
    ],
)  # fmt: skip
def test_mistakes_are_told(data: Any, words: list[str], tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        api.train("image-classifier", data=data, out=tmp_path / "run")
    assert all(word in str(error.value) for word in words), str(error.value)
    assert not (tmp_path / "run").exists()


def test_what_is_given_is_not_copied() -> None:
    source = given((X, Y))
    assert copy.deepcopy(source) is source and copy.copy(source) is source
    assert np.shares_memory(source.source.arrays["x"], X)
    assert json.loads(json.dumps({"source": source}))["source"] == source
    assert given((X, Y)) == source != given((X, (Y + 1) % 3))


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chainrule.api.training._report", lambda run: None)


def test_a_run_is_resumed_and_measured_with_the_data_given_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quiet: None
) -> None:
    settings: dict[str, Any] = {"network": "lenet-caffe", "size": 28, "epochs": 2, "batch_size": 10, "log_every": 1}
    data = {"train": (X, Y), "test": (X[:12], Y[:12])}
    whole = chainrule.train("image-classifier", data=data, out=tmp_path / "whole", **settings)
    record = json.loads((tmp_path / "whole" / "run.json").read_text())["data"]
    assert record["source"].startswith(
        "given in Python: train x uint8 (60, 9, 7), y int64 (60,); test x uint8 (12, 9, 7)"
    )
    assert max(file.stat().st_size for file in (tmp_path / "whole").glob("*.*")) < 20_000

    between_steps = Run._between_steps

    def stop(run: Run, boundary: bool) -> None:
        if run.step == 3:
            run._signals.caught = 15
        between_steps(run, boundary)

    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(Run, "_between_steps", stop)
        chainrule.train("image-classifier", data=data, out=tmp_path / "cut", **settings)
    with pytest.raises(UserError, match=r"(?s)given in Python.*chainrule.resume\("):
        chainrule.resume(tmp_path / "cut")
    with pytest.raises(UserError, match="not those that this run began with"):
        chainrule.resume(tmp_path / "cut", data={**data, "train": (X, (Y + 1) % 3)})
    cut = chainrule.resume(tmp_path / "cut", data=data)
    assert cut.result()["metrics"] == whole.result()["metrics"]

    assert chainrule.evaluate(tmp_path / "cut", data=data) == whole.result()["metrics"]
    assert set(chainrule.evaluate(tmp_path / "cut", data=(X, Y))) == set(whole.result()["metrics"])
    with pytest.raises(UserError, match=r"(?s)are not here.*chainrule.evaluate\(.*--data PATH"):
        chainrule.evaluate(tmp_path / "cut")
    opened = Run.load(tmp_path / "cut", data=given(data))
    assert len(opened.task.data.test.y) == 12


def test_a_frame_and_its_target(tmp_path: Path, quiet: None) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(RANDOM.normal(size=(60, 3)), columns=["a", "b", "c"]).assign(price=lambda f: f.a * 2)
    run = chainrule.train("linear-regression", data=frame, target="price", out=tmp_path / "frame", solver="normal")
    frame.to_csv(tmp_path / "t.csv", index=False)
    other = chainrule.train(
        "linear-regression", data=tmp_path / "t.csv", target="price", out=tmp_path / "csv", solver="normal"
    )
    assert run.result()["metrics"] == other.result()["metrics"]


def test_a_row_and_a_path_mean_what_they_are(tmp_path: Path) -> None:
    (row,) = named_inputs([1, "red", None])
    assert row.tolist() == [1, "red", None] and named_inputs(["1,red"]) == ["1,red"]
    with pytest.raises(UserError, match=r"no such file(.|\n)*nope.png"):
        named_inputs([tmp_path / "nope.png"])
    with pytest.raises(UserError, match="the target is one column"):
        request_of("iris", target=["a", "b"])  # type: ignore[arg-type]
    with pytest.raises(UserError, match="test split is neither a share nor a path"):
        request_of("iris", test=[1])  # type: ignore[arg-type]


@pytest.mark.parametrize("form", [torch.Tensor.bfloat16, torch.Tensor.to_sparse, lambda x: x.clone().requires_grad_()])
def test_tensors_of_any_form_are_arrays(form: Any) -> None:
    x, y = torch.tensor([[1.0, 0.0], [0.5, 2.0], [0.0, -1.0]]), torch.tensor([0, 1, 0])
    rows = [(form(row), label) for row, label in zip(x, y, strict=True)]
    for data in ((form(x), y), Listed(rows)):
        np.testing.assert_array_equal(given(data).source.arrays["x"], x.numpy())


class Listed(Dataset):
    def __init__(self, samples: list[Any]) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Any:
        return self.samples[index]
