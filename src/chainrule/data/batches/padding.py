"""Samples of different sizes in one tensor: padded at the end, with `lengths`, and a mask that is True where to use it.

The one convention of the package. `lengths` (B,) says how long each sequence is, `sizes` (B, 2) how high and wide each
image; `keep_mask` makes of either a mask of bool, True where there is something and False on padding.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from chainrule.core.errors import UserError


def pad(sequences: Sequence[Tensor], value: float = 0.0) -> tuple[Tensor, Tensor]:
    """Sequences (T_i, ...) padded at the end with `value` to (B, T, ...), T the longest, and their lengths (B,).

    Raises:
        UserError: there is no sequence, or they differ in more than their length.

    >>> padded, lengths = pad([torch.tensor([1, 2, 3]), torch.tensor([4])])
    >>> padded.tolist(), lengths.tolist()
    ([[1, 2, 3], [4, 0, 0]], [3, 1])
    """
    first = _first_of(sequences, "sequence")
    longest = max(len(sequence) for sequence in sequences)
    padded = first.new_full((len(sequences), longest, *first.shape[1:]), value)
    for row, sequence in zip(padded, sequences, strict=True):
        _expect_alike(sequence, first, sequence.shape[1:] == first.shape[1:])
        row[: len(sequence)] = sequence
    return padded, torch.tensor([len(sequence) for sequence in sequences], device=first.device)


def unpad(padded: Tensor, lengths: Tensor) -> list[Tensor]:
    """The sequences (T_i, ...) that `pad` was given, as views of (B, T, ...)."""
    return [row[:length] for row, length in zip(padded, lengths.tolist(), strict=True)]


def pad_images(images: Sequence[Tensor], divisor: int = 1, value: float = 0.0) -> tuple[Tensor, Tensor]:
    """Images (C, H_i, W_i) padded at the right and below to (B, C, H, W), and their heights and widths (B, 2).

    Args:
        images: of all sizes, one number of channels.
        divisor: H and W are multiples of it: what the network's strides multiply to.
        value: of the padding.

    Raises:
        UserError: there is no image, or they differ in more than their size.

    >>> batch, sizes = pad_images([torch.ones(3, 20, 33), torch.ones(3, 31, 10)], divisor=32)
    >>> tuple(batch.shape), sizes.tolist()
    ((2, 3, 32, 64), [[20, 33], [31, 10]])
    """
    first = _first_of(images, "image")
    sizes = torch.tensor([image.shape[-2:] for image in images])
    height, width = (-(-int(side) // divisor) * divisor for side in sizes.amax(0))
    batch = first.new_full((len(images), first.shape[0], height, width), value)
    for place, image in zip(batch, images, strict=True):
        _expect_alike(image, first, image.dim() == 3 and len(image) == len(first))
        place[:, : image.shape[1], : image.shape[2]] = image
    return batch, sizes.to(first.device)


def keep_mask(lengths: Tensor, *extent: int) -> Tensor:
    """True where there is something: bool (B, T) of lengths (B,) and T; bool (B, H, W) of sizes (B, 2), H and W.

    Args:
        lengths: (B,), or (B, d) along d axes.
        extent: how long the padded tensor is along these axes; the longest of each where it is not given.

    >>> keep_mask(torch.tensor([2, 0, 3])).int().tolist()
    [[1, 1, 0], [0, 0, 0], [1, 1, 1]]
    >>> keep_mask(torch.tensor([[1, 2]]), 2, 3).int().tolist()
    [[[1, 1, 0], [0, 0, 0]]]
    """
    sizes = lengths[:, None] if lengths.dim() == 1 else lengths  # (B, d)
    axes = sizes.shape[1]
    extent = extent or tuple(sizes.amax(0).tolist())
    mask = torch.ones((1,) * (axes + 1), dtype=torch.bool, device=lengths.device)
    for axis, whole in enumerate(extent):
        shape = [1] * (axes + 1)
        shape[axis + 1] = whole
        place = torch.arange(whole, device=lengths.device).view(shape)  # (1, .., whole, .., 1)
        mask = mask & (place < sizes[:, axis].view(-1, *[1] * axes))  # (B, 1, .., 1)
    return mask


def padding_share(lengths: Tensor) -> float:
    """The share of a padded batch (B, T) that is padding, T the longest.

    >>> padding_share(torch.tensor([4, 2]))
    0.25
    """
    whole = len(lengths) * int(lengths.max()) if len(lengths) else 0
    return 1 - int(lengths.sum()) / whole if whole else 0.0


def _first_of(samples: Sequence[Tensor], what: str) -> Tensor:
    if not samples:
        raise UserError(f"there is no {what} to pad", expected="one or more", found="an empty batch")
    return samples[0]


def _expect_alike(sample: Tensor, first: Tensor, same: bool) -> None:
    """UserError where a sample is of another shape or type than the first one."""
    if not same or sample.dtype != first.dtype:
        raise UserError(
            "samples of one batch differ in more than their size",
            expected=f"as the first: {tuple(first.shape)}, {first.dtype}",
            found=f"{tuple(sample.shape)}, {sample.dtype}",
        )
