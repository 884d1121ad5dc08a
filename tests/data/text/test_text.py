"""Text as data: reading, splits along the text, vocabulary, streams."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch

from chainrule.core.device import World
from chainrule.core.errors import UserError
from chainrule.data.text.characters import Streams, decode, encode, read_text_splits, read_texts, windows

pytestmark = pytest.mark.usefixtures("no_report")


def write(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode("utf-8"))
    return str(path)


def text_of(length: int) -> str:
    return "".join(chr(97 + i * i % 7) for i in range(length))


def test_splits_follow_each_other_and_make_the_text_again(tmp_path):
    text = text_of(1000)
    spec, splits = read_text_splits(write(tmp_path / "t.txt", text), 0.05, 0.1, 0)
    parts = {name: decode(split.codes, spec.vocabulary) for name, split in splits.items()}
    assert parts["train"] + parts["val"] + parts["test"] == text
    assert spec.counts == {"train": 850, "val": 50, "test": 100}
    assert spec.splits["test"] == "characters 900 to 1,000 of 1,000"
    assert splits["train"].codes.dtype == torch.uint8
    assert not spec.val_is_test


def test_without_a_validation_fraction_the_test_split_validates(tmp_path):
    spec, splits = read_text_splits(write(tmp_path / "t.txt", text_of(1000)), 0.0, 0.1, 0)
    assert spec.counts == {"train": 900, "val": 100, "test": 100}
    assert spec.val_is_test and spec.splits["val"] == spec.splits["test"]
    assert torch.equal(splits["val"].codes, splits["test"].codes)


def test_only_the_first_characters(tmp_path):
    spec, _ = read_text_splits(write(tmp_path / "t.txt", text_of(1000)), 0.05, 0.1, 200)
    assert sum(spec.counts.values()) == 200


def test_published_splits_and_a_vocabulary_of_them_all(tmp_path):
    for name, text in {"train": "abab", "valid": "bcbc", "test": "cdcd"}.items():
        write(tmp_path / "set" / f"{name}.txt", text)
    spec, splits = read_text_splits(str(tmp_path / "set"), 0.05, 0.1, 0)
    assert spec.vocabulary == ["a", "b", "c", "d"]
    assert [splits[name].codes.tolist() for name in ("train", "val", "test")] == [[0, 1] * 2, [1, 2] * 2, [2, 3] * 2]
    assert spec.splits == {"train": "as published", "val": "as published", "test": "as published"}


def test_a_folder_of_files_is_one_text_in_the_order_of_names(tmp_path):
    write(tmp_path / "set" / "b.txt", "second")
    write(tmp_path / "set" / "a" / "z.txt", "first\n")
    write(tmp_path / "set" / "a" / "notes.md", "no")
    write(tmp_path / "set" / "c.txt", "third")
    assert read_texts(str(tmp_path / "set"))[1] == {"train": "first\nsecond\nthird"}


def test_pydoc_topics_ship_with_python():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        where, texts = read_texts("pydoc-topics")
    assert where == "pydoc-topics"
    assert len(texts["train"]) > 300_000 and "statement" in texts["train"]


@pytest.mark.parametrize(
    "size, dtype", [(256, torch.uint8), (257, torch.int16), (32768, torch.int16), (32769, torch.int32)]
)
def test_codes_are_as_small_as_the_vocabulary_allows(size, dtype):
    vocabulary = [chr(0x10000 + i) for i in range(size)]
    codes = encode("".join(vocabulary), vocabulary, "here")
    assert codes.dtype == dtype and codes.tolist() == list(range(size))


def test_the_mark_of_byte_order_is_not_text_and_line_ends_stay(tmp_path):
    (tmp_path / "t.txt").write_bytes(b"\xef\xbb\xbfa\r\nb")
    assert read_texts(str(tmp_path / "t.txt"))[1]["train"] == "a\r\nb"


def raises(words: str):
    return pytest.raises(UserError, match=words)


def test_errors_name_the_place(tmp_path):
    (tmp_path / "latin.txt").write_bytes("eins\nzwei f\u00fcnf".encode("latin-1"))
    with raises(r"(?s)not UTF-8.*line 2, byte 11.*0xfc.*iconv"):
        read_texts(str(tmp_path / "latin.txt"))
    (tmp_path / "empty.txt").touch()
    with raises("the file is empty"):
        read_texts(str(tmp_path / "empty.txt"))
    (tmp_path / "none").mkdir()
    with raises("holds no text"):
        read_texts(str(tmp_path / "none"))
    with raises("digits is no text"):
        read_texts("digits")
    with raises("there is no data set and no path 'tiny-shakespear'; did you mean tiny-shakespeare"):
        read_texts("tiny-shakespear")
    with raises(r"(?s)too few characters.*train of"):
        read_text_splits(write(tmp_path / "five.txt", "abcde"), 0.05, 0.1, 0)
    with raises("only one distinct character"):
        read_text_splits(write(tmp_path / "one.txt", "a" * 100), 0.05, 0.1, 0)


def test_an_unknown_character_is_named_with_line_and_column():
    with raises(
        r"(?s)poem, line 2, column 3.*one of the 3.*'\u017e'; unknown in all: 'x' \(U\+0078\), '\u017e' \(U\+017E\)"
    ):
        encode("ab\nab\u017ex", ["\n", "a", "b"], "poem")


@pytest.mark.parametrize("count, batch_size, length", [(1001, 10, 30), (997, 8, 13), (50, 7, 7), (4097, 64, 64)])
def test_streams_predict_every_character_and_go_on_from_window_to_window(count, batch_size, length):
    text = torch.arange(count, dtype=torch.int32)
    streams = Streams(text, batch_size, length)
    batches = list(streams.epoch(0))
    assert len(batches) == len(streams) == windows(count, batch_size, length)
    times = [batch.x.shape[1] for batch in batches]
    assert max(times) <= length and max(times) - min(times) <= 1
    x, y = (torch.cat([getattr(batch, name) for batch in batches], 1) for name in "xy")
    assert torch.equal(y, x + 1)  # the next character
    assert torch.equal(x[:, 1:], x[:, :-1] + 1)  # no character is skipped between two windows
    seen = torch.bincount(y.flatten(), minlength=count)
    assert seen[0] == 0 and seen[1:].min() == 1 and (seen > 1).sum() < batch_size


def test_streams_go_on_from_the_middle_and_are_shared_by_processes():
    text = torch.randint(0, 50, (500,), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    whole = list(Streams(text, 5, 10).epoch(3))
    later = list(Streams(text, 5, 10).epoch(3, start=4))
    assert all(torch.equal(a.x, b.x) for a, b in zip(whole[4:], later, strict=True))
    shares = [list(Streams(text, 5, 10, world=World(rank, 2)).epoch(3)) for rank in range(2)]
    for batch, first, second in zip(whole, *shares, strict=True):
        assert torch.equal(batch.y, torch.cat([first.y, second.y]))
        assert batch.count == first.count == 5
        loss = batch.y.float().mean(1)
        mean = (first.mean(first.y.float().mean(1)) + second.mean(second.y.float().mean(1))) / 2
        assert torch.allclose(batch.mean(loss), mean)


def test_a_text_too_short_for_its_streams():
    with raises(r"(?s)too few characters.*641 or more.*640.*batch_size or length"):
        Streams(torch.zeros(640, dtype=torch.uint8), 64, 10)
    assert len(Streams(torch.zeros(641, dtype=torch.uint8), 64, 10)) == 1
    with raises("fewer streams than processes"):
        Streams(torch.zeros(640, dtype=torch.uint8), 2, 10, world=World(0, 3))
