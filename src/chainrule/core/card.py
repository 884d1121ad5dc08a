"""A card: what is known of a model, as a plain record beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from chainrule.core.course import Topic


@dataclass(frozen=True)
class Preprocessing:
    """How images were made ready for published weights: what must be done to an image that they are to judge.

    The shorter side is resampled to `resize` pixels, bilinear and without aliasing, the middle `size` x `size` are cut
    out, and of each channel in [0, 1] `mean` is taken and the rest divided by `std`.
    """

    size: int = 224
    resize: int = 256
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class ImageNetWeights:
    """A published file of weights for 1000 classes of ImageNet. Its name ends with the beginning of its SHA-256.

    `accuracy` is what the publisher measured on the validation split with one crop.

    >>> ImageNetWeights("resnet50-0676ba61.pth", accuracy=0.7613).sha256_prefix
    '0676ba61'
    """

    file: str
    accuracy: float
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    folder: str = "https://download.pytorch.org/models/"

    @property
    def address(self) -> str:
        return self.folder + self.file

    @property
    def sha256_prefix(self) -> str:
        return self.file.rpartition("-")[2].removesuffix(".pth")


@dataclass(frozen=True)
class CaffeWeights:
    """Weights that Caffe trained can be had for the network, and how their images were made ready, red first."""

    preprocessing: Preprocessing


@dataclass(frozen=True)
class Card:
    """Source, deviations, canonical input and what the common tests need.

    `build(**config)` makes the model; `example(batch_size)` gives inputs of canonical shape for the default
    configuration, `tiny_example(batch_size)` for `tiny`, the small configuration that tests use. `skip` maps the name
    of a common test to the reason why it cannot hold for this model. A deeper model of the same class names in
    `tested_as` the one whose tiny configuration is tested for it. `topics` are those of the course that it serves.
    """

    name: str
    source: str
    build: Callable[..., Any]
    example: Callable[[int], tuple[Any, ...]]
    deviations: tuple[str, ...] = ()
    parameters: int | None = None  # the published count for the default configuration
    tiny: Mapping[str, Any] = field(default_factory=dict)
    tiny_example: Callable[[int], tuple[Any, ...]] | None = None
    skip: Mapping[str, str] = field(default_factory=dict)
    tested_as: str | None = None
    weights: Mapping[str, ImageNetWeights] = field(default_factory=dict)  # published ones, by who publishes them
    caffe: CaffeWeights | None = None  # where the network reads a .caffemodel: its `caffe_state`
    topics: tuple[Topic, ...] = ()
    answers: Literal["classes", "pixels"] = "classes"  # of a network of images: one answer an image, or a map of them


def images(size: int, channels: int = 3) -> Callable[[int], tuple[Any]]:
    """Examples for a card: random normalised images (B, channels, size, size), as many as are asked for.

    >>> images(8)(2)[0].shape
    torch.Size([2, 3, 8, 8])
    """

    def example(batch_size: int) -> tuple[Any]:
        import torch  # a card is read where no network is built

        return (torch.randn(batch_size, channels, size, size),)

    return example
