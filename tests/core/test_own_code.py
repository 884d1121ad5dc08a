"""The user's own code: what runs, what may not, and what is said of a file that fails."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from chainrule.core.errors import UserError
from chainrule.core.own_code import trust
from chainrule.core.own_code.given import OwnCode, is_own, word_for
from chainrule.core.own_code.loading import load, place_of

FILE = """\
from dataclasses import dataclass
from blocks import double

@dataclass
class Net:
    width: int = 3

def fails(x):
    y = x + 1
    return y / 0

four = double(2)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "blocks.py").write_text("def double(x):\n    return 2 * x\n")
    (tmp_path / "net.py").write_text(FILE)
    return tmp_path / "net.py"


def record(file: Path, name: str = "four") -> dict[str, Any]:
    """What a run's record has that was trained with this file."""
    found: dict[str, Any] = {"settings": {"network": f"{file}:{name}", "loss": None}}
    OwnCode(found, asked=True).get("network")
    return found


def forget(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As on another machine."""
    monkeypatch.setattr(trust, "_named_here", set())
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another"))


def test_a_file_runs_with_its_neighbours(file: Path) -> None:
    before = sys.path.copy()
    four, held = load(file, "four")
    assert four == 4 and list(held.imports) == ["blocks.py"] and held.changed() == [] and sys.path == before
    assert load(file, "Net")[0]().width == 3
    assert not list(file.parent.rglob("net*.pyc"))
    other = file.parent / "other"
    other.mkdir()
    (other / "blocks.py").write_text("def double(x):\n    return 20 * x\n")  # another module of the same name
    (other / "net.py").write_text(FILE)
    assert load(other / "net.py", "four")[0] == 40 and load(file, "four")[0] == 4


LATE = """\
def tried():
    from blocks import double
    import importlib
    return double(importlib.import_module("parts.inner").three)
"""


def test_an_import_in_a_function_finds_its_neighbours_too(file: Path) -> None:
    file.write_text(LATE)
    (file.parent / "parts").mkdir()
    (file.parent / "parts" / "__init__.py").write_text("")
    (file.parent / "parts" / "inner.py").write_text("from blocks import double\nthree = double(1) + 1\n")
    path = sys.path.copy()
    tried, _ = load(file, "tried")
    assert tried() == 6 and sys.path == path
    with pytest.raises(ModuleNotFoundError):  # nobody else finds them
        exec("import parts_of_nobody")
    for name in [n for n in sys.modules if n.partition(".")[0] in ("blocks", "parts")]:
        del sys.modules[name]
    with pytest.raises(ModuleNotFoundError):
        import blocks  # noqa: F401


def test_a_file_in_a_package_imports_relatively(tmp_path: Path) -> None:
    package = tmp_path / "mine" / "nets"
    package.mkdir(parents=True)
    for part in ("mine", "mine/nets"):
        (tmp_path / part / "__init__.py").write_text("")
    (tmp_path / "mine" / "base.py").write_text("two = 2\n")
    (package / "blocks.py").write_text("from ..base import two\ndef double(x):\n    return two * x\n")
    (package / "net.py").write_text("from .blocks import double\nfrom mine.base import two\nfour = double(two)\n")
    four, held = load(package / "net.py", "four")
    assert four == 4 and {"../base.py", "blocks.py"} <= held.imports.keys() and held.changed() == []
    (tmp_path / "mine" / "base.py").write_text("two = 3\n")
    assert held.changed() == [str(package / "../base.py")] and load(package / "net.py", "four")[0] == 9


def test_a_module_of_another_project_steps_aside(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = ModuleType("blocks")
    other.__file__ = str(tmp_path.parent / "another" / "blocks.py")
    monkeypatch.setitem(sys.modules, "blocks", other)
    assert load(file, "four")[0] == 4 and sys.modules["blocks"] is other


def test_a_neighbour_that_changed_is_read_anew_and_seen(file: Path) -> None:
    _, held = load(file, "four")
    (file.parent / "blocks.py").write_text("def double(x):\n    return 3 * x\n")
    assert held.changed() == [str(file.parent / "blocks.py")] and load(file, "four")[0] == 6


@pytest.mark.parametrize(
    ("content", "name", "says"),
    [
        (FILE, "Nett", "nothing called 'Nett'; did you mean Net"),
        ("x = 1\nif True print(x)\n", "x", r"SyntaxError[\s\S]*net.py, line 2: if True print"),
        ("import torchh\n", "x", r"ModuleNotFoundError: No module named 'torchh'[\s\S]*line 1: import torchh"),
        ("def f():\n    raise KeyError('k')\n\nf()\n", "f", r"KeyError: 'k'[\s\S]*line 2, in f: raise KeyError"),
        ("raise SystemExit(3)\n", "x", "SystemExit: 3"),
        ("from .blocks import double\n", "x", r"ImportError[\s\S]*an __init__.py"),
        ("import torchh\n", "x", r"torchh.py beside net.py"),
    ],
)
def test_what_is_wrong_in_a_file_is_told_by_its_line(content: str, name: str, says: str, file: Path) -> None:
    file.write_text(content)
    with pytest.raises(UserError, match=says):
        load(file, name)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        load(tmp_path / "none.py", "Net")
    for place in (tmp_path, Path("/dev/zero")):
        if place.exists():
            with pytest.raises(UserError, match="cannot be read"):
                load(place, "Net")


def test_an_error_later_is_told_by_its_line_too(file: Path) -> None:
    fails, _ = load(file, "fails")
    with pytest.raises(ZeroDivisionError) as caught:
        fails(1)
    assert place_of(caught.value) == f"{file}, line 10, in fails: return y / 0"
    assert place_of(ValueError("ours")) is None


# -- what a run folder names ---------------------------------------------------------------------------------------------


def test_what_the_user_named_runs_again(file: Path) -> None:
    found = record(file)
    assert found["code"]["network"]["name"] == "four" and OwnCode(found, asked=False).get("network") == 4
    assert OwnCode(found, asked=False).get("loss") is None


def test_nothing_that_a_run_folder_names_runs_by_itself(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text(f"import pathlib\npathlib.Path({str(tmp_path / 'ran')!r}).touch()\nfour = 4\n")
    found = record(file)
    forget(monkeypatch, tmp_path)
    (tmp_path / "ran").unlink()
    with pytest.raises(UserError, match=r"not named on this machine[\s\S]*--code"):
        OwnCode(found, asked=False).get("network")
    assert not (tmp_path / "ran").exists()
    assert OwnCode(found, asked=False, code=[file]).get("network") == 4  # named again
    assert OwnCode(found, asked=False).get("network") == 4  # and remembered


@pytest.mark.parametrize("part", ["file", "name", "sha256", "imports"])
def test_a_record_that_names_something_else_is_not_trusted(part: str, file: Path, tmp_path: Path) -> None:
    found = record(file)
    twin = tmp_path / "twin.py"
    twin.write_text(FILE)
    found["code"]["network"][part] = {"file": str(twin), "name": "fails", "sha256": "0" * 64, "imports": {}}[part]
    with pytest.raises(UserError, match="not named on this machine"):
        OwnCode(found, asked=False).get("network")


def test_a_changed_file_is_told(file: Path) -> None:
    found = record(file)
    file.write_text(FILE.replace("double(2)", "double(3)"))
    with pytest.raises(UserError, match="has changed since the run"):
        OwnCode(found, asked=False).get("network")
    assert OwnCode(found, asked=False, code=str(file)).get("network") == 6
    file.write_text(FILE)
    held = record(file)
    moved = file.rename(file.with_name("moved.py"))
    with pytest.raises(UserError, match="not there any more"):
        OwnCode(held, asked=False).get("network")
    assert OwnCode(held, asked=False, code=moved).get("network") == 4
    found["code"]["network"] = {"file": "x"}
    with pytest.raises(UserError, match="does not say which file"):
        OwnCode(found, asked=False).get("network")


def test_what_python_gave_is_given_again() -> None:
    thing = object()
    found = {"settings": {"network": word_for(thing)}}
    assert is_own(found["settings"]["network"]) and not is_own("resnet18") and not is_own(None)
    assert OwnCode(found, asked=True, model=thing).get("network") is thing
    with pytest.raises(UserError, match=r"given from Python[\s\S]*model="):
        OwnCode(found, asked=False).get("network")


def test_a_state_that_cannot_be_written_is_done_without(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in the way").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "in the way"))
    found = record(file)
    assert OwnCode(found, asked=False).get("network") == 4  # of this process
    monkeypatch.setattr(trust, "_named_here", set())
    assert not trust.is_named(load(file, "four")[1]) and asdict(load(file, "four")[1]) == found["code"]["network"]
