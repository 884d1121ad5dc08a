"""Images of a run that are not read into memory: mapped from the cache of decoded ones, or decoded as they are asked for."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from chainrule.data.images.cache import decode_files_into, map_decoded
from chainrule.data.images.packed import ImageFile, PackedImage
from chainrule.data.images.raw import RawImages
from chainrule.data.streams.stored import StoredImages, rows_of


def to_stored(
    part: RawImages, size: int, channels: int, margin: float | None = None, border: int = 0
) -> StoredImages | None:
    """The images of a split (N, C, size, size), left where they are; None where they cannot be.

    Files are decoded once, into the cache, which is mapped. Members of shards are decoded whenever they are asked for:
    decoded they would fill several times the disk. Arrays stay that are mapped from a file and are as the run has them.
    """
    shape = (channels, size, size)
    if part.arrays is not None:
        if not _is_mapped(part.arrays) or part.arrays.shape[1:] != (size, size, channels):
            return None
        return StoredImages(rows_of(part.arrays), len(part.arrays), shape)
    packed = [file for file in part.files if isinstance(file, PackedImage)]
    if packed and len(packed) == len(part.files):
        read = _Decoder(packed, size, channels, margin, border)
        return StoredImages(read, len(packed), shape, identity=_identity(packed))
    mapped = map_decoded(part.files, size, channels, margin, border)
    return None if mapped is None else StoredImages(rows_of(mapped), len(mapped), shape)


def _is_mapped(array: np.ndarray | None) -> bool:
    """Whether it is a view of a file that is mapped into memory."""
    while array is not None and not isinstance(array, np.memmap):
        array = array.base if isinstance(array.base, np.ndarray) else None
    return array is not None


class _Decoder:
    """Decodes the files of these numbers, (b, C, size, size) bytes."""

    def __init__(self, files: Sequence[ImageFile], size: int, channels: int, margin: float | None, border: int) -> None:
        self.files, self.shape, self.margin, self.border = files, (size, size, channels), margin, border
        # For good, and not where it decodes: the filters of warnings are no thread's own.
        warnings.filterwarnings("ignore", module=r"PIL(\.|$)")

    def __call__(self, numbers: np.ndarray) -> Tensor:
        out = np.empty((len(numbers), *self.shape), np.uint8)
        decode_files_into(out, [self.files[number] for number in numbers.tolist()], self.margin, self.border)
        return torch.from_numpy(out).permute(0, 3, 1, 2)  # (b, H, W, C) -> (b, C, H, W)


def _identity(files: Sequence[PackedImage]) -> Tensor:
    """A number (N,) for each packed image that changes with its shard's name, its own, its place and its length."""
    texts = [f"{f.container.name}\0{f.name}\0{f.offset}\0{f.size}\0".encode() for f in files]
    contents = [f.content or b"" for f in files]
    digests = [hashlib.blake2b(t + c, digest_size=8).digest() for t, c in zip(texts, contents, strict=True)]
    return torch.from_numpy(np.frombuffer(b"".join(digests), np.int64).copy())
