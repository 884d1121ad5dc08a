"""Margin losses of classifiers that give scores: 0-1, hinge, perceptron.

Shapes: B samples, K classes, ... positions in a sample if there are any. Scores (B, K, ...) have labels (B, ...); the
binary losses have scores and targets -1 or +1 of one shape. An item, for `normalization`, is a sample (or position).
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.core.errors import UserError, unknown
from chainrule.functional.losses.normalization import (
    Normalization,
    as_float,
    check_class_target,
    check_same_shape,
    check_signs,
    class_dim,
    reduce_losses,
    values_are_readable,
)

HingeForm = Literal["one_vs_all", "crammer_singer", "weston_watkins"]
HingeNorm = Literal["L1", "L2"]


def zero_one(
    predicted: Tensor, target: Tensor, *, ignore_index: int | None = None, normalization: Normalization = "valid"
) -> Tensor:
    """1 where the answer is wrong and 0 where it is right; its mean is the error rate. It has no gradient.

    Args:
        predicted: integer labels of the shape of `target`; or floating scores (B, K, ...), whose largest is the answer
            (the first of equals). Scores with NaN are wrong answers.
        target: integer labels (B, ...).
        ignore_index: places with this label are left out.

    Raises:
        UserError: shapes that do not fit, or a label out of range.

    >>> float(zero_one(torch.tensor([2, 0, 1, 1]), torch.tensor([2, 0, 1, 0])))
    0.25
    """
    if predicted.is_floating_point():
        check_class_target(predicted, target, ignore_index, "predicted")
        dim = class_dim(predicted)
        wrong = (predicted.argmax(dim) != target) | predicted.isnan().any(dim)
    else:
        check_same_shape("predicted", predicted, "target", target)
        if target.is_floating_point():
            raise UserError("labels must be integers", expected="torch.int64", found=target.dtype, cure="target.long()")
        wrong = predicted != target
    keep = None if ignore_index is None else target != ignore_index
    return reduce_losses(wrong.float(), keep, normalization)


def hinge(
    scores: Tensor,
    target: Tensor,
    *,
    form: HingeForm = "one_vs_all",
    norm: HingeNorm = "L1",
    normalization: Normalization = "valid",
) -> Tensor:
    """The hinge loss of K classes, h(z) = max(0, 1 - z), or with norm L2 its square.

    - `one_vs_all`: sum_k h(y_k s_k) with y_k = +1 for the true class and -1 for the others (Caffe's HingeLoss).
    - `crammer_singer`: h(s_y - max_{k != y} s_k), the worst rival alone (scikit-learn's hinge_loss).
    - `weston_watkins`: sum_{k != y} h(s_y - s_k), all rivals (K times torch's multi_margin_loss).

    For Caffe's layer the sum of h (L1) or of h^2 (L2) is divided by the number of samples, which is the default here.

    Args:
        scores: (B, K, ...), floating, any size.
        target: integer labels (B, ...).
        form, norm, normalization: see above, and `reduce_losses`.

    Raises:
        UserError: shapes that do not fit, a label out of range, fewer than two classes where rivals are compared.

    Source: Caffe, hinge_loss_layer.cpp; Crammer and Singer: On the algorithmic implementation of multiclass
    kernel-based vector machines, 2001, section 3; Weston and Watkins: Support vector machines for multi-class pattern
    recognition, 1999.

    >>> scores, target = torch.tensor([[2.0, 0.5, -3.0]]), torch.tensor([1])
    >>> float(hinge(scores, target)), float(hinge(scores, target, norm="L2"))  # 3 + 0.5 + 0; 9 + 0.25 + 0
    (3.5, 9.25)
    >>> float(hinge(scores, target, form="crammer_singer"))  # 1 - (0.5 - 2)
    2.5
    """
    if form not in get_args(HingeForm):
        raise unknown("there is no form of the hinge loss", str(form), get_args(HingeForm))
    scores = as_float(scores, "scores")
    check_class_target(scores, target, name="scores")
    dim = class_dim(scores)
    index = target.long().unsqueeze(dim)
    of_target = scores.gather(dim, index)  # s_y, (B, 1, ...)
    if form == "one_vs_all":
        margins = -scores.scatter(dim, index, -of_target)  # y_k s_k: +s_y at the true class, -s_k elsewhere
        return reduce_losses(_hinge(margins, norm).sum(dim), None, normalization)
    if scores.shape[dim] < 2:
        raise UserError("one class has no rival", expected="scores for 2 classes or more", found=tuple(scores.shape))
    rivals = scores.scatter(dim, index, -torch.inf)  # the true class is no rival: h(s_y + inf) = 0
    if form == "crammer_singer":
        rivals = rivals.amax(dim, keepdim=True)
    return reduce_losses(_hinge(of_target - rivals, norm).sum(dim), None, normalization)


def binary_hinge(
    scores: Tensor, target: Tensor, *, norm: HingeNorm = "L1", normalization: Normalization = "valid"
) -> Tensor:
    """max(0, 1 - y s), or with norm L2 its square: the loss of the support vector machine.

    Args:
        scores: s, any shape, floating.
        target: y of the same shape, -1 or +1.

    Source: Cortes and Vapnik: Support-vector networks, 1995, equation 27 ff.

    >>> float(binary_hinge(torch.tensor([0.5, -2.0]), torch.tensor([1, -1]), normalization="none"))
    0.5
    """
    return reduce_losses(_hinge(_signed(scores, target), norm), None, normalization)


def perceptron(scores: Tensor, target: Tensor, *, normalization: Normalization = "valid") -> Tensor:
    """max(0, -y s): zero on the right side, and the distance from it (times |w|) on the wrong one.

    The gradient in s of a sample on the wrong side is -y, so that descent with rate 1 on one sample at a time is
    Rosenblatt's rule w <- w + y x. On the boundary itself (s = 0) the sample counts as wrong for the gradient, as
    the rule has it (y s <= 0), although its loss is 0.

    Args:
        scores: s, any shape, floating.
        target: y of the same shape, -1 or +1.

    Source: Rosenblatt 1958; in this form Bishop 2006, equation 4.54.

    >>> perceptron(torch.tensor([3.0, -2.0]), torch.tensor([1, 1]), normalization="unreduced").tolist()
    [0.0, 2.0]
    """
    margin = _signed(scores, target)
    return reduce_losses(torch.where(margin <= 0, -margin, 0.0), None, normalization)


def multiclass_perceptron(scores: Tensor, target: Tensor, *, normalization: Normalization = "valid") -> Tensor:
    """max_k s_k - s_y: by how much the answer exceeds the true class; zero where the answer is right.

    Args:
        scores: (B, K, ...), floating.
        target: integer labels (B, ...).

    Source: Crammer and Singer: Ultraconservative online algorithms for multiclass problems, 2003, section 3.

    >>> float(multiclass_perceptron(torch.tensor([[1.0, 4.0, 2.0]]), torch.tensor([2])))
    2.0
    """
    scores = as_float(scores, "scores")
    check_class_target(scores, target, name="scores")
    dim = class_dim(scores)
    of_target = scores.gather(dim, target.long().unsqueeze(dim)).squeeze(dim)
    return reduce_losses(scores.max(dim).values - of_target, None, normalization)


def _hinge(margins: Tensor, norm: HingeNorm) -> Tensor:
    if norm not in get_args(HingeNorm):
        raise unknown("there is no norm of the hinge loss", str(norm), get_args(HingeNorm))
    short = (1 - margins).clamp_min(0)
    return short if norm == "L1" else short.square()


def _signed(scores: Tensor, target: Tensor) -> Tensor:
    scores = as_float(scores, "scores")
    check_same_shape("target", target, "scores", scores)
    if values_are_readable(target):
        check_signs(target)
    return target.to(scores.dtype) * scores


TOPICS = (
    Topic(
        "Losses: squared, hinge, triplet, focal, label smoothing",
        "损失函数：平方、合页、三元组、focal、标签平滑",
        lectures=(1, 2, 3, 4),
        code=("hinge", "zero_one"),
        command="chainrule train linear-svm loss=hinge",
    ),
)
