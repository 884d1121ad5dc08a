"""Texts that are not read into memory: the same splits, vocabulary, windows and runs, from a file that is mapped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import chainrule
from chainrule.core.errors import UserError
from chainrule.data.streams import text as stored
from chainrule.data.streams.memory import SETTING
from chainrule.data.text.characters import read_text_splits

VERSE = "".join(f"Zeile {n}: Ärger, 猫 und {n * n} Übel.\r\n" for n in range(300))


def one(folder: Path) -> Path:
    (folder / "t.txt").write_bytes(b"\xef\xbb\xbf" + VERSE.encode())
    return folder / "t.txt"


def several(folder: Path) -> Path:
    for name, text in (("b.txt", VERSE[:4000]), ("a.txt", VERSE[4000:]), ("sub/c.txt", "end\n")):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(text.encode())
    return folder


def published(folder: Path) -> Path:
    for name, text in (("train", VERSE), ("valid", VERSE[:500]), ("test", VERSE[100:900] + "!?")):
        (folder / f"{name}.txt").write_bytes(text.encode())
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CHAINRULE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(stored, "READ_AT_A_TIME", 700)
    return tmp_path / "cache"


@pytest.mark.parametrize("characters", [0, 1234, 4001])
@pytest.mark.parametrize("make", [one, several, published])
def test_the_same_codes_as_in_memory(
    make: Callable[[Path], Path], characters: int, tmp_path: Path, cache: Path
) -> None:
    (tmp_path / "d").mkdir()
    source = str(make(tmp_path / "d"))
    spec, here = read_text_splits(source, 0.05, 0.1, characters)
    for _ in range(2):  # written, then found
        other, there = read_text_splits(source, 0.05, 0.1, characters, lambda wanted: False)
        assert spec == other
        for name in here:
            assert (
                torch.equal(here[name].codes, there[name].codes) and here[name].codes.dtype == there[name].codes.dtype
            )
    assert len(list(cache.rglob("*.npy"))) == 1 and not list(cache.rglob(".*"))


def test_what_is_found_is_not_read_again_and_a_change_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = one(tmp_path)
    first = read_text_splits(str(source), 0.05, 0.1, 0, lambda wanted: False)[0]
    with monkeypatch.context() as patch:
        patch.setattr(stored, "_parts", lambda *given: 1 / 0)
        assert read_text_splits(str(source), 0.05, 0.1, 0, lambda wanted: False)[0] == first
    source.write_bytes(source.read_bytes() + b"#")
    assert "#" in read_text_splits(str(source), 0.05, 0.1, 0, lambda wanted: False)[0].vocabulary


def test_what_is_not_utf8_is_named_by_its_place_in_the_file(tmp_path: Path, cache: Path) -> None:
    content = VERSE.encode()[:9000].rpartition(b"\n")[0] + b"\nok \xff\n" + b"more\n" * 300
    (tmp_path / "t.txt").write_bytes(content)
    messages = []
    for fits in (None, lambda wanted: False):
        with pytest.raises(UserError) as error:
            read_text_splits(str(tmp_path / "t.txt"), 0.05, 0.1, 0, fits)
        messages.append(str(error.value))
    assert messages[0] == messages[1] and f"byte {content.index(bytes([255])):,}" in messages[0]
    assert not list(cache.rglob("*.npy"))


def test_a_run_is_equal_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chainrule.api.training._report", lambda run: None)
    source = one(tmp_path)
    settings: dict[str, Any] = {"hidden_size": 8, "num_layers": 1, "epochs": 1, "batch_size": 4, "length": 20}
    found = []
    for asked in ("yes", "no"):
        monkeypatch.setenv(SETTING, asked)
        run = chainrule.train("char-lstm", data=source, out=tmp_path / asked, log_every=5, **settings)
        assert run.record["data"]["in_memory"]["chosen"] == (asked == "yes")
        lines = [{k: v for k, v in line.items() if k != "seconds"} for line in run.log_lines()]
        found.append((lines, run.result()["metrics"], [p.tolist() for p in run.task.modules()["model"].parameters()]))
    assert found[0] == found[1]
