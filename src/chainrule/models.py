"""Every model by name: built, listed, recognised by its weights. The files below `systems/` hold networks and cards."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from chainrule.core.card import CaffeWeights, Card, ImageNetWeights
from chainrule.core.discovery import all_cards, get_card
from chainrule.core.errors import UserError

__all__ = [
    "PUBLISHERS",
    "all_cards",
    "build",
    "classifies_images",
    "description_rows",
    "example_of_description",
    "get_card",
    "image_networks",
    "published_weights",
    "read_description",
    "recognise",
    "solver_rows",
    "weights_named",
]

PUBLISHERS = ("torchvision",)
__path__: list[str] = []  # nothing lies below, but what once did is found (core/former_names.py)


def image_networks() -> dict[str, Card]:
    """Those that tell classes of images apart and learn by autograd, by name: 9 layers before 18, and 18 before 101.

    >>> [name for name in image_networks() if name.startswith("resnet") and name.isalnum()]
    ['resnet18', 'resnet20', 'resnet32', 'resnet34', 'resnet44', 'resnet50', 'resnet56', 'resnet101', 'resnet110', 'resnet152']
    """
    found = {name: card for name, card in all_cards().items() if classifies_images(card)}
    return {name: found[name] for name in sorted(found, key=_by_number)}


def classifies_images(card: Card) -> bool:
    """Whether the model tells classes of images apart and learns by autograd."""
    settings = inspect.signature(card.build).parameters
    return {"num_classes", "in_channels"} <= set(settings) and "gradient" not in card.skip and card.answers == "classes"


def _by_number(name: str) -> list[tuple[int, str]]:
    """A key that sorts numbers within names as numbers."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]


def build(name: str, **config: Any) -> Any:
    """The model of that name as a plain `torch.nn.Module`.

    >>> sum(p.numel() for p in build("lenet-caffe").parameters())
    431080
    """
    try:
        return get_card(name).build(**config)
    except TypeError as error:
        raise UserError(f"the model {name!r} cannot be built: {error}", found=config or "no settings") from None


def published_weights(network: str, publisher: str = "torchvision") -> ImageNetWeights:
    """The file of weights that somebody publishes for a network; UserError names the networks that have one.

    >>> published_weights("resnet50").address, published_weights("resnet50").preprocessing.size
    ('https://download.pytorch.org/models/resnet50-0676ba61.pth', 224)
    """
    found = get_card(network).weights.get(publisher)
    if found is None:
        known = [name for name, card in all_cards().items() if publisher in card.weights]
        raise UserError(
            f"{publisher} publishes no weights of {network}",
            expected=f"one of {', '.join(known)}",
            cure="a file of your own: --weights FILE",
        )
    return found


def weights_named(network: str, weights: str | None) -> ImageNetWeights | CaffeWeights | None:
    """Which published weights of a network `--weights` means: by publisher, or by the name of the official file.

    Every `.caffemodel` means Caffe's, where the network can read one.

    None where it means none of them: another file, or no weights at all. So a recipe learns which preprocessing the
    weights that it starts from need.

    >>> weights_named("resnet18", "torchvision") is weights_named("resnet18", "some/where/resnet18-f37072fd.pth")
    True
    >>> weights_named("resnet18", "my-own.pth") is weights_named("resnet18", None) is None
    True
    """
    if weights is None:
        return None
    if weights in PUBLISHERS:
        return published_weights(network, weights)
    if weights.endswith(".caffemodel"):
        return get_card(network).caffe
    return next((w for w in get_card(network).weights.values() if w.file == PurePath(weights).name), None)


def read_description(file: str, words: Sequence[str] = (), *, empty: bool = False) -> tuple[Any, list[str]]:
    """The network of a description of Caffe's and what was taken for granted: `chainrule.interop.caffe.description.listing.read_to_look_at`."""
    from chainrule.interop.caffe.description.listing import read_to_look_at

    return read_to_look_at(file, words, empty=empty)


def description_rows(net: Any) -> list[tuple[str, ...]]:
    """The layers of such a network, a row each: `chainrule.interop.caffe.description.listing.layer_rows`."""
    from chainrule.interop.caffe.description.listing import layer_rows

    return layer_rows(net)


def solver_rows(file: str) -> tuple[list[tuple[str, str]], tuple[str, ...]] | None:
    """The settings of a solver of Caffe's; None of a net description: `chainrule.interop.caffe.description.listing.solver_rows`."""
    from chainrule.interop.caffe.description import listing

    return listing.solver_rows(file)


def example_of_description(file: str, words: Sequence[str] = ()) -> tuple[Any, tuple[Any, ...], list[str]]:
    """A description as a module from its first input to its scores, an example for it, and what was taken for granted."""
    import torch

    from chainrule.interop.caffe.description.graph import CaffeScores

    net, notes = read_description(file, words)
    return CaffeScores(net.eval()), (torch.zeros(1, *next(iter(net.inputs.values()))[1:]),), notes


def recognise(shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, ...]:
    """The networks whose weights, as they are built by default, have these names and shapes; classes may differ.

    >>> import torch
    >>> recognise({name: value.shape for name, value in build("lenet-caffe").state_dict().items()})
    ('lenet-backprop', 'lenet-caffe')
    """
    return tuple(name for name, (own, but) in _known_shapes().items() if own == _fixed(shapes, but))


@functools.cache
def _known_shapes() -> dict[str, tuple[dict[str, tuple[int, ...]], tuple[str, ...]]]:
    """Of every network the shapes of its weights by name, and the prefixes of those that may differ or be absent."""
    import torch

    found = {}
    for name, card in all_cards().items():
        with torch.device("meta"):
            network = card.build()
        if isinstance(network, torch.nn.Module):
            left_out = (part for part, child in network._modules.items() if child is None)
            but = tuple(f"{part}." for part in (*getattr(network, "class_layers", ()), *left_out))
            found[name] = (_fixed({key: value.shape for key, value in network.state_dict().items()}, but), but)
    return found


def _fixed(shapes: Mapping[str, tuple[int, ...]], but: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    """Shapes by name without those below the prefixes `but`, and without counters that old files do not have."""
    return {
        key: tuple(shape)
        for key, shape in shapes.items()
        if not key.startswith(but) and not key.endswith("num_batches_tracked")
    }
