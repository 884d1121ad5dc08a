"""Messages in Chinese: recognised by their templates, values carried over, nothing of the user's changed."""

from __future__ import annotations

import re

import pytest

from chainrule.core.errors import UserError, in_english, unknown
from chainrule.core.language import translation
from chainrule.core.language.catalogue import catalogue_files, entries, read_catalogue
from chainrule.core.language.choice import set_language
from chainrule.core.language.chosen import language
from chainrule.core.language.translation import PLACEHOLDER, filled, is_telling, translate, translate_phrase

CATALOGUE = read_catalogue()


def test_an_error_in_chinese_and_its_english() -> None:
    error = UserError(
        "a cell is not numeric", where="my flowers.csv, line 3, column 'len'", found="'n/a'", cure="ignore=len"
    )
    english = str(error)
    set_language("zh")
    assert str(error) == (
        "一个单元格不是数\n  位置: my flowers.csv，第 3 行，列 'len'\n  实为: 'n/a'\n  办法: ignore=len"
    )
    assert in_english(error) == english and english.startswith("a cell is not numeric\n  where:    my")
    assert str(unknown("there is no recipe", "lenet55", ["lenet5"])).startswith(
        "没有这个配方：'lenet55'；是不是 lenet5？"
    )


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        ("the recipe lenet5 has no setting 'epoch'", "配方 lenet5 没有设置 'epoch'"),
        ("layer fc1: the images are too small", "layer fc1：图像太小"),
        ("one of cat, dog and bird", "下列之一：cat, dog and bird"),
        ("0 to 9", "0 到 9"),
        ("cats and dogs", "cats and dogs"),
        ("The regression analysis of binary sequences", "The regression analysis of binary sequences"),
        ("nobody has written this sentence before", "nobody has written this sentence before"),
        ("chainrule: a share of weights is out of range", "chainrule: 一个权重比例超出范围"),
        (
            "chainrule: a batch of one row cannot be normalised: a single number has no variance",
            "chainrule: 只有一行的批无法归一化：单个数没有方差",
        ),
        ("chainrule: there is no such file\n  found:    a", "chainrule: 没有这个文件\n  实为: a"),
        ("", ""),
    ],
)
def test_texts(english: str, chinese: str) -> None:
    assert translate(english) == english
    set_language("zh")
    assert translate(english) == chinese


def test_a_users_single_word_is_no_message() -> None:
    set_language("zh")
    assert "data" in CATALOGUE and translate_phrase("data") == "data"
    assert translate("there is no file or folder data") != translate("data")
    assert str(UserError("there is no such file", where="data")).endswith("位置: data")


def test_every_template_is_recognised_as_itself() -> None:
    """Filled with words that no message has, a template gives its own translation: no other is taken for it."""
    set_language("zh")
    wrong = []
    for text, translated in CATALOGUE.items():
        names = PLACEHOLDER.findall(text)
        values = {name: f"x{number}9" for number, name in enumerate(names)}
        english = filled(text, values)
        if is_telling(text) and PLACEHOLDER.sub("", translate(english)) != filled(translated, values):
            wrong.append(f"{english!r}: {translate(english)!r}")
    assert len(wrong) <= 15, "\n".join(wrong)  # those that begin another, or differ in a placeholder's name alone


def test_translations_hold_what_their_messages_hold() -> None:
    wrong = [
        text
        for text, translated in CATALOGUE.items()
        if not set(PLACEHOLDER.findall(translated)) <= set(PLACEHOLDER.findall(text))
        or sorted(re.findall(r"</?\w+>", text)) != sorted(re.findall(r"</?\w+>", translated))
        or text.startswith("\n") != translated.startswith("\n")
    ]
    assert not wrong, wrong
    twice = [msgid for file in catalogue_files() for msgid, _ in entries(file.read_text("utf-8")) if msgid]
    assert len(twice) == len(set(twice))


def test_english_reads_no_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(translation, "_catalogue", None)
    assert translate("there is no such file") == "there is no such file"


@pytest.mark.parametrize(
    ("variables", "spoken"),
    [
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "en_US.UTF-8"}, "en"),
        ({"LANG": "en_US.UTF-8", "LANGUAGE": "zh_CN:en"}, "zh"),
        ({"LANG": "C", "LANGUAGE": "zh_CN"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "zh_TW"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "CHAINRULE_LANG": "en"}, "en"),
        ({"CHAINRULE_LANG": "zh"}, "zh"),
        ({"LANG": "fr_FR"}, "en"),
        ({}, "en"),
    ],
)
def test_the_locale_chooses(variables: dict[str, str], spoken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG", "CHAINRULE_LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert language() == spoken
    set_language("zh")
    assert language() == "zh"
    set_language(None)
    assert language() == spoken
    with pytest.raises(UserError, match="'fr'"):
        set_language("fr")
