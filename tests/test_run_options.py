"""`predict` and `generate` on the command line: options that their run decides, answers in files."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.shell_completion import BashComplete
from click.testing import CliRunner, Result

import chainrule
from chainrule.cli import cli, main
from chainrule.core.answers import flat
from chainrule.core.errors import UserError
from tests.data.image_sets import write_images
from tests.trained import lenet_run

TINY_TEXT = {"epochs": 1, "hidden_size": 8, "layers": 1, "batch_size": 4, "length": 10}


@pytest.fixture(scope="module")
def lenet(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(shutil.copytree(lenet_run(tmp_path_factory), tmp_path_factory.mktemp("options") / "lenet"))


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A run folder that says it is of char-lstm: options are known from run.json alone."""
    folder = tmp_path_factory.mktemp("options") / "text"
    folder.mkdir()
    asked = {"format": 1, "recipe": "char-lstm", "settings": {}, "common": {}, "seed": 0, "data": {"source": "t"}}
    (folder / "run.json").write_text(
        json.dumps({**asked, "weights": None, "device": "cpu", "threads": 1, "status": "done"})
    )
    return str(folder)


def command(*words: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(cli, [*map(str, words)], input=stdin)


def table(file: str) -> list[dict[str, str]]:
    with Path(file).open(encoding="utf-8-sig", newline="") as handle:
        return list(csv.DictReader(handle))


# -- options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [("RUN", "--help"), ("--help", "RUN"), ("--length", "3", "RUN", "-h")])
def test_help_shows_the_options_of_the_run(words: tuple[str, ...], text: str) -> None:
    done = command("generate", *(text if word == "RUN" else word for word in words))
    assert done.exit_code == 0, done.exception
    said = " ".join(done.output.split())
    assert "Options of char-lstm" in said and "--temperature TEMPERATURE number, at least 0; by default 1" in said
    assert "--length LENGTH whole number, at least 1; by default 500" in said and "continue `prompt`" in said


def test_help_without_a_run() -> None:
    for verb in ("predict", "generate"):
        done = command(verb, "--help")
        assert (
            done.exit_code == 0 and f"chainrule {verb} RUN --help" in done.output and "--temperature" not in done.output
        )


def test_show_lists_them() -> None:
    said = command("show", "char-lstm").output
    assert "Options of generate:" in said and "  length=500" in said and "Options of predict:" in said
    assert "  top=3" in command("show", "lenet5").output and "Options of" not in command("show", "ravine").output


WRONG = [
    (["--temprature", "0.5"], ["no option 'temprature'; did you mean 'temperature'?", "length, prompt, temperature"]),
    (["--temprature=0.5"], ["did you mean 'temperature'?"]),
    (["temprature=0.5"], ["did you mean 'temperature'?"]),
    (["--temperature", "-1"], ["number, at least 0", "temperature=-1"]),
    (["temperature=nan"], ["number, at least 0"]),
    (["length=0"], ["at least 1"]),
    (["length=5", "--length", "6"], ["given twice"]),
    (["what"], ["unexpected extra argument", "what"]),
    (["-n", "0"], ["-n"]),
]


@pytest.fixture(scope="module")
def told(text: str) -> list[tuple[int, str, str]]:
    """How each of `WRONG` ends in a process that has loaded nothing: exit status, stdout, stderr. One process for all."""
    program = f"""
import contextlib, io, json, sys
from chainrule.cli import main
for words in {[words for words, _ in WRONG]!r}:
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            main(["generate", {text!r}, *words])
        except SystemExit as end:
            status = end.code
    print(json.dumps([status, out.getvalue(), err.getvalue()]))
assert "torch" not in sys.modules and "numpy" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [(status, out, err) for status, out, err in map(json.loads, done.stdout.splitlines())]


@pytest.mark.parametrize("number", range(len(WRONG)), ids=lambda number: " ".join(WRONG[number][0]))
def test_a_wrong_option_ends_before_anything_loads(number: int, told: list[tuple[int, str, str]]) -> None:
    """Exit status 2, and PyTorch was never imported."""
    status, out, err = told[number]
    assert status == 2 and not out and "Traceback" not in err
    assert all(word in err for word in WRONG[number][1]), err


def test_a_verb_that_the_run_has_not(lenet: str, capsys: pytest.CaptureFixture[str]) -> None:
    for words, said in (
        (["generate", lenet, "--length", "3"], "lenet-caffe does not generate"),
        (["generate", "nowhere", "--temperature", "3"], "no run folder"),
        (["predict", "nowhere", "--tops", "3", "x"], "no run folder"),
    ):
        with pytest.raises(SystemExit) as end:
            main(words)
        assert end.value.code == 2 and said in capsys.readouterr().err
    for api in (chainrule.predict, chainrule.generate):
        with pytest.raises(UserError, match="no run folder"):
            api("nowhere", **({"inputs": ["x"]} if api is chainrule.predict else {}))  # type: ignore[arg-type]


def test_options_reach_the_task_however_they_are_written(lenet: str) -> None:
    write_images(Path("p"), 2)
    found = [
        json.loads(command("predict", *words, "--json", "--device", "cpu").stdout)
        for words in (
            [lenet, "p", "--top", "5"], [lenet, "p", "--top=5"], [lenet, "top=5", "p"], ["--top", "5", lenet, "p"], [lenet, "p"],
        )
    ]  # fmt: skip
    assert [len(answers[0]["top"]) for answers in found] == [5, 5, 5, 5, 3]
    assert found[0] == found[1] == found[2] == found[3] == chainrule.predict(lenet, "p", top=5, device="cpu")
    Path("top=5").write_bytes(Path("p/0.png").read_bytes())  # a file of that name is an input
    assert json.loads(command("predict", lenet, "top=5", "--json").stdout)[0]["input"] == "top=5"
    with pytest.raises(UserError, match="'top' of predict of lenet-caffe has the wrong type or range"):
        chainrule.predict(lenet, ["p"], top=0)


def test_completion(text: str) -> None:
    complete = BashComplete(cli, {}, "chainrule", "_CHAINRULE_COMPLETE").get_completions
    assert [item.value for item in complete(["generate", text], "tem")] == ["temperature="]
    assert [item.value for item in complete(["generate", text], "--te")] == ["--temperature"]
    assert [item.value for item in complete(["predict", text], "to")] == ["top="]
    assert [item.type for item in complete(["predict", "nowhere"], "to")] == ["file"]


# -- answers in a file ------------------------------------------------------------------------------------------------


def test_a_list_becomes_a_table_of_answers(lenet: str) -> None:
    write_images(Path("图"), 3, size=(28, 28))
    Path("list.csv").write_text("id,path,label\nb,图/2.png,9\na,图/0.png,8\n", "utf-8")
    expected = chainrule.predict(lenet, ["list.csv"], device="cpu")
    done = command("predict", lenet, "list.csv", "--out", "out/answers.csv", "top=2", "--device", "cpu")
    assert done.exit_code == 0 and done.stdout == "2 answers: out/answers.csv\n", done.exception
    rows = table("out/answers.csv")
    assert list(rows[0]) == [
        "input", "class", "probability", "top_1_class", "top_1_probability", "top_2_class", "top_2_probability",
        *(f"probability_{digit}" for digit in range(10)), "id", "path", "label",
    ]  # fmt: skip
    assert [sum(float(row[f"probability_{digit}"]) for digit in range(10)) for row in rows] == pytest.approx(
        [1, 1], abs=1e-5
    )
    assert [row["id"] for row in rows] == ["b", "a"] and rows[0]["input"] == "图/2.png"
    assert [row["top_2_class"] for row in rows] == [list(answer["top"])[1] for answer in expected]
    done = command("predict", lenet, "list.csv", "--out", "answers.jsonl", "--json", "--device", "cpu")
    assert json.loads(done.stdout) == {"out": "answers.jsonl", "answers": 2}
    lines = [json.loads(line) for line in Path("answers.jsonl").read_text("utf-8").splitlines()]
    assert expected == chainrule.predict(lenet, ["list.csv"], out="b.csv", device="cpu")
    assert [{name: value for name, value in line.items() if name != "probabilities"} for line in lines] == expected
    for row, answer in zip(table("b.csv"), expected, strict=True):
        assert row.items() >= {name: str(value) for name, value in flat(answer).items()}.items()


def test_an_input_that_fails_leaves_no_file(lenet: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chainrule.tasks.images.classification.CHUNK", 1)
    write_images(Path("p"), 2)
    Path("p/broken.png").write_bytes(b"\x89PNG nothing")
    for out in ("a.csv", "a.jsonl"):
        done = command("predict", lenet, "p", "--out", out, "--device", "cpu")
        assert isinstance(done.exception, UserError) and "broken.png" in str(done.exception)
    assert os.listdir() == ["p"]  # noqa: PTH208
    done = command("predict", lenet, "p", "--out", "a.xlsx")
    assert isinstance(done.exception, UserError) and "--out a.csv" in str(done.exception)


def test_an_answer_does_not_depend_on_the_others(lenet: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(Path("p"), 5)
    together = chainrule.predict(lenet, ["p"], device="cpu")
    alone = [chainrule.predict(lenet, [answer["input"]], device="cpu")[0] for answer in together]
    monkeypatch.setattr("chainrule.tasks.images.classification.CHUNK", 2)
    assert together == chainrule.predict(lenet, ["p"], device="cpu")
    for one, other in zip(together, alone, strict=True):
        assert one["class"] == other["class"] and one["probability"] == pytest.approx(other["probability"], abs=2e-6)


@pytest.fixture(scope="module")
def iris(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("options") / "iris"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("chainrule.api.training._report", lambda run: None)
        chainrule.train("naive-bayes", data="iris", out=folder, device="cpu")
    return str(folder)


def columns_of(run: str) -> list[str]:
    spec: list[str] = json.loads((Path(run) / "run.json").read_text("utf-8"))["data"]["spec"]["columns"]
    return spec


def test_ten_thousand_rows(iris: str) -> None:
    header = ",".join(["name", *columns_of(iris)])
    Path("rows.csv").write_text(header + "\n" + "".join(f"r{i},{5 + i % 3},3,{1 + i % 5},0.2\n" for i in range(10_000)))
    done = command("predict", iris, "rows.csv", "--out", "a.csv", "--device", "cpu")
    assert done.stdout == "10,000 answers: a.csv\n", done.exception
    rows = table("a.csv")
    assert [row["name"] for row in rows] == [f"r{i}" for i in range(10_000)] and rows[9_999][
        "input"
    ] == "rows.csv, line 10001"
    alone = chainrule.predict(iris, ["5,3,1,0.2", "6,3,2,0.2"], device="cpu")
    assert [float(row["probability"]) for row in rows[:2]] == [answer["probability"] for answer in alone]
    assert rows[0] | {"name": "", "input": ""} == rows[15] | {"name": "", "input": ""}


def test_rows_on_stdin(iris: str) -> None:
    header = ",".join(columns_of(iris))
    bare = json.loads(command("predict", iris, "-", "--json", stdin="5,3,1,0.2\n6,3,5,2\n").stdout)
    named = json.loads(command("predict", iris, "-", "--json", stdin=f"{header}\n5,3,1,0.2\n6,3,5,2\n").stdout)
    assert [a["class"] for a in bare] == [a["class"] for a in named] == ["setosa", "virginica"]
    assert bare[0]["input"] == "stdin, line 1" and named[0]["input"] == "stdin, line 2"
    for content, words in (
        ("", "nothing on stdin"),
        ("5,3\n", "wrong number of values"),
        ("a,b\n1,2\n", "lacks columns"),
        ("5,3,1,x\n", "stdin, line 1"),
    ):
        done = command("predict", iris, "-", stdin=content)
        assert isinstance(done.exception, UserError) and words in str(done.exception) and not done.stdout


def test_mixed_kinds(iris: str, lenet: str) -> None:
    write_images(Path("p"), 1)
    Path("rows.csv").write_text("a,b\n1,2\n")
    for words, said in (
        ([lenet, "p/0.png", "rows.csv"], "the list has no column of files"),
        ([iris, "rows.csv"], "lacks columns"),
        ([iris, "p"], "the folder holds no table"),
        ([iris, "p/0.png"], "wrong number of values"),
        ([lenet, "5,3,1,0.2"], "no such file"),
    ):
        done = command("predict", *words)
        assert isinstance(done.exception, UserError) and said in str(done.exception), words


def test_a_number_below_zero_is_an_input(iris: str) -> None:
    assert len(chainrule.predict(iris, ["-1,3,1,0.2"])) == 1
    words = ["-1,3,1,.2", "-.5,3,1,.2", "-inf,3,1,2", "-1;3;1;2", "-x,3,1,2"]
    assert len(json.loads(command("predict", iris, *words[:2], "--json", "top=1").stdout)) == 2
    for word in words[2:]:  # a row, and wrong as a row: not an option that is not there
        assert "No such option" not in str(command("predict", iris, word).exception), word
    assert "Usage" in command("predict", iris, "-h").output


def test_an_option_that_is_none_gives_the_near_ones(iris: str) -> None:
    for word in ("--topp=3", "topp=3"):
        assert "did you mean 'top'" in str(command("predict", iris, "1,2,3,4", word).exception), word
    for word in ("-topp=3", "-top=3"):
        said = str(command("predict", iris, "1,2,3,4", word).exception)
        assert "did you mean --top" in said and f"-- {word}" in said
    done = command("explain", iris, "--clas", "setosa")
    assert done.exit_code == 2 and "--class" in done.output


def test_explain_takes_formulas_and_rows_that_begin_with_a_minus(iris: str) -> None:
    said = command("explain", "-x", "x=-3", "--out", "graph.html")
    assert said.exit_code == 0 and Path("graph.html").is_file(), said.exception
    # The h is no -h: with an option for each letter this would be the help.
    assert "Usage" not in command("explain", iris, "-3,high,1,2").output
    assert command("explain", iris, "-1,3,1,.2", "--out", "row.html").exit_code == 0


def test_long_work_says_how_far_it_is(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from chainrule.run.display import progress

    times: Any = iter(range(1000))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(times))
    assert list(progress.counted("abcdefgh", "predict", "answers")) == list("abcdefgh")
    out, err = capsys.readouterr()
    assert out == "" and err.splitlines() == ["predict: 3 answers"]
    monkeypatch.undo()
    assert list(progress.counted("ab", "predict", "answers")) and capsys.readouterr().err == ""


def test_what_python_gives_to_predict_is_none_that_is_known(lenet: str) -> None:
    frame = type("Frame", (), {"columns": ["a", "b"], "__iter__": lambda self: iter(self.columns)})()
    for given, word in (([3.5], "\\(1,\\)"), (frame, "Frame"), ([b"1,2"], "bytes")):
        with pytest.raises(UserError, match=f"found: +{word}"):
            chainrule.predict(lenet, given)
