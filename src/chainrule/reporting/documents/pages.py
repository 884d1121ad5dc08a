"""A page a family, in the manner of CleanRL's documentation: everything about it that the code and the ledger know."""

from __future__ import annotations

from collections.abc import Iterator

from chainrule.core.card import Card
from chainrule.reporting.documents.catalogue import recipe_table
from chainrule.reporting.documents.curves import CURVES, curve_of
from chainrule.reporting.documents.families import ROOM, Room, cards
from chainrule.reporting.documents.source import imports, in_reading_order, logged, modules, reached
from chainrule.reporting.documents.topics import gathered, lectures_of
from chainrule.reporting.documents.words import ENGLISH
from chainrule.reporting.ledger_page import Row, listed, wrapped


def family_page(room: Room, rows: list[Row]) -> str:
    """The page of a family.

    Args:
        room: the family.
        rows: its rows of the ledger.
    """
    parts = (
        [f"# {room.record.title}", "", ENGLISH.generated, "", room.docstring],
        _section("Commands", recipe_table(room.recipes, ENGLISH, rows) if room.recipes else []),
        _section("What is logged", _logged(room)),
        _section("Deviations", _deviations(room)),
        _section("Figures", _figures(rows)),
        _section("How it was measured", _measured(rows)),
        _section("The files, in reading order", _files(room)),
        _section("Topics of the course", _topics(room)),
    )
    return "\n".join(line for part in parts for line in part) + "\n"


def _section(title: str, lines: list[str]) -> list[str]:
    return ["", f"## {title}", "", *lines] if lines else []


def _logged(room: Room) -> list[str]:
    """The loops that the family's recipes reach, and the names that each writes."""
    reach = reached({recipe.build.__module__ for recipe in room.recipes})
    loops = {name for name in reach if name.startswith((f"{room.module}.", "chainrule.loops."))}
    lines = []
    for module in in_reading_order(loops):
        names = logged(module.name)
        if names is not None:
            lines.append(f"| `{module.path}` | {', '.join(f'`{name}`' for name in names) or 'its own values'} |")
    head = ["Each line of metrics.jsonl has step, epoch and seconds, and:", "", "| loop | names |", "| --- | --- |"]
    return [*head, *lines] if lines else []


def _deviations(room: Room) -> list[str]:
    """The deviations that cards state, numbered; those that several cards share stand once."""
    by_text: dict[str, list[Card]] = {}
    for module in room.files:
        for card in cards(module):
            for text in card.deviations:
                by_text.setdefault(" ".join(text.split()), []).append(card)
    lines: list[str] = []
    for number, (text, its) in enumerate(by_text.items(), 1):
        names = ", ".join(f"`{card.name}`" for card in its[:3]) + (f" and {len(its) - 3} more" if len(its) > 3 else "")
        lines += wrapped(f"{number}. {names}: {text}", " " * len(f"{number}. "))
    return lines


def _figures(rows: list[Row]) -> list[str]:
    """Ours beside the published one, and the curve of a training where the ledger keeps it."""
    if not rows:
        return ["Nothing is measured yet."]
    lines = [
        "| | recipe | data | ours | published | runs | seconds |",
        "| ---: | --- | --- | --- | --- | ---: | ---: |",
    ]
    lines += [f"| {number} | {' | '.join(row.table_cells())} |" for number, row in enumerate(rows, 1)]
    for number, row in enumerate(rows, 1):
        curve = curve_of(row)
        if curve:
            lines += ["", f"{number}. `{row.recipe}` on {row.data}, {curve.metric} over the training:"]
            lines += ["", f"![{curve.metric} of {row.recipe} on {row.data}]({CURVES}/{curve.file})"]
    return lines


def _measured(rows: list[Row]) -> list[str]:
    lines: list[str] = []
    for number, row in enumerate(rows, 1):
        lines += [*([""] if lines else []), f"**{number}. `{row.recipe}` on {row.data}**", "", *listed(row.notes())]
    return lines


def _files(room: Room) -> list[str]:
    """The files of the room, each after those that it uses; and, below, what of other families its recipes use."""
    own = {module.name for module in room.files}
    lines: list[str] = []
    for number, module in enumerate(in_reading_order(own), 1):
        lines += wrapped(f"{number}. `{module.path}`: {module.first_line}", " " * len(f"{number}. "))
    others = sorted(set(_borrowed(own, room)))
    if others:
        lines += ["", *wrapped(f"From other families: {', '.join(f'`{path}`' for path in others)}.")]
    return lines


def _borrowed(own: set[str], room: Room) -> Iterator[str]:
    for name in own:
        for other in imports(name):
            path = modules()[other].path
            elsewhere = other.startswith(f"{ROOM}.") and not f"{other}.".startswith(f"{room.module}.")
            if elsewhere and not path.endswith("__init__.py"):
                yield path


def _topics(room: Room) -> list[str]:
    topics = [topic for topic in gathered().values() if topic.room == room]
    lines: list[str] = []
    for topic in topics:
        lectures = lectures_of(topic, ENGLISH)
        where = (
            "practice" if lectures == ENGLISH.none else f"lecture{'s' if len(topic.lectures) > 1 else ''} {lectures}"
        )
        lines.append(f"- {topic.name} ({where})")
    return [*lines, "", "Code and commands for each: [the index](../index.md)."] if lines else []
