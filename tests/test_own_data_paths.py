"""Three strangers' paths from `data check` to `export`: a table from Excel, a folder of small images, a text in GBK.

Each is walked as a user walks it: the first error names its cure, the cure is taken, and what comes out is used.
"""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from chainrule.cli import cli
from chainrule.core.errors import UserError

pytestmark = pytest.mark.usefixtures("no_report")
CPU = ("--device", "cpu")


def command(*words: str) -> str:
    """What a command prints on stdout; its UserError is raised."""
    done = CliRunner().invoke(cli, list(words))
    if done.exception is not None:
        raise done.exception
    return done.stdout


def answers(*words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(command("predict", *words, "--json", *CPU))
    return found


def exported(run: str) -> None:
    made = json.loads(command("export", run, "--to", "torch", "--json"))
    assert made["largest_difference"] <= made["tolerance"] and Path(made["file"]).stat().st_size > 0


def test_a_table_from_excel() -> None:
    """A column of dates, decimal commas as text, a cell without a value."""
    openpyxl = pytest.importorskip("openpyxl")
    rng = np.random.default_rng(0)
    book = openpyxl.Workbook()
    book.active.append(["Datum", "Größe", "Farbe", "Sorte"])
    for row in range(60):
        kind = row % 2
        size = None if row == 7 else f"{rng.normal() + 4 * kind + 20:.2f}".replace(".", ",")
        day = datetime.datetime(2023, 1, 1) + datetime.timedelta(days=int(rng.integers(600)))
        book.active.append([day, size, ["rot", "blau", "grün"][row % 3], ["Apfel", "Birne"][kind]])
    book.save("obst.xlsx")

    found = json.loads(command("data", "check", "obst.xlsx", "--target", "Sorte", "--json"))
    assert found["kind"] == "table" and found["classes"] == ["Apfel", "Birne"]
    with pytest.raises(UserError, match="row 9") as told:
        command("train", "logistic-regression", "--data", "obst.xlsx", "--target", "Sorte", "--out", "run", *CPU)
    assert "missing=fill" in str(told.value)
    words = ("c=1", "missing=fill", "--data", "obst.xlsx", "--target", "Sorte", "--out", "run", *CPU)
    command("train", "logistic-regression", *words)
    metrics = json.loads(command("evaluate", "run", "--json", *CPU))["metrics"]
    assert metrics["accuracy"] > 0.8 > 0.6 > metrics["majority_accuracy"] and metrics["auc"] > 0.9
    assert len(answers("run", "obst.xlsx")) == 60
    exported("run")


def test_a_folder_of_small_images() -> None:
    rng = np.random.default_rng(0)
    for number in range(40):
        kind = ["hell", "dunkel"][number % 2]
        folder = Path("bilder", kind)
        folder.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 90, (12, 12, 3)) + (160 if kind == "hell" else 0)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    found = json.loads(command("data", "check", "bilder", "--json"))
    assert found["kind"] == "images" and found["sizes"] == "12x12"
    command("train", "mlp", "epochs=6", "size=12", "hidden=16", "batch_size=8", "lr=0.01", "dropout=0", "--data", "bilder",
            "--out", "run", *CPU)  # fmt: skip
    assert json.loads(command("evaluate", "run", "--json", *CPU))["metrics"]["accuracy"] == 1.0
    assert {a["class"] for a in answers("run", "bilder/hell")} == {"hell"}
    exported("run")


def test_a_text_in_gbk() -> None:
    good, bad = ["很好", "喜欢", "推荐", "满意"], ["很差", "失望", "退货", "糟糕"]
    rows = [f"这本书{words[i % 4]}第{i}次,{label}" for i in range(20) for words, label in ((good, "好"), (bad, "坏"))]
    Path("评论.csv").write_bytes("\n".join(["text,label", *rows]).encode("gbk"))
    with pytest.raises(UserError, match="encoding=gb18030"):
        command("data", "check", "评论.csv")
    found = json.loads(command("data", "check", "评论.csv", "encoding=gb18030", "--json"))
    assert found["kind"] == "sentences" and set(found["classes"]) == {"好", "坏"}
    command("train", "bag-of-words", "c=10", "min_df=1", "encoding=gb18030", "--data", "评论.csv", "--out", "run", *CPU)
    assert json.loads(command("evaluate", "run", "--json", *CPU))["metrics"]["balanced_accuracy"] == 1.0
    assert [a["class"] for a in answers("run", "这本书很好", "非常失望")] == ["好", "坏"]
    exported("run")
