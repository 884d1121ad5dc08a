"""Bias and variance: from many answers to the same inputs, and, for a linear smoother, from its matrix."""

from __future__ import annotations

import torch
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.core.errors import UserError


def bias_variance(answers: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Squared bias and variance at each input, estimated without bias from several trained models.

    With S models f_s, their mean f and the true function f*: variance = sum (f_s - f)^2 / (S - 1), and bias^2 =
    (f - f*)^2 - variance / S, because the mean of S models has itself that variance. The two add up to the mean of
    (f_s - f*)^2 exactly. An unbiased estimate of a bias that is nearly zero can be a little below zero.

    Args:
        answers: of S models, each trained on a training set of its own (S, N).
        truth: the function without noise (N,).

    Returns:
        bias^2 (N,), variance (N,).

    Raises:
        UserError: fewer than two models; lengths that do not fit.

    Source: Geman, Bienenstock and Doursat: Neural networks and the bias/variance dilemma, 1992, equation 4.5.

    >>> bias_variance(torch.tensor([[1.0], [3.0]]), torch.tensor([0.0]))
    (tensor([3.]), tensor([2.]))
    """
    if answers.dim() != 2 or len(answers) < 2:
        raise UserError(
            "a variance needs several models",
            expected="answers (S, N), S of 2 or more",
            found=tuple(answers.shape),
            cure="train on more training sets",
        )
    if truth.shape != answers.shape[1:]:
        raise UserError(
            "answers and truth are of different inputs",
            expected=f"truth ({answers.shape[1]},)",
            found=tuple(truth.shape),
        )
    variance = answers.var(0)
    return (answers.mean(0) - truth).square() - variance / len(answers), variance


def linear_bias_variance(
    features: Tensor, clean: Tensor, test_features: Tensor, truth: Tensor, noise_variance: float
) -> tuple[Tensor, Tensor]:
    """What `bias_variance` tends to for least squares on fixed inputs: exact, nothing is sampled.

    The answer is linear in the targets, L y with L = A* pinv(A), so bias^2 = (L f*(X) - f*(x))^2 and variance =
    noise_variance sum_i L_i^2. With more features than samples pinv gives the solution of least norm.

    Args:
        features: of the training inputs, A (n, D).
        clean: the function at the training inputs, without noise (n,).
        test_features: of the test inputs, A* (N, D).
        truth: the function at the test inputs (N,).
        noise_variance: of the targets' noise, independent and equal at all inputs; 0 or more.

    Returns:
        bias^2 (N,), variance (N,).

    Raises:
        UserError: shapes that do not fit; a negative variance.

    Source: Hastie, Tibshirani and Friedman: The elements of statistical learning, 2nd edition, equation 7.11.

    >>> ones = torch.ones(4, 1)  # the mean of four: its variance is a quarter
    >>> found = linear_bias_variance(ones, 2 * torch.ones(4), ones[:1], torch.tensor([5.0]), 1.0)
    >>> [round(value.item(), 4) for value in found]
    [9.0, 0.25]
    """
    fits = features.dim() == test_features.dim() == 2 and features.shape[1] == test_features.shape[1]
    if not fits or clean.shape != features.shape[:1] or truth.shape != test_features.shape[:1]:
        raise UserError(
            "features and values do not fit together",
            expected="features (n, D), clean (n,), test_features (N, D), truth (N,)",
            found=[tuple(t.shape) for t in (features, clean, test_features, truth)],
        )
    if not noise_variance >= 0:
        raise UserError("a variance is not negative", expected="noise_variance of 0 or more", found=noise_variance)
    smoother = test_features @ torch.linalg.pinv(features)
    return (smoother @ clean - truth).square(), noise_variance * smoother.square().sum(1)


def legendre(x: Tensor, degree: int) -> Tensor:
    """The Legendre polynomials P_0 to P_degree at x, by Bonnet's recursion: features of a polynomial (N, degree + 1).

    They are orthogonal on [-1, 1], so least squares stays well conditioned where powers of x do not.

    Args:
        x: numbers in [-1, 1] (N,).
        degree: 0 or more.

    Raises:
        UserError: a negative degree.

    >>> legendre(torch.tensor([0.5]), 2)
    tensor([[ 1.0000,  0.5000, -0.1250]])
    """
    if degree < 0:
        raise UserError("a polynomial has no negative degree", expected="0 or more", found=degree)
    columns = [torch.ones_like(x), x]
    for k in range(1, degree):
        columns.append(((2 * k + 1) * x * columns[k] - k * columns[k - 1]) / (k + 1))
    return torch.stack(columns[: degree + 1], -1)


TOPICS = (Topic("Bias and variance", code=("bias_variance", "linear_bias_variance")),)
