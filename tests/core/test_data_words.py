"""What the user writes of the data: words of `--data`, `--val` and `--test`."""

from __future__ import annotations

from pathlib import Path

import pytest

from chainrule.core.data.request import DataRequest
from chainrule.core.data.words import parse_share, parse_sources, request_of, shares_as_settings
from chainrule.core.errors import UserError


def test_one_path_stays_one_path() -> None:
    assert parse_sources(["digits"]) == "digits" and parse_sources([]) is None
    assert parse_sources(["of/a=b.csv"]) == "of/a=b.csv", "no role has a slash in it"


def test_a_path_with_a_sign_in_its_name_that_exists_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train=a.csv").touch()
    assert parse_sources(["train=a.csv"]) == "train=a.csv"
    assert parse_sources(["train=b.csv"]) == {"train": "b.csv"}


@pytest.mark.parametrize(
    "words, told",
    [
        (["trian=a"], "did you mean train"),
        (["train=a", "train=b"], "names train twice"),
        (["a", "b"], "several paths and not what each is for"),
        (["a", "test=b"], "one without"),
        (["train="], "has no path"),
    ],
)
def test_words_that_are_wrong(words: list[str], told: str) -> None:
    with pytest.raises(UserError, match=told):
        parse_sources(words)


def test_shares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert [parse_share("val", said) for said in (None, "0.2", 0.1, "mine", "0")] == [None, 0.2, 0.1, "mine", 0.0]
    (tmp_path / "0.3").mkdir()
    assert parse_share("val", "0.3") == "0.3", "a path goes before a number"
    for wrong in ("1", "-0.1", "nan", 2):
        with pytest.raises(UserError, match="out of range"):
            parse_share("test", wrong)  # type: ignore[arg-type]


def test_a_request() -> None:
    assert request_of("a", val="0.2", test="b") == DataRequest({"": "a", "test": "b"}, val=0.2)
    assert request_of({"train": "a"}, test=0.5, target="y") == DataRequest({"train": "a"}, "y", test=0.5)
    with pytest.raises(UserError, match="the test split is named twice"):
        request_of({"train": "a", "test": "b"}, test="c")
    with pytest.raises(UserError, match="no role of data 'sourse'"):
        request_of({"sourse": "a"})


def test_a_share_is_the_setting_that_the_recipe_has() -> None:
    assert shares_as_settings({}, ["val_fraction"], "0.2", 0.3) == ({"val_fraction": 0.2}, None, 0.3)
    assert shares_as_settings({}, [], 0.2, None) == ({}, 0.2, None)
    for val in ("0.2", "mine"):
        with pytest.raises(UserError, match="the val split is named twice"):
            shares_as_settings({"val_fraction": 0.1}, ["val_fraction"], val, None)


@pytest.mark.parametrize(
    "request_, words",
    [
        (request_of("a b", target="y"), ["--data", "a b", "--target", "y"]),
        (request_of("a", val="v", test=0.25), ["--data", "a", "--val", "v", "--test", "0.25"]),
        (request_of({"train": "a", "test": "b"}), ["--data", "train=a", "--data", "test=b"]),
    ],
)
def test_the_options_that_ask_for_the_same(request_: DataRequest, words: list[str]) -> None:
    assert request_.arguments == words
