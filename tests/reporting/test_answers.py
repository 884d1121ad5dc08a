"""Files of answers: what a spreadsheet and a program read in them, and that there is no half of one."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

import pytest

from chainrule.core.answers import Ranking, flat
from chainrule.core.errors import RunFailed, UserError
from chainrule.reporting.answers import answer_file, is_answer_file, merge_columns

ANSWERS: list[dict[str, Any]] = [
    {"input": "a.png", "class": "cat", "top": Ranking([("cat", 0.75), ("dog", 0.25)], of="class", by="probability")},
    {"input": "b, c.png", "class": "dog", "top": Ranking([("dog", 1.0)], of="class", by="probability"), "box": [1, 2]},
]


def write(file: Path, answers: list[dict[str, Any]]) -> Path:
    with answer_file(file) as write_one:
        for answer in answers:
            write_one(answer)
    return file


def test_csv() -> None:
    file = write(Path("deep/er/a.csv"), ANSWERS)
    assert file.read_text("utf-8") == (
        "input,class,top_1_class,top_1_probability,box_1,box_2,top_2_class,top_2_probability\n"
        "a.png,cat,cat,0.75,,,dog,0.25\n"
        '"b, c.png",dog,dog,1.0,1,2,,\n'
    )
    assert os.listdir("deep/er") == ["a.csv"]  # noqa: PTH208


def test_jsonl() -> None:
    lines = write(Path("a.jsonl"), ANSWERS).read_text("utf-8").splitlines()
    assert [json.loads(line) for line in lines] == ANSWERS


def test_chinese_has_a_byte_order_mark_and_ascii_has_none() -> None:
    chinese = write(Path("a.csv"), [{"input": "猫.png", "class": "猫"}])
    assert chinese.read_bytes().startswith(b"\xef\xbb\xbf")
    with chinese.open(encoding="utf-8-sig", newline="") as handle:
        assert list(csv.DictReader(handle)) == [{"input": "猫.png", "class": "猫"}]
    assert not write(Path("b.csv"), ANSWERS).read_bytes().startswith(b"\xef\xbb\xbf")
    assert write(Path("c.csv"), [{"input": "a", "top": {"猫": 1}}]).read_bytes().startswith(b"\xef\xbb\xbf")
    assert not write(Path("a.jsonl"), [{"input": "猫"}]).read_bytes().startswith(b"\xef\xbb\xbf")


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_a_failure_leaves_the_old_file_and_no_part(name: str) -> None:
    Path(name).write_text("old")

    def fail() -> None:
        with answer_file(Path(name)) as write_one:
            write_one(ANSWERS[0])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert os.listdir() == [name] and Path(name).read_text() == "old"  # noqa: PTH208


def test_a_place_that_cannot_be_written() -> None:
    Path("file").write_text("")
    with pytest.raises(RunFailed, match="could not be written"):
        write(Path("file/a.csv"), ANSWERS)


def test_what_a_name_means() -> None:
    Path("folder.csv").mkdir()
    assert [is_answer_file(name) for name in ("a.csv", "B.JSONL", "out", "v1.2", None, "folder.csv")] == [
        True, True, False, False, False, False,
    ]  # fmt: skip
    for wrong in ("a.xlsx", "a.json", "a.csv.gz"):
        with pytest.raises(UserError, match="not written in this form"):
            is_answer_file(wrong)


def test_nesting_of_any_depth() -> None:
    found = flat({"boxes": [{"class": "cat", "at": (1, 2)}, {"class": "dog", "at": (3, 4)}], "none": None})
    assert found == {
        "boxes_1_class": "cat", "boxes_1_at_1": 1, "boxes_1_at_2": 2,
        "boxes_2_class": "dog", "boxes_2_at_1": 3, "boxes_2_at_2": 4, "none": None,
    }  # fmt: skip


def test_columns_keep_their_order() -> None:
    columns: list[str] = []
    for names in ("input a z", "input a b z", "input y", "c"):
        merge_columns(columns, names.split())
    assert columns == ["c", "input", "y", "a", "b", "z"]
