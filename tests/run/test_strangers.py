"""Run folders that come from somebody else: nothing outside of them is written, nothing that they name is run."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import chainrule
from chainrule.core.data.request import DataRequest
from chainrule.core.errors import UserError
from chainrule.core.own_code import trust
from chainrule.core.own_code.given import OwnCode
from chainrule.run.checkpoint.folder import latest_step
from chainrule.run.run import Run
from chainrule.run.weights.loading import load_file
from tests.run.toy import Net, learn, new, reopened, rows

posix = pytest.mark.skipif(os.name != "posix", reason="links and pipes")


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder of the user's that no run may touch."""
    folder = tmp_path / "outside"
    (folder / "step-000000001").mkdir(parents=True)
    (folder / "mine").write_text("kept")
    (folder / "step-000000001" / "mine").write_text("kept")
    return folder


def kept(outside: Path) -> bool:
    files = sorted(file.relative_to(outside).as_posix() for file in outside.rglob("*") if file.is_file())
    return files == ["mine", "step-000000001/mine"] and all((outside / file).read_text() == "kept" for file in files)


@posix
@pytest.mark.parametrize(
    "name",
    [
        "metrics.jsonl",
        "run.json",
        "result.json",
        "checkpoint",
        "checkpoint/latest.json",
        "checkpoint/best.safetensors",
        "checkpoint/step-000000000",
        "checkpoint/step-000000006/weights.safetensors",
        "figures",
        ".lock",
    ],
)
def test_a_link_in_a_run_folder_is_refused(name: str, outside: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    learn(new(folder), *rows(), epochs=1)
    place = folder / name
    target = outside if not place.suffix else outside / "mine"
    if name in ("run.json", "checkpoint"):
        target = place.rename(tmp_path / "theirs")
    elif place.exists():
        place.unlink()
    place.symlink_to(target)
    with pytest.raises(UserError, match="link"):
        reopened(folder)
    assert kept(outside)


@posix
def test_pages_and_images_are_not_written_through_links(outside: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    learn(new(folder), *rows(), epochs=1)
    for name in (".report.html.partial", "report.html", ".run.json.partial", ".metrics.jsonl.partial"):
        (folder / name).symlink_to(outside / "mine")
    for name in (".step-000000012.partial", "best.safetensors-mine", "other"):
        (folder / "checkpoint" / name).mkdir()
    run = Run.load(folder, "cpu", trains=True, recipe=new(tmp_path / "another").recipe)
    from chainrule.reporting.page import write_page

    write_page("explain.html.j2", folder / "report.html", **_page())
    run.set_status("running")
    run.resume()
    learn(run, *rows(), epochs=2)
    assert kept(outside) and not (folder / "report.html").is_symlink()
    assert (folder / "checkpoint" / "other").is_dir() and (folder / "checkpoint" / "best.safetensors-mine").is_dir()


def _page() -> dict[str, Any]:
    empty = dict.fromkeys(("training_batch", "looked", "illustrations", "source", "note"))
    return {**empty, "title": "t", "subtitle": "s", "version": "0", "graph_style": "", "deviations": [], "networks": []}


@posix
@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", ["run.json", "metrics.jsonl", "checkpoint/latest.json", "checkpoint/best.safetensors"])
def test_a_pipe_in_a_run_folder_is_not_waited_for(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    learn(new(folder), *rows(), epochs=1)
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(UserError, match=r"no run folder|this is no file"):
        reopened(folder)


@posix
@pytest.mark.timeout(20)
def test_who_looks_at_a_run_waits_for_no_pipe(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").mkdir()
    os.mkfifo(tmp_path / "checkpoint" / "latest.json")
    assert latest_step(tmp_path) is None


@posix
@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", ["pipe", "pipe.caffemodel", "pipe.pth"])
def test_weights_are_no_pipe_and_no_device(name: str, tmp_path: Path) -> None:
    class Caffe(Net):
        def caffe_state(self, file: str) -> dict[str, Any]:
            raise AssertionError("it was opened")

    os.mkfifo(tmp_path / name)
    for place in (tmp_path / name, Path("/dev/zero")):
        with pytest.raises(UserError, match="read from a file"):
            load_file(place, {"net": Caffe()}, "toy")


# -- modules of environments ----------------------------------------------------------------------------------------------

MODULE = """\
import pathlib
from gymnasium.envs.classic_control.cartpole import CartPoleEnv
from gymnasium.envs.registration import register

(pathlib.Path(__file__).parent / "ran").touch()
register("Strange-v0", entry_point=CartPoleEnv, max_episode_steps=9)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module of environments on Python's path; what the user has named is forgotten."""
    gymnasium = pytest.importorskip("gymnasium")
    monkeypatch.setattr(gymnasium.envs.registration, "registry", dict(gymnasium.envs.registration.registry))
    place = tmp_path / "modules" / "strange_envs.py"
    place.parent.mkdir()
    place.write_text(MODULE)
    monkeypatch.syspath_prepend(str(place.parent))
    monkeypatch.setattr(trust, "_named_here", set())
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delitem(sys.modules, "strange_envs", raising=False)
    return place


@pytest.mark.parametrize("where", ["source", "spec"])
def test_a_run_folder_imports_no_module_by_itself(where: str, module: Path) -> None:
    """Neither by the name of its data nor by the id in what it keeps of them."""
    from chainrule.systems.reinforcement.environments import load_environment

    record: dict[str, Any] = {"settings": {}}
    name = "strange_envs:Strange-v0"
    data: dict[str, Any] = {"source": name if where == "source" else "CartPole-v1", "target": None}
    if where == "spec":
        plain = load_environment(DataRequest({"": "CartPole-v1"})).spec.to_json()
        data["spec"] = {**plain, "id": name}

    def load(**words: Any) -> Any:
        return load_environment(replace(DataRequest.from_record(data), own=OwnCode(record, **words))).spec

    with pytest.raises(UserError, match=r"strange_envs[\s\S]*--code strange_envs"):
        load(asked=False)
    assert "strange_envs" not in sys.modules and not (module.parent / "ran").exists()
    assert load(asked=False, code=["strange_envs"]).id == name
    assert load(asked=False).id == name  # and remembered
    module.write_text(MODULE + "\n# changed\n")
    with pytest.raises(UserError, match="as it is now"):
        load(asked=False)
    assert load(asked=False, code=[module]).id == name
    assert load(asked=True).id == name


def test_the_verbs_ask_for_the_flag(module: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who trains names it; on another machine the flag is asked for."""
    monkeypatch.setattr("chainrule.api.training._report", lambda run: None)
    monkeypatch.setattr("chainrule.systems.reinforcement.task.TEST_EPISODES", 2)
    run = chainrule.train(
        "dqn", data="strange_envs:Strange-v0", out=tmp_path / "run", device="cpu", hidden=(4,), total_steps=400,
        learning_starts=100, evaluate_every=200, evaluation_episodes=1,
    )  # fmt: skip
    assert chainrule.evaluate(run.folder, device="cpu") == run.result()["metrics"]  # type: ignore[index]
    monkeypatch.setattr(trust, "_named_here", set())
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another"))
    verbs: list[Callable[..., Any]] = [chainrule.evaluate, chainrule.export, chainrule.explain, chainrule.generate]
    for verb in verbs:
        with pytest.raises(UserError, match="--code strange_envs"):
            verb(run.folder, *(["torch"] if verb is chainrule.export else []))
    assert chainrule.evaluate(run.folder, device="cpu", code=["strange_envs"]) == run.result()["metrics"]  # type: ignore[index]


# -- what a run works with, exchanged meanwhile ---------------------------------------------------------------------------


def test_another_of_is_told(tmp_path: Path) -> None:
    """A run notes what it was given from elsewhere, and finds the same when it is resumed."""
    run = new(tmp_path / "run")
    run.expect_same("of", "a" * 64)
    learn(run, *rows(), epochs=1)
    again = Run.load(tmp_path / "run", "cpu", recipe=run.recipe)
    again.expect_same("of", "a" * 64)
    with pytest.raises(UserError, match="of is not what it was"):
        again.expect_same("of", "b" * 64)
