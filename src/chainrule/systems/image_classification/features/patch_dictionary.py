"""A dictionary of patches, learnt without labels: k-means of whitened patches, and how near each patch is to each.

Shapes: images (B, C, H, W); patches of S x S pixels, D = C S^2 numbers each, h = H - S + 1 down and w across; K patches in
the dictionary.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from chainrule.core.course import Topic
from chainrule.core.errors import UserError
from chainrule.data.preprocess import Preprocess
from chainrule.functional.kmeans import kmeans

CONTRAST = 10 / 255**2  # added to a patch's variance; the source has 10, of pixels to 255
WHITENING = 0.1  # added to the variances that are divided by


def draw_patches(x: Tensor, size: int, count: int, generator: torch.Generator) -> Tensor:
    """`count` patches (count, C, size, size) from anywhere in images x (N, C, H, W), each place as likely.

    Raises:
        UserError: images smaller than a patch.

    >>> draw_patches(torch.arange(4).view(1, 1, 2, 2), 2, 3, torch.Generator()).shape
    torch.Size([3, 1, 2, 2])
    """
    _check_size(x, size)
    image, top, left = (
        torch.randint(most, (count,), generator=generator).tolist()
        for most in (len(x), x.shape[2] - size + 1, x.shape[3] - size + 1)
    )
    return torch.stack([x[i, :, r : r + size, c : c + size] for i, r, c in zip(image, top, left, strict=True)])


def _check_size(x: Tensor, size: int) -> None:
    if not 1 <= size <= min(x.shape[2:]):
        raise UserError(
            "a patch does not fit into the image", where="patch", expected=f"1 to {min(x.shape[2:])}", found=size
        )


class PatchDictionary(nn.Module):
    """Images to rows (B, 4 K): how strongly each of K typical patches is there, in each quarter of the image.

    A patch p, less its mean, over its deviation, and whitened, becomes z; with the distances d_k = |z - c_k| to all K
    centres

        f_k = max(0, mean_j d_j - d_k)

    (the "triangle" activation: about half are 0). Their means over the four quarters of the image are the row.

    Args:
        channels: C.
        patches: K.
        size: S, the side of a patch.

    Source: Coates, Ng, Lee: An analysis of single-layer networks in unsupervised feature learning, 2011, section 3, with
    means in place of sums, which differ by a factor.

    >>> dictionary = PatchDictionary(1, patches=3, size=2)
    >>> dictionary.fit(torch.rand(200, 1, 2, 2), torch.Generator().manual_seed(0))
    >>> dictionary(torch.rand(5, 1, 6, 6)).shape
    torch.Size([5, 12])
    """

    centres: Tensor

    def __init__(self, channels: int, patches: int = 100, size: int = 6) -> None:
        super().__init__()
        self.channels, self.size = channels, size
        self.whitening = Preprocess("zca", channels * size * size, eps=WHITENING)
        self.register_buffer("centres", torch.zeros(patches, channels * size * size))

    def normalized_patches(self, x: Tensor) -> Tensor:
        """Every patch of images, (B, h w, D), less its mean and over its deviation.

        Raises:
            UserError: images smaller than a patch.
        """
        _check_size(x, self.size)
        patches = nn.functional.unfold(x, self.size).transpose(1, 2)  # (B, D, h w) -> (B, h w, D)
        centred = patches - patches.mean(2, keepdim=True)
        return centred * (centred.square().mean(2, keepdim=True) + CONTRAST).rsqrt()

    def activations(self, x: Tensor) -> Tensor:
        """f_k of every patch of images, (B, K, h, w)."""
        z = self.whitening(self.normalized_patches(x))  # (B, h w, D)
        centres = self.centres.to(z.dtype)
        squares = z.square().sum(2, keepdim=True) - 2 * z @ centres.T + centres.square().sum(1)
        distances = squares.clamp(min=1e-12).sqrt()  # (B, h w, K)
        triangle = (distances.mean(2, keepdim=True) - distances).relu()
        return triangle.transpose(1, 2).unflatten(2, (x.shape[2] - self.size + 1, x.shape[3] - self.size + 1))

    def forward(self, x: Tensor) -> Tensor:
        maps = self.activations(x)
        down, across = (maps.shape[2] + 1) // 2, (maps.shape[3] + 1) // 2
        halves = (maps[:, :, :down], maps[:, :, -down:])  # of an odd height the middle row belongs to both
        quarters = [part.mean((2, 3)) for half in halves for part in (half[..., :across], half[..., -across:])]
        return torch.cat(quarters, 1)

    @torch.no_grad()
    def fit(self, patches: Tensor, generator: torch.Generator) -> None:
        """Learns whitening and centres from patches (n, C, S, S), pixels from 0 to 1, without any label.

        Raises:
            UserError: fewer distinct patches than the dictionary is to have.
        """
        # 1. Each patch normalised. 2. All whitened. 3. k-means: the centres are the dictionary.
        rows = self.normalized_patches(patches).flatten(1)  # (n, 1, D) -> (n, D)
        self.whitening.fit(rows)
        found, _ = kmeans(self.whitening(rows), len(self.centres), generator)
        self.centres.copy_(found)

    def pixels(self) -> Tensor:
        """The patches of the dictionary as they were before whitening, (K, C, S, S)."""
        back = torch.linalg.pinv(self.whitening.factor)
        return (
            (self.centres.double() @ back + self.whitening.shift).float().unflatten(1, (self.channels, self.size, -1))
        )


TOPICS = (Topic("Features made by hand: HOG, LBP, patch dictionaries, before networks", code=("PatchDictionary",)),)
