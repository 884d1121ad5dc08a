"""An image out of an image: a network that stands still says what to change, and the image is what is learnt."""

from __future__ import annotations

import io
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor, nn

from chainrule.core.errors import UserError
from chainrule.core.task import Figure
from chainrule.data.dataset import Dataset, dataset_of
from chainrule.data.splits import fingerprint
from chainrule.introspection.attribution.target import layers_with_maps
from chainrule.nn.normalization.normalize import Normalize
from chainrule.run.protocols import Stateful
from chainrule.run.run import Run
from chainrule.systems.image_synthesis.data import read_one_image
from chainrule.systems.image_synthesis.feature_extractor import LayerOutputs
from chainrule.systems.image_synthesis.loop import make_image

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
SHOWN_HEIGHT = 300  # pixels of the images that the report shows side by side
Size = tuple[int, int]  # height and width


class Canvas(nn.Module):
    """The images of one making, saved as weights are: what it is made of, as bytes, and what is made, as floats.

    Args:
        content: height and width of the image that is begun with.
        other: those of the second image, a style or a guide, if there is one.
        sizes: those of what is made; of several octaves the last is the image.

    `image` is the one that is made, as bytes (3, H, W).
    """

    content: Tensor
    other: Tensor

    def __init__(self, content: Size, other: Size | None, sizes: list[Size]) -> None:
        super().__init__()
        self.register_buffer("content", torch.zeros(3, *content, dtype=torch.uint8))
        self.register_buffer("other", torch.zeros(3, *(other or (0, 0)), dtype=torch.uint8))
        self.made = nn.ParameterList(torch.zeros(1, 3, *size) for size in sizes)

    def fill(self, content: Tensor, other: Tensor | None) -> None:
        self.content.copy_(content)
        if other is not None:
            self.other.copy_(other)

    @property
    def image(self) -> Tensor:
        return to_bytes(self.made[-1])


class Eyes:
    """Pixels (1, 3, H, W) in [0, 255] to what the layers of a network see, by name.

    Args:
        outputs: the network and its layers.
        normalize: what the network was trained with.
        grey: whether it takes grey images: then it sees the luma of the image, whose colours stay.
    """

    def __init__(self, outputs: LayerOutputs, normalize: Normalize, grey: bool) -> None:
        self.outputs, self.normalize, self.grey = outputs, normalize, grey

    def __call__(self, pixels: Tensor) -> dict[str, Tensor]:
        if self.grey:
            pixels = (pixels * pixels.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
        return self.outputs(self.normalize(pixels))


class Making(Protocol):
    """One image in the making."""

    keep: Mapping[str, Stateful]

    def step(self, number: int) -> Mapping[str, Tensor]:
        """Changes the canvas; gives metrics from before the change."""
        ...

    def at(self, number: int) -> Tensor:
        """The image that step `number` works on, (1, 3, h, w)."""
        ...

    def measure(self) -> dict[str, float]:
        """Metrics of the image that was made, as it is saved."""
        ...


class Way(Protocol):
    """How images are made: the settings, and the beginning of each."""

    name: str
    other: str | None  # what the second image is called
    steps: int

    def sizes(self, height: int, width: int) -> list[Size]: ...

    def begin(self, canvas: Canvas, eyes: Eyes, seed: int) -> Making: ...


class ImageMaker:
    """Makes an image in one of the ways, and others in the same way when it is asked to predict.

    Args:
        run: the run it belongs to.
        data: what `load_images_to_make` gave.
        eyes: the network that is asked, on the run's device.
        way: how.
        picture_every: steps between two images of the progress; 0: the last alone.

    Raises:
        UserError: where an image is too small for the layers that are asked, or they give no maps.
    """

    def __init__(
        self, run: Run, *, data: Dataset[tuple[Tensor, ...]], eyes: Eyes, way: Way, picture_every: int = 0
    ) -> None:
        self.run, self.data, self.way, self.picture_every = run, data, way, picture_every
        spec = data.spec
        other = spec.get("other")
        self.canvas = self._canvas((spec["height"], spec["width"]), other and (other["height"], other["width"]))
        self._eyes = eyes
        eyes.outputs.requires_grad_(False).eval()
        self._can_see()

    # -- what every system has ------------------------------------------------------------------------------------

    @cached_property
    def eyes(self) -> Eyes:
        """The network without the layers that nobody asks: the run need not keep their weights."""
        self._eyes.outputs.drop_unused(self._blank(self._smallest()))
        return self._eyes

    def borrowed(self) -> dict[str, nn.Module]:
        """The whole network, which --weights fill before the first step."""
        return {"network": self._eyes.outputs.network}

    def modules(self) -> dict[str, nn.Module]:
        return {"network": self.eyes.outputs, "canvas": self.canvas}

    def train(self, run: Run) -> None:
        run.require_one_process()
        if not run.step:
            content, *other = self.data.train
            self.canvas.fill(content, other[0] if other else None)
        making = self.way.begin(self.canvas, self.eyes, run.seed)

        def after_step(done: int) -> None:
            if self.picture_every and done % self.picture_every == 0:
                run.save_image(f"progress-step-{done:06d}", to_image(to_bytes(making.at(done - 1))))

        make_image(
            run,
            modules=self.modules(),
            step=making.step,
            steps=self.way.steps,
            look=making.measure,
            keep=making.keep,
            after_step=after_step,
        )
        run.save_image("made", to_image(self.canvas.image))

    def evaluate(self, data: str | None = None) -> dict[str, float]:
        if data is not None:
            raise UserError(
                "an image that was made is not measured on other data",
                found=f"--data {data}",
                cure=f"chainrule predict {self.run.folder} {data} makes one of that",
            )
        return self.way.begin(self.canvas, self.eyes, self.run.seed).measure()

    def protocol(self) -> str:
        return (
            "no choice was made: the image after the last step, rounded to bytes, measured once, at the end; it is learnt "
            "on itself, and there is no test split"
        )

    def example(self) -> dict[str, tuple[Tensor, ...]]:
        return {"network": (self._eyes.normalize(self._blank(self._smallest())),)}

    def predict(self, inputs: list[str], out: Path | None) -> list[dict[str, Any]]:
        """Makes an image of each input in the same way; writes it into `out`, by default here, under the input's name."""
        folder, answers, made = out or Path(), [], dict[Path, dict[str, Any]]()
        for name in inputs:
            content = read_one_image(name, self.run.record["data"]["spec"]["size"])
            source = Path(name).resolve()
            if source not in made:
                file = _free(
                    folder / f"{Path(name).stem}-{self.way.name}.png", {each["file"] for each in made.values()}
                )
                made[source] = self._make(content, file)
            answers.append({"input": name, **made[source]})
        return answers

    def figures(self) -> list[Figure]:
        some_images = {"what it began with": self.canvas.content}
        if self.way.other:
            some_images[f"the {self.way.other}"] = self.canvas.other
        some_images["what was made"] = self.canvas.image
        *others, last = some_images
        caption = f"From left to right: {', '.join(others)}, and {last}. At full size it lies in figures/made.png."
        return [Figure("What was made", caption, png=side_by_side(list(some_images.values())))]

    # -- inside ---------------------------------------------------------------------------------------------------

    def _make(self, content: Tensor, file: Path) -> dict[str, Any]:
        other = size_of(self.canvas.other) if self.way.other else None
        canvas = self._canvas(size_of(content), other)
        canvas.fill(content, self.canvas.other if other else None)
        self._can_see(canvas)
        making = self.way.begin(canvas, self.eyes, self.run.seed)
        for number in range(self.way.steps):
            making.step(number)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            to_image(canvas.image).save(file)
        except OSError as error:
            raise UserError(
                "the image cannot be written", where=file, found=error.strerror, cure="another --out"
            ) from None
        return {"file": str(file), **{name: round(value, 6) for name, value in making.measure().items()}}

    def _canvas(self, content: Size, other: Size | None) -> Canvas:
        return Canvas(content, other, self.way.sizes(*content)).to(self.run.device)

    def _blank(self, size: Size) -> Tensor:
        return torch.zeros(1, 1 if self._eyes.grey else 3, *size, device=self.run.device)

    def _smallest(self, canvas: Canvas | None = None) -> Size:
        """The smallest that the network is shown: an octave, or the other image."""
        canvas = canvas or self.canvas
        shapes = [
            tuple(each.shape[-2:])
            for each in (*canvas.made, canvas.content, *([canvas.other] if self.way.other else []))
        ]
        return min(shapes, key=min)

    def _can_see(self, canvas: Canvas | None = None) -> None:
        """The layers answer for the smallest image and with a gradient; else a UserError before the first step."""
        size = self._smallest(canvas)
        blank = self._blank(size).requires_grad_()
        try:
            with torch.enable_grad():
                seen = self._eyes.outputs(self._eyes.normalize(blank))
        except (RuntimeError, UserError) as error:
            if isinstance(error, UserError) and size == size_of((canvas or self.canvas).content):
                raise
            raise UserError(
                "the network cannot take this image as far as these layers",
                expected="an image that is large enough",
                found=f"{size[0]} x {size[1]} pixels: {str(error).splitlines()[0]}",
                cure="a larger image, fewer octaves, or layers nearer to the input",
            ) from None
        for name, features in seen.items():
            if not features.requires_grad:
                raise UserError("no gradient reaches the image", where=name, expected="a network that autograd follows")
            if not features.numel():
                raise UserError(
                    "the image is too small: nothing of it is left in this layer",
                    where=name,
                    found=f"{size[0]} x {size[1]} pixels",
                )


def load_images_to_make(run: Run, *, size: int, other: tuple[str, str] | None) -> Dataset[tuple[Tensor, ...]]:
    """The run's image, and a second one: the split `train` is a tuple of both, as bytes (3, H, W).

    Args:
        run: whose --data names the image.
        size: of the longer sides, in pixels.
        other: what the second image is called, and its name or file; None where there is none.
    """
    place = run.record["data"]

    def read() -> tuple[dict[str, Any], dict[str, tuple[Tensor, ...]]]:
        names = {"content": place["source"], **({other[0]: other[1]} if other else {})}
        some_images = tuple(read_one_image(name, size) for name in names.values())
        shapes = [
            {"where": name, "height": p.shape[1], "width": p.shape[2]}
            for name, p in zip(names.values(), some_images, strict=True)
        ]
        spec = {
            **shapes[0],
            "size": size,
            "channels": 3,
            "counts": dict.fromkeys(names, 1),
            "splits": dict.fromkeys(names, "the whole image"),
            "fingerprint": fingerprint(*some_images),
        }
        return {**spec, "other": shapes[1]} if other else spec, {"train": some_images}

    return dataset_of(place, read)


def last_of_each_size(network: nn.Module, example: Tensor) -> tuple[str, ...]:
    """Of each size of maps that the network has for the example (1, C, H, W) the last layer that gives it, in order.

    >>> net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(2, 2, 1), nn.AdaptiveAvgPool2d(1))
    >>> last_of_each_size(net, torch.zeros(1, 1, 8, 8))
    ('1', '3')
    """
    found = {(height, width): name for name, (_, height, width) in layers_with_maps(network, example, least=2).items()}
    if not found:
        raise UserError("the network has no layers with maps", where=type(network).__name__, expected="convolutions")
    return tuple(found.values())


def size_of(pixels: Tensor) -> Size:
    """Height and width of images (..., H, W)."""
    return pixels.shape[-2], pixels.shape[-1]


def to_bytes(pixels: Tensor) -> Tensor:
    """Floats (1, 3, H, W) as bytes (3, H, W)."""
    return pixels.detach()[0].round().clamp(0, 255).to(torch.uint8)


def to_image(pixels: Tensor) -> Image.Image:
    return Image.fromarray(pixels.permute(1, 2, 0).contiguous().cpu().numpy())


def side_by_side(some_images: list[Tensor]) -> bytes:
    """Byte images (3, H, W) in a row on transparent ground, brought to one height, as a PNG."""
    height = min(SHOWN_HEIGHT, max(image.shape[1] for image in some_images))
    images = [to_image(image) for image in some_images]
    images = [each.resize((max(1, round(each.width * height / each.height)), height)) for each in images]
    row = Image.new("RGBA", (sum(each.width + 8 for each in images) - 8, height))
    left = 0
    for each in images:
        row.paste(each, (left, 0))
        left += each.width + 8
    buffer = io.BytesIO()
    row.save(buffer, format="png")
    return buffer.getvalue()


def _free(file: Path, taken: set[str]) -> Path:
    """The file, or the first with a number behind its name that no other image of this call has."""
    number, found = 1, file
    while str(found) in taken:
        number += 1
        found = file.with_name(f"{file.stem}-{number}.png")
    return found
