"""A message in the language of the person, looked up in the catalogue by its English text.

Messages are f-strings where they arise. The catalogue has the template of each, `the file {path} is empty`; a finished
text is recognised by its template, as a regular expression with a group a placeholder, and the values are carried over
into the translation. So a call says its message in plain English and knows nothing of languages.

Where several templates fit, the one with the most letters of its own does. A value that is itself a phrase is translated
too. What no template fits stays English.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass

from chainrule.core.language.chosen import language

PLACEHOLDER = re.compile(r"\{([A-Za-z_]\w*|\d+)\}")
# Of an error's lines.
_LABELS = {"where": "位置", "expected": "应为", "found": "实为", "cure": "办法", "note": "注意", "first in": "最先在"}
LABELLED = re.compile(rf"\n  ({'|'.join(_LABELS)}): +")
_JOINTS = re.compile(r"(?<=\S)(: |; |\. |, )(?=\S)")  # where a text may be put together from two
_PARTED = re.compile(r"[:;] ")
_DEPTH = 4  # of phrases within phrases
# Placeholders whose values are words of the package's own, so that a single one is looked up too.
_OWN_WORDS = re.compile(r"(what|word|noun|part|unit|state|wanted|kind|kinds|p|choose_by|val|metric|how|task)(_\d+)?")


def translate(text: str) -> str:
    """The text in the language that is spoken: itself in English, and where the catalogue does not have it.

    >>> translate("a label is out of range")
    'a label is out of range'
    """
    return text if language() == "en" else _of_lines(text)


def translation_of(message: str) -> str | None:
    """What the catalogue has for a message, a template too; None where it has nothing."""
    return _catalogue().all.get(message)


def translate_phrase(text: str) -> str:
    """As `translate`, and a single word stays: it may be the user's, the name of a class or of a column."""
    return text if language() == "en" or " " not in text else _of_lines(text)


def _of_lines(text: str) -> str:
    """An error's first line and its labelled ones, each for itself; of other texts each line, where the whole has none."""
    head, *rest = LABELLED.split(text)
    if rest:
        labelled = zip(rest[::2], rest[1::2], strict=True)
        return _of_text(head) + "".join(
            f"\n  {_LABELS[label]}: {_of_value(said, _DEPTH, own=label != 'where')}" for label, said in labelled
        )
    return _of_text(text)


def _of_text(text: str, depth: int = _DEPTH) -> str:
    whole = _looked_up(text, depth)
    if whole is not None:
        return whole
    if "\n" in text:
        return "\n".join(_of_text(line, depth) for line in text.split("\n"))
    parted = _of_parts(text, depth)
    return (_looked_up(text, depth, doubtful=True) or text) if parted == text else parted


def _looked_up(text: str, depth: int, doubtful: bool = False) -> str | None:
    """By the text itself, with blanks around it left as they are, or by a template.

    A template that begins with a placeholder is `doubtful` where there is a colon in its value: what it begins with may
    be another message.
    """
    known = _catalogue()
    if text in known.texts:
        return known.texts[text]
    said = text.removeprefix("chainrule: ")
    if said in known.texts:  # a message as it is goes before a template of the whole line
        return f"chainrule: {known.texts[said]}"
    for template in known.templates if depth == _DEPTH else known.telling:
        values = template.values(text)
        if values is None or (template.text[0] == "{" and not doubtful and _PARTED.search(next(iter(values.values())))):
            continue
        put = {name: _of_value(value, depth - 1, own=_OWN_WORDS.fullmatch(name)) for name, value in values.items()}
        return filled(template.translated, put)
    inner = text.strip()
    if inner != text:
        found = _looked_up(inner, depth, doubtful) if inner else None
        return None if found is None else text.replace(inner, found, 1)
    return None


def filled(template: str, values: Mapping[str, str]) -> str:
    """A template with values in the place of its placeholders.

    >>> filled("{n} of {all}", {"n": "3", "all": "5"})
    '3 of 5'
    """
    return PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), template)


def _of_value(text: str, depth: int, own: object = None) -> str:
    """What stands in a placeholder, or in a part of a text: a phrase is looked up, a single word where it is no user's."""
    return _of_text(text, depth) if depth and (own or " " in text) else text


def _of_parts(text: str, depth: int) -> str:
    """A text of two parts, the first of which, or the second, is known."""
    if not depth:
        return text
    for joint in _JOINTS.finditer(text):
        before, after = text[: joint.start()], text[joint.end() :]
        tail = _looked_up(text[joint.start() :], depth - 1)
        if tail is not None:
            return _of_value(before, depth - 1) + tail
        ends = _looked_up(after, depth - 1) if " " in after else None
        begins = _looked_up(before, depth - 1) if " " in before else None
        if ends is not None or begins is not None:
            rest = ends if ends is not None else _of_value(after, depth - 1)
            return (before if begins is None else begins) + _CHINESE[joint[0]] + rest
    return text


_CHINESE = {": ": "：", "; ": "；", ". ": "。", ", ": "，"}


@dataclass(frozen=True)
class _Template:
    """A message with placeholders, and its translation."""

    text: str
    translated: str
    longest: str  # of its own words: a text without these is not of this template
    length: int  # of its own words

    def values(self, text: str) -> dict[str, str] | None:
        """What stands in the place of each placeholder; None where the text is not of this template."""
        if self.longest not in text:
            return None
        match = _pattern(self.text).fullmatch(text)
        return None if match is None else dict(zip(PLACEHOLDER.findall(self.text), match.groups(), strict=True))


@dataclass(frozen=True)
class _Catalogue:
    all: dict[str, str]
    texts: dict[str, str]
    templates: list[_Template]
    telling: list[_Template]  # those that are recognised within another message too


# What does not tell a template from another.
_FUNCTION_WORDS = frozenset(
    [
        "a",
        "an",
        "and",
        "are",
        "as",
        "at",
        "by",
        "for",
        "in",
        "is",
        "it",
        "no",
        "not",
        "of",
        "on",
        "or",
        "the",
        "to",
        "with",
    ]
)


@functools.cache
def _pattern(template: str) -> re.Pattern[str]:
    value = "(.*?)" if is_telling(template) else r"(\S*)" if letters_of(template) > 3 else r"(\S*\d\S*)"  # and, of, to
    return re.compile(value.join(map(re.escape, own_words(template))), re.DOTALL)


def is_telling(template: str) -> bool:
    """Whether a text with these words is of this template, whatever its values are; else they are single words.

    >>> [is_telling(each) for each in ("the file {path} is empty", "{where}, line {number}", "{rows} rows", "{a} of {b}")]
    [True, True, False, False]
    """
    words = own_words(template)
    several = re.findall(r"[^\W\d_]+", " ".join(words).lower())
    return (len(several) > 1 and letters_of(template) > 4 and not _FUNCTION_WORDS.issuperset(several)) or any(
        re.search(r"[,;:(].*[^\W\d_]{3}|[^\W\d_]{3}.*[;:(]", word) for word in words
    )


def own_words(template: str) -> list[str]:
    """What of a template stands between its placeholders.

    >>> own_words("no {name} here")
    ['no ', ' here']
    """
    return PLACEHOLDER.split(template)[::2]


def letters_of(template: str) -> int:
    return sum(character.isalpha() for part in own_words(template) for character in part)


@functools.cache
def _catalogue() -> _Catalogue:
    from chainrule.core.language.catalogue import read_catalogue

    texts: dict[str, str] = {}
    templates: list[_Template] = []
    known = read_catalogue()
    for text, translated in known.items():
        if PLACEHOLDER.search(text) is None:
            texts[text] = translated
        else:
            longest = max(own_words(text), key=len)
            templates.append(_Template(text, translated, longest, sum(map(len, own_words(text)))))
    templates.sort(key=lambda template: (-template.length, len(own_words(template.text))))
    return _Catalogue(known, texts, templates, [each for each in templates if is_telling(each.text)])
