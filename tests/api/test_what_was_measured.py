"""`evaluate` says what it measured: which part, how many samples, and how many of them were trained on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import chainrule
from chainrule.cli import cli
from chainrule.data.images.loading import ImageSplit
from chainrule.data.layout import layout_of
from chainrule.data.measured import PASSAGE, part_measured, seen
from chainrule.data.tables.loading import TableSplit
from chainrule.data.text.characters import TextSplit
from chainrule.data.text.sentences import SentenceSplit

pytestmark = pytest.mark.usefixtures("no_report")


def test_samples_are_told_apart_by_what_they_are() -> None:
    rows = torch.tensor([[1.0, 0.0], [2.0, 3.0], [4.0, 5.0]], dtype=torch.float64)
    train = TableSplit(rows.float(), torch.tensor([0, 1, 0]))
    other = TableSplit(
        torch.tensor([[1.0, -0.0], [9.0, 9.0], [4.0, 5.0]], dtype=torch.float64), torch.tensor([1, 1, 1])
    )
    found = seen(other, train)  # whatever the labels, and the precision
    assert (found.count, found.unit, found.trained_on) == (3, "samples", 2)
    images = torch.randint(0, 256, (5, 1, 4, 4), dtype=torch.uint8)
    y = torch.zeros(5, dtype=torch.int64)
    assert seen(ImageSplit(images[3:], y[3:]), ImageSplit(images[:4], y[:4])).trained_on == 1
    texts = SentenceSplit(["a b", "c"], y[:2])
    assert seen(SentenceSplit([" a b\n", "d"], y[:2]), texts).trained_on == 1


def test_characters_of_a_text_in_common_passages() -> None:
    train = torch.randint(0, 60, (500,), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    new = torch.randint(60, 120, (100,), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    mixed = TextSplit(torch.cat([new, train[200:300], new]))
    found = seen(mixed, TextSplit(train))
    assert (found.count, found.unit, found.trained_on) == (300, "characters", 100)
    assert seen(TextSplit(torch.cat([new, train[: PASSAGE - 1]])), TextSplit(train)).trained_on == 0
    assert seen(TextSplit(train[:3]), TextSplit(train)).trained_on == 0, "too short to tell"


def test_which_part_is_measured(tmp_path: Path) -> None:
    (tmp_path / "split").mkdir()
    for name in ("t.csv", "split/train.csv", "split/test.csv"):
        (tmp_path / name).write_text("a,label\n1,x\n2,y\n")
    np.savez(tmp_path / "a.npz", x=np.zeros((2, 3)), y=[0, 1])
    np.savez(tmp_path / "b.npz", x_train=np.zeros((2, 3)), y_train=[0, 1], x_test=np.zeros((2, 3)), y_test=[0, 1])
    parts = {name: part_measured(layout_of(str(tmp_path / name))) for name in ("t.csv", "split", "a.npz", "b.npz")}
    assert parts == {"t.csv": "all", "split": "test", "a.npz": "all", "b.npz": "test"}


def test_the_command_says_it_and_warns(tmp_path: Path) -> None:
    rows = [f"{i / 10:.1f},{i % 7},{'ab'[i % 2]}" for i in range(60)]
    for name, part in (("train.csv", rows[:40]), ("test.csv", rows[40:]), ("both.csv", rows[35:45])):
        (tmp_path / name).write_text("\n".join(["p,q,kind", *part]))
    sources = {"train": str(tmp_path / "train.csv"), "test": str(tmp_path / "test.csv")}
    run = str(chainrule.train("logistic-regression", data=sources, target="kind", c=1, out=tmp_path / "run").folder)

    def evaluated(*words: str) -> tuple[dict[str, object], str]:
        done = CliRunner().invoke(cli, ["evaluate", run, *words])
        assert done.exit_code == 0, done.exception
        asked = CliRunner().invoke(cli, ["evaluate", run, *words, "--json"])
        found = json.loads(asked.stdout.splitlines()[-1])
        return {name: found.get(name) for name in ("split", "count", "trained_on")}, done.stderr

    found, said = evaluated()
    assert found == {"split": "test", "count": 20, "trained_on": 0}
    assert "the test split of" in said and "20 samples, none of them trained on" in said
    found, said = evaluated("--data", sources["train"])  # four rows of the training file validate
    assert found["split"] == "all" and found["count"] == 40 and int(str(found["trained_on"])) >= 36
    assert "were trained on" in said and "how well a run remembers" in said
    found, said = evaluated("--data", str(tmp_path / "both.csv"))
    assert found["count"] == 10 and 0 < int(str(found["trained_on"])) <= 5
    (tmp_path / "train.csv").unlink()
    found, said = evaluated("--data", sources["test"])
    assert found == {"split": "all", "count": 20, "trained_on": None} and "is not known: the training data" in said
