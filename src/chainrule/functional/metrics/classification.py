"""How good answers into classes are where accuracy alone misleads: classes of unequal size.

Each is of a whole split: true classes (N,) int64, and answers (N,) or scores (N, K). A class that the split has no sample
of is left out of the means over classes, so none of them is NaN.
"""

from __future__ import annotations

import torch
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.core.errors import UserError


def balanced_accuracy(target: Tensor, answer: Tensor) -> float:
    """The mean over classes of the share of their samples that are answered rightly (recall).

    Over the classes that there are samples of.

    Args:
        target, answer: classes (N,) int64.

    Raises:
        UserError: there is no sample, or the two have unequal lengths.

    Source: Brodersen et al.: The balanced accuracy and its posterior distribution, 2010.

    >>> balanced_accuracy(torch.tensor([0, 0, 0, 1]), torch.tensor([0, 0, 0, 0]))
    0.5
    """
    right, size, _ = _counts(target, answer)
    return float((right / size)[size > 0].mean())


def macro_f1(target: Tensor, answer: Tensor) -> float:
    """The mean over classes of F1 = 2 TP / (2 TP + FP + FN), the harmonic mean of precision and recall.

    Over the classes that there are samples of or that were answered; one that was never answered has 0.

    Args:
        target, answer: classes (N,) int64.

    Raises:
        UserError: there is no sample, or the two have unequal lengths.

    Source: van Rijsbergen: Information retrieval, 1979, chapter 7; Manning, Raghavan, Schuetze 2008, section 13.6.

    >>> macro_f1(torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 1, 1]))  # 2/3 and 4/5
    0.7333333333333334
    """
    right, size, answered = _counts(target, answer)
    seen = size + answered > 0
    return float((2 * right / (size + answered))[seen].mean())


def roc_auc(target: Tensor, scores: Tensor) -> float | None:
    """The area under the ROC: of two classes, and the mean of each class against the rest beyond two.

    That of a class is the probability that a sample of it has a larger score for it than a sample of another class; equals
    count half. Beyond two classes the mean is over those that some samples are of and others are not; None where there is
    none of them: the split has one class alone.

    Args:
        target: classes (N,) int64.
        scores: (N, K); of two classes (N,), those of class 1, or (N, 2), whose difference ranks the samples.

    Raises:
        UserError: there is no sample, or the shapes do not fit.

    Source: Hanley and McNeil: The meaning and use of the area under a ROC curve, 1982.

    >>> roc_auc(torch.tensor([0, 1, 1]), torch.tensor([[0.6, 0.4], [0.5, 0.5], [0.7, 0.3]]))
    0.5
    """
    if scores.dim() not in (1, 2) or len(scores) != len(target) or not len(target):
        raise UserError(
            "scores and classes do not fit", expected=f"({len(target)}, K), N above 0", found=tuple(scores.shape)
        )
    scores = scores.double()
    if scores.dim() == 1:
        return _auc(target == 1, scores)
    if scores.shape[1] == 2:
        return _auc(target == 1, scores[:, 1] - scores[:, 0])
    areas = [_auc(target == k, scores[:, k]) for k in range(scores.shape[1])]
    found = [area for area in areas if area is not None]
    return sum(found) / len(found) if found else None


def class_weights(target: Tensor, num_classes: int) -> Tensor:
    """N / (K n_k) for each class (K,) float64: the weights with which every class counts alike, and the mean of all is 1.

    Args:
        target: classes (N,) int64.
        num_classes: K.

    Raises:
        UserError: a class has no sample.

    Source: King and Zeng: Logistic regression in rare events data, 2001; scikit-learn's `balanced`.

    >>> class_weights(torch.tensor([0, 0, 0, 1]), 2).tolist()
    [0.6666666666666666, 2.0]
    """
    counts = target.bincount(minlength=num_classes).double()
    if bool((counts == 0).any()):
        raise UserError("a class has no sample to be weighed by", found=f"class {int(counts.argmin())}")
    return len(target) / (num_classes * counts)


def _counts(target: Tensor, answer: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of each class, float64: samples that are answered rightly, samples, answers."""
    if target.shape != answer.shape or not len(target):
        raise UserError(
            "answers and classes do not fit", expected=f"({len(target)},), above 0", found=tuple(answer.shape)
        )
    classes = int(torch.maximum(target.max(), answer.max())) + 1
    parts = (target[target == answer], target, answer)
    right, size, answered = (part.bincount(minlength=classes).double() for part in parts)
    return right, size, answered


def _auc(positive: Tensor, score: Tensor) -> float | None:
    """Mann and Whitney's statistic by the sum of the positives' ranks, equals at their mean rank."""
    count = int(positive.sum())
    if count in (0, len(positive)):
        return None
    _, place, sizes = score.unique(return_inverse=True, return_counts=True)
    last = sizes.cumsum(0).double()  # the rank, from 1, of the last of each group of equals
    ranks = (last - (sizes - 1) / 2)[place]
    above = float(ranks[positive].sum()) - count * (count + 1) / 2
    return above / (count * (len(positive) - count))


TOPICS = (
    Topic(
        "Classes of unequal size: balanced accuracy, F1, ROC and AUC",
        "类别不均衡：平衡准确率、F1、ROC 与 AUC",
        code=("balanced_accuracy", "macro_f1", "roc_auc", "class_weights"),
        command="chainrule train logistic-regression balance=yes",
    ),
)
