"""Bounds of learning theory: how many samples are enough, and how wrong an ensemble can be."""

from __future__ import annotations

import math

from torch import Tensor

from chainrule.core.course import Topic
from chainrule.core.errors import UserError


def pac_sample_size(epsilon: float, delta: float, num_hypotheses: float, *, realisable: bool = False) -> int:
    """Samples that are enough for a finite class of hypotheses to be learnt probably, approximately correctly.

    Agnostic, by Hoeffding's inequality and the union bound: with probability 1 - delta the empirical risk of every
    hypothesis is within epsilon of its risk, from n >= (ln |H| + ln(2 / delta)) / (2 epsilon^2) on.

    Realisable, where one hypothesis makes no error at all: with probability 1 - delta every hypothesis without error
    on the sample has risk at most epsilon, from n >= (ln |H| + ln(1 / delta)) / epsilon on.

    Args:
        epsilon: how far off, in (0, 1).
        delta: the probability of being farther off, in (0, 1).
        num_hypotheses: |H|, 1 or more; it may be as large as 2.0**1000.
        realisable: which of the two.

    Raises:
        UserError: for an argument out of range.

    Source: Mohri, Rostamizadeh, Talwalkar: Foundations of machine learning, 2018, theorems 2.5 and 2.13.

    >>> pac_sample_size(0.1, 0.05, 1000), pac_sample_size(0.1, 0.05, 1000, realisable=True)
    (530, 100)
    """
    _open_unit("epsilon", epsilon)
    _open_unit("delta", delta)
    if not (num_hypotheses >= 1 and math.isfinite(num_hypotheses)):
        raise UserError("num_hypotheses is out of range", expected="a finite number of 1 or more", found=num_hypotheses)
    if realisable:
        return math.ceil((math.log(num_hypotheses) - math.log(delta)) / epsilon)
    return math.ceil((math.log(num_hypotheses) + math.log(2 / delta)) / (2 * epsilon**2))


def pac_gap(num_samples: int, delta: float, num_hypotheses: float) -> float:
    """How far the empirical risk of any of finitely many hypotheses is from its risk, with probability 1 - delta.

        |R(h) - R_emp(h)| <= sqrt((ln |H| + ln(2 / delta)) / (2 n))    for every h

    `pac_sample_size` is the same, solved for n.

    Raises:
        UserError: for an argument out of range.

    Source: Mohri, Rostamizadeh, Talwalkar 2018, theorem 2.13.

    >>> round(pac_gap(530, 0.05, 1000), 4)
    0.1
    """
    _count("num_samples", num_samples)
    _open_unit("delta", delta)
    if not (num_hypotheses >= 1 and math.isfinite(num_hypotheses)):
        raise UserError("num_hypotheses is out of range", expected="a finite number of 1 or more", found=num_hypotheses)
    return math.sqrt((math.log(num_hypotheses) + math.log(2 / delta)) / (2 * num_samples))


def vc_gap(num_samples: int, delta: float, dimension: int) -> float:
    """How far the risk of any hypothesis of a class of VC dimension d is above its empirical risk, with probability 1 - delta.

        R(h) - R_emp(h) <= sqrt(2 d ln(e n / d) / n) + sqrt(ln(1 / delta) / (2 n))    for every h, n >= d

    Raises:
        UserError: for an argument out of range, and for fewer samples than dimensions.

    Source: Mohri, Rostamizadeh, Talwalkar 2018, corollary 3.19.

    >>> round(vc_gap(1000, 0.05, 3), 4)
    0.2408
    """
    _count("dimension", dimension)
    _count("num_samples", num_samples)
    _open_unit("delta", delta)
    if num_samples < dimension:
        raise UserError("there are fewer samples than dimensions", expected=f"{dimension} or more", found=num_samples)
    n, d = num_samples, dimension
    return math.sqrt(2 * d * (1 + math.log(n / d)) / n) + math.sqrt(-math.log(delta) / (2 * n))


def rademacher_gap(num_samples: int, delta: float, complexity: float) -> float:
    """The same by the empirical Rademacher complexity of the class on the sample itself (`capacity.py`).

        R(h) - R_emp(h) <= R_S(H) + 3 sqrt(ln(2 / delta) / (2 n))    for every h, of values +1 and -1

    Raises:
        UserError: for an argument out of range.

    Source: Bartlett and Mendelson 2002; Mohri, Rostamizadeh, Talwalkar 2018, theorem 3.5.

    >>> round(rademacher_gap(1000, 0.05, 0.05), 4)
    0.1788
    """
    _count("num_samples", num_samples)
    _open_unit("delta", delta)
    _closed_unit("complexity", complexity)
    return complexity + 3 * math.sqrt(math.log(2 / delta) / (2 * num_samples))


def majority_error(error: float, num_classifiers: int) -> float:
    """Probability that the majority of independent classifiers is wrong, each being wrong with probability `error`.

    sum_(m > M/2) C(M, m) error^m (1 - error)^(M - m); where M is even, an equal vote is wrong half the time.

    Args:
        error: of each, in [0, 1].
        num_classifiers: M, 1 or more.

    Raises:
        UserError: for an argument out of range.

    Source: the theorem of Condorcet 1785; Hansen and Salamon: Neural network ensembles, 1990, equation 1.

    >>> round(majority_error(0.3, 3), 6), majority_error(0.3, 1)  # 3 x 0.3^2 x 0.7 + 0.3^3
    (0.216, 0.3)
    """
    _closed_unit("error", error)
    _count("num_classifiers", num_classifiers)
    M = num_classifiers
    if error in (0.0, 1.0):
        return float(error)
    log_wrong, log_right = math.log(error), math.log1p(-error)
    total = 0.0
    for m in range(-(-M // 2), M + 1):
        ways = math.lgamma(M + 1) - math.lgamma(m + 1) - math.lgamma(M - m + 1)
        total += math.exp(ways + m * log_wrong + (M - m) * log_right) * (0.5 if 2 * m == M else 1.0)
    return total


def majority_error_bound(error: float, num_classifiers: int) -> float:
    """Hoeffding's upper bound of `majority_error`, for classifiers better than chance: exp(-2 M (1/2 - error)^2).

    Args:
        error: of each, in [0, 1/2).
        num_classifiers: M, 1 or more.

    Raises:
        UserError: for an argument out of range.

    Source: Hoeffding 1963, theorem 1; Zhou: Ensemble methods, 2012, equation 1.6.

    >>> round(majority_error_bound(0.3, 25), 6)  # exp(-2)
    0.135335
    """
    _closed_unit("error", error)
    _count("num_classifiers", num_classifiers)
    if error >= 0.5:
        raise UserError(
            "the bound needs classifiers that are better than chance", expected="an error below 0.5", found=error
        )
    return math.exp(-2 * num_classifiers * (0.5 - error) ** 2)


def ambiguity_decomposition(predictions: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Squared error of an average, mean squared error of its members, their ambiguity: the first is the difference.

    (f - y)^2 = mean_m (f_m - y)^2 - mean_m (f_m - f)^2 with f = mean_m f_m, at every sample, so an average is never
    worse than its members are on average. Where their errors are uncorrelated and of mean zero, its expected error is 1/M
    of theirs.

    Args:
        predictions: of each member (M, N).
        target: (N,).

    Returns:
        Means over the samples of the error of the average (), of the error of the members (), and of the ambiguity ().

    Raises:
        UserError: where the shapes do not fit or there is nothing.

    Source: Krogh and Vedelsby: Neural network ensembles, cross validation, and active learning, 1995, equation 6.

    >>> import torch
    >>> [t.item() for t in ambiguity_decomposition(torch.tensor([[1.0], [3.0]]), torch.tensor([1.0]))]
    [1.0, 2.0, 1.0]
    """
    if predictions.dim() != 2 or target.shape != predictions.shape[1:] or not predictions.numel():
        raise UserError(
            "predictions and target do not fit",
            expected="(M, N) and (N,), neither empty",
            found=f"{tuple(predictions.shape)} and {tuple(target.shape)}",
        )
    average = predictions.mean(0)
    return (
        (average - target).square().mean(),
        (predictions - target).square().mean(),
        (predictions - average).square().mean(),
    )


def _open_unit(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise UserError(f"{name} is out of range", expected="above 0 and below 1", found=value)


def _closed_unit(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise UserError(f"{name} is out of range", expected="0 to 1", found=value)


def _count(name: str, value: int) -> None:
    if isinstance(value, bool) or value != int(value) or value < 1:
        raise UserError(f"{name} is out of range", expected="a whole number of 1 or more", found=value)


TOPICS = (
    Topic("Generalisation gap against the number of samples", code=("pac_gap", "vc_gap", "rademacher_gap")),
    Topic(
        "PAC bound, ensembles, votes",
        code=("pac_sample_size", "majority_error", "majority_error_bound", "ambiguity_decomposition"),
    ),
)
