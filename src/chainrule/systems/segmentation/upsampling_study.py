"""One encoder, one budget, four ways back to the image's size: step by step or at once, with batch normalisation or without.

Shapes: B images, C channels, H x W pixels, K classes.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chainrule.core.course import Topic
from chainrule.core.errors import UserError
from chainrule.core.task import Figure
from chainrule.data.images.masks.loading import MaskSplit, load_masks
from chainrule.functional.pooling import max_pool2d_with_switches, unpool2d
from chainrule.loops.experiment import Row, descend
from chainrule.nn.normalization.normalize import Normalize
from chainrule.run.run import Run
from chainrule.systems.segmentation.networks.borders import window
from chainrule.systems.segmentation.scores import VOID, boundary_counts, boundary_f1, confusion, scores
from chainrule.tasks.study import Study

Way = Literal["nearest", "bilinear", "deconvolution", "unpooling"]
WAYS: tuple[Way, ...] = ("nearest", "bilinear", "deconvolution", "unpooling")
CLAIM = (
    "Plain enlargement of a coarse map is poor; unpooling and deconvolution, step by step with batch normalisation, are better; "
    "and bilinear enlargement, in which nothing is learnt, does as well."
)
STAGES = 3  # poolings of the encoder


class EncoderDecoder(nn.Module):
    """Three stages of a 3 x 3 convolution and a pooling, and a way back; logits (B, K, H, W).

    Step by step each pooling is undone by itself, a convolution behind it (of `deconvolution` the transposed convolution is
    both); at once a 1 x 1 convolution gives scores at an eighth of the size, which are enlarged eight times: by a learnt kernel
    of 16 x 16, by all switches one after the other, or by interpolation.

    Args:
        way: nearest, bilinear, deconvolution or unpooling.
        at_once: whether the map is enlarged eight times at once.
        batch_norm: behind each convolution but the last.
        num_classes: K.
        in_channels: C.
        maps: of the first stage; the others have twice and four times as many.

    >>> EncoderDecoder("unpooling", False, True, 4, 3, 8)(torch.zeros(2, 3, 48, 63)).shape
    torch.Size([2, 4, 48, 63])
    """

    def __init__(
        self, way: Way, at_once: bool, batch_norm: bool, num_classes: int, in_channels: int, maps: int = 16
    ) -> None:
        super().__init__()
        self.way, self.at_once = way, at_once
        channels = [maps * 2**stage for stage in range(STAGES)]
        conv = partial(nn.Conv2d, kernel_size=3, padding=1)
        self.down = nn.ModuleList(
            _block(conv(a, b), batch_norm) for a, b in zip((in_channels, *channels), channels, strict=False)
        )
        backwards = [*reversed(channels), channels[0]]
        self.up = nn.ModuleList()
        if at_once:
            self.score = nn.Conv2d(channels[-1], num_classes, 1)
            if way == "deconvolution":
                self.up.append(nn.ConvTranspose2d(num_classes, num_classes, 16, stride=8, padding=4))
        else:
            for a, b in itertools.pairwise(backwards):
                learnt = nn.ConvTranspose2d(a, b, 4, stride=2, padding=1) if way == "deconvolution" else conv(a, b)
                self.up.append(_block(learnt, batch_norm))
            self.score = nn.Conv2d(channels[0], num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W) -> (B, K, H, W)
        height, width = x.shape[-2:]
        switches, sizes = [], []
        for block in self.down:
            x = block(x)
            sizes.append((x.shape[-2], x.shape[-1]))
            x, where = max_pool2d_with_switches(x, 2, ceil_mode=True)
            switches.append(where)
        if self.at_once:
            return window(self._enlarged_at_once(self.score(x), switches, sizes), 0, 0, height, width)
        for learnt in self.up:
            size, where = sizes.pop(), switches.pop()
            if self.way == "unpooling":
                x = unpool2d(x, where, size)
            elif self.way != "deconvolution":
                x = _interpolated(x, 2, self.way)
            x = window(learnt(x), 0, 0, *size)
        return self.score(x)

    def _enlarged_at_once(self, x: Tensor, switches: list[Tensor], sizes: list[tuple[int, int]]) -> Tensor:
        if self.way == "deconvolution":
            return self.up[0](x)
        if self.way != "unpooling":
            return _interpolated(x, 8, self.way)
        for where, size in zip(reversed(switches), reversed(sizes), strict=True):
            first = where[:, :1].expand(-1, x.shape[1], -1, -1)  # of the first map, for there are others than scores
            x = unpool2d(x, first, size)
        return x


def _block(conv: nn.Module, batch_norm: bool) -> nn.Sequential:
    channels = conv.out_channels
    assert isinstance(channels, int)
    return nn.Sequential(conv, *([nn.BatchNorm2d(channels)] if batch_norm else []), nn.ReLU(inplace=True))


def _interpolated(x: Tensor, factor: int, way: str) -> Tensor:
    if way == "nearest":
        return F.interpolate(x, scale_factor=float(factor), mode="nearest-exact")
    return F.interpolate(x, scale_factor=float(factor), mode="bilinear", align_corners=False)


def upsampling_study(
    run: Run, *, ways: Sequence[str], maps: int, steps: int, batch_size: int, lr: float, val_fraction: float
) -> Study:
    """Every way, step by step and at once, with batch normalisation and without, from weights of one seed."""
    strange = [way for way in ways if way not in WAYS]
    if strange or not ways:
        raise UserError("there is no such way", expected=", ".join(WAYS), found=", ".join(strange) or "none")
    data = load_masks(run.data, val_fraction=val_fraction)
    spec = data.spec
    K = len(spec.classes)

    def measure(point: Mapping[str, Any]) -> Row:
        train, test = (_stacked(split, spec.where) for split in (data.train, data.test))
        normalize = Normalize(spec.mean, spec.std)
        torch.manual_seed(run.seed)  # the same batches, and as far as shapes agree the same weights
        network = EncoderDecoder(point["way"], point["at_once"], point["batch_norm"], K, spec.channels, maps)
        network = network.to(run.device)
        optimizer = torch.optim.Adam(network.parameters(), lr)
        torch.manual_seed(run.seed + 1)
        x, y = normalize(train[0]).to(run.device), train[1].to(run.device)
        criterion = partial(F.cross_entropy, ignore_index=VOID)
        descend(network, x, y, criterion, optimizer, steps=steps, batch_size=batch_size)
        network.eval()
        with torch.no_grad():
            parts = [network(normalize(x).to(run.device)).argmax(1).cpu() for x in test[0].split(16)]
        answer, truth = torch.cat(parts), test[1]
        return {
            "miou": float(scores(confusion(answer, truth, K))["miou"]),  # type: ignore[arg-type]
            "boundary_f1": boundary_f1(boundary_counts(answer, truth, K)),
            "parameters": sum(p.numel() for p in network.parameters()),
        }

    points = [
        {"way": way, "at_once": at_once, "batch_norm": normed}
        for way in ways
        for at_once in (True, False)
        for normed in (False, True)
    ]
    return Study(
        run,
        points=points,
        measure=measure,
        conclude=conclude,
        draw=draw,
        claim=CLAIM,
        how=f"three convolutions and poolings from {maps} maps on, {steps} steps of Adam at {lr:g} with {batch_size} images each, "
        f"the same batches for all; mIoU and boundary F1 on the test split ({spec.splits['test']})",
    )


def _stacked(split: MaskSplit, where: str) -> tuple[Tensor, Tensor]:
    """All images (N, C, H, W) and masks (N, H, W) of a split, which must be of one size."""
    shapes = sorted({tuple(image.shape[-2:]) for image in split.images})
    if len(shapes) > 1:
        raise UserError(
            "the images are of several sizes, and this study takes them whole",
            where=where,
            found=f"{shapes[0][1]} x {shapes[0][0]} to {shapes[-1][1]} x {shapes[-1][0]}",
            cure="images of one size, such as camvid's",
        )
    return torch.stack(split.images), torch.stack(split.masks_to_learn()).long()


def conclude(rows: list[Row]) -> dict[str, float]:
    """mIoU and boundary F1 of each way at its best, at once and step by step, and what batch normalisation adds."""
    found: dict[str, float] = {}
    for way in dict.fromkeys(row["way"] for row in rows):
        of = [row for row in rows if row["way"] == way]
        for at_once, words in ((True, "at_once"), (False, "step_by_step")):
            best = max((row for row in of if row["at_once"] is at_once), key=lambda row: row["miou"])
            found |= {f"{way}_{words}_miou": best["miou"], f"{way}_{words}_boundary_f1": best["boundary_f1"]}
        stepwise = {row["batch_norm"]: row["miou"] for row in of if not row["at_once"]}
        found[f"{way}_gain_of_batch_norm"] = stepwise[True] - stepwise[False]
    return found


def draw(rows: list[Row]) -> list[Figure]:
    """Every point as a table, the best mIoU first."""
    ordered = sorted(rows, key=lambda row: -row["miou"])
    lines = [
        [
            row["way"],
            "at once" if row["at_once"] else "step by step",
            "yes" if row["batch_norm"] else "no",
            f"{row['miou']:.3f}",
            f"{row['boundary_f1']:.3f}",
            f"{row['parameters']:,}",
        ]
        for row in ordered
    ]
    caption = (
        "One encoder, one budget of steps. At once: scores at an eighth of the size, enlarged eight times. Step by step: each pooling "
        "is undone by itself, with a convolution behind it."
    )
    head = ["way", "how", "batch norm", "mIoU", "boundary F1", "parameters"]
    return [Figure("Ways back to the image's size", caption, table=[head, *lines])]


TOPICS = (
    Topic("Bilinear up-sampling without parameters", code=("EncoderDecoder", "upsampling_study")),
    Topic("Unpooling with switches", code=("EncoderDecoder",)),
    Topic("Batch normalisation in DeconvNet", code=("upsampling_study",)),
)
