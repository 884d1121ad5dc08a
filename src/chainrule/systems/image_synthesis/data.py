"""One image to make another of: any file, in colours, its proportions kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from chainrule.core.errors import UserError
from chainrule.data.images.decoding import UNREADABLE, decode, ignore_warnings

SHIPPED = ("china", "flower")  # photographs inside scikit-learn
ORIENTATION = 0x0112  # the tag of EXIF that says how the camera was held; from 5 on it lay on its side


def read_one_image(name: str, size: int) -> Tensor:
    """An image as bytes (3, H, W), its longer side brought down to `size` pixels; a smaller one stays as it is.

    Grey becomes colour, transparency white, as every reader of images has it.

    Args:
        name: a file; or `china` or `flower`, photographs that scikit-learn ships, where there is no such file.
        size: in pixels.

    Raises:
        UserError: there is no such file, it is a folder, or no image that can be read.

    >>> read_one_image("china", 64).shape
    torch.Size([3, 43, 64])
    """
    file = _file(name)
    try:
        with ignore_warnings(), Image.open(file) as image:
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
    return torch.from_numpy(np.array(pixels)).permute(2, 0, 1).contiguous()


def _file(name: str) -> Path:
    path = Path(name)
    if path.is_dir():
        raise UserError("a folder is no image", where=path, expected="an image file")
    if path.is_file():
        return path
    if name not in SHIPPED:
        raise UserError("there is no such image", where=name, expected=f"an image file, or {' or '.join(SHIPPED)}")
    import sklearn.datasets

    return Path(sklearn.datasets.__file__).parent / "images" / f"{name}.jpg"
