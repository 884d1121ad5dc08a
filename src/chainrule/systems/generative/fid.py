"""Frechet distance and inception score: how near generated images are to real ones, in the features of a classifier."""

from __future__ import annotations

import torch
from torch import Tensor

from chainrule.core.course import Topic


def feature_statistics(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (D,) and unbiased covariance (D, D) of features (N, D), in float64.

    >>> mean, covariance = feature_statistics(torch.tensor([[0.0], [2.0]]))
    >>> mean.tolist(), covariance.tolist()
    ([1.0], [[2.0]])
    """
    if features.dim() != 2 or len(features) < 2:
        raise ValueError(f"features must be (N, D) with N of 2 or more, not {tuple(features.shape)}")
    x = features.double()
    mean = x.mean(0)
    centred = x - mean
    return mean, centred.T @ centred / (len(x) - 1)  # (D, N) @ (N, D) -> (D, D)


def frechet_distance(mean1: Tensor, covariance1: Tensor, mean2: Tensor, covariance2: Tensor) -> Tensor:
    """Frechet (2-Wasserstein) distance, squared, of two Gaussians: |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)).

    S1 S2 has the eigenvalues of S1^(1/2) S2 S1^(1/2), which is symmetric and positive semi-definite. The trace of the
    root is the sum of their roots, so that no root of an asymmetric matrix is needed. Computed in float64.

    Args:
        mean1, mean2: (D,).
        covariance1, covariance2: (D, D), symmetric, positive semi-definite; they may be degenerate.

    Source: Dowson and Landau 1982; as a score of generators Heusel et al. 2017 (arXiv 1706.08500), equation 6.

    >>> one = torch.eye(1)
    >>> float(frechet_distance(torch.zeros(1), one, torch.tensor([3.0]), 4 * one))  # 3^2 + (1 - 2)^2
    10.0
    """
    mean1, mean2, covariance1, covariance2 = (t.double() for t in (mean1, mean2, covariance1, covariance2))
    # S1^(1/2) from the eigenvalues of S1
    values, vectors = torch.linalg.eigh(covariance1)
    root = (vectors * values.clamp_min(0).sqrt()) @ vectors.T  # (D, D)
    # tr (S1 S2)^(1/2): the roots of the eigenvalues of S1^(1/2) S2 S1^(1/2), made symmetric against rounding
    product = root @ covariance2 @ root
    trace_of_root = torch.linalg.eigvalsh((product + product.T) / 2).clamp_min(0).sqrt().sum()
    distance = (mean1 - mean2).square().sum() + covariance1.trace() + covariance2.trace() - 2 * trace_of_root
    return distance.clamp_min(0)  # rounding can leave two equal Gaussians a hair below zero


def classifier_score(log_probs: Tensor) -> Tensor:
    """The inception score, exp of the mean over samples of KL(p(y|x) || p(y)), from log p(y|x) (N, K): 1 to K.

    It is K where every image is of one class with certainty and all classes are equally frequent, and 1 where the
    answers do not depend on the image. The published scores take Inception-v3 as the classifier; any other will do.

    Source: Salimans et al. 2016 (arXiv 1606.03498), section 4.

    >>> float(classifier_score(torch.full((5, 4), 0.25).log()))
    1.0
    """
    log_probs = log_probs.double()
    probs = log_probs.exp()
    marginal = probs.mean(0)  # p(y), (K,)
    # mean KL = H(y) - mean H(y|x); entr(0) = 0, so that a probability of exactly zero does no harm.
    return (torch.special.entr(marginal).sum() - torch.special.entr(probs).sum(1).mean()).exp()


TOPICS = (
    Topic(
        "Quality of samples: Frechet distance, classifier score",
        "样本质量：Fréchet 距离、分类器得分",
        code=("frechet_distance", "classifier_score"),
        command="chainrule train score-net",
    ),
)
