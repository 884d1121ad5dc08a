"""Random changes to whole batches of images, as tensor code on the device that trains."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.core.errors import UserError


@dataclass(frozen=True)
class Moment:
    """What a change may look at beside the images: whose they are, and how far training has come.

    Attributes:
        y: the images' classes (B,).
        index: their numbers in the training split (B,).
        epoch: passes that are complete.
        epochs: passes in all.
    """

    y: Tensor
    index: Tensor
    epoch: int
    epochs: int


Change = Callable[[Tensor, Moment], Tensor]  # images of a training batch (B, C, H, W) to what is learnt from


def of_images(change: Callable[[Tensor], Tensor]) -> Change:
    """A change that looks at the images alone, as one that is given the moment too."""
    return lambda x, moment: change(x)


def shift(x: Tensor, pad: int = 4, border: str = "constant") -> Tensor:
    """Each image is moved by up to `pad` pixels either way: the same shape and type as x (B, C, H, W).

    What comes in is black, or with the border `reflect` what a mirror there would show.

    The same as zeros on all four sides and a random crop of the old size (He et al. 2016, section 4.2). Draws from
    torch's global generator of x's device, as all changes here do.

    >>> torch.equal(shift(x := torch.ones(2, 1, 1, 3, dtype=torch.uint8), pad=0), x)
    True
    """
    if border == "reflect" and pad >= min(x.shape[2:]):
        raise UserError("pad is too large for the images", expected=f"0 to {min(x.shape[2:]) - 1}", found=pad)
    return crop(F.pad(x, (pad, pad, pad, pad), border), x.shape[2], x.shape[3])


def crop(x: Tensor, height: int, width: int) -> Tensor:
    """A part of each image (B, C, H, W), `height` x `width` pixels, at a place of its own that is drawn.

    >>> crop(torch.zeros(5, 3, 4, 4), 2, 3).shape
    torch.Size([5, 3, 2, 3])
    """
    (count, channels, whole_height, whole_width), device = x.shape, x.device
    top = torch.randint(whole_height - height + 1, (count, 1, 1), device=device)
    left = torch.randint(whole_width - width + 1, (count, 1, 1), device=device)
    rows = top + torch.arange(height, device=device)[:, None]
    columns = left + torch.arange(width, device=device)
    image = torch.arange(count, device=device)[:, None, None]
    taken = (image * whole_height + rows) * whole_width + columns  # (B, height, width), numbers of pixels
    pixels = x.permute(0, 2, 3, 1).reshape(-1, channels)
    return pixels.index_select(0, taken.flatten()).view(count, height, width, channels).permute(0, 3, 1, 2)


def flip(x: Tensor) -> Tensor:
    """Half of the images are mirrored: the same shape and type as x (B, C, H, W)."""
    mirrored = torch.rand(len(x), 1, 1, 1, device=x.device) < 0.5
    return torch.where(mirrored, x.flip(3), x)


class AlternatingFlip:
    """A change: half of the images are mirrored in the first epoch, the others in the second, and so on in turn.

    So two epochs show every image both ways, where independent draws show half of them one way twice.

    Args:
        count: images in the training split.
        seed: decides which half comes first.

    Source: Jordan: 94% on CIFAR-10 in 3.29 seconds on a single GPU, 2024, section 3.6 (arXiv 2404.00498).

    >>> flip, x = AlternatingFlip(8, seed=0), torch.arange(16).view(8, 1, 1, 2)
    >>> first, second = (flip(x, Moment(x, torch.arange(8), epoch, 2)) for epoch in (0, 1))
    >>> torch.equal(first.flip(3), second)
    True
    """

    def __init__(self, count: int, seed: int) -> None:
        self.first = torch.rand(count, generator=torch.Generator().manual_seed(seed)) < 0.5

    def __call__(self, x: Tensor, moment: Moment) -> Tensor:
        self.first = self.first.to(x.device)
        mirrored = self.first[moment.index] ^ bool(moment.epoch % 2)
        return torch.where(mirrored[:, None, None, None], x.flip(3), x)


def random_resized_crop(x: Tensor, smallest: float = 0.35, stretch: float = 4 / 3) -> Tensor:
    """A part of each image, brought to the size of the whole: what photographs of other distances would show.

    Its area is uniform in [smallest, 1] of the image's, the logarithm of its aspect ratio uniform in +-log(stretch), its
    place uniform where it lies within the image (Szegedy et al. 2015, section 6, with their 8 % as `smallest`).

    Args:
        x: bytes (B, C, H, W).
        smallest: share of the area, in (0, 1].
        stretch: largest ratio of width to height, 1 or more.

    Gives a tensor of the same shape and type.

    >>> torch.equal(random_resized_crop(x := torch.arange(16, dtype=torch.uint8).view(1, 1, 4, 4), 1.0, 1.0), x)
    True
    """
    count, device = len(x), x.device
    if not count:  # one process's part of a short batch; affine_grid takes none
        return x
    area = smallest + (1 - smallest) * torch.rand(count, device=device)
    ratio = torch.exp((2 * torch.rand(count, device=device) - 1) * torch.tensor(stretch, device=device).log())
    width, height = (area * ratio).sqrt().clamp_max(1), (area / ratio).sqrt().clamp_max(1)
    centre = (2 * torch.rand(2, count, device=device) - 1) * (1 - torch.stack([width, height]))
    theta = torch.zeros(count, 2, 3, device=device)
    theta[:, 0, 0], theta[:, 1, 1], theta[:, 0, 2], theta[:, 1, 2] = width, height, centre[0], centre[1]
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    taken = F.grid_sample(x.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)
    return taken.round_().clamp_(0, 255).to(x.dtype)


def jitter_colours(x: Tensor, strength: float = 0.4) -> Tensor:
    """Brightness, contrast and, of colour images, saturation of each image times its own factor in 1 +- strength.

    Brightness scales all values, contrast their distance from the image's mean, saturation their distance from the
    pixel's grey (luma of ITU-R BT.601).

    Args:
        x: bytes (B, C, H, W), C of 1 or 3.
        strength: from 0 to 1.

    Gives a tensor of the same shape and type.

    >>> jitter_colours(torch.full((1, 1, 1, 2), 100, dtype=torch.uint8), strength=0.0).flatten().tolist()
    [100, 100]
    """
    brightness, contrast, saturation = 1 + strength * (2 * torch.rand(3, len(x), 1, 1, 1, device=x.device) - 1)
    y = x.float() * brightness
    if x.shape[1] == 3:
        grey = (y * y.new_tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True)
        y = grey + (y - grey) * saturation
    mean = y.mean((1, 2, 3), keepdim=True)
    return (mean + (y - mean) * contrast).round_().clamp_(0, 255).to(x.dtype)


def cutout(x: Tensor, size: int) -> Tensor:
    """A square of `size` x `size` pixels of each image turns grey; its centre is any pixel, so it may stand out.

    The grey is 128, the middle of a byte; the paper's zero stands after normalisation (DeVries and Taylor 2017).

    >>> int((cutout(torch.zeros(1, 1, 9, 9, dtype=torch.uint8), 1) == 128).sum())
    1
    """
    count, _, height, width = x.shape

    def covered(length: int) -> Tensor:
        centre = torch.randint(length, (count, 1), device=x.device)
        away = torch.arange(length, device=x.device) - centre + size // 2  # (B, length)
        return (away >= 0) & (away < size)

    hidden = covered(height)[:, None, :, None] & covered(width)[:, None, None, :]
    return torch.where(hidden, torch.full((), 128, dtype=x.dtype, device=x.device), x)


def mixup(x: Tensor, alpha: float) -> tuple[Tensor, Tensor, Tensor]:
    """Each input and another of the batch in one: share x_i + (1 - share) x_j, one share a batch from Beta(alpha, alpha).

    The loss is mixed as the inputs are: share loss(answer, y_i) + (1 - share) loss(answer, y_j) (Zhang et al. 2018).

    Args:
        x: normalised inputs (B, ...).
        alpha: above 0; the smaller, the more one of the two outweighs.

    Returns:
        the mixed inputs, the number j of each one's partner (B,), and the share, a scalar.

    >>> mixed, partner, share = mixup(torch.tensor([[0.0], [1.0]]), alpha=1.0)
    >>> bool(torch.allclose(mixed[:, 0], share * torch.tensor([0.0, 1.0]) + (1 - share) * partner.float()))
    True
    """
    concentration = torch.full((), alpha, device=x.device)
    share = torch.distributions.Beta(concentration, concentration, validate_args=False).sample()
    partner = torch.randperm(len(x), device=x.device)
    return torch.lerp(x[partner], x, share.to(x.dtype)), partner, share


class Growing:
    """A change: images small at first and larger later, each size for an equal share of training, the smaller interpolated.

    The early steps, which learn what is coarse, cost less, for the cost of a convolution is its area.

    Args:
        sizes: heights and widths in pixels, in their order.
        size: that of the images; the last of the sizes.

    Raises:
        UserError: the last of the sizes is another than that of the images.

    Source: Howard: Training ImageNet in 3 hours for 25 minutes, 2018; Tan and Le: EfficientNetV2, 2021, section 4.2.

    >>> grow = Growing((8, 16), 16)
    >>> x, y = torch.zeros(1, 3, 16, 16), torch.zeros(1)
    >>> [grow(x, Moment(y, y, epoch, epochs=5)).shape[-1] for epoch in range(5)]
    [8, 8, 8, 16, 16]
    """

    def __init__(self, sizes: Sequence[int], size: int) -> None:
        if sizes[-1] != size:
            raise UserError(
                "the last of the sizes is not that of the images",
                found=f"grow={','.join(map(str, sizes))}",
                expected=f"the last is {size}",
                cure=f"grow={','.join(map(str, (*sizes[:-1], size)))}",
            )
        self.sizes = list(sizes)

    def __call__(self, x: Tensor, moment: Moment) -> Tensor:
        size = self.sizes[min(moment.epoch * len(self.sizes) // moment.epochs, len(self.sizes) - 1)]
        if x.shape[-2:] == (size, size):
            return x
        return F.interpolate(x.float(), (size, size), mode="bilinear", antialias=True)


TOPICS = (
    Topic(
        "Data augmentation: crop, flip, colours, cutout, mixup",
        "数据增强：裁剪、翻转、颜色、遮挡、混合",
        lectures=(3,),
        code=("shift", "flip", "random_resized_crop", "jitter_colours", "cutout", "mixup"),
        command="chainrule train image-classifier mixup=0.2",
    ),
    Topic("Training in seconds: whitened patches, Muon, mirror images in turn", code=("AlternatingFlip",)),
)
