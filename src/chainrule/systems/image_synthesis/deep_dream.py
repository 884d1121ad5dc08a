"""Deep Dream as a way to make images: what the layers of a network see is made stronger, octave after octave."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import torch
from torch import Tensor

from chainrule.core.errors import UserError
from chainrule.run.protocols import Stateful
from chainrule.systems.image_synthesis.ascent import ascend, likeness, octave_sizes, resampled, strength
from chainrule.systems.image_synthesis.task import Canvas, Eyes, Size, size_of


class DeepDream:
    """The settings of a dream; see `chainrule.systems.image_synthesis.recipes`.

    Args:
        channel: of each layer, the only one that is to respond; None is all.
        octaves, octave_scale: sizes of the image, from coarse to fine; see `octave_sizes`.
        octave_steps: steps of gradient ascent at each.
        step_size, jitter, tile: of a step; see `ascend`. The shift is uniform from -jitter to jitter either way.
        guided: whether the second image says what is to grow.
    """

    name = "dream"

    def __init__(
        self,
        *,
        channel: int | None,
        octaves: int,
        octave_scale: float,
        octave_steps: int,
        step_size: float,
        jitter: int,
        tile: int,
        guided: bool,
    ) -> None:
        if guided and channel is not None:
            raise UserError(
                "a guide and a channel each say what is to grow",
                expected="one of them",
                found=f"guide and channel={channel}",
            )
        self.channel, self.octaves, self.octave_scale, self.octave_steps = channel, octaves, octave_scale, octave_steps
        self.step_size, self.jitter, self.tile = step_size, jitter, tile
        self.other, self.steps = "guide" if guided else None, octaves * octave_steps

    def sizes(self, height: int, width: int) -> list[Size]:
        return octave_sizes(height, width, self.octaves, self.octave_scale)

    def begin(self, canvas: Canvas, eyes: Eyes, seed: int) -> Dreaming:
        return Dreaming(self, canvas, eyes, seed)


class Dreaming:
    """One dream."""

    def __init__(self, way: DeepDream, canvas: Canvas, eyes: Eyes, seed: int) -> None:
        self.way, self.canvas, self.eyes, self.seed = way, canvas, eyes, seed
        self.keep: Mapping[str, Stateful] = {}

    @cached_property
    def bases(self) -> list[Tensor]:
        """What the dream began with, in each size: each made of the next larger."""
        found = [self.canvas.content[None].to(self.canvas.made[-1].dtype)]
        for made in list(self.canvas.made)[-2::-1]:
            found.insert(0, resampled(found[0], size_of(made)))
        return found

    @cached_property
    def guide(self) -> dict[str, Tensor]:
        with torch.no_grad():
            return self.eyes(self.canvas.other[None].to(self.canvas.made[-1].dtype))

    def step(self, number: int) -> Mapping[str, Tensor]:
        octave, position = divmod(number, self.way.octave_steps)
        made, base = self.canvas.made[octave], self.bases[octave]
        if position == 0:
            with torch.no_grad():
                made.copy_(base)
                if octave:  # what the coarser one has added to its base
                    detail = self.canvas.made[octave - 1] - self.bases[octave - 1]
                    made += resampled(detail, size_of(base))
        image, value = ascend(self.objective, made, self.way.step_size, self.shift(number), self.way.tile)
        with torch.no_grad():
            made.copy_(image)
        return {"objective": value}

    def shift(self, number: int) -> tuple[int, int]:
        """Right and down: from the seed and the number of the step alone, so that a resumed run has the same."""
        generator = torch.Generator().manual_seed((self.seed + 1) * 1_000_003 + number)
        right, down = torch.randint(-self.way.jitter, self.way.jitter + 1, (2,), generator=generator).tolist()
        return right, down

    def objective(self, pixels: Tensor) -> Tensor:
        seen = self.eyes(pixels)
        if self.way.other:
            return torch.stack([likeness(each, self.guide[name]) for name, each in seen.items()]).sum()
        return torch.stack([strength(each, self.way.channel) for each in seen.values()]).sum()

    def at(self, number: int) -> Tensor:
        return self.canvas.made[number // self.way.octave_steps]

    def measure(self) -> dict[str, float]:
        before, after = (each[None].float() for each in (self.canvas.content, self.canvas.image))
        with torch.no_grad():
            return {
                "objective": float(self.objective(after)),
                "objective_before": float(self.objective(before)),
                "change": float((after - before).abs().mean() / 255),
            }
