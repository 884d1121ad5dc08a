"""What the image classifier does where the user does not say: it follows from the images, and is kept in run.json.

    images                                   network, size, epochs
    no network named, no --weights           cifar-net on the images' own size, 16 to 64 pixels; on a GPU, where most
                                             images are larger than 64 pixels, resnet18 on 128
    --weights                                resnet18, the network of the run, or the one that is named
    a network named                          the size that it was published for, up to 128 pixels

Nothing here looks at a clock: the same data and device give the same settings.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from chainrule.data.images.decoding import UNREADABLE, ignore_warnings, open_image
from chainrule.data.images.raw import RawImageSet
from chainrule.run.folder.record import read_record

if TYPE_CHECKING:
    from torch import nn

    from chainrule.core.card import Card
    from chainrule.data.images.spec import ImageSpec
    from chainrule.run.run import Run

AUTO = "auto"
QUICK, PUBLISHED = "cifar-net", "resnet18"  # networks: without weights, and where weights are given
SMALLEST, LARGEST = 16, 64  # pixels that the quick network is given
USUAL_SIZE = 128  # pixels, for a network of photographs
PASSES = 30_000  # images that are learnt from in all, about: so many epochs, within these bounds
EPOCHS = (12, 60)
LOOKED_AT = 200  # images whose sizes are looked at
SIDES = {"left", "right", "east", "west", "clockwise", "counterclockwise", "左", "右"}  # what a mirror would exchange
NUMBERS = {"zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"}
# Floating-point operations a second while training, roughly: of a thread of a CPU, of a GPU.
RATES = {"cpu": 3e10, "mps": 5e11, "cuda": 5e12}
SECONDS_A_STEP = 0.004  # of work that does not grow with the images


@dataclass(frozen=True)
class Choice:
    """Settings of the recipe that may follow the images, with its own types: `auto` is what is not decided yet."""

    network: Any
    size: Any
    epochs: Any
    batch_size: Any
    lr: Any
    crop: Any
    flip: Any


class Defaults:
    """Decides what was left open, in three steps: a network by the weights, a size by the images, the rest by their spec.

    Args:
        run: its record says which settings were given; those decided are written there.
        asked: the settings as they were given.
        own_network: whether the network is the user's own.
    """

    def __init__(self, run: Run, asked: Choice, *, own_network: bool) -> None:
        self.run, self.asked, self.own_network = run, asked, own_network
        self.side = 0  # pixels of the shorter sides, in the middle of all
        weights = run.record["weights"]
        self.quick = asked.network == AUTO and not weights and not own_network
        learnt = _settings_of(weights)  # of the run that the weights are of
        named = learnt.get("network", PUBLISHED) if asked.network == AUTO else asked.network
        self.network = None if self.quick or own_network else named
        self.learnt_size = learnt.get("size") if self.network == learnt.get("network") else None

    def size(self, card: Card | None) -> int | SizeRule:
        """The size of the images in pixels, or how it follows from them."""
        if self.asked.size != AUTO:
            return int(self.asked.size)
        if self.learnt_size:
            return int(self.learnt_size)
        if card is not None and not self.quick:
            published: int = card.example(1)[0].shape[-1]
            return min(published, USUAL_SIZE)
        return SizeRule(self)

    def decided(self, spec: ImageSpec) -> Choice:
        """All settings, those that were left open by the rule; a line says which, and run.json keeps them."""
        asked, count = self.asked, spec.counts["train"]
        network = self.network or (PUBLISHED if self._photographs() else QUICK)
        quick = self.quick and network == QUICK
        epochs = min(max(round(PASSES / count), EPOCHS[0]), EPOCHS[1]) if quick else 30
        batch_size = full_batches(count, 32 if count < 10_000 else 128) if quick else min(32, count)
        rule = Choice(
            network,
            spec.size,
            epochs,
            batch_size,
            0.02 * (batch_size if asked.batch_size == AUTO else asked.batch_size) / 32 if quick else 0.02,
            "resized" if spec.size > LARGEST else "shift" if spec.size >= 28 else "none",
            mirrored(spec),
        )
        open_ones = [name for name, value in vars(asked).items() if value == AUTO]
        choice = replace(asked, **{name: getattr(rule, name) for name in open_ones})
        if self.own_network:
            choice = replace(choice, network=asked.network)
        self.run.record["settings"].update({name: getattr(choice, name) for name in open_ones})
        self.open_ones = open_ones
        return choice

    def tell(self, choice: Choice, spec: ImageSpec, model: nn.Module | None) -> None:
        """The line of what followed the images, with about how long it will take; of a network of the user's own
        that is not counted."""
        if not self.open_ones:
            return
        words = {name: getattr(choice, name) for name in self.open_ones}
        settings = " ".join(f"{name}={_word(value)}" for name, value in words.items())
        of = f"{spec.counts['train']:,} {'grey' if spec.channels == 1 else 'colour'} training images"
        of += f" of about {self.side} pixels" if self.side else ""
        time = f"; about {in_words(self._seconds(choice, spec, model))} on {self.run.device.type}" if model else ""
        self.run.progress.line(f"chosen for {of}: {settings}{time}")

    def _photographs(self) -> bool:
        return self.side > LARGEST and self.run.device.type == "cuda"

    def _seconds(self, choice: Choice, spec: ImageSpec, model: nn.Module) -> float:
        operations = 3 * count_operations(model, spec.channels, spec.size)  # forward, and twice it backward
        images = choice.epochs * (spec.counts["train"] + spec.counts["val"] / 3)
        device = self.run.device.type
        threads = self.run.record["threads"] if device == "cpu" else 1
        rate = RATES.get(device, RATES["cpu"]) * threads**0.8 * self.run.world.size
        return images * operations / rate + images / choice.batch_size * SECONDS_A_STEP


class SizeRule:
    """The size of the images that the defaults give, from the images as they were found."""

    def __init__(self, defaults: Defaults) -> None:
        self.defaults = defaults

    def __call__(self, raw: RawImageSet) -> int:
        self.defaults.side = side = middle_side(raw)
        if self.defaults._photographs():
            return USUAL_SIZE
        return min(max(side, SMALLEST), LARGEST)


def middle_side(raw: RawImageSet) -> int:
    """The shorter side of the images, in the middle of some of them, in pixels; 0 where none can be read."""
    part = raw.splits["train"]
    if part.arrays is not None:
        return min(part.arrays.shape[1:3])
    sides = []
    with ignore_warnings():
        for file in itertools.islice(part.files, 0, None, max(1, len(part.files) // LOOKED_AT)):
            try:
                with open_image(file) as image:
                    sides.append(min(image.size))
            except UNREADABLE:
                continue  # the decoder says which
    return round(median(sides)) if sides else 0


def mirrored(spec: ImageSpec) -> bool:
    """Whether half of the training images may be mirrored: not digits, letters, and what has a left and a right.

    Told by the names of the classes; and small grey images, which most often are characters, are not mirrored either.
    """
    names = [name.casefold() for name in spec.classes]
    words = {word for name in names for word in name.replace("-", "_").replace(" ", "_").split("_")}
    characters = any(len(name) == 1 or name.isdecimal() for name in names)
    return not (characters or words & (SIDES | NUMBERS) or (spec.channels == 1 and spec.size <= 32))


def count_operations(model: nn.Module, channels: int, size: int) -> int:
    """Floating-point operations of one image's forward pass: two for each multiplication and addition."""
    import torch

    from chainrule.introspection.layers import layers

    device = next(model.parameters()).device
    return 2 * sum(row.multiply_adds for row in layers(model, (torch.zeros(1, channels, size, size, device=device),)))


def full_batches(count: int, most: int) -> int:
    """The largest size of a batch, up to `most`, that leaves no batch of one image, which cannot be normalised.

    >>> full_batches(1000, 32), full_batches(97, 32), full_batches(18, 32)
    (32, 31, 18)
    """
    return next((size for size in range(min(most, count), 1, -1) if count % size != 1), 1)


def in_words(seconds: float) -> str:
    """A time as one says it.

    >>> [in_words(s) for s in (0.4, 42, 400, 9000)]
    ['a second', '40 seconds', '7 minutes', '2.5 hours']
    """
    if seconds < 1.5:
        return "a second"
    if seconds < 90:
        return f"{max(2, round(seconds)) if seconds < 10 else round(seconds, -1):.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.2g} hours"


def _settings_of(weights: str | None) -> dict[str, Any]:
    """Network and size of the run that weights are of; nothing where they are of none, or of a network of the user's own."""
    if not weights or not (Path(weights) / "run.json").is_file():
        return {}
    settings: Mapping[str, Any] = read_record(Path(weights))["settings"]
    network, size = settings.get("network"), settings.get("size")
    if not isinstance(network, str) or ".py" in network:
        return {}
    return {"network": network, **({"size": size} if isinstance(size, int) else {})}


def _word(value: object) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
