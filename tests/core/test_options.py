"""Settings of how data are read: found where they stand, taken by the verbs, kept in run.json."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import chainrule
from chainrule.cli import cli
from chainrule.core.data.request import DataRequest
from chainrule.core.data.words import request_of
from chainrule.core.discovery import all_kinds, all_options, all_recipes, options_of, reading_options
from chainrule.core.errors import UserError
from chainrule.core.settings import convert, parameters
from chainrule.data.layout import layout_of
from chainrule.run.settings import run_settings

pytestmark = pytest.mark.usefixtures("no_report")


def test_each_option_is_of_kinds_that_there_are_and_its_default_is_of_its_type() -> None:
    for option in all_options():
        assert option.kinds and set(option.kinds) <= set(all_kinds()), option.name
        assert convert(option.default, option.type) == option.default
        assert option.text.endswith(".") and option.text_zh.endswith("。")
    pairs = [(option.name, kind) for option in all_options() for kind in option.kinds]
    assert len(pairs) == len(set(pairs)), "two options of one kind have one name"


def test_no_option_is_called_as_a_setting() -> None:
    """But `missing`, which most recipes have a setting for: theirs goes before."""
    for recipe in all_recipes().values():
        taken = set(parameters(recipe.build, run_settings)) | {"data", "target", "val", "test", "out", "seed", "device"}
        assert taken & set(options_of(recipe.kinds)) <= {"missing"}, recipe.name
        assert not taken & set(reading_options(recipe)), recipe.name


def test_a_request_keeps_its_options_and_hands_them_to_every_part(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text("x,label\n1,2\n", "utf-8")
    asked = {"train": str(tmp_path / "a.csv"), "test": str(tmp_path / "b.csv")}
    request = request_of(asked, options={"encoding": "cp1252", "ignore": ("a", "b")})
    assert DataRequest.from_record(request.to_record()) == request
    assert request.arguments[-2:] == ["encoding=cp1252", "ignore=a,b"]
    layout = layout_of(request)
    assert [part.options["encoding"] for part in (layout, *layout.sources.values())] == ["cp1252"] * 3
    assert "options" not in request_of(asked).to_record()


def test_an_unknown_option_is_told_and_a_known_one_is_of_its_kinds(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("x,label\n1,2\n", "utf-8")
    with pytest.raises(UserError, match="did you mean 'encoding'"):
        chainrule.train("linear-regression", data=str(table), encodign="utf-8", out=tmp_path / "run")
    for words in (["data", "check", str(table), "encodign=utf-8"], ["train", "linear-regression", "encodign=utf-8"]):
        told = CliRunner().invoke(cli, words)
        assert "did you mean 'encoding'" in str(told.exception or told.output)
    assert not (tmp_path / "run").exists()
    assert "encoding" not in reading_options(all_recipes()["dqn"])


def test_options_are_known_without_loading_anything_heavy() -> None:
    code = "import sys; from chainrule.core.discovery import all_options; assert all_options() and 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
