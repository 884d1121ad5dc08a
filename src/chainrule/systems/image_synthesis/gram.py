"""What of an image is its content and what its style, as losses on a network's features: Gatys, Ecker, Bethge."""

from __future__ import annotations

from torch import Tensor

from chainrule.core.course import Topic
from chainrule.core.errors import UserError


def gram_matrix(features: Tensor) -> Tensor:
    """G[i, j] = 1/M sum_k F[i, k] F[j, k] over the M positions k: which maps respond together, wherever that is.

    The paper has the sum (its equation 3) and divides by M^2 in the loss; here it is a mean, so that images of different
    sizes compare.

    Args:
        features: maps (B, N, H, W), with M = H W.

    Returns:
        (B, N, N), symmetric.

    Raises:
        UserError: features of another number of dimensions, or without a number.

    Source: Gatys, Ecker, Bethge: Image style transfer using convolutional neural networks, 2016, section 2.2, equation 3.

    >>> import torch
    >>> gram_matrix(torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]])).tolist()
    [[[2.5, 5.5], [5.5, 12.5]]]
    """
    rows = _maps("features", features).flatten(2)
    return rows @ rows.transpose(1, 2) / rows.shape[2]


def content_loss(features: Tensor, wanted: Tensor) -> Tensor:
    """1/2 sum over maps i and positions k of (F[i, k] - P[i, k])^2, an image.

    Its derivative by F is F - P where the paper's equation 2 also has the rectifier's, which autograd adds behind it.

    Args:
        features: F, maps of the image that is made, (B, N, H, W).
        wanted: P, those of the content, of the same shape.

    Returns:
        (B,).

    Raises:
        UserError: shapes that differ.

    Source: Gatys, Ecker, Bethge 2016, equation 1.

    >>> import torch
    >>> content_loss(torch.tensor([[[[1.0, 2.0]]]]), torch.tensor([[[[0.0, 4.0]]]])).tolist()
    [2.5]
    """
    if _maps("features", features).shape != _maps("wanted", wanted).shape:
        raise UserError(
            "the features have other shapes than those wanted",
            expected=tuple(wanted.shape),
            found=tuple(features.shape),
        )
    return (features - wanted).square().sum((1, 2, 3)) / 2


def style_loss(features: Tensor, wanted: Tensor) -> Tensor:
    """1/(4 N^2) sum over i and j of (G[i, j] - A[i, j])^2, where G and A are Gram matrices as means over positions.

    For images of one size that is the paper's 1/(4 N^2 M^2) of its Gram matrices, which are sums.

    Args:
        features: F, maps of the image that is made, (B, N, H, W).
        wanted: A, the `gram_matrix` of the style's maps, (B, N, N); its image may be of another size.

    Returns:
        (B,).

    Raises:
        UserError: as `gram_matrix`; a Gram matrix of another shape.

    Source: Gatys, Ecker, Bethge 2016, equation 4.

    >>> import torch
    >>> style_loss(torch.tensor([[[[1.0, 3.0]]]]), torch.tensor([[[3.0]]])).tolist()  # G is 5
    [1.0]
    """
    found = gram_matrix(features)
    if found.shape != wanted.shape:
        raise UserError(
            "the Gram matrix has another shape than that wanted", expected=tuple(found.shape), found=tuple(wanted.shape)
        )
    return (found - wanted).square().sum((1, 2)) / (4 * features.shape[1] ** 2)


def _maps(name: str, value: Tensor) -> Tensor:
    if value.dim() != 4 or not value.numel():
        raise UserError(f"{name} must be maps", expected="(B, N, H, W), not empty", found=tuple(value.shape))
    return value


TOPICS = (Topic("Deep Dream, style transfer", code=("gram_matrix", "style_loss")),)
