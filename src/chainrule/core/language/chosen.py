"""Which language is spoken: the one that was chosen, else the environment's, else the locale's."""

from __future__ import annotations

import os
import re
from typing import Literal

Language = Literal["en", "zh"]
VARIABLE = "CHAINRULE_LANG"
_LOCALE = ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")  # the first that says something decides, as for gettext
_chosen: Language | None = None


def language() -> Language:
    """The language of messages, reports and pages."""
    if _chosen is not None:
        return _chosen
    named = named_language(os.environ.get(VARIABLE, ""))
    if named is not None:
        return named
    own = next((value for name in _LOCALE if (value := os.environ.get(name))), "")
    if _is_plain(os.environ.get("LC_ALL") or os.environ.get("LANG") or ""):  # LANGUAGE counts where there is a locale
        own = os.environ.get("LC_ALL") or os.environ.get("LC_MESSAGES") or ""
    return named_language(own) or "en"


def named_language(text: str) -> Language | None:
    """The language that a name or a locale stands for; None where it is none of ours.

    >>> [named_language(text) for text in ("zh", "zh_CN.UTF-8", "en_GB:zh", "C", "zhuang", "")]
    ['zh', 'zh', 'en', None, None, None]
    """
    first = re.split(r"[_.@:-]", text.strip().lower())[0]
    return first if first in ("en", "zh") else None  # type: ignore[return-value]


def choose(named: Language | None) -> None:
    """Speaks this language from now on; None: the environment's again."""
    global _chosen
    _chosen = named


def _is_plain(locale: str) -> bool:
    return locale.partition(".")[0] in ("", "C", "POSIX")
