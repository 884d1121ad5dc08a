"""What every kind of data must keep: its example is recognised as it and no other, read, checked, learnt from; damage is told."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import chainrule
from chainrule.core.data.kind import Match, Miss
from chainrule.core.data.words import request_of
from chainrule.core.discovery import all_kinds, all_recipes
from chainrule.core.errors import UserError
from chainrule.core.settings import bind
from chainrule.data.check import check
from chainrule.data.kinds.recognition import answer_of, expect_kind, look, recognise
from chainrule.run.run import Run
from chainrule.run.settings import run_settings
from tests.contracts.every_recipe import RECIPES

pytestmark = pytest.mark.usefixtures("no_report")

KINDS = [*all_kinds()]


def learner(kind: str) -> str:
    """A recipe that learns from the kind first of all, the one that is built soonest."""
    return next((n for n in ("lenet5", "softmax-regression") if RECIPES[n].kinds[0] == kind), None) or next(
        recipe.name for recipe in RECIPES.values() if recipe.kinds[:1] == (kind,)
    )


@pytest.mark.parametrize("name", KINDS)
def test_an_example_is_of_its_kind_and_no_other(name: str, tmp_path: Path) -> None:
    kind, layout = all_kinds()[name], look(all_kinds()[name].example(tmp_path / "example"))
    assert recognise(layout, None) is kind
    others = [o.name for o in all_kinds().values() if o is not kind and isinstance(answer_of(o, layout, None), Match)]
    assert all(other not in kind.before or name not in all_kinds()[other].before for other in others)
    assert set(others) <= set(kind.before), "of what matches too, this kind says that it goes before"


@pytest.mark.parametrize("name", KINDS)
def test_an_example_is_read_and_checked(name: str, tmp_path: Path) -> None:
    kind = all_kinds()[name]
    place = kind.example(tmp_path / "example")
    assert kind.read(look(place), None) is not None
    found = kind.check(look(place), None)
    assert found["kind"] in name and json.dumps(found)
    if kind.single:
        with pytest.raises(UserError, match="is no data set"):
            check(place, None)
    else:
        assert check(place, None) == found


@pytest.mark.parametrize("name", KINDS)
def test_a_recipe_is_built_on_it_and_its_spec_goes_there_and_back(name: str, tmp_path: Path) -> None:
    kind, recipe = all_kinds()[name], RECIPES[learner(name)]
    request = request_of(kind.example(tmp_path / "example"))
    expect_kind(request, recipe)
    settings = {key: value for key, value in recipe.tiny.items() if key != "data"}
    values = bind(settings, recipe.build, run_settings, owner=recipe.name)
    common = {key: values.pop(key) for key in bind({}, run_settings, owner="")}
    run = Run.create(recipe, values, common, seed=0, data=request, target=None, device="cpu", out=tmp_path / "run")
    assert run.task.protocol
    content = run.record["data"]["spec"]
    assert json.loads((tmp_path / "run" / "run.json").read_text("utf-8"))["data"]["spec"] == content
    assert kind.spec.from_json(content).to_json() == content
    (tmp_path / "asked").mkdir()
    assert kind.ask(content, tmp_path / "asked")


def _each(place: Path, change: Callable[[Path], object]) -> None:
    for file in [place] if place.is_file() else [f for f in place.rglob("*") if f.is_file()]:
        change(file)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "gone": lambda place: shutil.rmtree(place) if place.is_dir() else place.unlink(),
    "empty": lambda place: _each(place, lambda file: file.write_bytes(b"")),
    "garbage": lambda place: _each(place, lambda file: file.write_bytes(b"\x81\xff\x00\x01" * 64)),
    "one letter": lambda place: _each(place, lambda file: file.write_text("a", "utf-8")),
    "another name": lambda place: place.rename(place.with_name("elsewhere")),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", KINDS)
def test_damage_is_told_before_anything_is_written(name: str, damage: str, tmp_path: Path) -> None:
    place = all_kinds()[name].example(tmp_path / "example")
    if Path(place).exists():
        DAMAGES[damage](Path(place))
    else:  # a name
        place = {"gone": "", "empty": " ", "garbage": "\x00", "one letter": "a", "another name": "No" + place}[damage]
    recipe = learner(name)
    tiny = {key: value for key, value in RECIPES[recipe].tiny.items() if key != "data"}
    with pytest.raises(UserError) as told:
        chainrule.train(recipe, data=place or "nowhere", out=tmp_path / "run", device="cpu", **tiny)
    assert "expected:" in str(told.value) or "found:" in str(told.value) or "cure:" in str(told.value)
    assert told.value.exit_status == 2 and not (tmp_path / "run").exists()
    with pytest.raises(UserError):
        check(place or "nowhere", None)


def test_recipes_name_kinds_that_there_are() -> None:
    for recipe in all_recipes().values():
        assert set(recipe.kinds) <= set(KINDS), f"{recipe.name} names a kind that is not there"
        assert recipe.kinds or recipe.is_study, f"{recipe.name} does not say what kind of data it learns from"


def test_kinds_are_described_in_both_languages() -> None:
    rows = [row for kind in all_kinds().values() for row in kind.describe]
    assert all(all(vars(row).values()) for row in rows) and len({row.what for row in rows}) == len(rows)


def test_a_miss_says_what_it_lacks() -> None:
    assert Miss() == Miss(lacks="", near=0.0, readable=False)
