"""A class for every pixel.

Shapes: B images, C channels, H x W pixels of an image as the network sees it, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from chainrule.core.answers import Scores
from chainrule.core.errors import UserError
from chainrule.core.task import COMPARED, Deployable, Figure, TrainingBatch
from chainrule.data.dataset import Dataset
from chainrule.data.images.decoding import SUFFIXES, decode, ignore_warnings
from chainrule.data.images.masks.loading import MaskSplit, read_other_masks, resized_mask
from chainrule.data.images.masks.raw import made_smaller, upright_size
from chainrule.data.images.masks.spec import MaskSpec
from chainrule.data.inputs import answer_to, asked_files
from chainrule.data.layout import Place
from chainrule.loops.supervised import fit
from chainrule.nn.normalization.batch_norm import single_value_layer
from chainrule.nn.pooling import Unpool2d
from chainrule.run.autocast import choose_autocast, in_float32
from chainrule.run.compiling import compiled
from chainrule.run.input_normalization import pixel_normalization
from chainrule.run.run import Run
from chainrule.systems.segmentation.answers import in_words, index_image, overlay, what_is_seen, write_image
from chainrule.systems.segmentation.augment import Augmentation
from chainrule.systems.segmentation.explaining import illustrations
from chainrule.systems.segmentation.figures import segmentation_figures
from chainrule.systems.segmentation.losses import PixelLoss, border_maps
from chainrule.systems.segmentation.networks.borders import at_least, window
from chainrule.systems.segmentation.parts import PartLoader, Parts, smallest_share
from chainrule.systems.segmentation.scores import boundary_counts, boundary_f1, confusion, scores, without_lists
from chainrule.systems.segmentation.tiles import OVERLAP, TILE, largest_at, tiled

PIXELS = 2**20  # that are answered at a time
SWITCHED = 0.05  # by which probabilities may differ where of two maxima equal but for rounding the other is the switch
EXPLAINED = 4  # parts of the training batch that `explain` looks into


class Segmenter:
    """A network that gives logits (B, K, H, W) for normalised images (B, C, H, W), learnt by gradient descent on parts.

    Args:
        run: the run it belongs to.
        data: what `load_masks` gave.
        model: the network.
        loss: of the logits of parts, a number an image.
        optimizer, schedule, epochs, batch_size: the optimisation.
        size: of the parts that it learns from, in pixels of a side; see `part_size`.
        augmentation: what is done to each part.
        border_weight: w0 of U-Net's weights of borders; 0 for none.
    """

    def __init__(
        self,
        run: Run,
        *,
        data: Dataset[MaskSpec, MaskSplit],
        model: nn.Module,
        loss: PixelLoss,
        optimizer: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LRScheduler,
        epochs: int,
        batch_size: int,
        size: tuple[int, int],
        augmentation: Augmentation,
        border_weight: float = 0.0,
    ) -> None:
        self.run, self.data, self.model, self.loss = run, data, model, loss
        self.optimizer, self.schedule, self.epochs, self.batch_size = optimizer, schedule, epochs, batch_size
        self.size, self.augmentation, self.border_weight = size, augmentation, border_weight
        self.spec, self.classes = data.spec, data.spec.classes
        self.normalize = pixel_normalization(run, (data.spec.mean, data.spec.std))

    # -- what every task has --------------------------------------------------------------------------------------

    def modules(self) -> dict[str, nn.Module]:
        return {"model": self.model}

    def pretrained_modules(self) -> dict[str, nn.Module]:
        return {"model": self.model}

    def train(self, run: Run) -> None:
        loader = self._loader(self.batch_size)
        self._expect_statistics(loader)
        choose_autocast(run, self.modules(), self.example(), self.batch_size)
        network = compiled(run, run.wrap_distributed(self.model), batch_size=self.batch_size)

        def objective(parts: Parts) -> Tensor:
            parts = self.augmentation(parts)
            logits = in_float32(network(self._prepared(parts.images)))
            return parts.mean(self.loss(logits, parts.masks, parts.weights))

        fit(
            run,
            modules=self.modules(),
            objective=objective,
            optimizer=self.optimizer,
            schedule=self.schedule,
            train=loader,
            epochs=self.epochs,
            validate=lambda: self.measure(self.data.val),
            choose_by=("miou", False),
        )

    def evaluate(self, data: Place | None = None) -> dict[str, float]:
        self.measured = self.data.test if data is None else read_other_masks(data, self.spec)
        matrix, boundaries = self.counted(self.measured)
        if data is None:
            self._test_matrix = matrix
        found = without_lists(scores(matrix)) | {"boundary_f1": boundary_f1(boundaries)}
        per_class = scores(matrix)["iou"]
        assert isinstance(per_class, list)
        return found | {f"iou_{name}": value for name, value in zip(self.classes, per_class, strict=True)}

    def protocol(self) -> str:
        made = self.spec.splits
        return (
            f"validation split ({made['val']}) chose the epoch by its mIoU; test split ({made['test']}) measured once, at the "
            "end, against the masks at their own resolution; counts over the whole split, void left out"
        )

    def example(self) -> dict[str, tuple[Tensor, ...]]:
        return {"model": (torch.zeros(1, self.spec.channels, *self.size, device=self.run.device),)}

    def figures(self) -> list[Figure]:
        return segmentation_figures(self, self.data.test, self._test_matrix)

    # -- answers --------------------------------------------------------------------------------------------------

    def _prepared(self, images: Tensor) -> Tensor:
        return self.normalize(images).contiguous(memory_format=torch.channels_last)

    @torch.inference_mode()
    def logits(self, images: Tensor, flip: bool = False) -> Tensor:
        """Logits (B, K, H, W) of byte images (B, C, H, W) in eval mode; with `flip` the mean with those of mirrored ones.

        A network that brings every image to one size is shown tiles as large as the parts that it has learnt from, so that
        things have the size that they had then.
        """
        self.model.eval()

        def network(x: Tensor) -> Tensor:
            with self.run.autocast():
                return in_float32(self.model(x))

        def whole(x: Tensor) -> Tensor:
            if not getattr(self.model, "one_size", False):
                reach = getattr(self.model, "reach", OVERLAP)
                side = max(TILE, 4 * reach)
                return tiled(network, x, (side, side), reach)
            large, top, left = at_least(x, self.size)
            return window(tiled(network, large, self.size, min(self.size) // 8), top, left, *x.shape[-2:])

        x = self._prepared(images.to(self.run.device))
        return (whole(x) + whole(x.flip(-1)).flip(-1)) / 2 if flip else whole(x)

    def answered(self, split: MaskSplit) -> Iterator[tuple[list[int], Tensor]]:
        """Numbers of images of one shape, and the positions of their pixels' classes (B, H, W) as large as their masks."""
        for numbers in by_shape(split):
            height, width = split.masks[numbers[0]].shape
            yield numbers, largest_at(self.logits(torch.stack([split.images[n] for n in numbers])), height, width)

    def counted(self, split: MaskSplit) -> tuple[Tensor, Tensor]:
        """The confusion matrix (K, K) of a split, and the counts of its boundaries (4, K)."""
        K = len(self.classes)
        matrix, boundaries = torch.zeros(K, K, dtype=torch.long), torch.zeros(4, K, dtype=torch.long)
        for numbers, answer in self.answered(split):
            truth = torch.stack([split.masks[n] for n in numbers]).to(answer.device)
            matrix += confusion(answer, truth, K).cpu()
            boundaries += boundary_counts(answer, truth, K).cpu()
        return matrix, boundaries

    def measure(self, split: MaskSplit) -> dict[str, float]:
        """mIoU and accuracies against the masks at their own resolution, and the loss at the network's, as it is learnt."""
        K = len(self.classes)
        matrix, losses = torch.zeros(K, K, dtype=torch.long), 0.0
        for numbers in by_shape(split):
            logits = self.logits(torch.stack([split.images[n] for n in numbers]))
            truth = torch.stack([split.masks[n] for n in numbers]).to(logits.device)
            matrix += confusion(largest_at(logits, *truth.shape[-2:]), truth, K).cpu()
            learnt = torch.stack([resized_mask(mask, *logits.shape[-2:]) for mask in truth])
            losses += float(self.loss(logits, learnt).double().sum())
        found = without_lists(scores(matrix))
        return {name: found[name] for name in ("miou", "pixel_accuracy", "mean_accuracy")} | {
            "loss": losses / len(split)
        }

    def predict(
        self, inputs: Iterable[str], out: Path | None, *, tta: Literal["none", "flip"] = "none"
    ) -> Iterator[dict[str, Any]]:
        """Writes the classes of each image into `out`, by default here, and gives shares and connected parts.

        NAME-mask.png has the numbers of the classes, with their colours as its palette; NAME-overlay.png the colours over
        the image. Both are as large as the image. With `tta=flip` the answer is the mean with that of the mirrored image.
        """
        folder, spec, named = out or Path(), self.spec, dict[str, str]()
        for asked in asked_files(inputs, SUFFIXES, "image"):
            pixels = self._read(asked.value)  # (H, W, C)
            logits = self.logits(self._as_learnt(pixels)[None], flip=tta == "flip")
            answer = largest_at(logits, *pixels.shape[:2])[0].cpu().numpy()
            name = named.setdefault(asked.name, _free_name(Path(asked.name).stem or "image", named.values()))
            files = folder / f"{name}-mask.png", folder / f"{name}-overlay.png"
            folder.mkdir(parents=True, exist_ok=True)
            write_image(index_image(answer, spec.values, spec.colours), files[0])
            write_image(overlay(pixels, answer, spec.colours), files[1])
            shares, parts = what_is_seen(answer, self.classes)
            found = {"mask": str(files[0]), "overlay": str(files[1]), "seen": in_words(shares, parts)}
            yield answer_to(asked, found | {"shares": Scores(shares, by="share"), "parts": Scores(parts, by="parts")})

    def _read(self, file: Any) -> np.ndarray:
        """The pixels of an image file, upright: bytes (H, W, C)."""
        if isinstance(file, Path) and not file.is_file():
            raise UserError("there is no such file", where=file, expected="an image")
        with ignore_warnings():
            return decode(file, self.spec.channels, upright_size(file, cure="repair or remove this file"))

    def _as_learnt(self, pixels: np.ndarray) -> Tensor:
        """Bytes (C, h, w) of an image (H, W, C), made smaller as those that the network has learnt from."""
        return torch.tensor(made_smaller(pixels, self.spec.shorter)).permute(2, 0, 1).contiguous()

    def prepare(self, inputs: list[str]) -> dict[str, tuple[Tensor, ...]]:
        asked = asked_files(inputs, SUFFIXES, "image")
        found = [self._as_learnt(self._read(one.value)) for one in asked]
        if len({x.shape for x in found}) > 1:
            raise UserError("these images are of several sizes", expected="one image, or several of one size")
        return {"model": (self.normalize(torch.stack(found).to(self.run.device)),)}

    def illustrations(self, inputs: list[str]) -> list[Figure]:
        """Its answer and where it is unsure, score maps, switches, and how far a pixel looks, of the first image."""
        asked = next(iter(asked_files(inputs, SUFFIXES, "image")))
        x = self._as_learnt(self._read(asked.value))
        self.model.eval()
        return illustrations(
            self.model, self._prepared(x[None].to(self.run.device)), x.permute(1, 2, 0).numpy(), self.spec.colours
        )

    def training_batch(self) -> TrainingBatch:
        parts = self.augmentation(next(self._loader(min(self.batch_size, EXPLAINED)).epoch(0)))
        return TrainingBatch(
            self.model,
            (self._prepared(parts.images),),
            parts.masks,
            lambda logits, masks: self.loss(logits, masks, parts.weights).mean(),
            self.optimizer,
        )

    def deployable(self) -> Deployable:
        spec = self.spec

        def inputs(count: int) -> tuple[Tensor, ...]:
            height, width = {1: (45, 64), 2: (64, 96)}.get(count, (50, 70))  # also odd ones
            return (torch.randint(0, 256, (count, spec.channels, height, width), dtype=torch.uint8),)

        scale = f"a shorter side above {spec.shorter} is brought to it before" if spec.shorter else "in their own size"
        if getattr(self.model, "one_size", False):
            scale += f"; predict shows larger ones tile by tile, {self.size[0]} x {self.size[1]} pixels each"
        module = nn.Sequential(self.normalize, self.model, nn.Softmax(1)).cpu().eval()
        return Deployable(
            module,
            inputs,
            ("pixels",),
            ("probs",),
            {
                "pixels": f"uint8 (B, {spec.channels}, H, W); {scale}",
                "probs": "float32 (B, K, H, W)",
                "classes": spec.classes,
                "values": spec.values,
            },
            self._own_images,
            free_axes=(2, 3),
            tolerance=SWITCHED if any(isinstance(layer, Unpool2d) for layer in self.model.modules()) else 1e-4,
        )

    def _own_images(self) -> tuple[Tensor, ...]:
        images = [x for x in self.data.test.images if x.shape == self.data.test.images[0].shape]
        return (torch.stack(images[: min(COMPARED, 2)]),)

    def _expect_statistics(self, loader: PartLoader) -> None:
        """UserError where the last batch, or a process's part of one, is a single part, and batch normalisation sees
        a single number of it."""
        layer = None if loader.smallest > 1 else single_value_layer(self.model.eval(), *self.example()["model"])
        if layer is not None:
            parts, processes = len(loader.owner), self.run.world.size
            sizes = range(self.batch_size + 1, parts + 1)
            enough = next((size for size in sizes if smallest_share(parts, size, processes) > 1), None)
            raise UserError(
                "a batch of one part cannot be normalised: it is so small that one number a map is left",
                where=layer,
                expected="two parts or more in every batch, the last one too",
                found=f"{parts} parts in batches of {self.batch_size}, by {processes} processes",
                cure=f"batch_size={enough}" if enough else "more images",
            )

    def _loader(self, batch_size: int) -> PartLoader:
        split, device = self.data.train, self.run.device
        learnt = split.masks_to_learn()
        weights = border_maps(learnt, self.border_weight)
        images, masks = ([x.to(device) for x in maps] for maps in (split.images, learnt))
        weights = None if weights is None else [w.to(device) for w in weights]
        return PartLoader(images, masks, weights, self.size, batch_size, seed=self.run.seed, world=self.run.world)

    @cached_property
    def _test_matrix(self) -> Tensor:
        return self.counted(self.data.test)[0]


def by_shape(split: MaskSplit) -> Iterator[list[int]]:
    """Numbers of the images in batches of one shape, of image and of mask, of so many pixels that they fit."""
    groups: dict[Any, list[int]] = {}
    for number, (image, mask) in enumerate(zip(split.images, split.masks, strict=True)):
        groups.setdefault((image.shape, mask.shape), []).append(number)
    for (shape, mask_shape), numbers in groups.items():
        each = max(1, PIXELS // max(math.prod(shape[-2:]), math.prod(mask_shape)))
        for start in range(0, len(numbers), each):
            yield numbers[start : start + each]


def _free_name(stem: str, taken: Collection[str]) -> str:
    """The stem, with a number where another input of this call has it: images of two folders may have one name."""
    return next(n for n in (stem, *(f"{stem}-{k}" for k in range(2, len(taken) + 3))) if n not in taken)
