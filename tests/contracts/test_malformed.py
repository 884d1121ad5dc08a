"""No malformed input ends in a traceback, hangs, or is taken for data: the seed is fixed, the large sample is slow."""

from __future__ import annotations

import random
import signal
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chainrule.cli import main
from chainrule.core.discovery import all_recipes
from chainrule.core.settings import describe, parameters
from tests.contracts.malformed import MAKERS, commands, settings

SEED = 13
HANGS_S = 20


class Hangs(BaseException):
    """No Exception, so that no reader takes it for its own."""


def told(words: list[str]) -> str | None:
    """What is wrong with how a command ended that is itself wrong; None where it was refused in words."""

    def stop(*_: object) -> None:
        raise Hangs

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(HANGS_S)
    try:
        main(words)
    except SystemExit as end:
        return None if end.code in (1, 2) else f"exit status {end.code}"
    except Hangs:
        return "hangs: " + "".join(traceback.format_exc(limit=-3))
    except BaseException:
        return traceback.format_exc(limit=-4)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    return "exit status 0"


def files(count: int, folder: Path) -> Iterator[list[str]]:
    for maker in MAKERS:
        draw = random.Random(f"{SEED} {maker.__name__}")
        for index in range(count):
            made = maker(draw, folder / f"{maker.__name__}-{index}")
            yield ["data", "check", str(made)]


def words_of_settings(every: int) -> Iterator[list[str]]:
    plain = {"text", "none", "comma-separated list of text"}
    recipes = [
        (
            name,
            [
                key
                for key, p in parameters(recipe.build).items()
                if not set(describe(p.annotation).split(" or ")) & plain
            ],
        )
        for name, recipe in all_recipes().items()
    ]
    yield from list(settings(random.Random(SEED), recipes))[::every]


def words_of_commands(count: int) -> Iterator[list[str]]:
    draw = random.Random(SEED)
    for _ in range(count):
        yield from commands(draw)


GROUPS: dict[str, Callable[[int, Path], Iterator[list[str]]]] = {
    "files": files,
    "settings": lambda size, _: words_of_settings(max(1, 60 // size)),
    "commands": lambda size, _: words_of_commands(size),
}


def expect_words(cases: Iterator[list[str]]) -> None:
    wrong = [f"{words}: {found}" for words in cases if (found := told(words)) is not None]
    assert not wrong, f"{len(wrong)} of them:\n" + "\n".join(wrong)


@pytest.mark.parametrize("group", GROUPS)
def test_malformed_inputs_are_refused_in_words(group: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    expect_words(GROUPS[group](1, tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("group", GROUPS)
def test_many_malformed_inputs_are_refused_in_words(
    group: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    expect_words(GROUPS[group](60, tmp_path))
