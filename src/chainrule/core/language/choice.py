"""`chainrule.set_language` and `--lang`."""

from __future__ import annotations

from chainrule.core.errors import unknown
from chainrule.core.language.chosen import choose, named_language


def set_language(language: str | None) -> None:
    """Speaks `en` or `zh` from now on: errors, messages, reports, pages. None is what the environment says.

    Names of settings, keys of JSON and the files of a run are English in either.

    Raises:
        UserError: there is no such language.

    >>> from chainrule.core.errors import UserError
    >>> set_language("zh"); print(UserError("a label is out of range", where="y[3]"))
    一个标签超出范围
      位置: y[3]
    >>> set_language("en")
    """
    named = None if language is None else named_language(language)
    if language is not None and named is None:
        raise unknown("there is no language", language, ["en", "zh"])
    choose(named)
