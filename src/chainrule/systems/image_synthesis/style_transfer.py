"""Style transfer: an image with the content of one image and the style of another, by optimising the pixels.

Source: Gatys, Ecker, Bethge: Image style transfer using convolutional neural networks, 2016. Its letters are used: p the
content image, a the style image, x the generated image; F, P the feature maps of x and p; G, A the Gram matrices of x and
a; N feature maps of M = H W positions in a layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import torch
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.core.errors import UserError
from chainrule.core.seeds import in_64_bits
from chainrule.introspection.attribution.inversion import total_variation
from chainrule.run.protocols import Stateful
from chainrule.systems.image_synthesis.feature_extractor import Features
from chainrule.systems.image_synthesis.images import Size, SynthesisImages, resize, size_of

FIRST_STEP = 1.0  # levels of 255 that a pixel changes by, in the mean, where the first line search begins
HISTORY = 10  # steps that L-BFGS remembers: two images each, in every checkpoint
RANGE_WEIGHT = 3.0  # of the mean square by which pixels leave [0, 255], for each unit of the other weights
NOISE = 40.0  # deviation of the white noise about the middle, in levels of 255


@dataclass(frozen=True)
class StyleTransferConfig:
    """Settings of style transfer.

    Attributes:
        content_layers, style_layers: whose features the two losses compare.
        content_weight, style_weight: the paper's alpha and beta.
        variation: the weight of the total variation.
        optimizer, lr: of the pixels.
        start: what the generated image begins as.
        steps: of the optimiser.
    """

    content_layers: tuple[str, ...]
    style_layers: tuple[str, ...]
    content_weight: float
    style_weight: float
    variation: float
    optimizer: Literal["lbfgs", "adam"]
    lr: float
    start: Literal["content", "noise", "style"]
    steps: int

    name: ClassVar[str] = "style"
    reference: ClassVar[str | None] = "style"

    def __post_init__(self) -> None:
        if not self.content_weight and not self.style_weight:
            raise UserError(
                "nothing is asked of the image", expected="content_weight or style_weight above 0", found="0 and 0"
            )

    def octave_sizes(self, height: int, width: int) -> list[Size]:
        return [(height, width)]

    def begin(self, images: SynthesisImages, features: Features, seed: int) -> StyleTransfer:
        return StyleTransfer(self, images, features, seed)


class StyleTransfer:
    """Minimises L_total = alpha L_content + beta L_style (equation 7), and two priors, over the pixels of one image.

    Args:
        config: the settings.
        images: the content image, the style image and the generated image.
        features: pixels (1, 3, H, W) in [0, 255] to the outputs of content and style layers.
        seed: decides the noise that is begun with.
    """

    def __init__(self, config: StyleTransferConfig, images: SynthesisImages, features: Features, seed: int) -> None:
        self.config, self.images, self.features, self.seed = config, images, features, seed
        (self.image,) = images.octaves
        # The optimiser is given the loss over the sum of its weights: so only their ratio counts.
        self.weight = config.content_weight + config.style_weight
        if config.optimizer == "lbfgs":  # one iteration a step; none is left out because it is small
            self.optimizer: torch.optim.Optimizer = torch.optim.LBFGS(
                [self.image],
                config.lr,
                max_iter=1,
                max_eval=25,
                tolerance_grad=0.0,
                tolerance_change=0.0,
                history_size=HISTORY,
                line_search_fn="strong_wolfe",
            )
        else:
            self.optimizer = torch.optim.Adam([self.image], config.lr)
        self.state: Mapping[str, Stateful] = {"optimizer": self.optimizer}
        self._last_gradient: tuple[Tensor, Tensor, dict[str, Tensor]] | None = None

    def step(self, number: int) -> Mapping[str, Tensor]:
        """One step of the optimiser; gives the losses before it."""
        group = self.optimizer.param_groups[0]
        # At the first step: x = p, a or white noise, and a rate for the first line search.
        if number == 0:
            with torch.no_grad():
                self.image.copy_(self.initial_image())
            if self.config.optimizer == "lbfgs":
                group["lr"] = self.first_lr()
        # L_total and its gradient by x, for every x that the optimiser tries.
        tried: list[dict[str, Tensor]] = []

        def closure() -> float:
            gradient, losses = self.gradient()
            tried.append(losses)
            self.image.grad = gradient / self.weight
            return float(losses["loss"]) / self.weight

        # The update of x.
        self.optimizer.step(closure)
        group["lr"] = self.config.lr
        return tried[0]

    def losses(self, x: Tensor) -> dict[str, Tensor]:
        """Scalars, L_total first, for an image (1, 3, H, W) in [0, 255]."""
        config, F = self.config, self.scaled(self.features(x))
        # L_content: the mean over content layers, and over their features where the paper has a sum.
        content = torch.stack([content_loss(F[n], P)[0] / P.numel() for n, P in self.content_targets.items()]).mean()
        # L_style: the mean over style layers (w_l = 1 / L).
        style = torch.stack([style_loss(F[n], A)[0] for n, A in self.style_targets.items()]).mean()
        losses = {"content_loss": content, "style_loss": style}
        total = config.content_weight * content + config.style_weight * style
        # A prior that keeps pixels within their range, beyond which they would be clipped.
        outside = ((x - x.clamp(0, 255)) / 255).square().mean()
        total = total + RANGE_WEIGHT * self.weight * outside
        # A prior that neighbours agree.
        if config.variation:
            variation = total_variation(x / 255)[0] / x[0, 0].numel()
            losses["variation"], total = variation, total + config.variation * variation
        return {"loss": total, **losses}

    # The targets are computed at the first step: a resumed run has its images and its network back by then.

    @cached_property
    def content_targets(self) -> dict[str, Tensor]:
        """P of each content layer, (1, N, H, W)."""
        P = self.scaled(self._content_features)
        return {name: P[name] for name in self.config.content_layers}

    @cached_property
    def style_targets(self) -> dict[str, Tensor]:
        """A of each style layer, (1, N, N)."""
        maps = self.scaled(self._style_features)
        return {name: gram_matrix(maps[name]) for name in self.config.style_layers}

    def scaled(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Features over their layer's mean size on content and style image: weights fit every network and layer alike."""
        return {name: each / self.feature_scale[name] for name, each in features.items()}

    @cached_property
    def feature_scale(self) -> dict[str, Tensor]:
        content, style = self._content_features, self._style_features
        sizes = {name: (content[name].abs().mean() + style[name].abs().mean()) / 2 for name in content}
        return {name: torch.where(size > 0, size, 1.0) for name, size in sizes.items()}

    @cached_property
    def _content_features(self) -> dict[str, Tensor]:
        with torch.no_grad():
            return self.features(self.images.content_image)

    @cached_property
    def _style_features(self) -> dict[str, Tensor]:
        with torch.no_grad():
            return self.features(self.images.reference_image)

    def initial_image(self) -> Tensor:
        if self.config.start == "content":
            return self.images.content_image
        if self.config.start == "style":
            return resize(self.images.reference_image, size_of(self.image))
        generator = torch.Generator().manual_seed(in_64_bits((self.seed + 1) * 1_000_003))
        noise = 127.5 + NOISE * torch.randn(self.image.shape, generator=generator)
        return noise.clamp(0, 255).to(self.image)

    def first_lr(self) -> float:
        """The rate with which PyTorch's first step of L-BFGS, min(1, 1 / |g|_1) of it along -g, is FIRST_STEP in the mean.

        As it stands, that step moves all pixels together by one level at most: too little for the loss to tell.
        """
        size = float(self.gradient()[0].abs().sum()) / self.weight
        return self.config.lr * FIRST_STEP * self.image.numel() / min(1.0, size) if size > 0 else self.config.lr

    def gradient(self) -> tuple[Tensor, dict[str, Tensor]]:
        """Of L_total by x, and the losses; kept, for L-BFGS begins a step by asking for where the last one ended."""
        if self._last_gradient is None or not torch.equal(self._last_gradient[0], self.image):
            leaf = self.image.detach().clone().requires_grad_()
            with torch.enable_grad():
                losses = self.losses(leaf)
            gradient = torch.autograd.grad(losses["loss"], leaf)[0].contiguous()
            self._last_gradient = leaf.detach(), gradient, {name: value.detach() for name, value in losses.items()}
        return self._last_gradient[1], self._last_gradient[2]

    def image_at(self, number: int) -> Tensor:
        return self.image

    def measure(self) -> dict[str, float]:
        with torch.no_grad():
            return {name: float(value) for name, value in self.losses(self.images.generated_image).items()}


def gram_matrix(features: Tensor) -> Tensor:
    """G[i, j] = 1/M sum_k F[i, k] F[j, k] over the M positions k: which feature maps respond together, wherever that is.

    The paper has the sum and divides by M^2 in the loss; here it is a mean, so that images of different sizes compare.

    Args:
        features: F, (B, N, H, W).

    Returns:
        (B, N, N), symmetric.

    Raises:
        UserError: features of another number of dimensions, or empty ones.

    Source: Gatys et al. 2016, section 2.2, equation 3.

    >>> gram_matrix(torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]])).tolist()
    [[[2.5, 5.5], [5.5, 12.5]]]
    """
    F = _feature_maps("features", features).flatten(2)  # (B, N, M)
    return F @ F.transpose(1, 2) / F.shape[2]


def content_loss(features: Tensor, target: Tensor) -> Tensor:
    """1/2 sum over feature maps i and positions k of (F[i, k] - P[i, k])^2, an image.

    Its derivative by F is F - P; the rectifier's, which the paper's equation 2 also has, autograd adds behind it.

    Args:
        features: F of the generated image, (B, N, H, W).
        target: P of the content image, of the same shape.

    Returns:
        (B,).

    Raises:
        UserError: shapes that differ.

    Source: Gatys et al. 2016, equation 1.

    >>> content_loss(torch.tensor([[[[1.0, 2.0]]]]), torch.tensor([[[[0.0, 4.0]]]])).tolist()
    [2.5]
    """
    if _feature_maps("features", features).shape != _feature_maps("target", target).shape:
        raise UserError(
            "the features have other shapes than the target", expected=tuple(target.shape), found=tuple(features.shape)
        )
    return (features - target).square().sum((1, 2, 3)) / 2


def style_loss(features: Tensor, target: Tensor) -> Tensor:
    """E = 1/(4 N^2) sum over i and j of (G[i, j] - A[i, j])^2, where G and A are Gram matrices as means over positions.

    For images of one size that is the paper's 1/(4 N^2 M^2) of its Gram matrices, which are sums.

    Args:
        features: F of the generated image, (B, N, H, W).
        target: A, the `gram_matrix` of the style image's features, (B, N, N); that image may be of another size.

    Returns:
        (B,).

    Raises:
        UserError: as `gram_matrix`; a Gram matrix of another shape.

    Source: Gatys et al. 2016, equation 4.

    >>> style_loss(torch.tensor([[[[1.0, 3.0]]]]), torch.tensor([[[3.0]]])).tolist()  # G is 5
    [1.0]
    """
    G = gram_matrix(features)
    if G.shape != target.shape:
        raise UserError(
            "the Gram matrix has another shape than the target", expected=tuple(G.shape), found=tuple(target.shape)
        )
    return (G - target).square().sum((1, 2)) / (4 * features.shape[1] ** 2)


def _feature_maps(name: str, value: Tensor) -> Tensor:
    if value.dim() != 4 or not value.numel():
        raise UserError(f"{name} must be maps", expected="(B, N, H, W), not empty", found=tuple(value.shape))
    return value


TOPICS = (Topic("Deep Dream, style transfer", code=("StyleTransfer", "gram_matrix")),)
