"""A convolution whose filters differ from place to place."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from chainrule.core.errors import UserError


class LocallyConnected2d(nn.Module):
    """y_(o,l) = sum_k w_(l,o,k) x_(k,l) + b_(o,l): every output position l has filters and biases of its own.

    k runs over the C k k numbers that a window holds, so the size of the images is part of the layer.

    Args:
        in_channels: C.
        out_channels: O.
        size: height and width of the input maps.
        kernel_size, stride, padding: of the windows, as in torch.nn.Conv2d.

    Takes (B, C, H, W), gives (B, O, H', W').

    Raises:
        UserError: where no window fits; when called, where the maps are of another size.

    Source: cuda-convnet, the layer `local`, whose biases are not shared.

    >>> layer = LocallyConnected2d(3, 8, (6, 6), 3, padding=1)
    >>> layer(torch.zeros(2, 3, 6, 6)).shape, tuple(layer.weight.shape)
    (torch.Size([2, 8, 6, 6]), (36, 8, 27))
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        size: tuple[int, int],
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
    ) -> None:
        super().__init__()
        height, width = ((length + 2 * padding - kernel_size) // stride + 1 for length in size)
        if min(height, width) < 1:
            raise UserError(
                "no window fits into the maps",
                expected=f"sides of {kernel_size - 2 * padding} at least",
                found=f"{size[0]} x {size[1]}",
                cure="a smaller kernel_size or more padding",
            )
        self.in_channels, self.size, self.out_size = in_channels, size, (height, width)
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        fan_in = in_channels * kernel_size**2
        self.weight = nn.Parameter(torch.empty(height * width, out_channels, fan_in))
        self.bias = nn.Parameter(torch.zeros(out_channels, height, width))
        bound = fan_in**-0.5
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W) -> (B, O, H', W')
        if x.dim() != 4 or tuple(x.shape[1:]) != (self.in_channels, *self.size):
            expected = f"(B, {self.in_channels}, {self.size[0]}, {self.size[1]})"
            raise UserError("the maps are of another shape than this layer", expected=expected, found=tuple(x.shape))
        windows = nn.functional.unfold(x, self.kernel_size, padding=self.padding, stride=self.stride)  # (B, C k k, L)
        found = torch.matmul(windows.permute(2, 0, 1), self.weight.transpose(1, 2))  # (L, B, O)
        return found.permute(1, 2, 0).unflatten(2, self.out_size) + self.bias

    def extra_repr(self) -> str:
        places, out_channels, _ = self.weight.shape
        return f"{out_channels} filters at each of {places} places, kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
