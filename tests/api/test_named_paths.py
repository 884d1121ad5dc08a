"""Paths that the user names: those that no file can have are told before anything is written, those of settings found again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import chainrule
from chainrule.core.discovery import all_recipes, get_recipe
from chainrule.core.errors import ChainruleError, UserError
from chainrule.core.setting_paths import found_again, located
from chainrule.core.settings import names_beside_paths, parameters

LONG, ZERO, BYTES = "a" * 300, "a\0b", "a\udcff"
SMALL: dict[str, Any] = {"data": "iris", "epochs": 1}
STYLE: dict[str, Any] = {**get_recipe("style").tiny, "device": "cpu"}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def train(recipe: str, **settings: Any) -> Callable[[], object]:
    return lambda: chainrule.train(recipe, **{"device": "cpu", **settings})


NAMED = [("mlp-table", name) for name in ("data", "target", "val", "test", "out", "weights")]
NAMED += [
    (recipe.name, name)
    for recipe in all_recipes().values()
    for name, parameter in parameters(recipe.build).items()
    if names_beside_paths(parameter.annotation) is not None
]


@pytest.mark.parametrize(
    "path", [LONG, f"new/{LONG}", "x/" * 2500, ZERO, BYTES], ids=["name", "below", "whole", "0", "bytes"]
)
def test_a_path_that_no_file_can_have(path: str, here: Path) -> None:
    for recipe, name in NAMED:
        if (name == "target" and "a" * 300 in path) or (name == "target" and path.startswith("x/")):
            continue  # a column may have a long name
        settings = {**(SMALL if recipe == "mlp-table" else {}), name: path}
        with pytest.raises(UserError, match=r"too long|a byte 0|no UTF-8"):
            train(recipe, **settings)()
    for verb in (chainrule.evaluate, chainrule.resume, chainrule.generate, chainrule.report):
        with pytest.raises(UserError, match=r"too long|a byte 0|no UTF-8"):
            verb(path)
    assert not list(here.iterdir())


def test_settings_that_are_paths_are_known() -> None:
    assert {name for _, name in NAMED} >= {"of", "guide", "style", "net", "solver", "caffemodel"}


@pytest.mark.parametrize(
    "ask",
    [
        train("attack", of="nothing/here"),
        train("attack", of="file.txt"),
        train("attack", of="."),
        train("style", style="."),
        train("style", style="file.txt/inside"),
        train("dream", of="file.txt/inside"),
        train("caffe-net", solver="."),
        train("caffe-net", net="file.txt/inside"),
        train("mlp-table", **SMALL, weights="file.txt/inside"),
        train("mlp-table", **SMALL, weights="."),
        train("mlp-table", **SMALL, out="file.txt/run"),
        train("mlp-table", **SMALL, out="file.txt"),
        train("mlp-table", **{**SMALL, "data": "file.txt/inside"}),
        train("mlp-table", **SMALL, val="file.txt/inside"),
        train("mlp-table", **SMALL, network="file.txt/inside.py:Net"),
        train("mlp-table", **SMALL, network=f"{LONG}.py:Net"),
        lambda: chainrule.evaluate("file.txt"),
        lambda: chainrule.report("file.txt/inside"),
    ],
)
def test_something_else_at_a_path(ask: Callable[[], object], here: Path) -> None:
    (here / "file.txt").write_text("no run")
    with pytest.raises(UserError):
        ask()
    assert [entry.name for entry in here.iterdir()] == ["file.txt"]


def test_a_file_that_may_not_be_read(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "w.safetensors").write_bytes(b"x")

    def refuses(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied", "w.safetensors")

    monkeypatch.setattr("chainrule.run.weights.loading.read_weights", refuses)
    with pytest.raises(UserError, match=r"(?s)the system refuses: Permission denied.*w\.safetensors"):
        train("mlp-table", **SMALL, weights="w.safetensors")()
    assert [entry.name for entry in here.iterdir()] == ["w.safetensors"]


def test_a_long_formula_is_no_path() -> None:
    assert chainrule.api.is_computation("+".join(["x"] * 200), ["x=1"])


def test_settings_that_are_paths_hold_from_another_folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    for name in ("mine", "theirs"):
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)).save(here / f"{name}.png")
    run = chainrule.train("style", data="mine.png", style="theirs.png", out="run", **STYLE)
    folder = here / "run"
    kept = json.loads((folder / "run.json").read_text())
    assert kept["settings"]["style"] == str(here / "theirs.png")
    measured = run.result()
    assert measured is not None
    (here.parent / "there").mkdir()
    monkeypatch.chdir(here.parent / "there")
    # A run of an earlier version kept the path as it was named.
    old = {**kept, "settings": {**kept["settings"], "style": "theirs.png"}}
    (folder / "run.json").write_text(json.dumps({key: value for key, value in old.items() if key != "sha256"}))
    assert chainrule.evaluate(folder, device="cpu") == measured["metrics"]


def test_what_has_moved_with_its_folder_is_found_as_it_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = parameters(get_recipe("attack").build)
    (tmp_path / "old" / "runs" / "a").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "old")
    settings = located({"of": "runs/a", "steps": 3}, known)
    assert settings == {"of": str(tmp_path / "old" / "runs" / "a"), "steps": 3}
    assert located({"of": "nothing"}, known) == {"of": "nothing"} and located({"of": None}, known) == {"of": None}
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old").rename(tmp_path / "new")
    monkeypatch.chdir(tmp_path / "new")
    assert found_again(settings, known, str(tmp_path / "old"))["of"] == str(Path("runs") / "a")
    monkeypatch.chdir(tmp_path)
    assert found_again(settings, known, str(tmp_path / "old")) == settings  # gone: its reader says so


@pytest.mark.parametrize("name", ["lenet", ""])
def test_a_name_that_is_no_path_stays(name: str, here: Path) -> None:
    (here / "lenet").mkdir()
    known = parameters(get_recipe("caffe-net").build)
    assert located({"solver": name, "net": name}, known) == {"solver": name, "net": name}


def test_samples_and_answers_do_not_go_into_a_file_in_the_place_of_a_folder(here: Path) -> None:
    run = chainrule.train("mlp-table", **SMALL, device="cpu", out="run")
    (here / "file").write_text("mine")
    for verb in (
        lambda: chainrule.predict(run, "5,3,1,0.2", out="file/a.csv"),
        lambda: chainrule.predict(run, "5,3,1,0.2", out=f"{LONG}.csv"),
        lambda: chainrule.explain(run, out="file/a.html"),
        lambda: chainrule.report(run, out="file/a.html"),
        lambda: chainrule.export(run, "torch", out="file/a.pt2"),
    ):
        with pytest.raises(ChainruleError) as error:
            verb()
        assert error.value.exit_status == 2, str(error.value)
    assert sorted(entry.name for entry in here.iterdir()) == ["file", "run"] and (here / "file").read_text() == "mine"
