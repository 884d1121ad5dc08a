"""Bilinear enlargement with a fixed filter, as FCN's transposed convolutions have it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chainrule.core.errors import UserError


def bilinear_kernel(size: int) -> Tensor:
    """The filter (size, size) with which a transposed convolution enlarges bilinearly by s = ceil(size / 2).

        k_ij = (1 - |i - c| / s) (1 - |j - c| / s),    c = s - 1/2 for even sizes, s - 1 for odd ones

    Source: Long, Shelhamer, Darrell 2015, section 3.3. A factor s wants the size 2 s - s mod 2.

    >>> bilinear_kernel(4)[1]  # 0.75 of (0.25, 0.75, 0.75, 0.25)
    tensor([0.1875, 0.5625, 0.5625, 0.1875])
    """
    s = (size + 1) // 2
    centre = s - 1 if size % 2 else s - 0.5
    line = 1 - (torch.arange(size) - centre).abs() / s
    return line[:, None] * line


class BilinearUpsample(nn.Module):
    """Enlarges each map by `factor`, as the transposed convolution with `bilinear_kernel(kernel_size)` does; nothing is learnt.

    (B, C, H, W) -> (B, C, factor (H - 1) + kernel_size, the same of W). Beyond the border the maps are 0, so the border of
    the answer fades.

    Inserting zeros between the numbers and convolving costs factor^2 as much as it needs: most products are with zeros. The
    filter is a product of two lines of triangles, so linear interpolation of the maps with a row of zeros around gives the
    same numbers.

    Args:
        factor: s.
        kernel_size: 2 s - 1, whose centre is a number, or for an even s also 2 s, whose centre lies between two.

    Raises:
        UserError: no other size is bilinear.

    >>> up = BilinearUpsample(2, 4)
    >>> x = torch.randn(1, 1, 3, 3)
    >>> torch.allclose(up(x), F.conv_transpose2d(x, bilinear_kernel(4)[None, None], stride=2), atol=1e-6)
    True
    """

    def __init__(self, factor: int, kernel_size: int) -> None:
        super().__init__()
        sizes = (2 * factor - 1,) if factor % 2 else (2 * factor - 1, 2 * factor)
        if kernel_size not in sizes:
            expected = " or ".join(map(str, sizes))
            raise UserError(
                f"no bilinear filter for {factor} times has this size", expected=expected, found=kernel_size
            )
        self.factor, self.kernel_size = factor, kernel_size

    def forward(self, x: Tensor) -> Tensor:
        height, width, s, half = x.shape[-2] + 2, x.shape[-1] + 2, self.factor, self.factor // 2
        padded = F.pad(x, (1, 1, 1, 1))
        if self.kernel_size % 2:  # centred: numbers stay where they are, s - 1 between them
            size = (s * (height - 1) + 1, s * (width - 1) + 1)
            return F.pad(F.interpolate(padded, size, mode="bilinear", align_corners=True), (-1, -1, -1, -1))
        out = F.interpolate(padded, (s * height, s * width), mode="bilinear", align_corners=False)
        return F.pad(out, (-half, -half, -half, -half))

    def extra_repr(self) -> str:
        return f"{self.factor}, kernel_size={self.kernel_size}"
