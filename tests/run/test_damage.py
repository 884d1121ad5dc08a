"""Files of a run with bits flipped, cut, emptied, retyped: each time the same answers, or words. Never others."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import chainrule
from chainrule.core.errors import ChainruleError, Interrupted, UserError
from chainrule.run.run import Run
from chainrule.run.weights.learnt import learnt as load_modules
from tests.run.test_format_1 import FORMAT_1
from tests.run.toy import EachStep, learn, new, reopened, rows, weights_of

SEED = 4
WATCHING = ("status", "reason", "seconds")  # of run.json: no answer depends on them


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("damage") / "done"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("chainrule.api.training._report", lambda run: None)
        chainrule.train("mlp-table", out=folder, device="cpu", epochs=2, hidden=(4,), log_every=2)
    return folder


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """After its seventh step, with a checkpoint of each of the last two."""
    folder = tmp_path_factory.mktemp("damage") / "stopped"

    def act(count: int) -> None:
        if count == 7:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        learn(new(folder, checkpoint_s=0.0), *rows(), epochs=2, each_step=EachStep(act))
    record = folder / "run.json"  # how often it saves is no part of the checksum, and once more is enough
    record.write_text(record.read_text().replace('"checkpoint_s": 0.0', '"checkpoint_s": 1e9'))
    return folder


def flip(content: bytes, draw: random.Random) -> bytes:
    place = draw.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << draw.randrange(8)]) + content[place + 1 :]


def damages(folder: Path, flips: int, draw: random.Random) -> Iterator[tuple[str, Path, bytes | None]]:
    """A name, the file below `folder`, its new content; None: it is gone."""
    for file in sorted(folder.rglob("*")):
        if not file.is_file() or file.suffix == ".html":
            continue
        content, name = file.read_bytes(), file.relative_to(folder)
        for number in range(flips):
            yield f"{name}, flip {number}", name, flip(content, draw)
        yield f"{name}, last bit", name, content[:-1] + bytes([content[-1] ^ 1])
        for cut in (0, 1, draw.randrange(2, len(content)), len(content) - 1):
            yield f"{name}, cut at {cut}", name, content[:cut]
        yield f"{name}, gone", name, None


def damage(whole: Path, folder: Path, name: Path, content: bytes | None) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole, folder)
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)


def answers(folder: Path) -> dict[str, Any]:
    """All that a run says: its record, weights, result, lines."""
    run = Run.load(folder, "cpu")
    weights = {name: value.tolist() for name, value in run.open_task().modules()["model"].state_dict().items()}
    record = {key: value for key, value in run.record.items() if key not in WATCHING}
    return {"record": record, "weights": weights, "result": run.result(), "lines": run.log_lines()}


def same_or_told(ask: Callable[[], dict[str, Any]], expected: dict[str, Any], may_lack: tuple[str, ...] = ()) -> bool:
    """Whether it was told in words; anything else than that or the same answers fails."""
    try:
        found = ask()
    except ChainruleError:
        return True
    if "record" in found:  # where the flip was in the word sha256 itself, there is a word more and nothing else
        found["record"] = {key: value for key, value in found["record"].items() if key in expected["record"]}
    for name, value in found.items():
        assert value == expected[name] or (name in may_lack and not value), name
    return False


def test_a_run_that_is_done(done: Path, tmp_path: Path) -> None:
    expected, told = answers(done), {}
    assert expected["result"] and expected["lines"]
    for name, file, content in damages(done, 6, random.Random(SEED)):
        damage(done, tmp_path / "run", file, content)
        gone = ("result", "lines") if content is None else ()  # what is not there is shown as not there
        try:
            told[name] = same_or_told(lambda: answers(tmp_path / "run"), expected, gone)
        except Exception as error:
            raise AssertionError(f"{name}: {type(error).__name__}: {error}") from error
    used = {n: t for n, t in told.items() if n.startswith(("run.json", "checkpoint/best")) and "seconds" not in n}
    assert len(told) > 60 and sum(used.values()) >= len(used) - 3, (
        used
    )  # a flip in the seconds of run.json is no matter


def test_a_run_that_resumes(stopped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def resumed() -> dict[str, Any]:
        learn(reopened(tmp_path / "run"), *rows(), epochs=2)
        lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
        for line in lines:
            line.pop("seconds", None)
        weights = {name: weights_of(tmp_path / "run", name)["net"] for name in ("latest", "best")}
        return {"lines": lines, "weights": {n: {k: v.tolist() for k, v in part.items()} for n, part in weights.items()}}

    shutil.copytree(stopped, tmp_path / "run")
    expected = resumed()
    told = []
    for name, file, content in damages(stopped, 2, random.Random(SEED)):
        damage(stopped, tmp_path / "run", file, content)
        capsys.readouterr()
        try:
            told.append(same_or_told(resumed, expected))
        except (AssertionError, json.JSONDecodeError):
            said = capsys.readouterr().err
            assert file.name == "metrics.jsonl" and ("shorter" in said or "changed" in said), name
        except Exception as error:
            raise AssertionError(f"{name}: {type(error).__name__}: {error}") from error
    assert len(told) > 30 and told.count(False) > told.count(True), (
        "a checkpoint that is damaged leads to the one before"
    )


def test_a_missing_best_is_told_and_not_replaced(done: Path, stopped: Path, tmp_path: Path) -> None:
    for whole in (done, stopped):
        damage(whole, tmp_path / "run", Path("checkpoint/best.safetensors"), None)
        with pytest.raises(ChainruleError, match=r"chose are missing[\s\S]*best.safetensors"):
            reopened(tmp_path / "run") if whole is stopped else chainrule.evaluate(tmp_path / "run")


def test_where_no_checkpoint_is_whole_the_ways_on_are_told(stopped: Path, tmp_path: Path) -> None:
    shutil.copytree(stopped, tmp_path / "run")
    for file in (tmp_path / "run" / "checkpoint").rglob("state.safetensors"):
        file.write_bytes(file.read_bytes()[:-1] + b"\xff")
    with pytest.raises(UserError) as error:
        reopened(tmp_path / "run")
    said = str(error.value)
    assert said.startswith("no checkpoint is whole") and "step-000000007: the file is damaged" in said
    assert "(state.safetensors)" in said and "begin again: chainrule train toy" in said
    assert "best.safetensors are whole" in said and error.value.exit_status == 2
    assert load_modules(tmp_path / "run")  # and answer
    (tmp_path / "run" / "checkpoint" / "best.safetensors").write_bytes(b"")
    with pytest.raises(UserError) as error:
        reopened(tmp_path / "run")
    assert "are whole" not in str(error.value)


def test_a_damaged_latest_leads_to_resume(stopped: Path, tmp_path: Path) -> None:
    """It answers with nothing else than the latest; resuming takes the one before."""
    shutil.copytree(stopped, tmp_path / "run")
    place = tmp_path / "run" / "checkpoint"
    (place / "best.safetensors").unlink()
    (place / json.loads((place / "latest.json").read_text())["folder"] / "weights.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match=r"(?s)checkpoint is damaged.*chainrule resume .*takes step-000000006"):
        load_modules(tmp_path / "run")


def retyped(content: dict[str, Any], place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Places in an object of JSON with a value of another kind for each."""
    for key, value in content.items():
        yield (*place, key), 7.5 if isinstance(value, (str, type(None), list, dict)) else "seven"
        if isinstance(value, dict):
            yield from retyped(value, (*place, key))


@pytest.mark.parametrize("name", ["run.json", "result.json"])
def test_retyped_json_of_a_run_without_checksums(name: str, tmp_path: Path) -> None:
    """As an earlier version wrote it, so that the form alone can tell: with the key, and what is expected there."""
    whole = FORMAT_1 / "done"
    content = json.loads((whole / name).read_text())
    expected, told = answers(whole), 0
    for place, value in retyped(content):
        changed = json.loads(json.dumps(content))
        inside = changed
        for key in place[:-1]:
            inside = inside[key]
        inside[place[-1]] = value
        damage(whole, tmp_path / "run", Path(name), json.dumps(changed).encode())
        try:
            answers(tmp_path / "run")
        except ChainruleError as error:
            assert name in str(error) and (place[-1] in str(error) or "data" in str(error)), (place, str(error))
            told += 1
        except Exception as error:
            raise AssertionError(f"{place}: {type(error).__name__}: {error}") from error
        else:
            assert place[0] in ("versions", "metrics", "chosen", "seconds", "data", "device", "recipe", "seed"), place
    for key in content:
        rest = {other: value for other, value in content.items() if other != key}
        damage(whole, tmp_path / "run", Path(name), json.dumps(rest).encode())
        same_or_told(lambda: {"weights": answers(tmp_path / "run")["weights"]}, expected)
    assert told > (40 if name == "run.json" else 3)


def test_every_verb_tells_a_damaged_run_json(done: Path, tmp_path: Path) -> None:
    content = (done / "run.json").read_bytes()
    damage(done, tmp_path / "run", Path("run.json"), content.replace(b'"seed": 0', b'"seed": 1'))
    for verb in (chainrule.evaluate, chainrule.resume, chainrule.report, chainrule.explain):
        with pytest.raises(ChainruleError, match=r"run.json is damaged[\s\S]*sha256") as caught:
            verb(tmp_path / "run")
        assert caught.value.exit_status == 2


@pytest.mark.parametrize(
    ("place", "value"), [("dtype", "\0"), ("splits", 1), ("counts", []), ("categories", {"a": 1}), ("schema", [{}])]
)
def test_what_run_json_says_of_the_data_is_checked(place: str, value: Any, done: Path, tmp_path: Path) -> None:
    """Also deep inside, where the record has no checksum any more."""
    content = json.loads((done / "run.json").read_text())
    content.pop("sha256")
    content["data"]["spec"][place] = value
    damage(done, tmp_path / "run", Path("run.json"), json.dumps(content).encode())
    with pytest.raises(ChainruleError, match=r"run\.json") as caught:
        chainrule.predict(tmp_path / "run", "5.1,3.5,1.4,0.2")
    assert caught.value.exit_status == 2
