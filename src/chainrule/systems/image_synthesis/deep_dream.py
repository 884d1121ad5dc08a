"""Deep Dream: gradient ascent on an image so that chosen layers of a network respond more, octave after octave.

Source: Mordvintsev, Olah, Tyka: Inceptionism, 2015, and its notebook dream.ipynb, whose functions are named below.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.core.errors import UserError
from chainrule.core.seeds import in_64_bits
from chainrule.run.protocols import Stateful
from chainrule.systems.image_synthesis.feature_extractor import Features
from chainrule.systems.image_synthesis.images import Size, SynthesisImages, resize, size_of

CHUNK = 4096  # positions of a feature map that are matched with the guide at a time


@dataclass(frozen=True)
class DeepDreamConfig:
    """Settings of Deep Dream.

    Attributes:
        octaves, octave_scale: how many sizes of the image, from coarse to fine, and their ratio; see `octave_sizes`.
        steps_per_octave: steps of gradient ascent at each.
        step_size, tile: see `gradient_ascent_step`.
        jitter: the largest random shift before a step, in pixels.
        channel: the one channel of each target layer that is to respond; None is all of them.
        guided: whether the reference image is a guide, whose features are to grow.
    """

    octaves: int
    octave_scale: float
    steps_per_octave: int
    step_size: float
    jitter: int
    tile: int
    channel: int | None = None
    guided: bool = False

    name: ClassVar[str] = "dream"

    def __post_init__(self) -> None:
        if self.guided and self.channel is not None:
            raise UserError(
                "a guide and a channel each say what is to grow",
                expected="one of them",
                found=f"guide and channel={self.channel}",
            )

    @property
    def reference(self) -> str | None:
        return "guide" if self.guided else None

    @property
    def steps(self) -> int:
        return self.octaves * self.steps_per_octave

    def octave_sizes(self, height: int, width: int) -> list[Size]:
        return octave_sizes(height, width, self.octaves, self.octave_scale)

    def begin(self, images: SynthesisImages, features: Features, seed: int) -> DeepDream:
        return DeepDream(self, images, features, seed)


class DeepDream:
    """The notebook's `deepdream` for one image, a step at a time, so that a run can stop and resume at any of them.

    Args:
        config: the settings.
        images: the content image, the guide if there is one, and the generated image at each octave.
        features: pixels (1, 3, H, W) in [0, 255] to the outputs of the target layers.
        seed: decides the jitter.
    """

    def __init__(self, config: DeepDreamConfig, images: SynthesisImages, features: Features, seed: int) -> None:
        self.config, self.images, self.features, self.seed = config, images, features, seed
        self.state: Mapping[str, Stateful] = {}

    def step(self, number: int) -> Mapping[str, Tensor]:
        """One step of gradient ascent; gives the objective before it."""
        octave, step = divmod(number, self.config.steps_per_octave)
        image, octave_base = self.images.octaves[octave], self.octave_bases[octave]
        # At the first step of an octave: the content image in this size, plus the detail that the coarser octave
        # has added to its own base, enlarged.
        if step == 0:
            with torch.no_grad():
                image.copy_(octave_base)
                if octave > 0:
                    detail = self.images.octaves[octave - 1] - self.octave_bases[octave - 1]
                    image += resize(detail, size_of(octave_base))
        # Shift by the jitter, ascend along the normalised gradient, shift back, clip.
        ascended, objective = gradient_ascent_step(
            self.objective, image, self.config.step_size, self.jitter(number), self.config.tile
        )
        with torch.no_grad():
            image.copy_(ascended)
        return {"objective": objective}

    def objective(self, image: Tensor) -> Tensor:
        """The sum over target layers of what is ascended on, a scalar."""
        features = self.features(image)
        if self.config.guided:
            return torch.stack([guide_objective(each, self.guide_features[n]) for n, each in features.items()]).sum()
        return torch.stack([activation_objective(each, self.config.channel) for each in features.values()]).sum()

    @cached_property
    def octave_bases(self) -> list[Tensor]:
        """The content image at each octave, coarsest first; each is made of the next larger."""
        bases = [self.images.content_image]
        for image in self.images.octaves[-2::-1]:
            bases.insert(0, resize(bases[0], size_of(image)))
        return bases

    @cached_property
    def guide_features(self) -> dict[str, Tensor]:
        with torch.no_grad():
            return self.features(self.images.reference_image)

    def jitter(self, number: int) -> tuple[int, int]:
        """Right and down, uniform: of the seed and the number of the step alone, so that a resumed run has the same."""
        generator = torch.Generator().manual_seed(in_64_bits((self.seed + 1) * 1_000_003 + number))
        largest = self.config.jitter
        right, down = torch.randint(-largest, largest + 1, (2,), generator=generator).tolist()
        return right, down

    def image_at(self, number: int) -> Tensor:
        return self.images.octaves[number // self.config.steps_per_octave]

    def measure(self) -> dict[str, float]:
        content, generated = self.images.content_image, self.images.generated_image
        with torch.no_grad():
            return {
                "objective": float(self.objective(generated)),
                "objective_before": float(self.objective(content)),
                "change": float((generated - content).abs().mean() / 255),
            }


def octave_sizes(height: int, width: int, octaves: int, scale: float = 1.4) -> list[Size]:
    """Heights and widths of an image, the smallest first: each is the next one divided by `scale`, rounded.

    Args:
        height, width: of the image, in pixels.
        octaves: how many sizes, its own among them.
        scale: above 1.

    Raises:
        UserError: no octave, a scale of 1 or below, or so many that the smallest would have no pixel.

    Source: dream.ipynb, function deepdream.

    >>> octave_sizes(300, 451, 4)
    [(109, 164), (153, 230), (214, 322), (300, 451)]
    """
    if octaves < 1 or scale <= 1:
        raise UserError(
            "there are no such octaves", expected="1 or more, of a scale above 1", found=f"{octaves}, {scale:g}"
        )
    sizes = [(height, width)]
    for _ in range(octaves - 1):
        sizes.append((round(sizes[-1][0] / scale), round(sizes[-1][1] / scale)))
        if min(sizes[-1]) < 1 or sizes[-1] == sizes[-2]:
            raise UserError(
                "the image is too small for so many octaves",
                expected=f"at most {len(sizes) - 1} of {height} x {width} pixels",
                found=octaves,
            )
    return sizes[::-1]


def gradient_ascent_step(
    objective: Callable[[Tensor], Tensor],
    x: Tensor,
    step_size: float,
    jitter: tuple[int, int] = (0, 0),
    tile: int = 0,
    low: float = 0.0,
    high: float = 255.0,
) -> tuple[Tensor, Tensor]:
    """x + step_size g / mean |g|, clipped, where g is the gradient of the objective by the image.

    The image is shifted by the jitter first, and back after: so no pixel always meets the same place of the network's
    strides, whose grid would show.

    Args:
        objective: images to a scalar.
        x: (B, C, H, W).
        step_size: what a pixel changes by in the mean, in units of x.
        jitter: pixels to the right and down; what leaves one side comes in at the other.
        tile: where the image is higher or wider, the gradient is computed in tiles of about so many pixels, each for
            itself, so that memory is bounded; 0 never. The jitter moves the tiles' borders.
        low, high: the range of pixels.

    Returns:
        The new images, and the objective before the step (with tiles their mean).

    Raises:
        UserError: where no gradient reaches the image. Where it is zero, x stays as it is.

    Source: dream.ipynb, function make_step; the tiles are those of TensorFlow's tutorial.

    >>> gradient_ascent_step(lambda z: z.square().sum() / 2, torch.tensor([[[[1.0, 3.0]]]]), step_size=4.0)
    (tensor([[[[3., 9.]]]]), tensor(5.))
    """
    # 1. Apply the jitter.
    shifted = x.detach().roll(jitter, dims=(3, 2))
    # 2. The gradient of the objective, tile by tile.
    down, across = (-(-side // tile) if tile else 1 for side in size_of(shifted))
    rows, objectives = [], []
    for row in shifted.tensor_split(down, dim=2):
        gradients = []
        for part in row.tensor_split(across, dim=3):
            leaf = part.clone(memory_format=torch.contiguous_format).requires_grad_()
            with torch.enable_grad():
                value = objective(leaf)
            if not value.requires_grad:
                raise UserError("no gradient reaches the image", expected="an objective that autograd follows")
            gradients.append(torch.autograd.grad(value, leaf)[0])
            objectives.append(value.detach())
        rows.append(torch.cat(gradients, dim=3))
    gradient = torch.cat(rows, dim=2)  # (B, C, H, W)
    # 3. Normalise the gradient by its mean size, and ascend.
    size = gradient.abs().mean()
    ascended = shifted + step_size * gradient / torch.where(size > 0, size, 1.0)
    # 4. Undo the jitter, clip to the range of pixels.
    right, below = jitter
    return ascended.roll((-right, -below), dims=(3, 2)).clamp(low, high), torch.stack(objectives).mean()


def activation_objective(features: Tensor, channel: int | None = None) -> Tensor:
    """Half the mean square of a target layer's output, whose gradient is along the output itself; of a channel, its mean.

    The notebook's `objective_L2` is 1/2 |F|^2. The mean is that but for a factor, which the normalised step takes away,
    and lets several layers weigh alike.

    Args:
        features: (B, N, ...).
        channel: the number of a feature map, or of a unit, that alone is to respond.

    Raises:
        UserError: where there is no such channel.

    >>> activation_objective(torch.tensor([[1.0, 3.0]])).item()
    2.5
    >>> activation_objective(torch.tensor([[1.0, 3.0]]), channel=1).item()
    3.0
    """
    if channel is None:
        return features.square().mean() / 2
    if not 0 <= channel < features.shape[1]:
        raise UserError("the layer has no such channel", expected=f"0 to {features.shape[1] - 1}", found=channel)
    return features[:, channel].mean()


def guide_objective(features: Tensor, guide: Tensor) -> Tensor:
    """Mean over positions k of max_l sum_i F[i, k] Y[i, l]: each position grows like the guide's that matches it best.

    Args:
        features: F, feature maps of one image (1, N, H, W).
        guide: Y, those of the guide, (1, N, h, w).

    Raises:
        UserError: feature maps of more or fewer than one image each, or of different N.

    Source: dream.ipynb, function objective_guide.

    >>> guide_objective(torch.tensor([[[[1.0]], [[2.0]]]]), torch.tensor([[[[3.0, 0.0]], [[0.0, 1.0]]]])).item()
    3.0
    """
    if features.dim() != 4 or guide.dim() != 4 or features.shape[:2] != guide.shape[:2] or len(features) != 1:
        raise UserError(
            "a guide needs maps of one image, as many as those of the generated image",
            expected="(1, N, H, W) and (1, N, h, w)",
            found=f"{tuple(features.shape)} and {tuple(guide.shape)}",
        )
    x, y = features[0].flatten(1).T, guide[0].flatten(1)  # (H W, N), (N, h w)
    with torch.no_grad():
        best = torch.cat([(part @ y).argmax(1) for part in x.split(CHUNK)])  # (H W,)
    return (x * y[:, best].T).sum(1).mean()


TOPICS = (Topic("Deep Dream, style transfer", code=("DeepDream", "gradient_ascent_step")),)
