"""Style transfer as a way to make images: the content of one image in the style of another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from chainrule.core.errors import UserError
from chainrule.introspection.attribution.inversion import total_variation
from chainrule.run.protocols import Stateful
from chainrule.systems.image_synthesis.ascent import resampled
from chainrule.systems.image_synthesis.gram import content_loss, gram_matrix, style_loss
from chainrule.systems.image_synthesis.task import Canvas, Eyes, Size, size_of

FIRST = 1.0  # levels of 255 that a pixel changes by, in the mean, where the first line search begins
MEMORY = 10  # steps that L-BFGS remembers: two images each, in every checkpoint
OUTSIDE = 3.0  # weight of the mean square by which pixels leave their range, for each unit of the other weights
NOISE = 40.0  # deviation of the white noise, in levels of 255, about the middle


class StyleTransfer:
    """The settings of a style transfer; see `chainrule.systems.image_synthesis.recipes`.

    Args:
        content_layers, style_layers: names.
        content_weight, style_weight, variation: alpha, beta and the weight of the total variation.
        optimizer, lr: the update rule.
        start: what the image begins as.
        steps: updates.
    """

    name = "style"
    other: str | None = "style"

    def __init__(
        self,
        *,
        content_layers: Sequence[str],
        style_layers: Sequence[str],
        content_weight: float,
        style_weight: float,
        variation: float,
        optimizer: Literal["lbfgs", "adam"],
        lr: float,
        start: Literal["content", "noise", "style"],
        steps: int,
    ) -> None:
        if not content_weight and not style_weight:
            raise UserError(
                "nothing is asked of the image", expected="content_weight or style_weight above 0", found="0 and 0"
            )
        self.content_layers, self.style_layers = tuple(content_layers), tuple(style_layers)
        self.content_weight, self.style_weight, self.variation = content_weight, style_weight, variation
        self.optimizer, self.lr, self.start, self.steps = optimizer, lr, start, steps

    def sizes(self, height: int, width: int) -> list[Size]:
        return [(height, width)]

    def begin(self, canvas: Canvas, eyes: Eyes, seed: int) -> Transferring:
        return Transferring(self, canvas, eyes, seed)


class Transferring:
    """One style transfer."""

    def __init__(self, way: StyleTransfer, canvas: Canvas, eyes: Eyes, seed: int) -> None:
        self.way, self.canvas, self.eyes, self.seed = way, canvas, eyes, seed
        self.made = canvas.made[0]
        self.weight = (
            way.content_weight + way.style_weight
        )  # the optimiser sees the loss over it, so only their ratio counts
        if way.optimizer == "lbfgs":  # one iteration a step, and none is left out for being small
            self.optimizer: torch.optim.Optimizer = torch.optim.LBFGS(
                [self.made],
                way.lr,
                max_iter=1,
                max_eval=25,
                tolerance_grad=0.0,
                tolerance_change=0.0,
                history_size=MEMORY,
                line_search_fn="strong_wolfe",
            )
        else:
            self.optimizer = torch.optim.Adam([self.made], way.lr)
        self.keep: Mapping[str, Stateful] = {"optimizer": self.optimizer}
        self._last: tuple[Tensor, Tensor, dict[str, Tensor]] | None = None

    # What is wanted is computed at the first step: a resumed run has its images and its network back by then.

    @cached_property
    def _seen(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The features of content and style, as the network gives them."""
        with torch.no_grad():
            return self.eyes(self.canvas.content[None].to(self.made.dtype)), self.eyes(
                self.canvas.other[None].to(self.made.dtype)
            )

    @cached_property
    def scale(self) -> dict[str, Tensor]:
        """The mean size of each layer's features on both images, which they are divided by."""
        content, style = self._seen
        sizes = {name: (content[name].abs().mean() + style[name].abs().mean()) / 2 for name in content}
        return {name: torch.where(size > 0, size, 1.0) for name, size in sizes.items()}

    @cached_property
    def wanted_content(self) -> dict[str, Tensor]:
        return {name: self._seen[0][name] / self.scale[name] for name in self.way.content_layers}

    @cached_property
    def wanted_style(self) -> dict[str, Tensor]:
        return {name: gram_matrix(self._seen[1][name] / self.scale[name]) for name in self.way.style_layers}

    def losses(self, pixels: Tensor) -> dict[str, Tensor]:
        """Scalars, the weighted sum first. What lies outside the range of pixels, and will be cut off, costs as well."""
        seen = {name: each / self.scale[name] for name, each in self.eyes(pixels).items()}
        content = [content_loss(seen[n], p)[0] / p.numel() for n, p in self.wanted_content.items()]
        style = [style_loss(seen[n], a)[0] for n, a in self.wanted_style.items()]
        parts = {"content_loss": torch.stack(content).mean(), "style_loss": torch.stack(style).mean()}
        loss = self.way.content_weight * parts["content_loss"] + self.way.style_weight * parts["style_loss"]
        outside = ((pixels - pixels.clamp(0, 255)) / 255).square().mean()
        loss = loss + OUTSIDE * self.weight * outside
        if self.way.variation:
            variation = total_variation(pixels / 255)[0] / pixels[0, 0].numel()
            parts["variation"], loss = variation, loss + self.way.variation * variation
        return {"loss": loss, **parts}

    def step(self, number: int) -> Mapping[str, Tensor]:
        rate = self.optimizer.param_groups[0]
        if number == 0:
            with torch.no_grad():
                self.made.copy_(self._beginning())
            if self.way.optimizer == "lbfgs":
                rate["lr"] = self._first_rate()
        before: list[dict[str, Tensor]] = []

        def closure() -> float:
            gradient, values = self._gradient()
            before.append(values)
            self.made.grad = gradient / self.weight
            return float(values["loss"]) / self.weight

        self.optimizer.step(closure)
        rate["lr"] = self.way.lr
        return before[0]

    def _first_rate(self) -> float:
        """The rate with which PyTorch's first step of L-BFGS, min(1, 1 / |g|_1) of it along -g, is FIRST levels in the mean.

        As it stands, that step moves all pixels together by one level at most: too little for the loss to tell.
        """
        size = float(self._gradient()[0].abs().sum()) / self.weight
        return self.way.lr * FIRST * self.made.numel() / min(1.0, size) if size > 0 else self.way.lr

    def _gradient(self) -> tuple[Tensor, dict[str, Tensor]]:
        """Of the loss by the image. L-BFGS asks again, at the beginning of a step, for where the last one ended."""
        if self._last is None or not torch.equal(self._last[0], self.made):
            leaf = self.made.detach().clone().requires_grad_()
            with torch.enable_grad():
                values = self.losses(leaf)
            gradient = torch.autograd.grad(values["loss"], leaf)[0].contiguous()
            self._last = leaf.detach(), gradient, {name: value.detach() for name, value in values.items()}
        return self._last[1], self._last[2]

    def _beginning(self) -> Tensor:
        if self.way.start == "content":
            return self.canvas.content[None].to(self.made.dtype)
        if self.way.start == "style":
            return resampled(self.canvas.other[None].to(self.made.dtype), size_of(self.made))
        generator = torch.Generator().manual_seed((self.seed + 1) * 1_000_003)
        noise = 127.5 + NOISE * torch.randn(self.made.shape, generator=generator)
        return noise.clamp(0, 255).to(self.made)

    def at(self, number: int) -> Tensor:
        return self.made

    def measure(self) -> dict[str, float]:
        with torch.no_grad():
            return {
                name: float(value) for name, value in self.losses(self.canvas.image[None].to(self.made.dtype)).items()
            }
