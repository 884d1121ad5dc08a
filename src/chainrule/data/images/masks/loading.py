"""Images with masks as tensors: each image uint8 (C, H, W) of its own size, each mask uint8 (H, W)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from chainrule.core.data.request import SPLITS, DataRequest
from chainrule.core.errors import UserError
from chainrule.data.dataset import Dataset, dataset_of
from chainrule.data.images.loading import pixel_statistics
from chainrule.data.images.masks.masked_images import MaskedImages, MaskedImageSet
from chainrule.data.images.masks.pairs import Pair
from chainrule.data.images.masks.raw import read_masked_images
from chainrule.data.images.masks.spec import MaskSpec
from chainrule.data.layout import Place, layout_of
from chainrule.data.splits import fingerprint, hold_out

SHORTER = 512  # pixels of the shorter side, from which on images are made smaller


@dataclass(frozen=True)
class MaskSplit:
    """Images uint8 (C, h, w), each as large as the network sees it, and masks uint8 (H, W) at their own resolution."""

    images: list[Tensor]
    masks: list[Tensor]
    files: list[Pair]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def x(self) -> list[Tensor]:
        """The images: what samples are told apart by."""
        return self.images

    def take(self, index: Tensor) -> MaskSplit:
        """The images at these places."""
        numbers = index.tolist()
        return MaskSplit(
            [self.images[n] for n in numbers], [self.masks[n] for n in numbers], [self.files[n] for n in numbers]
        )

    def masks_to_learn(self) -> list[Tensor]:
        """The masks as large as the images, by nearest neighbour."""
        return [resized_mask(m, x.shape[-2], x.shape[-1]) for x, m in zip(self.images, self.masks, strict=True)]


def resized_mask(mask: Tensor, height: int, width: int) -> Tensor:
    """A mask (H, W) brought to (height, width): of each new pixel the nearest old one."""
    if mask.shape == (height, width):
        return mask
    return F.interpolate(mask[None, None], (height, width), mode="nearest-exact")[0, 0]


def load_masks(
    request: DataRequest, *, channels: int = 0, scale: float = 0.0, val_fraction: float = 0.15
) -> Dataset[MaskSpec, MaskSplit]:
    """The run's images with masks; validation and test splits are held out of the training part where none is given.

    Images of a pattern that the user names (`group=`) stay in one split.

    Args:
        request: what is read.
        channels: 0 takes what the images have.
        scale: 1 leaves images as they are; 0 makes those smaller whose shorter side has more than 512 pixels.
        val_fraction: share of the training part.

    Raises:
        UserError: there is no such scale; as `read_masked_images`.
    """
    if scale not in (0.0, 1.0):
        raise UserError(
            "scale is neither 0 nor 1",
            expected=f"1 for images in their own size, or 0: a shorter side above {SHORTER} pixels is brought to that",
            found=scale,
        )

    def read() -> tuple[MaskSpec, dict[str, MaskSplit]]:
        layout = layout_of(request)
        shorter = 0 if scale == 1.0 else SHORTER
        raw = read_masked_images(layout, channels=channels, shorter=shorter)
        request.note(*raw.notes)
        return split_masks(
            raw,
            shorter=shorter,
            seed=request.seed,
            val_fraction=request.share("val", val_fraction),
            test_fraction=request.share("test", 0.2),
            group=layout.options.get("group"),
        )

    return dataset_of(request, MaskSpec, read)


def split_masks(
    raw: MaskedImageSet, *, shorter: int, seed: int, val_fraction: float, test_fraction: float, group: str | None
) -> tuple[MaskSpec, dict[str, MaskSplit]]:
    """Tensors, splits and spec; what `load_masks` gives a run. The images were read by `shorter`."""
    splits = {name: _split(part) for name, part in raw.splits.items()}
    whole = splits["train"]
    groups = group_numbers(raw.splits["train"].files, group)
    indices, made = hold_out_groups(
        groups, splits, test_fraction=test_fraction, val_fraction=val_fraction, seed=seed, named=group is not None
    )
    splits |= {name: whole.take(index) for name, index in indices.items()}
    for name in SPLITS:
        if not len(splits[name]):
            raise UserError(
                f"the {name} split is empty: there are too few images",
                where=raw.where,
                found=f"{len(whole)} images in {int(groups.max()) + 1} groups" if group else f"{len(whole)} images",
                cure="more images, or train, val and test of your own",
            )
    mean, std = _statistics(splits["train"].images)
    pixels, room = np.zeros((2, 256), np.int64)
    for mask in splits["train"].masks:
        counts = np.bincount(mask.numpy().reshape(-1), minlength=256)
        pixels += counts
        room += (counts > 0) * mask.numel()
    shapes = Counter((image.shape[1], image.shape[2]) for image in splits["train"].images)
    tensors = [t for name in SPLITS for t in (*splits[name].images, *splits[name].masks)]
    meaning = raw.meaning
    spec = MaskSpec(
        where=raw.where,
        classes=meaning.names,
        values=meaning.values,
        colours=[list(colour) for colour in meaning.colours],
        void=meaning.void,
        channels=raw.channels,
        mean=mean,
        std=[s or 1.0 for s in std],
        class_pixels=pixels[: len(meaning.values)].tolist(),
        class_room=room[: len(meaning.values)].tolist(),
        shorter=shorter,
        shapes=[[height, width, count] for (height, width), count in sorted(shapes.items())],
        counts={name: len(splits[name]) for name in SPLITS},
        splits={name: made[name] for name in SPLITS},
        fingerprint=fingerprint(*tensors),
    )
    return spec, splits


def _statistics(images: Sequence[Tensor]) -> tuple[list[float], list[float]]:
    """Mean and deviation a channel over all pixels of all images, each (C, H, W)."""
    rows = torch.cat([image.flatten(1) for image in images], 1)  # (C, pixels)
    return pixel_statistics(rows.T[:, :, None, None])  # in parts, for counting takes eight bytes a pixel


def _split(part: MaskedImages) -> MaskSplit:
    images = [torch.tensor(image).permute(2, 0, 1).contiguous() for image in part.images]
    return MaskSplit(images, [torch.from_numpy(mask) for mask in part.masks], part.files)


def read_other_masks(source: Place, spec: MaskSpec) -> MaskSplit:
    """Other images with masks of the classes of `spec`: their own test split, else all of them."""
    raw = read_masked_images(layout_of(source), channels=spec.channels, meaning=spec.meaning, shorter=spec.shorter)
    parts = [raw.splits["test"]] if "test" in raw.splits else list(raw.splits.values())
    images, masks, files = (
        [one for part in parts for one in getattr(part, name)] for name in ("images", "masks", "files")
    )
    return _split(MaskedImages(files, images, masks))


# -- groups ---------------------------------------------------------------------------------------------------------


def group_numbers(files: Sequence[Pair], pattern: str | None) -> Tensor:
    """The number of each image's group (N,): by what the pattern finds in its name, or each by itself.

    Raises:
        UserError: it is no pattern; it finds nothing in a name.
    """
    if pattern is None:
        return torch.arange(len(files))
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UserError("group= is no regular expression", found=pattern, expected=str(error)) from None
    names: dict[str, int] = {}
    found = []
    for image, _ in files:
        match = compiled.search(image.stem)
        if match is None:
            raise UserError(
                "group= finds nothing in the name of an image",
                where=image,
                expected=f"a match of {pattern}",
                cure=r"for example group=^([^_]+) for what stands before the first underscore",
            )
        key = match.group(1) if compiled.groups else match.group(0)
        found.append(names.setdefault(key or "", len(names)))
    return torch.tensor(found)


def hold_out_groups(
    groups: Tensor,
    given: Sequence[str] | dict[str, MaskSplit],
    *,
    test_fraction: float,
    val_fraction: float,
    seed: int,
    named: bool,
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """As `hold_out`, with whole groups (N,) in one split."""
    kinds, which = groups.unique(return_inverse=True)
    indices, made = hold_out(
        kinds, list(given), test_fraction=test_fraction, val_fraction=val_fraction, seed=seed, by_class=False
    )
    if named:
        made = {name: how if how.startswith("as") else f"{how}, by groups" for name, how in made.items()}
    return {name: torch.isin(which, index).nonzero()[:, 0] for name, index in indices.items()}, made
