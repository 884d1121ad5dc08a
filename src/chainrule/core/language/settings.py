"""What a setting may be, in the words of `chainrule.core.settings.describe`, in Chinese."""

from __future__ import annotations

import re

from chainrule.core.language.chosen import language

_CHINESE = {
    "comma-separated list of ": "逗号分隔的",
    "whole number": "整数",
    "number": "数",
    "text": "文字",
    "path": "路径",
    ", at least ": "，不小于 ",
    ", above ": "，大于 ",
    " and at most ": "，不大于 ",
    " or ": " 或 ",
}


def described(text: str) -> str:
    """In the language that is spoken."""
    return text if language() == "en" else in_chinese(text)


def in_chinese(text: str) -> str:
    """
    >>> in_chinese("whole number, at least 1 or none")
    '整数，不小于 1 或 none'
    """
    pattern = "|".join(map(re.escape, sorted(_CHINESE, key=len, reverse=True)))
    return re.sub(pattern, lambda match: _CHINESE[match[0]], text)
