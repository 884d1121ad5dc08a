"""Labels: a missing one is told with its line whatever it stands in; any text is a class, and look-alikes are said."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from chainrule.core.data.request import DataRequest
from chainrule.core.errors import UserError
from chainrule.data.check import check
from chainrule.data.given.reading import given
from chainrule.data.images.files import read_images
from chainrule.data.labels import NO_LABEL, alike_in_words, label_text
from chainrule.data.layout import layout_of, sort_labels
from chainrule.data.tables.loading import load_table
from chainrule.data.text.sentences import load_sentences

CLASSES = ["a", "b"]


def table(label: str, column: str = "kind") -> str:
    rows = [f"{i}.5,{CLASSES[i % 2]}" for i in range(40)]
    rows[7] = f"7.5,{label}"
    return "\n".join([f"x,{column}", *rows]) + "\n"


def tables(task: str) -> Callable[[Path, str], object]:
    def read(folder: Path, label: str) -> object:
        (folder / "t.csv").write_text(table(label, "y").replace(",a", ",1").replace(",b", ",2"), "utf-8")
        return load_table(DataRequest({"": str(folder / "t.csv")}, "y"), task=task)  # type: ignore[arg-type]

    return read


def sentences(folder: Path, label: str) -> object:
    (folder / "t.csv").write_text(table(label).replace("x,", "text,"), "utf-8")
    return load_sentences(DataRequest({"": str(folder / "t.csv")}))


def checked(folder: Path, label: str) -> object:
    (folder / "t.csv").write_text(table(label), "utf-8")
    return check(str(folder / "t.csv"), "kind")


def pixels(folder: Path, label: str) -> object:
    header = ",".join(["label", *(f"p{i}" for i in range(64))])
    rows = [",".join([CLASSES[i % 2], *["7"] * 64]) for i in range(20)]
    rows[7] = ",".join([label, *["7"] * 64])
    (folder / "t.csv").write_text("\n".join([header, *rows]) + "\n", "utf-8")
    return read_images(layout_of(str(folder / "t.csv")), None)


READERS = {
    "classes": tables("classification"), "numbers": tables("regression"), "density": tables("density"),
    "texts": sentences, "pixels": pixels, "check": checked,
}  # fmt: skip
EVERY = ["", "  ", "?", "NA", "nan", "None", "N/A", "#N/A", "\u200b"]


@pytest.mark.parametrize(
    ("read", "label"),
    [*(("check", label) for label in EVERY), *((read, label) for read in READERS for label in ("", "NaN"))],
)
def test_a_missing_label_is_told_with_its_line(read: Callable[[Path, str], object], label: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a label is missing\n.*line 9, column"):
        READERS[read](tmp_path, label)


def test_a_missing_label_in_arrays_and_shards(tmp_path: Path) -> None:
    x, y = np.random.default_rng(0).normal(size=(40, 2)), np.arange(40) % 2.0
    y[3] = np.nan
    np.savez(tmp_path / "a.npz", x=x, y=y)
    with pytest.raises(UserError, match=r"a label is missing\n.*row 3"):
        load_table(DataRequest({"": str(tmp_path / "a.npz")}), task="classification")
    with pytest.raises(UserError, match=r"a label is missing\n.*sample 2"):
        given((x, ["a", "b", " ", *["a"] * 37]))
    pytest.importorskip("webdataset")
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for name, content in (("0.png", b""), ("0.cls", b"NaN")):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    with pytest.raises(UserError, match="a label is missing"):
        read_images(layout_of(str(tmp_path / "s.tar")), None)


def test_how_many_are_missing_is_said(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(table("").replace("\n9.5,b", "\n9.5,?"))
    with pytest.raises(UserError, match="an empty cell; 2 of 40 are missing"):
        check(str(tmp_path / "t.csv"), "kind")


NAMES = ["²", "①", "$x$", "$", "<b>", "01", "1", "é", "e\u0301", "٣", "-", "0", "a,b", "9" * 5000]


def test_any_text_is_a_class(tmp_path: Path) -> None:
    rows = [f'{i}.5,"{name} "' for i in range(4) for name in NAMES]
    (tmp_path / "t.csv").write_text("\n".join(["x,kind", *rows]) + "\n", "utf-8")
    request = DataRequest({"": str(tmp_path / "t.csv")})
    data = load_table(request, task="classification")
    assert data.spec.classes == sort_labels(set(NAMES)) and len(NAMES) == len(set(NAMES))
    said = "\n".join(note for note in request.notes if "the classes" in note)
    assert "'1' and '01' are one number" in said and "two normal forms" in said and said.count("\n") == 1
    assert check(str(tmp_path / "t.csv"), "kind")["warning"].replace("; the classes", "\nthe classes") == said


def test_blanks_around_a_label_are_none_of_it() -> None:
    assert [label_text(cell) for cell in (" a\t", "\u3000猫\u00a0", "\ufeffx\u200b", "a b")] == ["a", "猫", "x", "a b"]
    assert not {"no", "0", "-", "none of these", "false"} & NO_LABEL
    assert alike_in_words(["Cat", "cat ", "dog", "1", "2"]) == [
        "the classes 'Cat' and 'cat ' differ in capitals or blanks alone, and stay 2 classes"
    ]
