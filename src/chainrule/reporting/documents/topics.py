"""The index of topics: what recipes, cards and modules say that they serve, gathered by topic."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, field

from chainrule.core.course import LECTURES, Topic
from chainrule.core.discovery import all_recipes
from chainrule.reporting.documents.families import Room, cards, room_of, rooms
from chainrule.reporting.documents.source import modules, stated
from chainrule.reporting.documents.words import ENGLISH, Language


@dataclass
class Gathered:
    """A topic with everything that serves it."""

    name: str
    zh: str = ""
    room: Room | None = None  # of the place that states it in full; None: a shared room
    lectures: set[int] = field(default_factory=set)
    code: dict[str, dict[str, None]] = field(default_factory=dict)  # path -> names
    commands: dict[str, None] = field(default_factory=dict)


def places() -> Iterator[tuple[str, tuple[str, ...], str, Topic]]:
    """The module of every place that states a topic, the names there, what to try, and the topic."""
    recipes: dict[str, list[tuple[tuple[str, ...], str, Topic]]] = {}
    for recipe in all_recipes().values():
        for topic in recipe.topics:
            names = topic.code or (recipe.build.__name__,)
            place = (names, topic.command or f"chainrule train {recipe.name}", topic)
            recipes.setdefault(recipe.build.__module__, []).append(place)
    for name, module in modules().items():
        yield from ((name, *place) for place in recipes.get(name, ()))
        of_cards = {id(topic): (card, topic) for card in reversed(cards(module)) for topic in card.topics}
        for card, topic in reversed(of_cards.values()):  # a card made from another with `replace` has the same records
            own = getattr(card.build, "func", card.build).__name__
            yield name, topic.code or (own,), topic.command or f"chainrule show {card.name}", topic
        for topic in stated(module, "TOPICS") or ():
            yield name, topic.code, topic.command, topic


@functools.cache
def gathered() -> dict[str, Gathered]:
    """Every topic by name. What is stated in full comes first within a topic."""
    found: dict[str, Gathered] = {}
    for module, names, command, topic in sorted(places(), key=lambda place: not place[3].zh):
        entry = found.setdefault(topic.name, Gathered(topic.name))
        if topic.zh and not entry.zh:
            entry.zh, entry.room = topic.zh, room_of(module)
        entry.lectures |= set(topic.lectures)
        entry.code.setdefault(modules()[module].path, {}).update(dict.fromkeys(names))
        if topic.command or not entry.commands:
            entry.commands[command] = None
    return found


def index_page(language: Language) -> str:
    """The index, a section for the shared rooms and one for each family."""
    lines = [f"# {language.index_title}", "", language.other.format("index"), "", language.generated, ""]
    lines += [language.index_text, "", language.lectures_header, "| --- | --- |"]
    lines += [f"| {number} | {title} |" for number, title in enumerate(LECTURES, 1)]
    for room in (None, *rooms()):
        topics = [topic for topic in gathered().values() if topic.room == room]
        if topics:
            lines += ["", f"## {title_of(room, language)}", "", language.index_header, "| --- | --- | --- | --- |"]
            lines += [_row(topic, language) for topic in topics]
    return "\n".join(lines) + "\n"


def title_of(room: Room | None, language: Language) -> str:
    if room is None:
        return language.shared_rooms
    return room.record.title if language is ENGLISH else room.record.zh


def lectures_of(topic: Gathered, language: Language) -> str:
    return language.comma.join(map(str, sorted(topic.lectures))) or language.none


def _row(topic: Gathered, language: Language) -> str:
    code = ", ".join(
        " ".join([f"`{path}`", ", ".join(f"`{name}`" for name in names)]).strip() for path, names in topic.code.items()
    )
    commands = ", ".join(f"`{command}`" for command in topic.commands if command)
    name = topic.name if language is ENGLISH else topic.zh
    return f"| {name} | {code} | {commands} | {lectures_of(topic, language)} |"
