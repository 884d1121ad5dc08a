"""Metric learning: losses of pairs and of triplets of embeddings (B, D)."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.core.errors import UserError, unknown
from chainrule.functional.losses.normalization import (
    Normalization,
    as_float,
    check_binary,
    check_number,
    check_same_shape,
    reduce_losses,
    values_are_readable,
)

ContrastiveForm = Literal["hadsell", "legacy"]
Distance = Literal["squared_euclidean", "euclidean"]


def contrastive(
    x1: Tensor,
    x2: Tensor,
    same: Tensor,
    *,
    margin: float = 1.0,
    form: ContrastiveForm = "hadsell",
    normalization: Normalization = "valid",
) -> Tensor:
    """1/2 d^2 for a pair of the same kind, 1/2 max(0, margin - d)^2 for a pair of two kinds; d = |x1 - x2|.

    The form `legacy` is that of Caffe before 2015: 1/2 max(0, margin - d^2) for two kinds. By default the mean over
    the B pairs, so that the whole is Caffe's 1 / (2 N) sum. Where two of different kinds coincide (d = 0) the
    direction that separates them is undefined, and the gradient is zero.

    Args:
        x1, x2: embeddings (B, D), floating.
        same: (B,), 1 or True for a pair of the same kind, 0 or False for two kinds.
        margin: distance beyond which two kinds cost nothing; in `legacy` the squared distance.

    Raises:
        UserError: shapes that do not fit, `same` other than 0 and 1, a negative margin, an unknown form.

    Source: Hadsell, Chopra, LeCun: Dimensionality reduction by learning an invariant mapping, 2006, equation 4
    (whose Y is 0 for the same kind); Caffe, contrastive_loss_layer.cpp.

    >>> x1, x2 = torch.tensor([[0.0, 0.0], [0.0, 0.0]]), torch.tensor([[0.3, 0.4], [0.3, 0.4]])
    >>> same = torch.tensor([True, False])
    >>> [round(v, 3) for v in contrastive(x1, x2, same, margin=2.0, normalization="unreduced").tolist()]
    [0.125, 1.125]
    """
    if form not in get_args(ContrastiveForm):
        raise unknown("there is no form of the contrastive loss", str(form), get_args(ContrastiveForm))
    check_number("margin", margin, 0)
    x1, x2 = _embeddings(x1=x1, x2=x2)
    if same.shape != x1.shape[:1]:
        raise UserError(
            "there must be one answer for each pair",
            expected=f"same {(len(x1),)}",
            found=f"same {tuple(same.shape)}",
            cure="same.squeeze(1)" if same.shape == (len(x1), 1) else None,
        )
    if values_are_readable(same):
        check_binary(same)
    y = same.to(x1.dtype)
    square = (x1 - x2).square().sum(1)  # d^2, (B,)
    if form == "legacy":
        far = (margin - square).clamp_min(0)
    else:  # vector_norm, not the root of the square: its gradient at zero is zero, not NaN
        far = (margin - torch.linalg.vector_norm(x1 - x2, dim=1)).clamp_min(0).square()
    return reduce_losses(0.5 * (y * square + (1 - y) * far), None, normalization)


def triplet(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    margin: float = 0.2,
    distance: Distance = "squared_euclidean",
    normalization: Normalization = "valid",
) -> Tensor:
    """max(0, D(a, p) - D(a, n) + margin): the positive is to be nearer than the negative by the margin.

    Args:
        anchor, positive, negative: embeddings (B, D), floating, of one shape.
        margin: in the unit of the distance.
        distance: `squared_euclidean`, D = |x - y|^2 (FaceNet's), or `euclidean`, D = |x - y|, whose gradient is
            taken as zero where x = y.

    Raises:
        UserError: shapes that differ, a negative margin, an unknown distance.

    Source: Schroff, Kalenichenko, Philbin: FaceNet, 2015 (arXiv 1503.03832), equation 2.

    >>> a, p, n = torch.tensor([[0.0]]), torch.tensor([[1.0]]), torch.tensor([[1.05]])
    >>> round(float(triplet(a, p, n)), 4)  # 1 - 1.1025 + 0.2
    0.0975
    """
    if distance not in get_args(Distance):
        raise unknown("there is no distance", str(distance), get_args(Distance))
    check_number("margin", margin, 0)
    a, p, n = _embeddings(anchor=anchor, positive=positive, negative=negative)
    if distance == "squared_euclidean":
        near, far = (a - p).square().sum(1), (a - n).square().sum(1)
    else:
        near, far = torch.linalg.vector_norm(a - p, dim=1), torch.linalg.vector_norm(a - n, dim=1)
    return reduce_losses((near - far + margin).clamp_min(0), None, normalization)


def _embeddings(**named: Tensor) -> list[Tensor]:
    """Each as floats, where all are (B, D) of one shape."""
    (first_name, first), *others = named.items()
    if first.dim() != 2:
        raise UserError(f"{first_name} must be embeddings", expected="(B, D)", found=tuple(first.shape))
    for name, x in others:
        check_same_shape(name, x, first_name, first)
    return [as_float(x, name) for name, x in named.items()]


TOPICS = (Topic("Losses: squared, hinge, triplet, focal, label smoothing", code=("triplet",)),)
