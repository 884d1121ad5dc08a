"""Votes of many classifiers: whether the majority errs, and how alike the members err."""

from __future__ import annotations

import torch
from torch import Tensor

from chainrule.core.errors import UserError


def wrong_majority(wrong: Tensor) -> Tensor:
    """Whether the majority is wrong, for two classes, where a member's answer is right or wrong.

    Args:
        wrong: bool, of each member at each sample (M, N), M odd so that no vote is tied.

    Returns:
        bool (N,).

    Raises:
        UserError: an even number of members, or none.

    >>> wrong_majority(torch.tensor([[True, True], [True, False], [False, False]])).tolist()
    [True, False]
    """
    if wrong.dim() != 2 or len(wrong) % 2 == 0:
        raise UserError(
            "a vote needs an odd number of members", expected="wrong (M, N) with M odd", found=tuple(wrong.shape)
        )
    return wrong.sum(0) > len(wrong) // 2


def error_correlation(wrong: Tensor) -> float:
    """The mean covariance of two members' errors over their mean variance: 0 where they err independently, 1 alike.

    With that correlation c, mean variance v and M members, the variance of the share of wrong votes is
    v (c + (1 - c) / M): more members take away the second part only.

    Args:
        wrong: of each member at each sample, bool, or numbers such as residuals (M, N).

    Returns:
        -1 / (M - 1) to 1; 0 where no member ever errs.

    Raises:
        UserError: fewer than two members or two samples.

    Source: Hastie, Tibshirani and Friedman: The elements of statistical learning, 2nd edition, equation 15.1.

    >>> error_correlation(torch.tensor([[True, False, True, False], [True, False, True, False]]))
    1.0
    """
    if wrong.dim() != 2 or min(wrong.shape) < 2:
        raise UserError(
            "a correlation needs two members and two samples",
            expected="wrong (M, N), both 2 or more",
            found=tuple(wrong.shape),
        )
    covariance = torch.cov(wrong.double())
    variance, members = covariance.diagonal().sum(), len(wrong)
    if variance <= 0:
        return 0.0
    return float((covariance.sum() - variance) / (members - 1) / variance)
