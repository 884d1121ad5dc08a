"""The table of the forms that the user's own data may have, from the kinds of data."""

from __future__ import annotations

from chainrule.core.data.kind import Kind
from chainrule.core.discovery import all_kinds, all_recipes
from chainrule.reporting.documents.words import ENGLISH, Language


def forms_table(language: Language) -> list[str]:
    """A row for each form of each kind, and the recipes that learn from it; kinds that most recipes take come first."""
    kinds = sorted(all_kinds().values(), key=lambda kind: -len(_learners(kind)))
    lines = [language.forms_header, "| --- | --- | --- |"]
    for kind in kinds:
        for number, row in enumerate(kind.describe):
            what, form = (row.what, row.form) if language is ENGLISH else (row.what_zh, row.form_zh)
            goes = language.same if number else language.comma.join(_learners(kind)) or language.none
            lines.append(f"| {what} | {form} | {goes} |")
    return lines


def _learners(kind: Kind) -> list[str]:
    """The recipes that learn from a kind first of all; studies, which measure a claim, are not among them."""
    return [r.name for r in all_recipes().values() if r.kinds[:1] == (kind.name,) and not r.is_study]
