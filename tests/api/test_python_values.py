"""`predict`, `explain` and `evaluate` from Python: a value means what it says, as its text or its file would."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import chainrule
from chainrule.cli import cli
from chainrule.core.errors import UserError
from tests.trained import lenet_run

pytestmark = pytest.mark.usefixtures("no_report")


def answers(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without what the answer calls its input."""
    return [{name: value for name, value in answer.items() if name != "input"} for answer in found]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> chainrule.Run:
    folder = tmp_path_factory.mktemp("table")
    rows = np.random.default_rng(0).normal(size=(40, 2)).round(3)
    lines = [f"{a},{b},{'yes' if a > b else 'no'},{'warm' if a > 0 else 'cold'}" for a, b in rows]
    (folder / "t.csv").write_text("\n".join(["a,b,word,kind", *lines]))
    return chainrule.train("logistic-regression", data=folder / "t.csv", target="kind", c=1, out=folder / "run")


def test_rows_of_a_table(table: chainrule.Run) -> None:
    expected = chainrule.predict(table.folder, ["0.5,-1,yes", "-0.25,1,no"])
    frame_like = {"b": [-1.0, 1.0], "a": [0.5, -0.25], "word": ["yes", "no"]}
    rows = [(0.5, -1, "yes"), (-0.25, 1, "no")]
    for value in (frame_like, rows, np.array(rows, dtype=object), [{"a": 0.5, "b": -1, "word": "yes"}, rows[1]]):
        assert answers(chainrule.predict(table, value)) == answers(expected), value
    assert answers(chainrule.predict(table, "0.5,-1,yes")) == answers(expected)[:1], "a text is one input"
    assert answers(chainrule.predict(table, np.array(rows[0], dtype=object)[None])) == answers(expected)[:1]
    for wrong, words in (
        (np.zeros((2, 5)), ["another number of columns", "a, b, word", r"\(2, 5\)"]),
        (b"0.5,-1,yes", ["of no form that is known", "bytes"]),
        ([None], ["NoneType"]),
        ([], ["nothing to predict from"]),
        ("", ["an input is empty"]),
        ([object()], ["object"]),
    ):
        for word in words:
            with pytest.raises(UserError, match=word):
                chainrule.predict(table, wrong)


def test_explain_takes_the_same(table: chainrule.Run, tmp_path: Path) -> None:
    pages = []
    for number, value in enumerate(("0.5,-1,yes", ["0.5,-1,yes"], {"a": 0.5, "b": -1, "word": "yes"})):
        page = chainrule.explain(table, value, out=tmp_path / f"{number}.html").read_text("utf-8")
        pages.append(re.sub(r"<dt>input</dt><dd>[^<]*</dd>", "", page))
    assert pages[0] == pages[1] == pages[2] and "warm" in pages[0]
    with pytest.raises(UserError, match="one input at a time"):
        chainrule.explain(table, ["0.5,-1,yes", "0,0,no"])


def test_frames(table: chainrule.Run) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"id": [7, 8], "a": [0.5, -0.25], "b": [-1, 1], "word": ["yes", "no"]})
    found = chainrule.predict(table, frame)
    assert [answer["id"] for answer in found] == ["7", "8"], "a column of the user's own stays"
    assert [answer["class"] for answer in found] == ["warm", "cold"]
    assert answers(chainrule.predict(table, frame.drop(columns="id").iloc[0])) == answers(
        chainrule.predict(table, "0.5,-1,yes")
    )


def test_an_input_that_fails_is_named_with_the_answers_before_it(table: chainrule.Run) -> None:
    with pytest.raises(UserError, match="1,2"):
        chainrule.predict(table, ["0.5,-1,yes", "1,2", "0,0,no"])
    with pytest.raises(UserError) as caught:
        chainrule.predict(table, ["0.5,-1,yes", "1,2", "0,0,no"])
    assert [answer["input"] for answer in caught.value.answers] == ["0.5,-1,yes"]


def test_images(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    run = chainrule.Run.load(lenet_run(tmp_path_factory))
    x = torch.randint(0, 256, (3, 28, 28), dtype=torch.uint8).numpy()
    files = []
    for i, image in enumerate(x):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
        files.append(tmp_path / f"{i}.png")
    expected = answers(chainrule.predict(run, files))
    images = [Image.open(file) for file in files]
    for value in (x, x[..., None], list(x), images, torch.from_numpy(x)[:, None], x / 255, x.astype(float)):
        assert answers(chainrule.predict(run, value)) == expected, type(value)
    assert answers(chainrule.predict(run, x[0])) == expected[:1] == answers(chainrule.predict(run, str(files[0])))
    colour = np.stack([x[1]] * 3, -1)
    assert answers(chainrule.predict(run, colour)) == expected[1:2], "grey in three channels"
    for wrong in (x - 300.0, np.zeros((2, 3, 4, 5, 6)), np.array(["a", "b"])):
        with pytest.raises(UserError):
            chainrule.predict(run, wrong)


def test_the_network_takes_raw_pixels(tmp_path_factory: pytest.TempPathFactory) -> None:
    run = chainrule.Run.load(lenet_run(tmp_path_factory))
    x = torch.randint(0, 256, (2, 1, 28, 28), dtype=torch.uint8)
    found = run.network()(x)
    expected = [answer["probability"] for answer in chainrule.predict(run, x)]
    assert found.max(1).values.tolist() == pytest.approx(expected, abs=1e-6)
    assert not torch.allclose(run.open_task().modules()["model"](x.float()).softmax(1), found, atol=0.1)


def test_series(tmp_path: Path) -> None:
    values = np.sin(np.arange(60) / 3).round(4)
    (tmp_path / "s.csv").write_text("\n".join(["x", *map(str, values)]))
    run = chainrule.train(
        "mlp-series", data=tmp_path / "s.csv", epochs=1, lags=4, hidden=4, horizon=2, out=tmp_path / "run"
    )
    last = values[-6:]
    expected = answers(chainrule.predict(run, ",".join(map(str, last))))
    for value in (last, list(last), torch.from_numpy(last), last[None]):
        assert answers(chainrule.predict(run, value)) == expected
    assert len(chainrule.predict(run, np.stack([last, last]))) == 2
    with pytest.raises(UserError, match="too short"):
        chainrule.predict(run, last[:2])


def test_texts(tmp_path: Path) -> None:
    texts = ["a good day", "a bad day", "good and kind", "bad and sad"] * 5
    run = chainrule.train("bag-of-words", data=(texts, ["+", "-", "+", "-"] * 5), out=tmp_path / "run")
    expected = answers(chainrule.predict(run, ["good day", "sad day"]))
    for value in (
        np.array(["good day", "sad day"]),
        ("good day", "sad day"),
        (text for text in ["good day", "sad day"]),
    ):
        assert answers(chainrule.predict(run, value)) == expected
    assert len(chainrule.predict(run, "good day")) == 1
    with pytest.raises(UserError, match="no text"):
        chainrule.predict(run, np.zeros(3))


def test_images_before_the_broken_one_are_answered(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    files = [tmp_path / f"{i}.png" for i in range(3)]
    for file in files:
        Image.new("L", (28, 28)).save(file)
    files[1].write_bytes(b"\x89PNG broken")
    with pytest.raises(UserError, match=r"1\.png") as caught:
        chainrule.predict(lenet_run(tmp_path_factory), files)
    assert [answer["input"] for answer in caught.value.answers] == [str(files[0])]


def test_an_answer_that_is_nan_is_valid_json(table: chainrule.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    monkeypatch.setattr(
        "chainrule.tasks.tables.classification.evaluate_rows",
        lambda run, model, x, dtype: x.new_full((len(x), 2), np.nan),
    )
    done = CliRunner().invoke(cli, ["predict", str(table.folder), "0.5,-1,yes", "--json"])
    assert done.exit_code == 0, done.exception
    (answer,) = json.loads(done.stdout.splitlines()[-1], parse_constant=refuse)
    assert answer["probability"] is None and answer["not_finite"]["probability"] == "NaN"


def test_the_names_of_the_columns_stand_above_the_answers(table: chainrule.Run) -> None:
    done = CliRunner().invoke(cli, ["predict", str(table.folder), "0.5,-1,yes"])
    assert done.stdout.split("\t")[:2] == ["0.5,-1,yes", "warm"] and done.stderr == "input\tclass\tprobability\n"
