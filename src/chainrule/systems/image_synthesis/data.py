"""The content image and the reference image (a style or a guide) of a run: any files, in colour, proportions kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chainrule.core.data.request import DataRequest
from chainrule.core.errors import UserError
from chainrule.data.catalog.shipped import shipped_folder
from chainrule.data.dataset import Dataset, dataset_of
from chainrule.data.images.decoding import UNREADABLE, decode, ignore_warnings, open_image
from chainrule.data.images.packed import PackedImage
from chainrule.data.spec import MAY_LACK, Spec
from chainrule.data.splits import fingerprint

SHIPPED = ("china", "flower")  # photographs inside scikit-learn
ORIENTATION = 0x0112  # EXIF's tag for how the camera was held; 5 and above swap height and width


@dataclass(frozen=True, kw_only=True)
class ContentSpec(Spec):
    """A content image: where it is, its size in pixels, and the same of the reference (`other`), where there is one."""

    where: str
    height: int
    width: int
    size: int
    channels: int = 3
    other: dict[str, Any] | None = field(default=None, metadata=MAY_LACK)


def load_content_and_reference(
    request: DataRequest, *, size: int, reference: tuple[str, str] | None
) -> Dataset[ContentSpec, tuple[Tensor, ...]]:
    """The run's content image and its reference image: the split `train` is a tuple of one or both, bytes (3, H, W).

    Args:
        request: its one source is the content image.
        size: of the longer sides, in pixels.
        reference: what the second image is ("style", "guide"), and its name or file; None where there is none.
    """

    def read() -> tuple[ContentSpec, dict[str, tuple[Tensor, ...]]]:
        names = {"content": request.source, **({reference[0]: reference[1]} if reference else {})}
        images = tuple(read_image(name, size) for name in names.values())
        shapes = [
            {"where": name, "height": image.shape[1], "width": image.shape[2]}
            for name, image in zip(names.values(), images, strict=True)
        ]
        spec = ContentSpec(
            where=request.source,
            height=images[0].shape[1],
            width=images[0].shape[2],
            size=size,
            counts=dict.fromkeys(names, 1),
            splits=dict.fromkeys(names, "the whole image"),
            fingerprint=fingerprint(*images),
            other=shapes[1] if reference else None,
        )
        return spec, {"train": images}

    return dataset_of(request, ContentSpec, read)


def read_image(name: str | PackedImage, size: int) -> Tensor:
    """An image as bytes (3, H, W), its longer side reduced to `size` pixels; a smaller one stays as it is.

    Grey becomes colour, transparency white, as every reader of images has it.

    Args:
        name: a file; or `china` or `flower`, photographs that scikit-learn ships, where there is no such file.
        size: in pixels.

    Raises:
        UserError: there is no such file, it is a folder, or no image that can be read.

    >>> read_image("china", 64).shape
    torch.Size([3, 43, 64])
    """
    file = name if isinstance(name, PackedImage) else _file(name)
    try:
        with ignore_warnings(), open_image(file) as image:
            width, height = image.size
            turned = image.getexif().get(ORIENTATION, 1) >= 5
    except UNREADABLE:
        width = height = 1  # `decode` says why
        turned = False
    if turned:
        width, height = height, width
    scale = min(1.0, size / max(width, height))
    fitted = (max(1, round(height * scale)), max(1, round(width * scale)))
    with ignore_warnings():
        pixels = decode(file, 3, fitted)
    return torch.from_numpy(np.array(pixels)).permute(2, 0, 1).contiguous()  # (H, W, 3) -> (3, H, W)


def _file(name: str) -> Path:
    path = Path(name)
    if path.is_dir():
        raise UserError("a folder is no image", where=path, expected="an image file")
    if path.is_file():
        return path
    if name not in SHIPPED:
        raise UserError("there is no such image", where=name, expected=f"an image file, or {' or '.join(SHIPPED)}")
    return shipped_folder() / "images" / f"{name}.jpg"
