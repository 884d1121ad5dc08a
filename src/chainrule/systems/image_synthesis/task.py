"""Image synthesis: the weights of a network are fixed, and what is learnt is the pixels of an image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from chainrule.core.errors import UserError
from chainrule.core.settings import Count
from chainrule.core.task import Figure
from chainrule.data.dataset import Dataset
from chainrule.data.images.decoding import SUFFIXES
from chainrule.data.images.packed import ImageFile, PackedImage
from chainrule.data.inputs import answer_to, asked_files
from chainrule.data.layout import Place
from chainrule.run.protocols import Stateful
from chainrule.run.run import Run
from chainrule.systems.image_synthesis.data import ContentSpec, read_image
from chainrule.systems.image_synthesis.feature_extractor import FeatureExtractor, Features
from chainrule.systems.image_synthesis.images import Size, SynthesisImages, side_by_side, size_of, to_bytes, to_pil


class Synthesis(Protocol):
    """The synthesis of one image: `DeepDream` or `StyleTransfer`."""

    state: Mapping[str, Stateful]  # what a checkpoint needs beside the images, such as an optimiser

    def step(self, number: int) -> Mapping[str, Tensor]:
        """Changes the generated image; gives metrics from before the change, what is optimised first.

        It depends on the number of the step, the images and `state` alone, so that a resumed run is exact.
        """
        ...

    def image_at(self, number: int) -> Tensor:
        """The image that step `number` changes, (1, 3, h, w)."""
        ...

    def measure(self) -> dict[str, float]:
        """Metrics of the generated image, as it is saved."""
        ...


class SynthesisConfig(Protocol):
    """The settings of a synthesis: `DeepDreamConfig` or `StyleTransferConfig`."""

    @property
    def name(self) -> str: ...

    @property
    def reference(self) -> str | None:
        """What the second image is: a style, a guide, or None."""
        ...

    @property
    def steps(self) -> int: ...

    def octave_sizes(self, height: int, width: int) -> list[Size]:
        """The sizes in which the generated image is optimised, the last being the given one."""
        ...

    def begin(self, images: SynthesisImages, features: Features, seed: int) -> Synthesis: ...


class ImageSynthesis:
    """Generates an image, and with `predict` others from other content images.

    Args:
        run: the run it belongs to.
        data: what `load_content_and_reference` gave.
        extractor: the network, read at its target layers, or its content and style layers; on the run's device.
        config: Deep Dream's settings or style transfer's.
        picture_every: steps between two images of the progress; 0 saves the last alone.

    Raises:
        UserError: where an image is too small for the layers, or they have no feature maps.
    """

    def __init__(
        self,
        run: Run,
        *,
        data: Dataset[ContentSpec, tuple[Tensor, ...]],
        extractor: FeatureExtractor,
        config: SynthesisConfig,
        picture_every: int = 0,
    ) -> None:
        self.run, self.data, self.config, self.picture_every = run, data, config, picture_every
        spec, reference = data.spec, data.spec.other
        self.images = self._new_images(
            (spec.height, spec.width), (reference["height"], reference["width"]) if reference else None
        )
        self._whole = extractor
        self._whole.requires_grad_(False).eval()
        self._check_layers(self.images)

    # -- what every task has --------------------------------------------------------------------------------------

    @cached_property
    def extractor(self) -> FeatureExtractor:
        """The feature extractor without the layers behind its last one: the run need not keep their weights."""
        self._whole.drop_unused_layers(*self.example()["network"])
        return self._whole

    def pretrained_modules(self) -> dict[str, nn.Module]:
        """The whole network, which --weights fill before the first step."""
        return {"network": self._whole.network}

    def modules(self) -> dict[str, nn.Module]:
        return {"network": self.extractor, "canvas": self.images}  # names that checkpoints have

    def train(self, run: Run) -> None:
        run.require_one_process()
        if not run.step:
            self.images.fill(*self.data.train)
        synthesis, modules = self._begin(self.images), self.modules()
        run.keep(**modules, **synthesis.state)
        for number in run.steps(self.config.steps):
            metrics = synthesis.step(number)
            run.guard(next(iter(metrics.values())), modules, rerun=synthesis.measure)
            run.track(**metrics)
            run.flush()
            done = number + 1
            if self.picture_every and done % self.picture_every == 0:
                run.save_image(f"progress-step-{done:06d}", to_pil(to_bytes(synthesis.image_at(number))))
        run.save_image("made", to_pil(self.images.generated))

    def evaluate(self, data: Place | None = None) -> dict[str, float]:
        if data is not None:
            raise UserError(
                "a generated image is not measured on other data",
                found=f"--data {data}",
                cure=f"chainrule predict {self.run.folder} {data} generates one from that",
            )
        return self._begin(self.images).measure()

    def protocol(self) -> str:
        return (
            "no choice was made: the image after the last step, rounded to bytes, measured once, at the end; its pixels are "
            "what was optimised, and there is no test split"
        )

    def example(self) -> dict[str, tuple[Tensor, ...]]:
        return {"network": (self._whole.preprocess(self._blank(self.images.smallest)),)}

    def predict(
        self, inputs: Iterable[str], out: Path | None, *, size: Count | None = None
    ) -> Iterator[dict[str, Any]]:
        """Generates an image from each input as content image; writes it into `out`, by default here, under its name.

        Its longer side has at most `size` pixels; none: as the run's own.
        """
        folder, made = out or Path(), dict[ImageFile, dict[str, Any]]()
        for asked in asked_files(inputs, SUFFIXES, "image"):
            image: ImageFile = asked.value
            in_memory = isinstance(image, PackedImage)
            content = read_image(image if isinstance(image, PackedImage) else str(image), size or self.data.spec.size)
            source = image.resolve() if isinstance(image, Path) else image
            if source not in made:
                stem = asked.name.replace(" ", "-").replace(",", "") if in_memory else asked.value.stem
                file = folder / f"{stem}-{self.config.name}.png"
                made[source] = self._generate(content, _free(file, {each["file"] for each in made.values()}))
            yield answer_to(asked, made[source])

    def figures(self) -> list[Figure]:
        images = {"the content image": self.images.content}
        if self.config.reference:
            images[f"the {self.config.reference} image"] = self.images.other
        images["the generated image"] = self.images.generated
        *others, last = images
        caption = f"From left to right: {', '.join(others)}, and {last}, which is figures/made.png at full size."
        return [Figure("The generated image", caption, png=side_by_side(list(images.values())))]

    # -- inside ---------------------------------------------------------------------------------------------------

    def _begin(self, images: SynthesisImages) -> Synthesis:
        return self.config.begin(images, self.extractor.features, self.run.seed)

    def _generate(self, content: Tensor, file: Path) -> dict[str, Any]:
        """An image from other content, written to a file; gives that and its metrics."""
        reference = self.images.other if self.config.reference else None
        images = self._new_images(size_of(content), None if reference is None else size_of(reference))
        images.fill(content, reference)
        self._check_layers(images)
        synthesis = self._begin(images)
        for number in range(self.config.steps):
            synthesis.step(number)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.unlink(missing_ok=True)  # a link there is replaced, and not written through
            to_pil(images.generated).save(file)
        except OSError as error:
            raise UserError(
                "the image cannot be written", where=file, found=error.strerror, cure="another --out"
            ) from None
        return {"file": str(file), **{name: round(value, 6) for name, value in synthesis.measure().items()}}

    def _new_images(self, content: Size, reference: Size | None) -> SynthesisImages:
        return SynthesisImages(content, reference, self.config.octave_sizes(*content)).to(self.run.device)

    def _blank(self, size: Size) -> Tensor:
        return torch.zeros(1, 3, *size, device=self.run.device)

    def _check_layers(self, images: SynthesisImages) -> None:
        """The layers answer for the smallest image and with a gradient; else a UserError before the first step."""
        size = images.smallest
        try:
            with torch.enable_grad():
                features = self._whole.features(self._blank(size).requires_grad_())
        except (RuntimeError, UserError) as error:
            if isinstance(error, UserError) and size == size_of(images.content):
                raise
            raise UserError(
                "the network cannot take this image as far as these layers",
                expected="an image that is large enough",
                found=f"{size[0]} x {size[1]} pixels: {str(error).splitlines()[0]}",
                cure="a larger image, fewer octaves, or layers nearer to the input",
            ) from None
        for name, output in features.items():
            if not output.requires_grad:
                raise UserError("no gradient reaches the image", where=name, expected="a network that autograd follows")
            if not output.numel():
                raise UserError(
                    "the image is too small: nothing of it is left in this layer",
                    where=name,
                    found=f"{size[0]} x {size[1]} pixels",
                )


def _free(file: Path, taken: set[str]) -> Path:
    """The file, or the first with a number behind its name that no other image of this call has."""
    number, found = 1, file
    while str(found) in taken:
        number += 1
        found = file.with_name(f"{file.stem}-{number}.png")
    return found
