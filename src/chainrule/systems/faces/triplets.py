"""Triplet mining: which triplets of a batch to learn from, an anchor, a positive (same person) and a negative (another).

Shapes: B embeddings of D dimensions; a miner gives three index tensors (T,), one entry a triplet. Distances are squared
Euclidean, d_ap = |f(a) - f(p)|^2. Mining has no gradient; `losses.triplet` has.
"""

from __future__ import annotations

import torch
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.core.errors import UserError

Triplets = tuple[Tensor, Tensor, Tensor]


def pairwise_squared_distances(x: Tensor, z: Tensor | None = None) -> Tensor:
    """|x_i - z_j|^2 (B, M), from the differences themselves, so that near rows keep their digits and equal rows give 0.

    |x|^2 + |z|^2 - 2 x.z is faster for long rows and loses the digits that mining compares.

    Args:
        x: rows (B, D), floating; half precision is brought to float32 first.
        z: rows (M, D); x itself where None.

    Raises:
        UserError: x is no floating matrix, or the rows are of two lengths.

    >>> pairwise_squared_distances(torch.tensor([[1000.0, 0.0], [1000.0, 0.001953125]]))[0, 1].item() == 0.001953125**2
    True
    """
    z = x if z is None else z
    for rows in (x, z):
        if rows.dim() != 2 or not rows.is_floating_point():
            raise UserError(
                "distances are between rows of numbers",
                expected="(B, D), floating",
                found=f"{tuple(rows.shape)}, {rows.dtype}",
            )
    if x.shape[1] != z.shape[1]:
        raise UserError("the rows are of two lengths", expected=f"(M, {x.shape[1]})", found=tuple(z.shape))
    if x.dtype in (torch.float16, torch.bfloat16):
        x, z = x.float(), z.float()
    return torch.cdist(x, z, compute_mode="donot_use_mm_for_euclid_dist").square()


@torch.no_grad()
def semi_hard_triplets(embeddings: Tensor, labels: Tensor, *, margin: float = 0.2) -> Triplets:
    """Every anchor and positive with their nearest semi-hard negative, d_ap < d_an < d_ap + margin.

    A semi-hard negative is farther than the positive, but within the margin, so that the triplet's loss is above zero.
    Each pair (a, p) with a != p is taken in either order. A pair without a semi-hard negative in the batch is left out:
    its negatives are easy (beyond the margin, nothing to learn) or hard (nearer than the positive), and hard ones may
    collapse the embedding to a point early in training.

    Args:
        embeddings: (B, D), floating.
        labels: the person of each (B,), whole numbers.
        margin: of the squared distance, above 0.

    Returns:
        anchor, positive, negative: indices (T,) into the batch, in the order of anchor and positive; of negatives
        equally near, the first. T may be 0.

    Raises:
        UserError: shapes that do not fit, or a margin that is not above 0.

    Source: Schroff, Kalenichenko, Philbin: FaceNet, 2015 (arXiv 1503.03832), section 3.2, equation 4; the paper takes
    all pairs and draws among the semi-hard negatives, without saying how.

    >>> x = torch.tensor([[0.0], [0.3], [0.5], [0.35]])
    >>> [index.tolist() for index in semi_hard_triplets(x, torch.tensor([0, 0, 1, 2]))]
    [[0], [1], [3]]
    """
    if not margin > 0:
        raise UserError("the margin is out of range", expected="above 0", found=margin)
    distances, same = _distances_and_matches(embeddings, labels)
    anchor, positive = _positive_pairs(same)  # (A,) each
    d_ap, d_an = distances[anchor, positive][:, None], distances[anchor]  # (A, 1), (A, B)
    semi_hard = ~same[anchor] & (d_an > d_ap) & (d_an < d_ap + margin)  # (A, B)
    kept = semi_hard.any(1)
    if not kept.any():
        return anchor[kept], anchor[kept], anchor[kept]
    negative = d_an.masked_fill(~semi_hard, torch.inf)[kept].argmin(1)
    return anchor[kept], positive[kept], negative


@torch.no_grad()
def batch_hard_triplets(embeddings: Tensor, labels: Tensor) -> Triplets:
    """Batch hard: each anchor with its farthest positive and its nearest negative.

    Args:
        embeddings: (B, D), floating.
        labels: the person of each (B,), whole numbers.

    Returns:
        anchor, positive, negative: indices (T,); an anchor without a positive or without a negative is left out; of
        several equally far or near, the first.

    Source: Hermans, Beyer, Leibe: In defense of the triplet loss for person re-identification, 2017, equation 5.

    >>> x = torch.tensor([[0.0], [0.3], [0.5], [0.35]])
    >>> [index.tolist() for index in batch_hard_triplets(x, torch.tensor([0, 0, 1, 2]))]
    [[0, 1], [1, 0], [3, 3]]
    """
    distances, same = _distances_and_matches(embeddings, labels)
    positives = same & ~torch.eye(len(same), dtype=torch.bool, device=same.device)  # (B, B)
    (anchor,) = (positives.any(1) & (~same).any(1)).nonzero(as_tuple=True)
    if not len(anchor):
        return anchor, anchor, anchor
    d_ap = distances.masked_fill(~positives, -torch.inf)[anchor]  # (T, B)
    d_an = distances.masked_fill(same, torch.inf)[anchor]
    return anchor, d_ap.argmax(1), d_an.argmin(1)


@torch.no_grad()
def batch_all_triplets(embeddings: Tensor, labels: Tensor, *, margin: float = 0.2) -> Triplets:
    """Batch all: every triplet of the batch whose loss is above zero, d_an < d_ap + margin.

    Of P persons with K images there are up to P K (K - 1) (P - 1) K.

    Args:
        embeddings: (B, D), floating.
        labels: the person of each (B,), whole numbers.
        margin: of the squared distance, 0 or more.

    Returns:
        anchor, positive, negative: indices (T,), ascending.

    Source: FaceNet, equation 2; Hermans et al. 2017, equation 7, of which only what is not zero is kept.

    >>> x = torch.tensor([[0.0], [0.3], [0.5], [0.35]])
    >>> [index.tolist() for index in batch_all_triplets(x, torch.tensor([0, 0, 1, 2]))]
    [[0, 0, 1, 1], [1, 1, 0, 0], [2, 3, 2, 3]]
    """
    if not margin >= 0:
        raise UserError("the margin is out of range", expected="0 or more", found=margin)
    distances, same = _distances_and_matches(embeddings, labels)
    anchor, positive = _positive_pairs(same)
    violated = ~same[anchor] & (distances[anchor] < distances[anchor, positive][:, None] + margin)  # (A, B)
    pair, negative = violated.nonzero(as_tuple=True)
    return anchor[pair], positive[pair], negative


def _distances_and_matches(embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Squared distances (B, B), and whether two embeddings are of the same person (B, B)."""
    if labels.shape != embeddings.shape[:1] or labels.is_floating_point():
        raise UserError(
            "there must be one person for each embedding",
            expected=f"whole numbers {tuple(embeddings.shape[:1])}",
            found=f"{tuple(labels.shape)}, {labels.dtype}",
        )
    return pairwise_squared_distances(embeddings), labels[:, None] == labels[None, :]


def _positive_pairs(same: Tensor) -> tuple[Tensor, Tensor]:
    """Anchor and positive (A,) of all pairs of the same person with a != p, in either order."""
    positives = same & ~torch.eye(len(same), dtype=torch.bool, device=same.device)
    anchor, positive = positives.nonzero(as_tuple=True)
    return anchor, positive


TOPICS = (Topic("FaceNet: triplets, verification, identification", code=("semi_hard_triplets",)),)
