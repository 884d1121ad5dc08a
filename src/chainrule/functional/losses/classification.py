"""Losses of classifiers that give probabilities: cross entropies, divergence, label smoothing, focal losses. In nats.

Shapes: B samples, K classes, ... positions in a sample (pixels, steps) if there are any. Logits (B, K, ...) have labels
(B, ...); a single sample (K,) has the label (). An item, in the sense of `reduce_losses`, is a position.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from chainrule.core.course import Topic
from chainrule.core.errors import UserError
from chainrule.functional.losses.normalization import (
    Normalization,
    as_float,
    check_binary,
    check_class_target,
    check_number,
    check_probs,
    check_same_shape,
    class_dim,
    reduce_losses,
    values_are_readable,
)


def cross_entropy(
    logits: Tensor, target: Tensor, *, ignore_index: int | None = None, normalization: Normalization = "valid"
) -> Tensor:
    """-log softmax(logits)[target], the softmax loss; for targets that are probabilities t, -sum_k t_k log softmax_k.

    Args:
        logits: (B, K, ...) or (K,), floating. Half precision is computed in float32.
        target: labels, integers (B, ...) from 0 to K - 1; or floating probabilities of the shape of the logits.
        ignore_index: places with this label are left out; with probabilities there is none.
        normalization: see `reduce_losses`.

    Raises:
        UserError: integer logits, shapes that do not fit, labels out of range, probabilities that do not sum to one.

    Source: Bishop: Pattern Recognition and Machine Learning, 2006, equation 4.108.

    >>> logits = torch.tensor([[0.0, 0.0], [1e4, -1e4]])
    >>> cross_entropy(logits, torch.tensor([0, 1]), normalization="unreduced").tolist()
    [0.6931471824645996, 20000.0]
    """
    logits = as_float(logits, "logits")
    if not target.is_floating_point():
        check_class_target(logits, target, ignore_index)
        return _label_loss(_log_softmax(logits), target, ignore_index, normalization)
    check_same_shape("target", target, "logits", logits)
    if ignore_index is not None:
        raise UserError(
            "targets that are probabilities have no label to ignore",
            found=f"ignore_index={ignore_index}",
            cure='normalization="unreduced" and reduce_losses with a keep_mask',
        )
    if values_are_readable(target):
        check_probs(target, "target")
    values = -(target.to(logits.dtype) * _log_softmax(logits)).sum(class_dim(logits))  # (B, K, ...) -> (B, ...)
    return reduce_losses(values, None, normalization)


def cross_entropy_from_probs(
    probs: Tensor, target: Tensor, *, ignore_index: int | None = None, normalization: Normalization = "valid"
) -> Tensor:
    """-log probs[target], of what is already a distribution.

    Below the smallest normal number (1.2e-38 in float32) a probability counts as that number, as in Caffe, and its
    gradient is zero: train from logits where you have them, with `cross_entropy`.

    Args:
        probs: (B, K, ...) or (K,), non-negative, summing to one over the classes.
        target, ignore_index, normalization: as for labels in `cross_entropy`.

    Source: Caffe, softmax_loss_layer.cpp.

    >>> float(cross_entropy_from_probs(torch.tensor([[0.5, 0.5]]), torch.tensor([1])))
    0.6931471824645996
    """
    tiny = torch.finfo(torch.float32).tiny
    values = as_float(probs, "probs")
    check_class_target(values, target, ignore_index, "probs")
    if values_are_readable(probs):
        check_probs(probs)
    return _label_loss(values.clamp_min(tiny).log(), target, ignore_index, normalization)


def label_smoothing(
    logits: Tensor,
    target: Tensor,
    *,
    smoothing: float = 0.1,
    ignore_index: int | None = None,
    normalization: Normalization = "valid",
) -> Tensor:
    """Cross entropy to (1 - s) one_hot(target) + s / K: -(1 - s) log p[target] - s / K sum_k log p_k.

    Args:
        logits, target, ignore_index, normalization: as for labels in `cross_entropy`.
        smoothing: s from 0 to 1.

    Source: Szegedy et al.: Rethinking the Inception architecture, 2016 (arXiv 1512.00567), section 7.

    >>> float(label_smoothing(torch.zeros(1, 4), torch.tensor([2])).exp())
    4.0
    """
    check_number("smoothing", smoothing, 0, 1)
    logits = as_float(logits, "logits")
    check_class_target(logits, target, ignore_index)
    log_probs = _log_softmax(logits)
    # -(1 - s) log p[target] - s / K sum_k log p_k, read off at the target
    smoothed = (1 - smoothing) * log_probs + smoothing * log_probs.mean(class_dim(logits), keepdim=True)
    return _label_loss(smoothed, target, ignore_index, normalization)


def sigmoid_cross_entropy(
    logits: Tensor, target: Tensor, *, ignore_index: int | None = None, normalization: Normalization = "valid"
) -> Tensor:
    """-t log s(x) - (1 - t) log(1 - s(x)) for each element, s the sigmoid: K questions of yes or no.

    Args:
        logits: x, any shape, floating.
        target: t of the same shape, from 0 to 1, of any type.
        ignore_index: elements with this target are left out.
        normalization: over elements; `valid` is torch's mean, Caffe's layer takes `batch` by default.

    Source: Caffe, sigmoid_cross_entropy_loss_layer.cpp.

    >>> x = torch.tensor([[0.0, 1e4]])
    >>> sigmoid_cross_entropy(x, torch.tensor([[1, 0]]), normalization="unreduced").tolist()
    [[0.6931471824645996, 10000.0]]
    """
    x, t, keep = _binary(logits, target, ignore_index)
    return reduce_losses(-(t * F.logsigmoid(x) + (1 - t) * F.logsigmoid(-x)), keep, normalization)


def focal(
    logits: Tensor,
    target: Tensor,
    *,
    alpha: float | None = 0.25,
    gamma: float = 2.0,
    ignore_index: int | None = None,
    normalization: Normalization = "valid",
) -> Tensor:
    """-a_t (1 - p_t)^gamma log p_t for each element, where p_t is the probability given to the true answer.

    p_t is s(x) for target 1 and 1 - s(x) for target 0; a_t is alpha for 1 and 1 - alpha for 0. Easy elements have
    little weight. Detectors divide the sum (`none`) by the number of matched anchors.

    Args:
        logits: x, any shape, floating.
        target: of the same shape, 0 or 1.
        alpha: the share of the positive class, from 0 to 1; None weighs neither.
        gamma: 0 or more; 0 is `sigmoid_cross_entropy`.
        ignore_index: elements with this target are left out (-1 in most detectors).

    Source: Lin et al.: Focal loss for dense object detection, 2017 (arXiv 1708.02002), equation 5.

    >>> round(float(focal(torch.zeros(1), torch.ones(1))), 4)  # 0.25 * 0.5^2 * log 2
    0.0433
    """
    check_number("gamma", gamma, 0)
    x, t, keep = _binary(logits, target, ignore_index)
    if values_are_readable(t) and ((t != 0) & (t != 1)).any():
        raise UserError("the focal loss is defined for targets 0 and 1 only", expected="targets 0 or 1", found=_odd(t))
    toward = torch.where(t > 0.5, x, -x)  # log p_t is logsigmoid of this, log(1 - p_t) of its negative
    values = -torch.exp(gamma * F.logsigmoid(-toward)) * F.logsigmoid(toward)
    if alpha is not None:
        check_number("alpha", alpha, 0, 1)
        values = torch.where(t > 0.5, alpha, 1 - alpha) * values
    return reduce_losses(values, keep, normalization)


def softmax_focal(
    logits: Tensor,
    target: Tensor,
    *,
    gamma: float = 2.0,
    ignore_index: int | None = None,
    normalization: Normalization = "valid",
) -> Tensor:
    """-(1 - p)^gamma log p of the true class's softmax p: the focal loss for classes that exclude each other.

    Args:
        logits, target, ignore_index, normalization: as for labels in `cross_entropy`.
        gamma: 0 or more; 0 is `cross_entropy`.

    Source: Lin et al. 2017 (arXiv 1708.02002), equation 4, whose appendix A names this extension.

    >>> round(float(softmax_focal(torch.zeros(1, 2), torch.tensor([0]))), 4)  # 0.5^2 * log 2
    0.1733
    """
    check_number("gamma", gamma, 0)
    logits = as_float(logits, "logits")
    check_class_target(logits, target, ignore_index)
    log_probs = _log_softmax(logits)
    # 1 - p is kept above zero, where the derivative of a power below one is infinite, and times log 1 NaN
    other = (-torch.expm1(log_probs)).clamp_min(torch.finfo(logits.dtype).tiny)
    return _label_loss(other**gamma * log_probs, target, ignore_index, normalization)


def kl_divergence(p_probs: Tensor, q_probs: Tensor, *, normalization: Normalization = "valid") -> Tensor:
    """KL(p || q) = sum_k p_k (log p_k - log q_k): the nats that a code made for q costs more on p. 0 log 0 is 0.

    It is infinite where q_k = 0 < p_k. The reverse is `kl_divergence(q, p)`: with p the data and q the model,
    KL(p || q) covers every mode of p, and KL(q || p) seeks one. Gradients go to both.

    Args:
        p_probs, q_probs: (B, K, ...) or (K,), of the same shape, non-negative, summing to one over the classes.
        normalization: over items (B, ...); `batch` is torch's `batchmean`.

    Raises:
        UserError: shapes that differ, numbers that are no probabilities or do not sum to one.

    Source: Kullback and Leibler: On information and sufficiency, 1951, equation 2.4.

    >>> p, q = torch.tensor([0.5, 0.5]), torch.tensor([0.25, 0.75])
    >>> round(float(kl_divergence(p, q)), 4), round(float(kl_divergence(q, p)), 4)
    (0.1438, 0.1308)
    """
    p, q = as_float(p_probs, "p_probs"), as_float(q_probs, "q_probs")
    check_same_shape("p_probs", p, "q_probs", q)
    if values_are_readable(p):
        check_probs(p_probs, "p_probs")
        check_probs(q_probs, "q_probs")
    return reduce_losses((torch.xlogy(p, p) - torch.xlogy(p, q)).sum(class_dim(p)), None, normalization)


def kl_divergence_from_log_probs(
    p_log_probs: Tensor, q_log_probs: Tensor, *, normalization: Normalization = "valid"
) -> Tensor:
    """KL(p || q) of log probabilities, as log_softmax gives them: stable where `kl_divergence` would round to 0 or inf.

    Args:
        p_log_probs, q_log_probs: (B, K, ...) or (K,), of the same shape; -inf is a probability of 0.

    Source: Kullback and Leibler 1951, equation 2.4.

    >>> p, q = torch.tensor([[0.0, -1e4]]), torch.tensor([[-1e4, 0.0]])
    >>> float(kl_divergence_from_log_probs(p, q))
    10000.0
    """
    p, q = as_float(p_log_probs, "p_log_probs"), as_float(q_log_probs, "q_log_probs")
    check_same_shape("p_log_probs", p, "q_log_probs", q)
    if values_are_readable(p):
        check_probs(p_log_probs.exp(), "exp(p_log_probs)")
        check_probs(q_log_probs.exp(), "exp(q_log_probs)")
    possible = p > -torch.inf  # 0 (-inf - log q) is 0, in the value and in the gradient
    difference = torch.where(possible, p, 0.0) - torch.where(possible, q, 0.0)
    return reduce_losses((p.exp() * difference).sum(class_dim(p)), None, normalization)


def _log_softmax(logits: Tensor) -> Tensor:
    return F.log_softmax(logits, class_dim(logits))


def _label_loss(gains: Tensor, target: Tensor, ignore_index: int | None, normalization: Normalization) -> Tensor:
    """The negative of the entry at each label: (B, K, ...) and (B, ...) to a reduced loss."""
    target, keep = target.long(), None
    if ignore_index is not None:
        keep = target != ignore_index
        target = torch.where(keep, target, 0)
    return reduce_losses(F.nll_loss(gains, target, reduction="none"), keep, normalization)


def _binary(logits: Tensor, target: Tensor, ignore_index: int | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Logits and targets in one type, zero where ignored, and what is kept."""
    x = as_float(logits, "logits")
    check_same_shape("target", target, "logits", x)
    if values_are_readable(target):
        check_binary(target, ignore_index)
    t = target.to(x.dtype)
    if ignore_index is None:
        return x, t, None
    keep = target != ignore_index
    return x, torch.where(keep, t, 0.0), keep


def _odd(t: Tensor) -> float:
    return float(t[(t != 0) & (t != 1)][0])


TOPICS = (
    Topic(
        "Cross entropy, softmax",
        "交叉熵、softmax",
        lectures=(1, 2, 3, 4, 5),
        code=("cross_entropy",),
        command="chainrule train lenet-caffe",
    ),
    Topic("Losses: squared, hinge, triplet, focal, label smoothing", code=("focal", "label_smoothing")),
)
