"""Images that come as arrays: the reader of npz files, and numbers as bytes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from chainrule.core.errors import UserError
from chainrule.data.formats.npz import read_npz, split_arrays
from chainrule.data.images.raw import RawImages, RawImageSet


def read_npz_images(file: Path) -> RawImageSet:
    """Arrays x and y, or x_train, y_train and so on; x is (N, H, W), (N, H, W, C) or (N, C, H, W), see `as_bytes`."""
    return images_of_arrays(read_npz(file, "numeric arrays x and y"), str(file))


def images_of_arrays(content: Mapping[str, np.ndarray], file: str, class_names: list[str] | None = None) -> RawImageSet:
    """The images among the arrays that an npz file holds, or that were given in Python in its place."""
    names = split_arrays(content)
    splits = {}
    for split, (xn, yn) in names.items():
        if xn in content and yn in content:
            x, y = content[xn], content[yn]
            if y.ndim == 2 and y.shape[1] == 1:
                raise UserError(
                    "the target has a shape that would broadcast silently",
                    where=f"{file}: {yn}",
                    expected=f"({len(y)},)",
                    found=y.shape,
                    cure=f"{yn} = {yn}[:, 0]",
                )
            if y.ndim != 1 or x.shape[:1] != y.shape:
                raise UserError(
                    "the target does not fit the images",
                    where=f"{file}: {yn}",
                    expected=f"{x.shape[:1]}",
                    found=y.shape,
                )
            splits[split] = RawImages(
                _whole_labels(y, f"{file}: {yn}"), as_bytes(x, f"{file}: {xn}"), origin=f"{file}: {xn}"
            )
    if "train" not in splits:
        found = ", ".join(content) or "nothing"
        raise UserError("the set lacks its arrays", where=file, expected="x and y", found=found)
    labels = splits["train"].labels
    count = max(int(labels.max(initial=-1)) + 1, len(class_names or ()))
    if count > len(labels):
        raise UserError(
            "there are fewer samples than classes",
            where=f"{file}: {names['train'][1]}",
            found=f"the label {count - 1}",
            cure="number the classes from 0 without a gap",
        )
    named = class_names is not None and len(class_names) == count
    return RawImageSet(splits, class_names if named and class_names else [str(i) for i in range(count)], file)


def as_bytes(x: np.ndarray, where: str, scale: float | None = None) -> np.ndarray:
    """Images as uint8 (N, H, W, C): bytes as they are, others times `scale` and rounded, see `pixel_scale`."""
    if x.ndim == 3:
        x = x[..., None]
    elif x.ndim == 4 and x.shape[1] in (1, 3) and x.shape[3] not in (1, 3):
        x = x.transpose(0, 2, 3, 1)
    if x.ndim != 4 or x.shape[3] not in (1, 3):
        expected = "(N, H, W), (N, H, W, C) or (N, C, H, W)"
        raise UserError("the images have no shape that is known", where=where, expected=expected, found=x.shape)
    if len(x) and not x[0].size:
        raise UserError("the images have no pixels", where=where, found=x.shape)
    if x.dtype == np.uint8:
        return x
    usual = pixel_scale(x, where)
    return (x * (usual if scale is None else scale)).round().astype(np.uint8)


def pixel_scale(x: np.ndarray, where: str) -> float:
    """What pixels are multiplied by to be bytes: 255 where all are from 0 to 1, else 1; UserError where neither is so."""
    if x.dtype == np.uint8:
        return 1.0
    if x.dtype.kind not in "buif":
        raise UserError("pixels are not numeric", where=where, expected="uint8, or floats from 0 to 1", found=x.dtype)
    bad = ~np.isfinite(x.reshape(len(x), -1)).all(1) if len(x) else np.zeros(0, bool)
    if bad.any():
        raise UserError(
            "an image holds NaN or infinite values", where=f"{where}[{int(bad.argmax())}]", cure="remove or repair it"
        )
    low, high = (float(x.min()), float(x.max())) if x.size else (0.0, 0.0)
    if low < 0 or high > 255:
        found = f"{low:g} to {high:g}"
        raise UserError(
            "pixels are out of range",
            where=where,
            expected="0 to 1, or 0 to 255",
            found=found,
            cure="give them before they are normalised: a run normalises by itself" if low < 0 else None,
        )
    return 255.0 if high <= 1.0 else 1.0


def _whole_labels(y: np.ndarray, where: str) -> np.ndarray:
    if y.dtype.kind == "f" and not bool(np.isfinite(y).all()):
        sample = int((~np.isfinite(y)).argmax())
        raise UserError(
            "a label is missing: labels are not integers",
            where=f"{where}[{sample}]",
            expected="0, 1, 2, ...",
            found="NaN" if np.isnan(y[sample]) else y[sample],
            cure="fill it in, or remove the sample",
        )
    if y.dtype.kind not in "iub" and not (y.dtype.kind == "f" and bool((y == np.floor(y)).all())):
        raise UserError("labels are not integers", where=where, expected="0, 1, 2, ...", found=y.dtype)
    labels = y.astype(np.int64)
    if len(labels) and labels.min() < 0:
        raise UserError(
            "a label is out of range",
            where=f"{where}[{int(labels.argmin())}]",
            expected="0 or more",
            found=int(labels.min()),
        )
    return labels
