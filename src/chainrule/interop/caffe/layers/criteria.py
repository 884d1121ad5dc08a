"""Caffe's loss layers and its accuracy, as functions of blobs.

Labels come as whole numbers of any type, with or without axes of size 1 behind.

Source: Caffe, src/caffe/layers: the file of each layer's name; loss_layer.cpp, GetNormalizer.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor

from chainrule.core.errors import UserError
from chainrule.functional import losses
from chainrule.functional.losses import Normalization
from chainrule.functional.losses.normalization import reduce_losses

NORMALIZATIONS: dict[int, Normalization] = {0: "full", 1: "valid", 2: "batch", 3: "none"}  # by Caffe's numbers


def normalization_of(loss_param: Any, default: Normalization) -> Normalization:
    """What a loss is divided by: `normalization`, else the older `normalize` (false: by the batch), else the default."""
    if loss_param.HasField("normalization"):
        return NORMALIZATIONS[loss_param.normalization]
    if loss_param.HasField("normalize"):
        return "valid" if loss_param.normalize else "batch"
    return default


def softmax_loss(
    scores: Tensor,
    label: Tensor,
    *,
    axis: int = 1,
    ignore_label: int | None = None,
    normalization: Normalization = "valid",
    with_probs: bool = False,
) -> Any:
    """-log softmax(scores)[label] along an axis, summed over what lies before it and behind, and divided.

    `batch` divides by what lies before the axis, `full` by all, `valid` by all that are not ignored.
    """
    rows, labels = _rows(scores, label, axis, ignore_label)
    loss = losses.cross_entropy(rows, labels, ignore_index=ignore_label, normalization=normalization)
    return (loss, scores.softmax(axis)) if with_probs else loss


def logistic_loss(probs: Tensor, label: Tensor) -> Tensor:
    """-log of the probability at the label, at least 1e-20, mean over samples: Caffe's MultinomialLogisticLoss."""
    rows, labels = _rows(probs.flatten(1), label, 1)
    return -rows.gather(1, labels[:, None]).clamp_min(1e-20).log().mean()


def sigmoid_loss(
    scores: Tensor, target: Tensor, *, ignore_label: int | None = None, normalization: Normalization = "batch"
) -> Tensor:
    """Sigmoid cross entropy of every element, summed and divided; by the batch, unless it is said.

    A target is ignored where it is the ignored label after its fraction is cut off, as Caffe has it: 0.7 where that is 0.
    """
    target = target.reshape(scores.shape).to(scores.dtype)
    if ignore_label is not None:
        ignore_label, hit = -1, target.trunc() == ignore_label
        target = target.masked_fill(hit, -1.0)
    return losses.sigmoid_cross_entropy(scores, target, ignore_index=ignore_label, normalization=normalization)


def infogain_loss(
    scores: Tensor,
    label: Tensor,
    infogain: Tensor,
    *,
    axis: int = 1,
    ignore_label: int | None = None,
    normalization: Normalization = "valid",
    with_probs: bool = False,
) -> Any:
    """-sum over k of H[label, k] log softmax(scores)[k] along an axis, summed and divided: H (K, K) the information gain.

    With H the identity it is `softmax_loss`. Source: Caffe, infogain_loss_layer.cpp.
    """
    rows, labels = _rows(scores, label, axis, ignore_label)  # (outer, K, inner) or (N, K)
    count = scores.shape[axis % scores.dim()]
    if infogain.numel() != count * count:
        raise UserError(
            "the matrix of information gain does not fit", expected=f"{count} x {count}", found=tuple(infogain.shape)
        )
    keep = torch.ones_like(labels, dtype=torch.bool) if ignore_label is None else labels != ignore_label
    gains = infogain.reshape(count, count).to(scores)[labels.where(keep, 0)]  # (outer, inner, K) or (N, K)
    each = -(gains * rows.movedim(1, -1).log_softmax(-1)).sum(-1)
    loss = reduce_losses(each, keep, normalization)
    return (loss, scores.softmax(axis)) if with_probs else loss


def euclidean_loss(a: Tensor, b: Tensor) -> Tensor:
    """1 / (2 N) sum (a - b)^2."""
    if a[0].numel() != b[0].numel():
        raise UserError("the blobs differ in size", expected=tuple(a.shape), found=tuple(b.shape))
    return losses.euclidean(a, b.reshape(a.shape))


def hinge_loss(scores: Tensor, label: Tensor, *, norm: str = "L1") -> Tensor:
    """1 / N sum max(0, 1 - y s), y = 1 for the label and -1 for the others; with norm L2 of the squares."""
    rows, labels = _rows(scores.flatten(1), label, 1)
    return losses.hinge(rows, labels, norm=norm)  # type: ignore[arg-type]


def contrastive_loss(a: Tensor, b: Tensor, same: Tensor, *, margin: float = 1.0, legacy: bool = False) -> Tensor:
    """1 / (2 N) sum of d^2 for alike pairs, max(0, margin - d)^2 for others; legacy: max(0, margin - d^2)."""
    form: Literal["legacy", "hadsell"] = "legacy" if legacy else "hadsell"
    return losses.contrastive(a.flatten(1), b.flatten(1), same.reshape(len(a)), margin=margin, form=form)


def accuracy(
    scores: Tensor,
    label: Tensor,
    *,
    top_k: int = 1,
    axis: int = 1,
    ignore_label: int | None = None,
    per_class: bool = False,
) -> Any:
    """The share of labels whose score is among the top_k; of equal scores none is ahead, so ties count against it.

    With `per_class` also that share of each class's own (K,), 0 where a class has none.

    >>> float(accuracy(torch.tensor([[0.1, 0.9], [0.5, 0.5]]), torch.tensor([1, 0])))
    0.5
    """
    rows, labels = _rows(scores, label, axis, ignore_label)
    counts = torch.ones_like(labels, dtype=torch.bool) if ignore_label is None else labels != ignore_label
    own = rows.gather(1, labels.where(counts, 0)[:, None])
    right = ((rows >= own).sum(1) <= top_k) & counts
    share = right.sum() / counts.sum().clamp_min(1).to(scores.dtype)
    if not per_class:
        return share
    bins = labels.where(counts, 0).flatten()
    sums = scores.new_zeros(2, scores.shape[axis % scores.dim()])
    sums = sums.index_add(1, bins, torch.stack([right.flatten(), counts.flatten()]).to(scores.dtype))
    return share, sums[0] / sums[1].clamp_min(1)


def _rows(scores: Tensor, label: Tensor, axis: int, ignore_label: int | None = None) -> tuple[Tensor, Tensor]:
    """Scores as (outer, K, inner) with labels (outer, inner), or (N, K) with (N,) where there is no inner."""
    axis = axis % scores.dim()
    shape = (*scores.shape[:axis], *scores.shape[axis + 1 :])
    outer = scores.shape[:axis].numel()
    if label.numel() != math.prod(shape):
        raise UserError(
            "there must be one label for each prediction",
            expected=f"{tuple(shape)} for scores {tuple(scores.shape)}",
            found=tuple(label.shape),
        )
    if label.device.type == "cpu" and not torch.compiler.is_compiling():
        losses.check_labels(label, scores.shape[axis], ignore_label)
    if axis == scores.dim() - 1:
        return scores.reshape(outer, scores.shape[axis]), label.reshape(outer).long()
    return scores.reshape(outer, scores.shape[axis], -1), label.reshape(outer, -1).long()
