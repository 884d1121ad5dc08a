"""Shared by all tests: few threads, groups for the workers, what each group costs, no writing outside tmp_path.

`make test` shares the tests out to the workers by group: a recipe's contract is one, so that its one training serves
all of it; a file is one otherwise. At the end stands what the dearest cost in CPU seconds, summed over the workers.
"""

from __future__ import annotations

import functools
import gc
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

torch.set_num_threads(1)  # small networks: a second thread waits more than it works
os.fsync = lambda handle: None  # no test cuts the power, and each run waits for the disk hundreds of times
if not torch.cuda.is_available():  # else each seed is noted for later with its caller's whole stack as text
    torch.cuda.manual_seed_all = torch.xpu.manual_seed_all = lambda seed: None

BUDGET_S = {
    "recipe": 40.0,
    "file": 60.0,
}  # CPU seconds that a recipe's contract and a file may cost: far from the usual
FIRST = (
    "test_stops.py",
    "test_recipes.py",
    "test_tutorial.py",
    "test_tutorial_own.py",
    "test_processes.py",
    "test_kill_and_resume.py",
)
SHOWN = 12
COST = pytest.StashKey[Counter[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--budget", action="store_true", help="fail where a recipe or a file costs more than it may")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[COST] = Counter()


# -- groups ---------------------------------------------------------------------------------------------------------


def group_of(item: pytest.Item) -> str:
    """`recipe NAME` for what is asked of every recipe (or card), else the file."""
    file = item.path.relative_to(item.config.rootpath).as_posix()
    given: dict[str, Any] = (
        item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    )
    if file.startswith("tests/contracts/"):
        for kind in ("recipe", "card"):
            if kind in given:
                return f"{kind} {given[kind].name}"
    return file


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The long groups begin first: each runs on one worker, and begun last it would be waited for by all others."""
    groups = {item: group_of(item) for item in items}
    order: dict[str, int] = {}
    for item in sorted(items, key=lambda item: item.path.name not in FIRST):
        order.setdefault(groups[item], len(order))
    items.sort(key=lambda item: order[groups[item]])
    if config.pluginmanager.hasplugin("xdist"):
        for item in items:
            item.add_marker(pytest.mark.xdist_group(groups[item]))


def pytest_collection_finish(session: pytest.Session) -> None:
    """What stands now stays until the end: no collection of garbage walks through it again."""
    gc.collect()
    gc.freeze()


# -- what they cost -------------------------------------------------------------------------------------------------


def cpu_seconds() -> float:
    """Of this process and of the children that it has waited for."""
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    begun = cpu_seconds()
    try:
        return (yield)
    finally:
        item.config.stash[COST][group_of(item)] += cpu_seconds() - begun  # type: ignore[assignment]


def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    if hasattr(config, "workeroutput"):
        config.workeroutput["cost"] = dict(config.stash[COST])
    elif config.option.budget and over_budget(config.stash[COST]) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """A worker of xdist has ended: the groups that it ran are its own."""
    node.config.stash[COST].update(getattr(node, "workeroutput", {}).get("cost", {}))


def over_budget(cost: Counter[str]) -> list[str]:
    return [
        f"{group} cost {seconds:.0f} s of CPU, and may cost {allowed:.0f}"
        for group, seconds in cost.most_common()
        if seconds > (allowed := BUDGET_S["recipe" if group.startswith(("recipe ", "card ")) else "file"])
    ]


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    cost = config.stash[COST]
    if sum(cost.values()) < 60 and not config.option.budget:  # a few tests, run by hand
        return
    recipes = Counter({group: seconds for group, seconds in cost.items() if group.startswith("recipe ")})
    terminalreporter.section(
        f"{sum(cost.values()):.0f} s of CPU, {sum(recipes.values()):.0f} of them for {len(recipes)} recipes"
    )
    for names in (recipes, cost - recipes):
        terminalreporter.line(
            "  ".join(f"{group.removeprefix('recipe ')} {seconds:.1f}" for group, seconds in names.most_common(SHOWN))
        )
    for line in over_budget(cost):
        terminalreporter.line(f"OVER BUDGET  {line}", red=True)


# -- the same draws, whatever ran before ----------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test draws the same numbers alone, in its file and on any worker; fixtures begun by it do too."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


# -- for the tests --------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test runs in a folder of its own, so that a default `runs/` lands there, and what is remembered of the user too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("chainrule.core.language.chosen._chosen", None)
    monkeypatch.setenv("CHAINRULE_LANG", "en")  # whatever the locale of the machine
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path.with_name(f"{tmp_path.name}-state")))


@pytest.fixture(scope="session", autouse=True)
def no_bfloat16_units() -> Iterator[None]:
    """Numbers are the same on every CPU: `autocast=auto` finds none of the units for bfloat16 that some have."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("chainrule.run.autocast.bfloat16_units", lambda: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def quick_layout() -> Iterator[None]:
    """Figures are drawn once, as they stand: measuring all texts first, and drawing again, is half of what they cost.

    `laid_out` takes it back where figures are looked at.
    """
    from matplotlib.figure import Figure

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "get_layout_engine", functools.wraps(Figure.get_layout_engine)(lambda figure: None))
        yield


@pytest.fixture(scope="session", autouse=True)
def curves_once() -> Iterator[None]:
    """The curves of the same numbers are drawn once a process, however many reports show them."""
    from matplotlib.figure import Figure

    from chainrule.reporting import learning_curves

    draw = learning_curves.curves
    drawn: dict[str, Any] = {}

    @functools.wraps(draw)
    def curves(series: Any, *words: str, **more: str) -> Any:
        numbers = [(name, list(x), list(y)) for name, (x, y) in series.items()]
        key = repr((numbers, words, sorted(more.items()), Figure.get_layout_engine))
        if key not in drawn:
            drawn[key] = draw(series, *words, **more)
        return drawn[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learning_curves, "curves", curves)
        yield


@pytest.fixture(scope="session", autouse=True)
def little_to_show() -> Iterator[None]:
    """What is made only to be looked at is small: images that `explain` makes from inside a network in a tenth of the
    steps, texts that a character model samples after each epoch in a fifth of the length."""
    smaller = {
        "introspection.attribution.layer_rows": {"STEPS": 10, "LEAST_STEPS": 4},
        "introspection.attribution.section": {"STEPS": 10, "LEAST_STEPS": 4},
        "systems.language.task": {"PASSAGE": 100},
    }
    with pytest.MonkeyPatch.context() as patch:
        for module, values in smaller.items():
            for name, value in values.items():
                patch.setattr(f"chainrule.{module}.{name}", value)
        yield


@pytest.fixture(scope="module")
def laid_out(quick_layout: None) -> Iterator[None]:
    """For a module whose tests look at figures as users see them."""
    from matplotlib.figure import Figure

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "get_layout_engine", Figure.get_layout_engine.__wrapped__)  # type: ignore[attr-defined]
        yield


@pytest.fixture
def few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the 1,797 digits (and 442 rows of diabetes) the first 300, where what is asked holds of any data."""
    from chainrule.data.catalog import shipped

    rows = shipped._rows
    monkeypatch.setattr(shipped, "_rows", lambda *asked: rows(*asked)[:300])


def mirror(name: str) -> Path:
    """The folder of a real data set below CHAINRULE_DATA; skips the test where it is absent."""
    root = os.environ.get("CHAINRULE_DATA")
    if not root or not (Path(root) / name).is_dir():
        pytest.skip(f"needs the data set {name} below CHAINRULE_DATA")
    return Path(root) / name


@pytest.fixture(scope="module")
def no_report() -> Iterator[None]:
    """For a module whose tests look at numbers: its trainings draw no report, which would cost as much again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("chainrule.api.training._report", lambda run: None)
        yield
