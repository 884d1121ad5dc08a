"""Several sources: splits by role for every kind, images and labels apart; shares and paths of val and test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

import chainrule
from chainrule.cli import cli
from chainrule.core.data.words import request_of
from chainrule.core.errors import UserError
from chainrule.data.check import check
from chainrule.data.images.loading import load_images
from chainrule.data.layout import layout_of
from chainrule.data.tables.loading import load_table
from chainrule.data.tables.series import load_series
from chainrule.data.text.characters import load_text
from chainrule.data.text.sentences import load_sentences
from tests.data.image_sets import npz, write_images

pytestmark = pytest.mark.usefixtures("no_report")


def folders(folder: Path, **counts: int) -> Path:
    for name, count in counts.items():
        write_images(folder / name, count)
    return folder


def table(file: Path, rows: int = 20, header: str = "a,b,label") -> Path:
    lines = [f"{i + 0.5},{i * i},{'xy'[i % 2]}" for i in range(rows)]
    file.write_text("\n".join([header, *lines]) + "\n", "utf-8")
    return file


def request(**sources: object) -> Any:
    return request_of({role: str(place) for role, place in sources.items()})


def told(act: Any, *words: str) -> None:
    with pytest.raises(UserError) as caught:
        act()
    for word in words:
        assert word in str(caught.value), caught.value


def run_cli(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words], catch_exceptions=True)


# -- splits by role ---------------------------------------------------------------------------------------------


def test_images_as_the_one_folder_of_splits_has_them(tmp_path: Path) -> None:
    a = folders(tmp_path / "all" / "train", cat=6, dog=5)
    b = folders(tmp_path / "all" / "test", cat=2, dog=3)
    apart = load_images(request(train=a, test=b), size=8)
    whole = load_images(request_of(str(tmp_path / "all")), size=8)
    assert apart.spec.fingerprint == whole.spec.fingerprint and apart.spec.splits == whole.spec.splits
    assert apart.spec.counts["test"] == 5 and apart.spec.where == f"train={a} test={b}"
    assert check(request(train=a, test=b), None)["found"] == {"train": 11, "test": 5}


def test_a_source_of_a_split_is_that_split_of_it(tmp_path: Path) -> None:
    folders(tmp_path / "d" / "train", cat=6, dog=6)
    folders(tmp_path / "d" / "test", cat=2, dog=2)
    whole = str(tmp_path / "d")
    assert load_images(request(train=whole, test=whole), size=8).spec.counts["test"] == 4
    counts = load_images(request(train=whole), size=8).spec.counts
    assert counts["test"] < 4 and sum(counts.values()) == 12, "its own test split is not named"


def test_images_of_unequal_forms_go_by_the_names_of_their_classes(tmp_path: Path) -> None:
    train = folders(tmp_path / "d", **{"0": 6, "1": 6})
    x = np.random.default_rng(0).integers(0, 256, (4, 8, 8)).astype(np.uint8)
    test = npz(tmp_path / "t.npz", x=x, y=np.array([1, 0, 1, 1]))
    data = load_images(request(train=train, test=test), size=8)
    assert data.test.y.tolist() == [1, 0, 1, 1] and torch.equal(data.test.x[:, 0], torch.from_numpy(x))
    other = npz(tmp_path / "u.npz", x=x, y=np.array([1, 0, 2, 1]))
    told(lambda: load_images(request(train=train, test=other), size=8), "the class '2' is in test and not in train")


def test_tables(tmp_path: Path) -> None:
    a, b = table(tmp_path / "a.csv"), table(tmp_path / "b.csv", 7)
    data = load_table(request(train=a, test=b), task="classification")
    assert data.spec.counts == {"train": 18, "val": 2, "test": 7} and data.spec.splits["test"] == "as published"
    table(tmp_path / "c.csv", header="a,c,label")
    told(
        lambda: load_table(request(train=a, test=tmp_path / "c.csv"), task="classification"),
        "different columns",
        "b, c in only one of them",
    )


def test_tables_of_unequal_forms(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.arange(40.0).reshape(20, 2), y=np.arange(20) % 2)
    (tmp_path / "b.csv").write_text("x1,x0,label\n" + "".join(f"{i},{-i},{i % 2}\n" for i in range(6)))
    data = load_table(
        request(train=tmp_path / "a.npz", test=tmp_path / "b.csv"), task="classification", standardize=False
    )
    assert data.test.x.tolist() == [[-i, i] for i in range(6)], "columns go by name"


def test_texts_sentences_and_series(tmp_path: Path) -> None:
    for name, letters in (("a", "abc"), ("b", "cd")):
        (tmp_path / f"{name}.txt").write_text(letters * 200, "utf-8")
    data = load_text(request(train=tmp_path / "a.txt", test=tmp_path / "b.txt"))
    assert data.spec.counts == {"train": 570, "val": 30, "test": 400} and data.spec.vocabulary == list("abcd")
    for name, rows in (("a", 20), ("b", 6)):
        lines = "".join(f"text {name} {i},{'xy'[i % 2]}\n" for i in range(rows))
        (tmp_path / f"{name}.csv").write_text("text,label\n" + lines, "utf-8")
    texts = load_sentences(request(train=tmp_path / "a.csv", test=tmp_path / "b.csv"))
    assert texts.spec.counts == {"train": 18, "val": 2, "test": 6} and texts.test.texts[0] == "text b 0"
    for name, start, count in (("s", 0, 40), ("t", 40, 10)):
        (tmp_path / f"{name}.csv").write_text("sold\n" + "".join(f"{start + i}\n" for i in range(count)), "utf-8")
    series = load_series(request(train=tmp_path / "s.csv", test=tmp_path / "t.csv"), lags=3)
    assert series.test.values.tolist() == [*range(50)] and series.test.origins.tolist() == [*range(40, 50)]
    assert series.spec.counts == {"train": 33, "val": 4, "test": 10}, "what came before test is known there"


# -- images and labels ------------------------------------------------------------------------------------------


def labelled(folder: Path, names: list[str], form: str = "csv") -> Path:
    lines = [f"{name}{',' if form == 'csv' else ' '}{'ab'[i % 2]}" for i, name in enumerate(names)]
    file = folder / f"labels.{form}"
    file.write_text("\n".join((["name,label"] if form == "csv" else []) + lines) + "\n", "utf-8")
    return file


@pytest.mark.parametrize("form", ["csv", "txt"])
@pytest.mark.parametrize("ending", [".png", ""])
def test_images_and_labels(form: str, ending: str, tmp_path: Path) -> None:
    images = write_images(tmp_path / "images", 12)
    labels = labelled(tmp_path, [f"{i}{ending}" for i in range(12)], form)
    data = load_images(request(images=images, labels=labels), size=8)
    assert data.spec.classes == ["a", "b"] and sum(data.spec.counts.values()) == 12
    assert check(request(images=images, labels=labels), None)["train by class"] == {"a": 6, "b": 6}


def test_images_and_labels_that_do_not_fit(tmp_path: Path) -> None:
    images = write_images(tmp_path / "images", 12)

    def read(names: list[str]) -> Any:
        return lambda: load_images(request(images=images, labels=labelled(tmp_path, names)), size=8)

    every = [f"{i}.png" for i in range(12)]
    told(read([*every, "12.png"]), "do not fit", "12 images, 13 labels; no image '12.png'")
    told(read(every[1:]), "do not fit", "12 images, 11 labels; no label of", "0.png")
    told(read([*every, "3.png"]), "listed twice", "3.png")
    told(
        lambda: layout_of(request(labels=images)) and load_images(request(labels=images), size=8),
        "do not know these roles",
    )
    told(
        lambda: chainrule.train("ridge", data={"images": str(images), "labels": "x"}, out=tmp_path / "run"),
        "there is no data set and no path",
    )
    labels = labelled(tmp_path, every)
    told(
        lambda: chainrule.train("ridge", data={"images": str(images), "labels": str(labels)}, out=tmp_path / "run"),
        "ridge does not know these roles of data",
        "train=, val=, test=",
    )
    told(
        lambda: chainrule.train("lenet5", data={"source": str(labels), "target": str(labels)}, out=tmp_path / "run"),
        "lenet5 does not know these roles of data",
        "images= and labels=",
    )
    assert not (tmp_path / "run").exists()


# -- val and test -----------------------------------------------------------------------------------------------


def test_shares_for_all_kinds_alike(tmp_path: Path) -> None:
    def asked(place: object) -> Any:
        return request_of(str(place), val=0.25, test=0.5)

    d = folders(tmp_path / "d", a=8, b=8)
    assert load_images(asked(d), size=8).spec.counts == {"train": 6, "val": 2, "test": 8}
    assert load_table(asked(table(tmp_path / "t.csv", 32)), task="classification").spec.counts == {
        "train": 12,
        "val": 4,
        "test": 16,
    }
    (tmp_path / "t.txt").write_text("ab" * 100, "utf-8")
    assert load_text(asked(tmp_path / "t.txt")).spec.counts == {"train": 50, "val": 50, "test": 100}


def test_a_share_of_a_split_that_is_there_is_refused(tmp_path: Path) -> None:
    folders(tmp_path / "d" / "train", a=8, b=8)
    folders(tmp_path / "d" / "test", a=2, b=2)
    told(
        lambda: load_images(request_of(str(tmp_path / "d"), test=0.3), size=8),
        "a test split of their own",
        "--test 0.3",
    )
    assert load_images(request_of({"train": str(tmp_path / "d")}, test=0.25), size=8).spec.counts["test"] == 4


@pytest.mark.parametrize("recipe", ["dqn", "dream", "ravine"])
def test_where_nothing_is_held_out(recipe: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no split out|makes its own data"):
        chainrule.train(recipe, val=0.2, out=tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


# -- the command ------------------------------------------------------------------------------------------------


def test_train_evaluate_and_check_take_several(tmp_path: Path) -> None:
    a, b = table(tmp_path / "a.csv", 40), table(tmp_path / "b.csv", 10)
    words = ["train", "softmax-regression", "--data", f"train={a}", "--data", f"test={b}", "--val", "0.2"]
    done = run_cli(*words, "--out", tmp_path / "run", "--device", "cpu")
    assert done.exit_code == 0, done.output
    record = json.loads((tmp_path / "run" / "run.json").read_text("utf-8"))
    assert record["data"]["sources"] == {"train": str(a), "test": str(b)} and "source" not in record["data"]
    assert record["settings"]["val_fraction"] == 0.2, "--val is the setting that the recipe has"
    assert record["data"]["spec"]["counts"] == {"train": 32, "val": 8, "test": 10}
    own = chainrule.evaluate(tmp_path / "run", device="cpu")
    assert chainrule.evaluate(tmp_path / "run", data={"train": str(a), "test": str(b)}, device="cpu") == own
    assert chainrule.evaluate(tmp_path / "run", data={"test": str(b)}, device="cpu") == pytest.approx(own)
    assert run_cli("evaluate", tmp_path / "run", "--data", f"test={b}", "--device", "cpu").exit_code == 0
    checked = run_cli("data", "check", f"train={a}", f"test={b}", "--json")
    assert json.loads(checked.output)["found"] == {"train": 40, "test": 10}
    assert f"train={a} test={b}" in chainrule.report(tmp_path / "run").read_text("utf-8")


def test_a_path_of_its_own_to_validate_and_to_measure(tmp_path: Path) -> None:
    a, b, c = (table(tmp_path / f"{name}.csv", rows) for name, rows in (("a", 40), ("b", 10), ("c", 6)))
    run = chainrule.train("softmax-regression", data=str(a), val=b, test=str(c), out=tmp_path / "run", device="cpu")
    assert run.record["data"]["spec"]["counts"] == {"train": 40, "val": 10, "test": 6}
    from chainrule.reporting.report import command_of

    assert f"--data {a} --val {b} --test {c}" in command_of({**run.record, "command": None})


@pytest.mark.parametrize("role", ["test", "val"])
def test_nothing_to_learn_from(role: str, tmp_path: Path) -> None:
    file = table(tmp_path / "t.csv")
    told(
        lambda: chainrule.train("ridge", data={role: str(file)}, out=tmp_path / "run"),
        "no source is named for training",
        f"--data {role}=",
        "--data train=PATH",
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("recipe", ["logistic-regression", "char-lstm", "lenet5"])
def test_a_test_split_of_nothing_is_refused(recipe: str, tmp_path: Path) -> None:
    told(lambda: chainrule.train(recipe, test=0, out=tmp_path / "run"), "share of the test split", "above 0, below 1")
    assert not (tmp_path / "run").exists()


def test_a_run_finds_its_data_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table(tmp_path / "a.csv")
    table(tmp_path / "b.csv", 10)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    sources = {"train": "a.csv", "test": "b.csv"}
    run = chainrule.train("softmax-regression", data=sources, out=tmp_path / "run", device="cpu")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert chainrule.evaluate(tmp_path / "run") == run.result()["metrics"]
    assert chainrule.evaluate(tmp_path / "run", data={"test": "../b.csv"}) == run.result()["metrics"]
    assert json.loads((tmp_path / "run" / "run.json").read_text())["data"]["sources"] == sources
    (tmp_path / "b.csv").unlink()
    told(lambda: chainrule.evaluate(tmp_path / "run"), "no path 'b.csv'")
