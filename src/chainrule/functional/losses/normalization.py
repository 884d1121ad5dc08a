"""What all losses share: how values are reduced to one, and how arguments are checked before.

A loss first gives a value for each item: a sample, a pixel, an element, as its docstring says. Then

| normalization | gives | the same as |
| --- | --- | --- |
| `valid` | the sum divided by the number of items that are not ignored | torch's `mean`, Caffe's `VALID` |
| `full` | the sum divided by the number of all items, ignored ones too | Caffe's `FULL` |
| `batch` | the sum divided by the number of samples B, whatever the size of a sample | Caffe's `BATCH_SIZE` |
| `none` | the sum, not divided | torch's `sum`, Caffe's `NONE` |
| `unreduced` | every value by itself, zero where ignored | torch's `none` |

A divisor is never below one, as in Caffe: where everything is ignored, or the batch is empty, the loss is 0.

Shapes and types are always checked. Values (labels in their range, probabilities that sum to one) are checked where
that costs no synchronisation, on the CPU outside a compiled graph; for tensors elsewhere call `check_labels` or
`check_probs` once before the first step, which synchronises with the device.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from chainrule.core.errors import UserError, unknown

Normalization = Literal["valid", "full", "batch", "none", "unreduced"]


def reduce_losses(values: Tensor, keep_mask: Tensor | None = None, normalization: Normalization = "valid") -> Tensor:
    """The sum of the kept values over the divisor that `normalization` names (the table of this module).

    Args:
        values: the loss of each item, (B, ...) or ().
        keep_mask: of the shape of `values`, True = use; None uses all.
        normalization: a word of the table.

    Returns:
        a scalar, or for `unreduced` the shape of `values`.

    Raises:
        UserError: the word is not in the table, or the mask has another shape.

    Source: Caffe, caffe.proto, LossParameter.NormalizationMode, and loss_layer.cpp, GetNormalizer.

    >>> values, keep = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[True, True], [True, False]])
    >>> [float(reduce_losses(values, keep, word)) for word in ("valid", "full", "batch", "none")]
    [2.0, 1.5, 3.0, 6.0]
    """
    if normalization not in get_args(Normalization):
        raise unknown("there is no normalization", str(normalization), get_args(Normalization))
    if keep_mask is not None:
        check_same_shape("keep_mask", keep_mask, "values", values)
        values = torch.where(keep_mask, values, torch.zeros_like(values))
    if normalization == "unreduced":
        return values
    total = values.sum()
    if normalization == "none":
        return total
    if normalization == "valid" and keep_mask is not None:
        return total / keep_mask.sum().clamp_min(1)
    items = values.numel() if normalization in ("valid", "full") else values.shape[0] if values.dim() else 1
    return total / max(items, 1)


def check_labels(target: Tensor, num_classes: int, ignore_index: int | None = None) -> None:
    """Raises UserError where a label is neither in 0 ... num_classes - 1 nor `ignore_index`. Synchronises with the device.

    >>> check_labels(torch.tensor([0, 2, -1]), num_classes=3, ignore_index=-1)
    """
    if ignore_index is None and target.numel():
        low, high = target.aminmax()
        if low >= 0 and high < num_classes:  # the usual case, in one pass
            return
    wrong = (target < 0) | (target >= num_classes)
    if ignore_index is not None:
        wrong &= target != ignore_index
    if wrong.any():
        raise UserError(
            "a label is out of range",
            where=f"target[{_place(wrong)}]",
            expected=f"0 to {num_classes - 1}, one for each of the {num_classes} classes"
            + ("" if ignore_index is None else f", or {ignore_index} (ignore_index)"),
            found=int(target[wrong][0]),
            cure="number the classes from 0, or name the label to ignore: ignore_index=...",
        )


def check_probs(probs: Tensor, name: str = "probs") -> None:
    """Raises UserError where probabilities (B, K, ...) or (K,) are negative or do not sum to one over the K classes.

    The sum may be off by 1e-4 in float32 and float64, 0.05 in half precision. Synchronises with the device.

    >>> check_probs(torch.tensor([[0.25, 0.75]]))
    """
    probs = probs.detach()
    tolerance = 0.05 if probs.dtype in (torch.float16, torch.bfloat16) else 1e-4
    cure = "take softmax of logits first, or use the loss that takes logits"
    negative = ~(probs >= 0)
    if negative.any():
        raise UserError(
            f"{name} has a value that is no probability",
            where=f"{name}[{_place(negative)}]",
            expected="0 or more",
            found=float(probs[negative][0]),
            cure=cure,
        )
    sums = probs.sum(class_dim(probs), dtype=torch.promote_types(probs.dtype, torch.float32))
    off = ~((sums - 1).abs() <= tolerance)
    if off.any():
        raise UserError(
            f"{name} does not sum to one over the classes",
            where=f"sample {_place(off)}" if off.dim() else None,
            expected="1",
            found=float(sums[off][0]),
            cure=cure,
        )


def check_binary(target: Tensor, ignore_index: int | None = None) -> None:
    """Raises UserError where a target is outside [0, 1] and is not `ignore_index`. Synchronises with the device.

    >>> check_binary(torch.tensor([0.0, 0.3, 1.0]))
    """
    wrong = ~((target >= 0) & (target <= 1))
    if ignore_index is not None:
        wrong &= target != ignore_index
    if wrong.any():
        raise UserError(
            "a target is no probability",
            where=f"target[{_place(wrong)}]",
            expected="0 to 1",
            found=float(target[wrong][0]),
            cure="for targets of -1 and +1: (target + 1) / 2",
        )


def check_signs(target: Tensor) -> None:
    """Raises UserError where a target is neither -1 nor +1. Synchronises with the device.

    >>> check_signs(torch.tensor([-1, 1]))
    """
    wrong = target.abs() != 1
    if wrong.any():
        raise UserError(
            "a target is neither -1 nor +1",
            where=f"target[{_place(wrong)}]",
            expected="-1 or +1",
            found=float(target[wrong][0]),
            cure="for targets of 0 and 1: 2 * target - 1",
        )


def class_dim(x: Tensor) -> int:
    """The dimension of the classes: 1 of (B, K, ...), and 0 of (K,), which is one sample without a batch."""
    return 0 if x.dim() == 1 else 1


def as_float(x: Tensor, name: str) -> Tensor:
    """x itself, or in float32 where it is of half precision; UserError where it is not floating."""
    if not x.is_floating_point():
        raise UserError(
            f"{name} must be floating-point numbers",
            expected="float32, float64, bfloat16 or float16",
            found=_type(x),
            cure=f"{name}.float(), or give the arguments in their order: the network's answer first",
        )
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def check_same_shape(name: str, x: Tensor, other_name: str, other: Tensor) -> None:
    """UserError where the shapes differ; nothing is broadcast, since (B,) against (B, 1) would silently give (B, B)."""
    if x.shape != other.shape:
        raise UserError(
            f"{name} and {other_name} must have the same shape; nothing is broadcast",
            expected=f"{other_name} {tuple(other.shape)}",
            found=f"{name} {tuple(x.shape)}",
            cure="squeeze, unsqueeze or expand one of them first",
        )


def check_class_target(scores: Tensor, target: Tensor, ignore_index: int | None = None, name: str = "logits") -> None:
    """UserError where `target` is not one label for each place of scores (B, K, ...), or has a value out of range."""
    if scores.dim() == 0 or not scores.shape[class_dim(scores)]:
        raise UserError(f"{name} has no classes", expected="(B, K, ...) with K of 1 or more", found=tuple(scores.shape))
    expected = scores.shape[: class_dim(scores)] + scores.shape[class_dim(scores) + 1 :]
    if target.is_floating_point() or target.is_complex() or target.dtype == torch.bool:
        raise UserError(
            "labels must be integers",
            expected="torch.int64",
            found=_type(target),
            cure="target.long(); for a probability a class give it the shape of the logits",
        )
    if target.shape != expected:
        raise UserError(
            "there must be one label for each sample (and place)",
            expected=f"target {tuple(expected)} for {name} {tuple(scores.shape)}",
            found=f"target {tuple(target.shape)}",
            cure="target.squeeze(1)" if target.shape == (*expected, 1) else None,
        )
    if values_are_readable(target):
        check_labels(target, scores.shape[class_dim(scores)], ignore_index)


def values_are_readable(x: Tensor) -> bool:
    """Whether values can be read without synchronising with a device and without breaking a compiled graph."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def check_number(name: str, value: float, least: float, most: float = float("inf")) -> None:
    """UserError where a number is not in [least, most]; NaN is not."""
    if not least <= value <= most:
        upper = "" if most == float("inf") else f" to {most:g}"
        raise UserError(f"{name} is out of range", expected=f"{least:g}{upper or ' or more'}", found=value)


def _place(mask: Tensor) -> str:
    """The first True of a mask as indices: '3' or '0, 2'."""
    return ", ".join(str(int(i)) for i in mask.nonzero()[0])


def _type(x: Tensor) -> str:
    return f"{x.dtype} {tuple(x.shape)}"
