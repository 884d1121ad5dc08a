"""Templates in the language of the person: their text is looked up in the catalogue when they are loaded.

A template is written in English. What stands between its tags is a message: `{{ shown.operations }}` in it is a
placeholder, `{operations}`, and marks within a sentence (`<b>`, `<code>`) stand in the message as they are. Values that a
template puts in are phrases, `in_words`, or the names of things, which it hands to the filter `said`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chainrule.core.language.chosen import language
from chainrule.core.language.translation import filled, translate, translate_phrase, translation_of

FOLDER = Path(__file__).parent / "templates"
_MARKS = r"</?(?:b|i|code|kbd)>"  # that stand within a sentence
_NOT_TEXT = re.compile(
    r"\{% block style %\}.*?\{% endblock %\}|\{% macro style\(\) %\}.*?\{% endmacro %\}|"
    r"<style.*?</style>|<script.*?</script>|\{#.*?#\}|\{%.*?%\}|<!--.*?-->|"
    rf"(?!{_MARKS})</?[A-Za-z!](?:\{{\{{.*?\}}\}}|\{{%.*?%\}}|\"(?:\{{\{{.*?\}}\}}|\{{%.*?%\}}|[^\"])*\"|[^>\"])*>",
    re.DOTALL,
)
_EXPRESSION = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_ATTRIBUTE = re.compile(r'(?<=[ ])(title|aria-label)="([^"{}]*[A-Za-z]{2}[^"{}]*)"')


def loader() -> Any:
    """What gives a template's text to Jinja, in the language that is spoken."""
    import jinja2

    return jinja2.FunctionLoader(lambda name: spoken((FOLDER / name).read_text("utf-8")))


class Said(str):
    """What was looked up already."""

    __slots__ = ()


def said(text: object) -> Said:
    """The filter for the package's own words, single ones too: names of metrics, of columns, of facts."""
    return Said(translate(str(text)))


def in_words(value: Any) -> Any:
    """A value that a template shows: a phrase that the catalogue has is said in the language that is spoken."""
    return translate_phrase(value) if type(value) is str else value


def spoken(template: str) -> str:
    """The template in the language that is spoken.

    >>> list(template_messages("<p>All <b>{{ w.count }}</b> filters</p>"))
    ['All <b>{count}</b> filters']
    """
    if language() == "en":
        return template
    parts, at = list[str](), 0
    for begin, end in _texts(template):
        message, expressions = _message(template[begin:end])
        translated = translation_of(message) or message
        parts += [template[at:begin], filled(translated, expressions)]
        at = end
    page = re.sub(r"\}\}\.(?=\s*(?:<|\{%|$))", "}}。", "".join([*parts, template[at:]]))  # a sentence that a value ends
    return _ATTRIBUTE.sub(lambda m: f'{m[1]}="{translate(m[2])}"', page)


def template_messages(template: str) -> Iterator[str]:
    """The messages of a template."""
    for begin, end in _texts(template):
        yield _message(template[begin:end])[0]
    yield from (match[2] for match in _ATTRIBUTE.finditer(template))
    for expression in _EXPRESSION.findall(template):
        yield from re.findall(r'"([A-Za-z][^"%{}]* [^"%{}]*)"', expression)
    yield from re.findall(r'"([^"]*)" \| said', template)


def _texts(template: str) -> Iterator[tuple[int, int]]:
    """Where the words of a template stand, without the blanks around them."""
    at = 0
    ends = [(match.start(), match.end()) for match in _NOT_TEXT.finditer(template)]
    for begin, end in [*ends, (len(template), len(template))]:
        text = template[at:begin]
        if re.search(r"[A-Za-z]{2}", _EXPRESSION.sub("", re.sub(_MARKS, "", text))):
            yield at + len(text) - len(text.lstrip()), at + len(text.rstrip())
        at = end


def _message(text: str) -> tuple[str, dict[str, str]]:
    """A text with a placeholder for each expression, and these."""
    found: dict[str, str] = {}

    def placeholder(match: re.Match[str]) -> str:
        names = re.findall(r"[A-Za-z_]\w*", re.sub(r'"[^"]*"|\|.*', "", match[1])) or ["value"]
        name, number = names[-1], 1
        while f"{name}_{number}" in found if number > 1 else name in found:
            number += 1
        name = name if number == 1 else f"{name}_{number}"
        found[name] = match[0]
        return f"{{{name}}}"

    return " ".join(_EXPRESSION.sub(placeholder, text).split()), found
