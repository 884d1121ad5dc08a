"""Files of answers: what a spreadsheet and a program read in them, and that there is no half of one."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from chainrule.core.answers import Ranking, flat
from chainrule.core.errors import UserError
from chainrule.core.files.finite_json import from_json
from chainrule.reporting.answers import answer_file, merge_columns, place_of_answers
from chainrule.tasks.ranking import best_classes

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
    with pytest.raises(UserError, match="could not be written"):
        write(Path("file/a.csv"), ANSWERS)


def test_what_a_name_means() -> None:
    Path("folder.csv").mkdir()
    for makes_files in (False, True):
        assert [place_of_answers(name, makes_files=makes_files) for name in ("a.csv", "B.JSONL", None)] == [
            Path("a.csv"), Path("B.JSONL"), None,
        ]  # fmt: skip
        for wrong in ("a.xlsx", "a.json", "a.csv.gz"):
            with pytest.raises(UserError, match="not written in this form"):
                place_of_answers(wrong, makes_files=makes_files)
    for folder in ("out", "v1.2", "folder.csv"):
        assert place_of_answers(folder, makes_files=True) is None
    assert place_of_answers("folder.csv", makes_files=False) == Path("folder.csv/answers.csv")
    for nothing in ("out", "v1.2"):  # never a file that is asked for and not written
        with pytest.raises(UserError, match=r"--out \S+\.csv"):
            place_of_answers(nothing, makes_files=False)


def test_every_class_has_a_column() -> None:
    answers = best_classes(torch.tensor([[0.1, 0.7, 0.2], [0.5, 0.2, 0.3]]), ["a", "b b", "c"], 1, "probability")
    file = write(Path("a.csv"), [{"input": str(i), **answer} for i, answer in enumerate(answers)])
    rows = list(csv.DictReader(file.read_text("utf-8").splitlines()))
    assert [[row[f"probability_{name}"] for name in ("a", "b b", "c")] for row in rows] == [
        ["0.1", "0.7", "0.2"], ["0.5", "0.2", "0.3"],
    ]  # fmt: skip
    (first, _) = best_classes(torch.tensor([[0.1, 0.7, 0.2], [0.5, 0.2, 0.3]]), ["a", "b b", "c"], 1, "score")
    line = json.loads(write(Path("a.jsonl"), [first]).read_text("utf-8"))
    assert line["top"] == {"b b": 0.7} and line["scores"] == {"a": 0.1, "b b": 0.7, "c": 0.2}


def test_what_is_not_finite_is_null_with_its_reason() -> None:
    answers = [{"input": "1", "value": float("nan")}, {"input": "2", "value": 3.0, "forecast": [1.0, float("-inf")]}]
    lines = write(Path("a.jsonl"), answers).read_text("utf-8").splitlines()

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    first, second = (json.loads(line, parse_constant=refuse) for line in lines)
    assert first == {"input": "1", "value": None, "not_finite": {"value": "NaN"}}
    assert second["forecast"] == [1.0, None] and second["not_finite"] == {"forecast.1": "-Infinity"}
    assert from_json(lines[1]) == answers[1], "and back"
    assert write(Path("a.csv"), answers).read_text("utf-8") == (
        "input,value,forecast_1,forecast_2,not_finite_forecast_2,not_finite_value\n1,,,,,NaN\n2,3.0,1.0,,-Infinity,\n"
    )


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
