"""Texts as people have them: encodings, files without endings, folders without a class, usual names of columns."""

from __future__ import annotations

from pathlib import Path

import pytest

from chainrule.core.data.request import DataRequest
from chainrule.core.errors import UserError
from chainrule.data.check import check
from chainrule.data.layout import layout_of
from chainrule.data.streams import text as stored
from chainrule.data.text.characters import load_text, read_text_splits, read_texts
from chainrule.data.text.sentences import load_sentences

VERSE = "".join(f"第{n}行：春眠不觉晓，处处闻啼鸟。\n" for n in range(40))


def request(place: Path, **options: object) -> DataRequest:
    return DataRequest({"": str(place)}, options=options)


def test_files_that_become_one_text_are_said(tmp_path: Path) -> None:
    for folder in ("pos", "neg"):
        (tmp_path / "d" / folder).mkdir(parents=True)
        for number in range(3):
            (tmp_path / "d" / folder / f"{number}.txt").write_text(f"a {folder} film, number {number}\n" * 20)
    asked = request(tmp_path / "d")
    load_text(asked, val_fraction=0.05, test_fraction=0.1).spec  # noqa: B018  # read when first asked for
    assert asked.notes == [
        "train: 6 files are read as one text, in the order of their paths",
        "the folders neg, pos are no classes here; a recipe that learns classes of texts: bag-of-words",
    ]
    (tmp_path / "t.csv").write_text("text,label\nfine,good\n" * 40)
    asked = request(tmp_path / "t.csv")
    load_text(asked, val_fraction=0.05, test_fraction=0.1).spec  # noqa: B018
    assert "is a table: it is read character by character" in asked.notes[0]


def test_folders_that_are_splits(tmp_path: Path) -> None:
    for split in ("Training", "test"):
        for part in ("pos", "neg"):
            (tmp_path / split / part).mkdir(parents=True)
            (tmp_path / split / part / "1.txt").write_text(f"{split} {part}\n")
    texts = read_texts(tmp_path)[1]
    assert texts == {"train": "Training neg\nTraining pos\n", "test": "test neg\ntest pos\n"}
    (tmp_path / "dev").mkdir()
    with pytest.raises(UserError, match=r"(?s)holds no text.*dev"):
        read_texts(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "gb18030", "big5"])
def test_a_text_in_any_encoding_is_the_same_text(
    encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAINRULE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(stored, "READ_AT_A_TIME", 701)  # in the middle of a letter
    file = tmp_path / "t.txt"
    text = (
        VERSE.replace("眠", "日").replace("处处闻啼鸟", "夜來風雨聲").replace("觉晓", "曉")
        if encoding == "big5"
        else VERSE
    )
    file.write_bytes(text.encode(encoding))
    marked = encoding.startswith("utf")
    asked = request(file) if marked else request(file, encoding=encoding)
    assert read_texts(layout_of(asked))[1] == {"train": text}
    here = read_text_splits(asked, 0.05, 0.1, 0)[0]
    assert read_text_splits(asked, 0.05, 0.1, 0, lambda wanted: False)[0] == here
    if not marked:
        with pytest.raises(UserError, match=rf"(?s)not UTF-8.*encoding={encoding}"):
            check(str(file), None)


def test_a_text_full_of_zeros_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAINRULE_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "t.txt"
    file.write_bytes(("the quick brown fox\n" * 90).encode("utf-16-le"))  # without its mark
    for fits in (None, lambda wanted: False):
        with pytest.raises(UserError, match=r"(?s)it is no text.*encoding=utf-16-le"):
            read_text_splits(str(file), 0.05, 0.1, 0, fits)


def newsgroups(place: Path, ending: str = "") -> Path:
    for split, each in (("train", 5), ("test", 2)):
        for name in ("alt.atheism", "sci.space", "unsup"):
            (place / f"20news-{split}" / name).mkdir(parents=True)
            for number in range(each):
                file = place / f"20news-{split}" / name / f"{number + 49960}{ending}"
                file.write_text(f"Subject: {name}\n\nbody {number}\n")
    return place


def test_texts_without_ending_and_folders_without_a_class(tmp_path: Path) -> None:
    place = newsgroups(tmp_path / "d")
    (place / "20news-train" / "README").write_text("not a text of any class")
    (place / "20news-train" / "sci.space" / "x.html").write_text("<p>")
    asked = request(place)
    data = load_sentences(asked)
    assert data.spec.classes == ["alt.atheism", "sci.space"] and data.spec.counts["test"] == 4
    told = "\n".join(asked.notes)
    assert "unsup, samples without a class" in told and "1 .html" in told
    assert check(str(place), None)["notes"] == asked.notes
    (place / "20news-train" / "sci.space" / "1").write_bytes("straße und grün".encode("cp1252"))
    with pytest.raises(UserError, match=r"(?s)not UTF-8.*sci.space/1, line 1.*encoding=cp1252"):
        check(str(place), None)
    assert check(request(place, encoding="cp1252"), None)["found"] == {"train": 11, "test": 4}


def test_a_folder_of_texts_says_what_it_passes_over(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    for name, text in (("Train.txt", VERSE), ("VAL.TXT", VERSE), ("notes.md", "x")):
        (tmp_path / "d" / name).write_text(text, "utf-8")
    asked = request(tmp_path / "d")
    assert load_text(asked).spec.splits["val"] == "as published"
    assert asked.notes == ["passed over: 1 .md"] == check(str(tmp_path / "d"), None)["notes"]


def test_columns_of_texts_and_labels_by_usual_names(tmp_path: Path) -> None:
    rows = "".join(f"{i},{'好' if i % 2 else '坏'} ,这家酒店的服务{i}\n" for i in range(20))
    (tmp_path / "t.csv").write_bytes(("编号,标签,评论\n" + rows).encode("gb18030"))
    asked = request(tmp_path / "t.csv", encoding="gb18030")
    data = load_sentences(asked)
    assert data.spec.target == "标签" and data.spec.classes == ["坏", "好"]
    assert asked.notes == [f"columns of {tmp_path / 't.csv'}: 评论 as text, 标签 as label"]
    (tmp_path / "n.csv").write_text("content,label\n" + "3.5,a\n4.5,b\n" * 9)  # named so, and no sentences
    assert check(str(tmp_path / "n.csv"), None)["kind"] == "table"
