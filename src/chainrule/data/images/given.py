"""Images that Python gives where a file could be named: PIL's, arrays and tensors, one or a batch, or a frame of paths."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from chainrule.core.errors import UserError
from chainrule.data.given.frames import cells_of_frame, is_frame
from chainrule.data.images.arrays import pixel_scale
from chainrule.data.images.packed import PackedImage
from chainrule.data.inputs import InMemory

SHAPES = "(H, W), (H, W, C), (C, H, W), or a batch of these; C is 1 or 3, or 4 with transparency"


def images_given(value: Any, spec: Any, where: str) -> list[str]:
    """The images as inputs, each a PNG in memory: they are read as files are, stretched to the run's size.

    An array of three axes is one image where its last axis has 1, 3 or 4 entries, or its first as many as the run's images
    have channels; else a batch (N, H, W). Bytes are as they are; floats from 0 to 1 times 255, from 0 to 255 rounded.

    Raises:
        UserError: it is no image, its shape is none of an image's, or its values are out of range.
    """
    if is_frame(value):
        return [InMemory(where, cells_of_frame(value, where))]
    if isinstance(value, Image.Image):
        return [_packed(value, where)]
    x = np.asarray(value)
    if x.dtype.kind not in "buif" or not x.size:
        raise UserError("the input is no image", where=where, expected=f"numbers {SHAPES}", found=type(value).__name__)
    batch = _batch(x, getattr(spec, "channels", 3), where)
    if batch.dtype != np.uint8:
        batch = (batch * pixel_scale(batch, where)).round().astype(np.uint8)
    images = [Image.fromarray(one[..., 0] if one.shape[2] == 1 else one) for one in batch]
    one_image = x.ndim < 4 and len(images) == 1
    return [_packed(image, where if one_image else f"{where}, image {i}") for i, image in enumerate(images)]


def _batch(x: np.ndarray, channels: int, where: str) -> np.ndarray:
    """(N, H, W, C)."""
    if x.ndim == 2:
        return x[None, :, :, None]
    if x.ndim == 3:
        if x.shape[2] in (1, 3, 4):
            return x[None]
        return x.transpose(1, 2, 0)[None] if x.shape[0] == channels else x[..., None]
    if x.ndim == 4 and x.shape[3] in (1, 3, 4):
        return x
    if x.ndim == 4 and x.shape[1] in (1, 3):
        return x.transpose(0, 2, 3, 1)
    raise UserError("the array has no shape of images", where=where, expected=SHAPES, found=x.shape)


def _packed(image: Image.Image, name: str) -> InMemory:
    known = image if image.mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16") else image.convert("RGB")
    content = io.BytesIO()
    known.save(content, "png", compress_level=1)
    return InMemory(name, PackedImage(Path("given in Python"), name, content=content.getvalue()))
