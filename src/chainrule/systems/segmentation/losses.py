"""What a segmenter minimises: cross entropy of each pixel, weighted by class and by border; soft Dice beside it.

Shapes: B images, K classes, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.core.errors import UserError
from chainrule.systems.segmentation.scores import VOID


@dataclass(frozen=True)
class PixelLoss:
    """Cross entropy over the pixels of each image that are not void, and a share of 1 - Dice.

        sum:   L_b = sum_p w_p u_(y_p) (-log softmax(z_p)_(y_p))
        mean:  the same divided by sum_p w_p u_(y_p)

    Attributes:
        reduce: `mean` over the pixels of an image, or their `sum` as FCN has it: its rate of 1e-10 for the sum of 500 x 500
            pixels is 2.5e-5 for their mean.
        class_weights: u (K,), or None.
        dice: what 1 - Dice counts beside the cross entropy; 0 leaves it out.
    """

    reduce: Literal["mean", "sum"] = "mean"
    class_weights: Tensor | None = None
    dice: float = 0.0

    def __call__(self, logits: Tensor, masks: Tensor, weights: Tensor | None = None) -> Tensor:
        """The loss of each image (B,), for logits (B, K, H, W), masks (B, H, W) bytes, and weights (B, H, W) if any."""
        target = masks.long()
        used = target != VOID
        losses = F.cross_entropy(logits, target, ignore_index=VOID, reduction="none")  # (B, H, W), 0 where void
        w = used.to(losses.dtype)
        if self.class_weights is not None:
            w = w * self.class_weights.to(logits.device)[target.where(used, 0)]
        if weights is not None:
            w = w * weights
        loss = (losses * w).sum((1, 2))
        if self.reduce == "mean":
            loss = loss / w.sum((1, 2)).clamp_min(1e-12)
        if self.dice:
            loss = loss + self.dice * (1 - soft_dice(logits.softmax(1), target, used))
        return loss


def soft_dice(probs: Tensor, target: Tensor, used: Tensor) -> Tensor:
    """The mean over classes of 2 sum_p q_kp t_kp / (sum_p q_kp + t_kp), of each image (B,).

    Of classes that are in an image's truth, so that those that are not there neither help nor hinder; 1 where all is void.

    Source: Milletari, Navab, Ahmadi: V-Net, 3DV 2016, with a sum in place of their squares.
    """
    K = probs.shape[1]
    probs = probs * used[:, None]
    rows = (torch.arange(len(target), device=target.device)[:, None, None] * K + target.where(used, 0))[used]
    true = torch.bincount(rows, minlength=len(target) * K).view(-1, K).to(probs.dtype)  # (B, K)
    own = probs.gather(1, target.where(used, 0)[:, None])[:, 0]  # (B, H, W): of the true class
    overlap = torch.zeros(len(target) * K, dtype=probs.dtype, device=probs.device).index_add(0, rows, own[used])
    dice = 2 * overlap.view(-1, K) / (probs.sum((2, 3)) + true).clamp_min(1e-12)
    there = true > 0
    return ((dice * there).sum(1) / there.sum(1).clamp_min(1)).where(there.any(1), 1.0)


def class_weights(balance: Literal["none", "frequency", "median"], pixels: Tensor, room: Tensor) -> Tensor | None:
    """Weights of the classes' pixels in the loss (K,).

        frequency: u_k = (sum_j n_j) / (K n_k)
        median:    u_k = median_j(f_j) / f_k,   f_k = n_k / m_k

    Args:
        balance: which.
        pixels: n, pixels of each class (K,).
        room: m, pixels of the images in which the class is (K,).

    Returns:
        None for `none`. A class without pixels weighs nothing.

    Source: median: Eigen and Fergus 2015, section 4.3, as SegNet has it.

    >>> class_weights("median", torch.tensor([900, 100]), torch.tensor([1000, 1000])).tolist()
    [0.5555555820465088, 5.0]
    """
    if balance == "none":
        return None
    n, there = pixels.double(), pixels > 0
    if balance == "frequency":
        u = n.sum() / (there.sum() * n)
    else:
        f = n / room.double()
        u = f[there].quantile(0.5) / f
    return torch.where(there, u, 0.0).float()


def border_weights(mask: np.ndarray, w0: float, sigma: float = 5.0) -> np.ndarray:
    """U-Net's weight of each pixel (H, W): large where two objects nearly touch.

        w(x) = 1 + w0 exp(-(d1(x) + d2(x))^2 / (2 sigma^2))

    d1 and d2 are the distances to the nearest object and to the second nearest. Objects are the connected parts of what is
    not the first class, the background; on them the weight is 1.

    Args:
        mask: positions of classes, 255 for void.
        w0: how much more the border may weigh; the paper's 10.
        sigma: how far it reaches, in pixels; the paper's 5.

    Source: Ronneberger et al. 2015, equation 2.
    """
    from scipy import ndimage

    objects, count = ndimage.label((mask != 0) & (mask != VOID))
    if count < 2:
        return np.ones(mask.shape, np.float32)
    nearest = np.full((2, *mask.shape), np.inf)
    for number in range(1, count + 1):
        distance = ndimage.distance_transform_edt(objects != number)
        nearest[1] = np.minimum(nearest[1], np.maximum(nearest[0], distance))
        nearest[0] = np.minimum(nearest[0], distance)
    border = w0 * np.exp(-((nearest[0] + nearest[1]) ** 2) / (2 * sigma**2))
    return (1 + border * (objects == 0)).astype(np.float32)


def border_maps(masks: Sequence[Tensor], w0: float) -> list[Tensor] | None:
    """`border_weights` of each mask; None where `w0` is 0."""
    if w0 < 0:
        raise UserError("border_weight is negative", expected="0 or more", found=w0)
    return [torch.from_numpy(border_weights(mask.numpy(), w0)) for mask in masks] if w0 else None


TOPICS = (
    Topic(
        "Loss of each pixel: balanced, Dice, borders",
        "逐像素损失：类别平衡、Dice、边界权重",
        code=("PixelLoss",),
        command="chainrule train unet balance=median dice=1",
    ),
)
