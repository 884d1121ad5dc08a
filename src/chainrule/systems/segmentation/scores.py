"""Scores of segmentation: counts over the whole set, then ratios; never a mean over images.

Shapes: B images, H x W pixels, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.core.errors import UserError

VOID = 255  # the mark of pixels that count nowhere


def confusion(pred: Tensor, target: Tensor, num_classes: int, ignore: int = VOID) -> Tensor:
    """How many pixels of each true class (rows) were given each class (columns): whole numbers (K, K).

    Matrices of several batches are added; `scores` makes ratios of the sum.

    Args:
        pred: classes answered, 0 to K - 1, of any shape.
        target: true classes, of the same shape; pixels that are `ignore` count nowhere, whatever was answered there.
        num_classes: K.
        ignore: the mark of void.

    Raises:
        UserError: shapes differ; a class is out of range.

    >>> confusion(torch.tensor([0, 1, 1, 1]), torch.tensor([0, 0, 1, 255]), 2).tolist()
    [[1, 1], [0, 1]]
    """
    if pred.shape != target.shape:
        raise UserError(
            "answers and truth are of different shapes", expected=tuple(target.shape), found=tuple(pred.shape)
        )
    used = target != ignore
    truth, answered = target[used].long(), pred[used].long()
    for what, values in (("the truth", truth), ("the answer", answered)):
        if values.numel() and (int(values.min()) < 0 or int(values.max()) >= num_classes):
            wrong = values[(values < 0) | (values >= num_classes)]
            raise UserError(
                f"{what} has a class that is not there",
                expected=f"0 to {num_classes - 1}, or {ignore} in the truth for void",
                found=int(wrong[0]),
            )
    return torch.bincount(truth * num_classes + answered, minlength=num_classes**2).view(num_classes, num_classes)


def scores(confusion: Tensor) -> dict[str, float | list[float]]:
    """The scores of a confusion matrix (K, K), rows the truth.

        iou_k = n_kk / (t_k + a_k - n_kk),    t_k = sum_j n_kj,    a_k = sum_i n_ik
        miou            mean of iou_k over the classes that are in the truth or in the answer
        pixel_accuracy  sum_k n_kk / sum_k t_k
        mean_accuracy   mean of n_kk / t_k over the classes that are in the truth
        fw_iou          sum_k t_k iou_k / sum_k t_k
        dice            2 n_11 / (t_1 + a_1), of the second class, where there are two

    Returns:
        These, and `iou`, a list by class: NaN for a class that is in neither, 0 for one that is in one of them alone. Where
        no pixel counts, all are NaN.

    Source: Long, Shelhamer, Darrell 2015, section 5; dice: Sorensen 1948.

    >>> found = scores(torch.tensor([[3, 1, 0], [0, 4, 0], [0, 0, 0]]))
    >>> found["miou"], found["iou"], found["pixel_accuracy"]
    (0.775, [0.75, 0.8, nan], 0.875)
    """
    n = confusion.double()
    right, truth, answered = n.diagonal(), n.sum(1), n.sum(0)
    union, pixels = truth + answered - right, n.sum()
    iou = right / union  # 0 / 0 is NaN: in neither
    accuracy = right / truth
    found: dict[str, float | list[float]] = {
        "miou": float(iou.nanmean()),
        "pixel_accuracy": float(right.sum() / pixels),
        "mean_accuracy": float(accuracy.nanmean()),
        "fw_iou": float((truth * iou).nansum() / pixels),
    }
    if len(n) == 2:
        found["dice"] = float(2 * right[1] / (truth[1] + answered[1]))
    return found | {"iou": iou.tolist()}


def boundary_counts(
    pred: Tensor, target: Tensor, num_classes: int, tolerance: float | None = None, ignore: int = VOID
) -> Tensor:
    """Of each class the pixels on its boundary, and how many of them have the other's boundary near: (4, K).

    A pixel is on the boundary of its class where one of its four neighbours is of another one. Void is of none, and the edge
    of the image is no boundary. Rows: answered, of these with true ones near, true, of these with answered ones near.

    Args:
        pred, target: classes (B, H, W).
        num_classes: K.
        tolerance: how far "near" is, in pixels between centres; 0.75 % of the diagonal unless given.
        ignore: the mark of void.

    Source: Csurka, Larlus, Perronnin: What is a good evaluation measure for semantic segmentation?, BMVC 2013.

    >>> truth = torch.tensor([[[0, 0, 0, 1, 1, 1]]])
    >>> answer = torch.tensor([[[0, 0, 0, 0, 1, 1]]])
    >>> boundary_counts(answer, truth, 2, tolerance=0).tolist(), boundary_counts(answer, truth, 2, tolerance=1)[1].tolist()
    ([[1, 1], [0, 0], [1, 1], [0, 0]], [1, 1])
    """
    height, width = target.shape[-2:]
    if tolerance is None:
        tolerance = 0.0075 * (height**2 + width**2) ** 0.5
    pred = pred.where(target != ignore, ignore)
    edges = [_boundary(labels, ignore) for labels in (pred, target)]
    counts = torch.zeros(4, num_classes, dtype=torch.long, device=target.device)
    for k in range(num_classes):
        answered, true = ((labels == k) & edge for labels, edge in zip((pred, target), edges, strict=True))
        near_true, near_answered = _near(answered, true, tolerance), _near(true, answered, tolerance)
        counts[:, k] = torch.stack([answered.sum(), near_true, true.sum(), near_answered])
    return counts


def boundary_f1(counts: Tensor) -> float:
    """The mean over classes of 2 P R / (P + R), P and R the shares of boundary pixels with the other's near.

    Of a class that has a boundary in one of them alone it is 0; one with none in either is left out.

    >>> boundary_f1(torch.tensor([[4, 0, 2], [2, 0, 0], [4, 0, 0], [4, 0, 0]]))  # (2/3 + 0) / 2
    0.3333333333333333
    """
    answered, answered_near, true, true_near = counts.double()
    there = answered + true > 0
    precision = answered_near / answered.clamp_min(1)
    recall = true_near / true.clamp_min(1)
    f1 = 2 * precision * recall / (precision + recall).clamp_min(1e-300)
    return float(f1[there].mean())


def _boundary(labels: Tensor, ignore: int) -> Tensor:
    """Where a pixel's neighbour above, below, left or right is of another class, and neither is void: (B, H, W)."""
    edge = torch.zeros_like(labels, dtype=torch.bool)
    for axis in (-2, -1):
        size = labels.shape[axis] - 1
        first, second = labels.narrow(axis, 0, size), labels.narrow(axis, 1, size)
        differs = (first != second) & (first != ignore) & (second != ignore)
        edge.narrow(axis, 0, size).logical_or_(differs)
        edge.narrow(axis, 1, size).logical_or_(differs)
    return edge


def _near(line: Tensor, other: Tensor, tolerance: float) -> Tensor:
    """How many pixels of `line` (B, H, W) have one of `other` within `tolerance`.

    The disk is looked through row by row: whether a row of it has any pixel is the difference of two running counts.
    """
    image, y, x = line.nonzero(as_tuple=True)
    height, width = other.shape[-2:]
    before = F.pad(other.cumsum(-1, dtype=torch.int32), (1, 0))  # (B, H, W + 1): pixels left of each place
    near = torch.zeros_like(y, dtype=torch.bool)
    reach = int(tolerance)
    for shift in range(-reach, reach + 1):
        half = math.isqrt(int(tolerance**2 - shift**2))
        row = y + shift
        inside = (row >= 0) & (row < height)
        row = row.clamp(0, height - 1)
        count = before[image, row, (x + half + 1).clamp_max(width)] - before[image, row, (x - half).clamp_min(0)]
        near |= inside & (count > 0)
    return near.sum()


def without_lists(found: Mapping[str, float | list[float]]) -> dict[str, float]:
    """The scores that are one number."""
    return {name: value for name, value in found.items() if isinstance(value, float)}


TOPICS = (
    Topic(
        "Mean intersection over union",
        "平均交并比 mIoU",
        code=("confusion", "scores"),
        command="chainrule evaluate RUN",
    ),
)
