"""Every model. A file holds one family of networks, self-contained, with its cards; nothing is registered by hand."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

from chainrule.errors import UserError, unknown
from chainrule.models.card import Card


def all_cards() -> dict[str, Card]:
    """Every card by model name, found in the modules below this folder."""
    cards: dict[str, Card] = {}
    for info in pkgutil.walk_packages(__path__, f"{__name__}."):
        if not info.ispkg and not info.name.endswith(".card"):
            module = importlib.import_module(info.name)
            cards.update({value.name: value for value in vars(module).values() if isinstance(value, Card)})
    return cards


def get_card(name: str) -> Card:
    """The card of the model of that name; UserError names the nearest ones."""
    cards = all_cards()
    if name not in cards:
        raise unknown("there is no model", name, sorted(cards))
    return cards[name]


def build(name: str, **config: Any) -> Any:
    """The model of that name as a plain `torch.nn.Module`.

    >>> sum(p.numel() for p in build("lenet-caffe").parameters())
    431080
    """
    try:
        return get_card(name).build(**config)
    except TypeError as error:
        raise UserError(f"the model {name!r} cannot be built: {error}", found=config or "no settings") from None
