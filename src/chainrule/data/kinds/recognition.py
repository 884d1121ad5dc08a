"""What kind of data a place holds, what it lacks to be another, and whether a recipe can learn from it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from chainrule.core.data.kind import Kind, Match, Miss
from chainrule.core.data.request import DataRequest
from chainrule.core.discovery import all_kinds, all_recipes
from chainrule.core.errors import UserError
from chainrule.core.recipe import Recipe
from chainrule.data.layout import Layout, Place, layout_of

_NEAR_MISSES, _LEARNERS = 3, 8  # that one message tells
_OTHER_TABLES = (
    ".xls",
    ".ods",
    ".numbers",
    ".json",
    ".tab",
    ".dat",
    ".sav",
    ".dta",
    ".feather",
    ".orc",
    ".xml",
    ".html",
)
_LINE = "\n            "  # between the lines of one part of a message


def look(place: Place) -> Layout:
    """As `layout_of`; what is neither a path nor a known data set has the form `name`, if a kind knows such names."""
    try:
        return layout_of(place)
    except UserError:
        named = Layout(Path(str(place)), "name", {})
        if isinstance(place, Layout) or not _matches(named, None):
            raise
        return named


def recognise(layout: Layout, target: str | None) -> Kind:
    """The kind of data at a place: that of a known data set, else the first of those that match.

    Raises:
        UserError: it is none; of each kind that nearly fits, the nearest first, the message says what is missing.
    """
    if layout.kind in all_kinds():
        return all_kinds()[layout.kind or ""]
    found = _matches(layout, target)
    for name in found:
        if not any(name in all_kinds()[other].before for other in found):
            return all_kinds()[name]
    raise _nothing_known(layout, target)


def answer_of(kind: Kind, layout: Layout, target: str | None) -> Match | Miss:
    """Whether a place holds a kind; of several splits each must, and the first that does not is told."""
    if layout.form != "splits":
        return kind.recognise(layout, target)
    answers = [answer_of(kind, part, target) for part in layout.sources.values()]
    return next((answer for answer in answers if isinstance(answer, Miss)), answers[0])


def _matches(layout: Layout, target: str | None) -> list[str]:
    return [name for name, kind in all_kinds().items() if isinstance(answer_of(kind, layout, target), Match)]


def expect_kind(request: DataRequest, recipe: Recipe) -> None:
    """UserError where a recipe cannot learn from the data that a run is asked to read; nothing is read for it.

    A recipe that names no kinds is not asked. Data of another kind pass where the reader of one that the recipe takes
    may make sense of them: a table's column as a series.
    """
    if not recipe.kinds:
        return
    kinds, wanted = all_kinds(), [all_kinds()[name] for name in recipe.kinds if name in all_kinds()]
    shares = {name: share for name, share in (("val", request.val), ("test", request.test)) if share is not None}
    if shares and not any(kind.shares for kind in wanted):
        name, share = next(iter(shares.items()))
        raise UserError(f"{recipe.name} holds no split out", found=f"--{name} {share:g}", cure=f"leave --{name} out")
    try:
        layout = layout_of(request)
    except UserError:
        named = Layout(Path(str(request)), "name", {})
        if any(_may_read(kind.recognise(named, None)) for kind in wanted):
            return  # its reader knows such names
        raise
    if layout.form == "roles":
        _expect_roles(layout, wanted, recipe)
        return
    if layout.kind in recipe.kinds:
        return
    answers = {kind.name: answer_of(kind, layout, request.target) for kind in wanted}
    if any(map(_may_read, answers.values())):
        return
    found = recognise(layout, request.target)
    if found.name in recipe.kinds:
        return
    first = answers[wanted[0].name]
    seen = answer_of(found, layout, request.target)
    raise UserError(
        f"{layout} is {found.noun}, not {wanted[0].noun}",
        where=layout if layout.kind is None else None,
        expected=f"{recipe.name} learns from {' or '.join(kind.noun for kind in wanted)}: {wanted[0].describe[0].form}",
        found=seen.found if isinstance(seen, Match) else (first.lacks or None if isinstance(first, Miss) else None),
        cure=f"recipes that take {kinds[found.name].noun}: {_learners(found.name)}{_named_otherwise(layout, wanted)}",
    )


def _named_otherwise(layout: Layout, wanted: Iterable[Kind]) -> str:
    """What to do with a table in a .txt, which is a text by its name."""
    is_text = layout.form == "file" and layout.train.suffix.lower() == ".txt"
    return (
        "; where it is a table, name it .csv" if is_text and any(k.name in ("table", "series") for k in wanted) else ""
    )


def _may_read(answer: Match | Miss) -> bool:
    return isinstance(answer, Match) or answer.readable


def _expect_roles(layout: Layout, wanted: Iterable[Kind], recipe: Recipe) -> None:
    if any(set(layout.sources) == set(kind.roles) for kind in wanted):
        return
    known = [" and ".join(f"{role}=" for role in kind.roles) for kind in wanted if kind.roles]
    raise UserError(
        f"{recipe.name} does not know these roles of data",
        found=str(layout),
        expected=", or ".join(["one path", "train=, val=, test=", *known]),
    )


def _learners(kind: str) -> str:
    """The recipes that learn from a kind, in words; no studies, which measure a claim."""
    found = [recipe.name for recipe in all_recipes().values() if kind in recipe.kinds and not recipe.is_study]
    more = f" and {len(found) - _LEARNERS} more" if len(found) > _LEARNERS else ""
    return ", ".join(found[:_LEARNERS]) + more if found else "none yet"


def _nothing_known(layout: Layout, target: str | None) -> UserError:
    """What is there, and what it lacks to be each kind that it nearly is."""
    misses = [(kind, answer_of(kind, layout, target)) for kind in all_kinds().values()]
    near = [(miss.near, kind.name, miss.lacks) for kind, miss in misses if isinstance(miss, Miss) and miss.near > 0]
    told = [f"{name}: {lacks}" for _, name, lacks in sorted(near, key=lambda m: -m[0])[:_NEAR_MISSES]]
    forms = [f"{k.describe[0].what}: {k.describe[0].form}" for k in all_kinds().values() if not k.single]
    lines = _LINE.join(told)
    if layout.form == "roles":
        known = [" and ".join(f"{role}=" for role in kind.roles) for kind in all_kinds().values() if kind.roles]
        return UserError(
            "no kind of data has these roles", found=str(layout), expected=", or ".join(["train=, val=, test=", *known])
        )
    if layout.form == "folder":
        seen = ", ".join(f"{n} {e or 'without ending'}" for e, n in layout.endings.most_common(5)) or "nothing"
        return UserError(
            "the folder holds no data of a kind that is known",
            where=layout,
            expected=lines or "one subfolder of images a class, or train.csv, or .txt files",
            found=seen,
        )
    return UserError(
        "the data are of no kind that is known",
        where=layout,
        expected=lines or _LINE.join([*forms, "or a name of chainrule data list"]),
        found=f"a file ending in {layout.train.suffix.lower()}" if layout.splits else None,
        cure="save it as .csv, or as .xlsx" if layout.splits and layout.train.suffix.lower() in _OTHER_TABLES else None,
    )
