"""The command: how it exits, what it prints, and what it says to a mistake."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chainrule.cli import cli, main
from chainrule.core.discovery import all_recipes
from chainrule.core.errors import UserError
from tests.data.image_sets import npz, write_images
from tests.run.together import can_fork
from tests.trained import lenet_run

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs the command in this process: (exit status, stdout, stderr)."""

    def run(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        status = 0
        try:
            main([str(word) for word in words])
        except SystemExit as end:
            status = int(end.code or 0)
        out, err = capsys.readouterr()
        return status, out, err

    return run


@pytest.fixture
def run_folder(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Path:
    return Path(shutil.copytree(lenet_run(tmp_path_factory), tmp_path / "r"))


def child(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "chainrule", *words], capture_output=True, text=True, timeout=120)


# -- what it prints ---------------------------------------------------------------------------------------------


def test_list(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHAINRULE_DATA", raising=False)
    monkeypatch.setenv("CHAINRULE_CACHE", str(tmp_path))
    status, out, err = command("list", "--json")
    rows = json.loads(out.splitlines()[-1])
    assert status == 0 and err == "" and [row["name"] for row in rows] == list(all_recipes())
    assert all(set(row) == {"name", "family", "task", "data", "source"} and all(row.values()) for row in rows)
    only = json.loads(command("list", "--family", "image-classification", "--json")[1])
    assert only == [row for row in rows if row["family"] == "image-classification"] != []
    text = command("list")[1]
    assert all(name in text for name in all_recipes())
    row = {line.split()[0]: line for line in text.splitlines() if line}
    assert "digits  " in row["lenet5"] and "orl  (by hand)" in row["facenet"] and "(download)" in row["(download):"]


def test_train_evaluate_and_predict_answer_in_json(command: Command, tmp_path: Path) -> None:
    data = npz(tmp_path / "a.npz")
    words = [
        "train",
        "lenet-caffe",
        "epochs=2",
        "batch-size=8",
        "log_every=1",
        "--data",
        data,
        "--seed",
        "5",
        "--device",
        "cpu",
        "--json",
    ]
    status, out, err = command(*words)
    assert status == 0 and len(out.splitlines()) == 1
    result = json.loads(out)
    assert set(result) >= {"run", "recipe", "metrics", "seconds", "parameters", "device"}
    assert (
        result["run"] == str(Path("runs/lenet-caffe-1"))
        and result["recipe"] == "lenet-caffe"
        and result["device"] == "cpu"
    )
    assert {"accuracy", "error", "loss", "balanced_accuracy"} < set(result["metrics"]) and result["seconds"] > 0
    assert result["parameters"] == 431_080 - 8 * 501  # two classes
    assert "\x1b" not in err and "\r" not in err and "val_error" in err  # plain lines: this is no terminal
    opening = err.splitlines()[0]
    assert opening.startswith(f"lenet-caffe: {data}, ") and " train, " in opening
    assert opening.endswith(f"; 427,072 parameters; cpu; {Path('runs/lenet-caffe-1')}")
    record = json.loads(Path("runs/lenet-caffe-1/run.json").read_text("utf-8"))
    assert record["seed"] == 5 and record["settings"]["batch_size"] == 8 and record["common"]["log_every"] == 1

    status, out, err = command("evaluate", result["run"], "--json", "--device", "cpu")
    assert status == 0 and err == "" and len(out.splitlines()) == 1
    again = json.loads(out)
    assert again["metrics"] == result["metrics"] and set(again) >= {
        "run",
        "recipe",
        "metrics",
        "seconds",
        "parameters",
        "device",
    }
    status, out, _ = command("evaluate", result["run"], "--device", "cpu")
    assert status == 0 and f"{result['metrics']['accuracy']:.6g}" in out

    write_images(tmp_path / "p", 2)
    status, out, _ = command(
        "predict", result["run"], tmp_path / "p" / "0.png", tmp_path / "p" / "1.png", "--json", "--device", "cpu"
    )
    assert status == 0 and [answer["class"] in ("0", "1") for answer in json.loads(out.splitlines()[-1])] == [
        True,
        True,
    ]
    status, out, _ = command("predict", result["run"], tmp_path / "p", "--device", "cpu")
    assert status == 0 and len(out.splitlines()) == 2

    assert command(*words[:-1])[0] == 0 and Path("runs/lenet-caffe-2/result.json").is_file()
    two = json.loads(Path("runs/lenet-caffe-2/result.json").read_text("utf-8"))
    assert two["metrics"] == result["metrics"]  # the same seed


def test_other_verbs(command: Command, run_folder: Path) -> None:
    status, out, _ = command("export", run_folder, "--to", "torch", "--json")
    found = json.loads(out.splitlines()[-1])
    assert status == 0 and Path(found["file"]).is_file() and found["largest_difference"] <= 1e-4
    for words in (["explain", run_folder], ["explain", "lenet5"], ["report", run_folder]):
        status, out, _ = command(*words)
        assert status == 0 and Path(out.splitlines()[-1]).is_file()
    status, out, _ = command("data", "list")
    assert status == 0 and "digits" in out and "cifar10" in out
    status, out, _ = command("data", "check", "digits", "--json")
    assert status == 0 and json.loads(out.splitlines()[-1])["found"] == {"train": 1797}
    status, out, _ = command("show", "lenet-caffe")
    assert status == 0 and "431,080 trainable parameters" in out and "epochs=12" in out


def test_runs_of_one_name_in_two_folders_are_compared(command: Command, run_folder: Path) -> None:
    """Their paths tell them apart, however long these are: the curves keep their room beside the legend."""
    other = shutil.copytree(run_folder, run_folder.parent / "a folder with a long name, as people have them" / "r")
    status, out, _ = command("report", run_folder, other)
    assert status == 0 and Path(out.splitlines()[-1]).is_file()


# -- mistakes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train", "lenet"], ["no recipe 'lenet'", "did you mean", "lenet5"]),
        (["show", "resnet21"], ["did you mean resnet20"]),
        (["explain", "lenet-cafe"], ["did you mean lenet-caffe"]),
        (["train", "lenet5", "epoch=1"], ["did you mean 'epochs'?", "batch_size"]),
        (["train", "lenet5", "epochs=three"], ["whole number, at least 1", "epochs=three"]),
        (["train", "lenet5", "epochs=0"], ["at least 1"]),
        (["train", "lenet5", "lr=nan"], ["number, above 0"]),
        (["train", "lenet5", "epochs"], ["expected: key=value"]),
        (["train", "lenet5", "seed=3"], ["seed"]),
        (["train", "lenet5", "--device", "cuda"], ["no cuda device", "--device auto"]),
        (["train", "lenet5", "--device", "gpu"], ["no such device", "cuda"]),
        (["train", "lenet5", "--device", "cpu:x"], ["device"]),
        (["train", "lenet5", "--data", "digts"], ["did you mean", "digits"]),
        (["train", "lenet5", "--data", "iris"], ["not a set of images"]),
        (["train", "lenet5", "--data", "no/such/path"], ["no/such/path"]),
        (["train", "lenet5", "--weights", "none.safetensors"], ["no such file", "none.safetensors"]),
        (["train", "lenet5", "--seed", "-1"], ["-1"]),
        (["train", "lenet5", "--seed", "x"], ["x"]),
        (["train", "lenet5", "--sed", "1"], ["--sed"]),
        (["train"], ["RECIPE"]),
        (["trane", "lenet5"], ["trane"]),
        (["list", "--family", "facse"], ["facse", "faces"]),
        (["resume", "nowhere"], ["no run folder", "nowhere"]),
        (["evaluate", "nowhere"], ["no run folder", "nowhere"]),
        (["predict", "nowhere", "x.png"], ["no run folder"]),
        (["generate", "nowhere"], ["no run folder"]),
        (["export", "nowhere", "--to", "torch"], ["no run folder"]),
        (["export", "nowhere", "--to", "caffe"], ["caffe", "onnx"]),
        (["report", "nowhere"], ["no run folder"]),
        (["data", "get", "mnits"], ["mnits", "mnist"]),
        (["data", "check", "nowhere"], ["nowhere"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_told_and_leaves_nothing(words: list[str], said: list[str], command: Command) -> None:
    if "cuda" in words and __import__("torch").cuda.is_available():
        pytest.skip("cuda is here")
    status, out, err = command(*words)
    assert status == 2, (out, err)
    assert out == "" and "Traceback" not in err and all(word in err for word in said), err
    assert not list(Path().iterdir()), "a start that failed has left something behind"


def test_debug_shows_where_an_error_came_from(command: Command) -> None:
    with pytest.raises(UserError, match="did you mean 'epochs'"):
        main(["--debug", "train", "lenet5", "epoch=1"])
    done = child("--debug", "list", "--family", "x")
    assert done.returncode != 0 and "Traceback" in done.stderr and "there is no family 'x'" in done.stderr


def test_a_failed_start_takes_back_its_folder_and_no_other(command: Command, tmp_path: Path) -> None:
    bad = npz(tmp_path / "bad.npz", y=__import__("numpy").zeros(40, int))
    (tmp_path / "mine").mkdir()
    for out in ("new", "mine", "deep/er"):
        status, _, err = command("train", "lenet5", "--data", bad, "--out", out, "--device", "cpu")
        assert status == 2 and "only one class" in err
    assert command("train", "lenet5", "--data", bad, "--device", "cpu")[0] == 2
    assert not Path("new").exists() and not Path("deep/er").exists() and not Path("runs").exists()
    assert Path("mine").is_dir() and not list(Path("mine").iterdir())


def test_a_run_folder_that_holds_something_is_refused(command: Command, run_folder: Path) -> None:
    before = sorted(run_folder.rglob("*"))
    status, _, err = command("train", "lenet-caffe", "epochs=1", "--out", run_folder)
    assert status == 2 and "already holds something" in err and f"chainrule resume {run_folder}" in err
    assert sorted(run_folder.rglob("*")) == before
    Path("other").mkdir()
    Path("other/notes.txt").write_text("mine")
    status, _, err = command("train", "lenet-caffe", "epochs=1", "--out", "other")
    assert status == 2 and "another --out" in err and os.listdir("other") == ["notes.txt"]  # noqa: PTH208
    status, _, err = command("train", "lenet-caffe", "epochs=1", "--out", "other/notes.txt")
    assert status == 2 and "a file of this name" in err and Path("other/notes.txt").read_text() == "mine"
    status, _, err = command("train", "lenet-caffe", "epochs=1", "--out", "other/notes.txt/deeper")
    assert status == 2 and "cannot be made" in err


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"format": 1}', '{"format": 99, "recipe": "lenet5"}'])
def test_a_damaged_run_json_is_told(content: str, command: Command, run_folder: Path) -> None:
    (run_folder / "run.json").write_text(content)
    for verb in (["evaluate"], ["resume"], ["report"], ["explain"]):
        status, _, err = command(*verb, run_folder)
        assert status == 2 and "Traceback" not in err and "run.json" in err, verb


def test_wrong_questions_to_a_run(command: Command, run_folder: Path) -> None:
    Path("text.png").write_text("no image")
    Path("empty").mkdir()
    for words, said in (
        (["predict", run_folder, "gone.png"], "no such file"),
        (["predict", run_folder, "text.png"], "cannot be read"),
        (["predict", run_folder, "empty"], "no image"),
        (["evaluate", run_folder, "--data", npz(Path("a.npz"))], "other classes"),
        (["generate", run_folder], "does not generate"),
        (["resume", run_folder], "this run is done"),
    ):
        status, out, err = command(*words, "--device", "cpu")
        assert status == 2 and said in err and out == "" and "Traceback" not in err, words


# -- interruption -----------------------------------------------------------------------------------------------


class Started:
    """`python -m chainrule WORDS`, begun; its stdout and stderr go into files."""

    def __init__(self, words: list[str]) -> None:
        with Path("out.txt").open("wb") as out, Path("err.txt").open("wb") as err:
            self.process = subprocess.Popen([sys.executable, "-m", "chainrule", *words], stdout=out, stderr=err)

    def ended(self) -> bool:
        return self.process.poll() is not None

    def pid(self) -> int:
        return self.process.pid

    def status(self) -> int:
        return self.process.wait(60)


class Forked:
    """The same command in a process that is forked here, and has imported everything."""

    def __init__(self, words: list[str]) -> None:
        def begin() -> None:
            for number, name in ((1, "out.txt"), (2, "err.txt")):
                with Path(name).open("wb") as file:
                    os.dup2(file.fileno(), number)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            main(words)

        self.process = multiprocessing.get_context("fork").Process(target=begin)
        self.process.start()

    def ended(self) -> bool:
        return not self.process.is_alive()

    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    def status(self) -> int | None:
        self.process.join(60)
        return self.process.exitcode


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize(
    ("begin", "number", "status"),
    [(Started, signal.SIGINT, 130), pytest.param(Forked, signal.SIGTERM, 143, marks=can_fork[0])],
    ids=["Ctrl-C", "SIGTERM"],
)
def test_an_interrupted_run_says_how_to_resume_and_resumes(
    begin: type[Started | Forked], number: int, status: int, command: Command, tmp_path: Path
) -> None:
    data = npz(tmp_path / "a.npz")
    words: list[Any] = [
        "train",
        "lenet-caffe",
        "epochs=60",
        "batch_size=4",
        "log_every=1",
        "threads=1",
        "--data",
        data,
        "--out",
        "my run",
    ]
    process = begin([*words, "--device", "cpu"])
    while not process.ended() and not Path("my run/metrics.jsonl").is_file():
        time.sleep(0.02)
    os.kill(process.pid(), number)
    ended = process.status()
    out, err = (Path(name).read_text("utf-8") for name in ("out.txt", "err.txt"))
    assert ended == status, err
    assert out == "" and "Traceback" not in err and "chainrule resume" in err and "my run" in err
    assert json.loads(Path("my run/run.json").read_text())["status"] == "interrupted"
    record = Path("my run/run.json")
    edited = json.loads(record.read_text())
    stopped_in = json.loads(Path("my run/checkpoint/latest.json").read_text())["step"] // 8
    edited["settings"]["epochs"] = stopped_in + 1  # it need not continue for long
    del edited["sha256"]  # as a person does who changes it
    record.write_text(json.dumps(edited))
    code, out, err = command("resume", "my run", "--json")
    assert code == 0, err
    assert re.search(r"^lenet-caffe: .*; my run; resumes at step \d+$", err, re.MULTILINE)
    result = json.loads(out.splitlines()[-1])
    assert len(out.splitlines()) == 1 and result["run"] == "my run" and result["metrics"]["accuracy"] > 0.5
    steps = [
        line["step"]
        for line in map(json.loads, Path("my run/metrics.jsonl").read_text().splitlines())
        if "loss" in line
    ]
    assert steps == list(range(1, 8 * (stopped_in + 1) + 1))
    assert command("resume", "my run")[0] == 2


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("chainrule train len", ["lenet-backprop", "lenet-caffe", "lenet5"]),
        ("chainrule show facen", ["facenet"]),
        ("chainrule train mlp epo", ["epochs="]),
        ("chainrule train mlp log", ["log_every="]),
        ("chainrule train mlp --data tiny", ["tiny-shakespeare"]),
    ],
)
def test_a_shell_completes_what_the_records_have(words: str, expected: list[str]) -> None:
    from click.shell_completion import BashComplete

    *before, last = words.split()[1:]
    found = BashComplete(cli, {}, "chainrule", "_CHAINRULE_COMPLETE").get_completions(before, last)
    assert [item.value for item in found] == expected
