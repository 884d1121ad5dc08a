"""LeNet: the network of 1998 that read digits, and the form that Caffe made common.

Shapes: B batch, C input channels, K classes.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from chainrule.core.card import CaffeWeights, Card, Preprocessing, images
from chainrule.core.course import Topic
from chainrule.interop.caffe.translation import state_of
from chainrule.nn.image_size import exactly

# Which of the six maps of S2 each of the sixteen maps of C3 sees: Table I of the paper, a column a map of C3.
C3_TABLE = (
    (0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5),
    (0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5),
    (0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5), (0, 1, 2, 3, 4, 5),
)  # fmt: skip

# The targets of the output layer: each digit drawn on 7 x 12 pixels, ink +1, ground -1 (drawn anew; see deviations).
_GLYPHS = (
    "..###.. .#...#. #.....# #.....# #.....# #.....# #.....# .#...#. ..###..",
    "...#... ..##... .#.#... ...#... ...#... ...#... ...#... ...#... .#####.",
    "..###.. .#...#. #.....# ......# .....#. ....#.. ..##... .#..... #######",
    "####### .....#. ....#.. ..###.. .....#. ......# ......# #.....# .#####.",
    ".....#. ....##. ...#.#. ..#..#. .#...#. #....#. ####### .....#. .....#.",
    "####### #...... #...... ######. ......# ......# ......# #.....# .#####.",
    "..####. .#..... #...... #.####. ##....# #.....# #.....# .#....# ..####.",
    "####### ......# .....#. .....#. ....#.. ....#.. ...#... ...#... ...#...",
    ".#####. #.....# #.....# .#####. #.....# #.....# #.....# #.....# .#####.",
    "..####. .#....# #.....# #....## .####.# ......# ......# .....#. .####..",
)


def scaled_tanh(x: Tensor) -> Tensor:
    """1.7159 tanh(2x/3): f(1) = 1 and f(-1) = -1 (LeCun et al. 1998, Appendix A)."""
    return 1.7159 * torch.tanh(x * (2.0 / 3.0))


class Subsampling(nn.Module):
    """The sum of each 2 x 2 field, times a trainable coefficient, plus a trainable bias, one of each a map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), 0.25))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W) -> (B, C, H/2, W/2)
        total = nn.functional.avg_pool2d(x, 2) * 4.0
        return total * self.weight[:, None, None] + self.bias[:, None, None]


class PartialConv(nn.Module):
    """A 5 x 5 convolution in which each output map sees only its maps of `table`."""

    mask: Tensor

    def __init__(self, in_channels: int, table: tuple[tuple[int, ...], ...], kernel_size: int) -> None:
        super().__init__()
        self.table = table
        kernels = sum(len(maps) for maps in table)
        self.weight = nn.Parameter(torch.empty(kernels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(len(table)))
        mask = torch.zeros(len(table), in_channels, dtype=torch.bool)
        for out, maps in enumerate(table):
            mask[out, list(maps)] = True
        self.register_buffer("mask", mask, persistent=False)
        with torch.no_grad():
            start = 0
            for maps in table:  # the bound of Appendix A: 2.4 over the fan-in
                bound = 2.4 / (len(maps) * kernel_size**2)
                self.weight[start : start + len(maps)].uniform_(-bound, bound)
                start += len(maps)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W) -> (B, len(table), H-k+1, W-k+1)
        full = x.new_zeros(*self.mask.shape, *self.weight.shape[1:]).masked_scatter(
            self.mask[:, :, None, None].expand(-1, -1, *self.weight.shape[1:]), self.weight.to(x.dtype)
        )
        return nn.functional.conv2d(x, full, self.bias.to(x.dtype))


def class_codes(num_classes: int) -> Tensor:
    """Targets of the output layer, +1 and -1, (K, 84): images of the digits for ten classes, else random codes."""
    if num_classes == 10:
        rows = [[line.ljust(7, ".") for line in glyph.split()] for glyph in _GLYPHS]
        drawn = [["......."] * (12 - len(lines)) + lines for lines in rows]
        return torch.tensor([[1.0 if pixel == "#" else -1.0 for line in lines for pixel in line] for lines in drawn])
    generator = torch.Generator().manual_seed(1998)
    return torch.randint(0, 2, (num_classes, 84), generator=generator).float() * 2 - 1


class LeNet5(nn.Module):
    """LeNet-5 as published: trainable sub-sampling, partly connected C3, Euclidean RBF outputs to fixed codes.

    `forward` gives logits -|h - w_k|^2 (B, K), the negated penalties of equation 7: the class of least penalty has the
    largest logit, and the criterion of equation 9 is cross entropy with one more class whose logit is -j.
    """

    codes: Tensor

    def __init__(self, num_classes: int = 10, in_channels: int = 1) -> None:
        super().__init__()
        self.c1 = nn.Conv2d(in_channels, 6, 5)
        self.s2 = Subsampling(6)
        self.c3 = PartialConv(6, C3_TABLE, 5)
        self.s4 = Subsampling(16)
        self.c5 = nn.Conv2d(16, 120, 5)
        self.f6 = nn.Linear(120, 84)
        self.register_buffer("codes", class_codes(num_classes))
        for layer in (self.c1, self.c5, self.f6):
            bound = 2.4 / layer.weight[0].numel()
            nn.init.uniform_(layer.weight, -bound, bound)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:  # (B, C, 32, 32)
        exactly(x, 32, "LeNet-5")
        x = scaled_tanh(self.c1(x))  # (B, 6, 28, 28)
        x = scaled_tanh(self.s2(x))  # (B, 6, 14, 14)
        x = scaled_tanh(self.c3(x))  # (B, 16, 10, 10)
        x = scaled_tanh(self.s4(x))  # (B, 16, 5, 5)
        x = scaled_tanh(self.c5(x)).flatten(1)  # (B, 120)
        h = scaled_tanh(self.f6(x))  # (B, 84)
        return -(h[:, None] - self.codes.to(h.dtype)).square().sum(-1)  # (B, K)


class LeNetCaffe(nn.Module):
    """Caffe's LeNet: convolution and max pooling twice, 500 hidden units with ReLU, linear output (B, K)."""

    class_layers = ("ip2",)

    def __init__(self, num_classes: int = 10, in_channels: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 20, 5)
        self.conv2 = nn.Conv2d(20, 50, 5)
        self.ip1 = nn.Linear(50 * 4 * 4, 500)
        self.ip2 = nn.Linear(500, num_classes)
        for layer in (self.conv1, self.conv2, self.ip1, self.ip2):  # Caffe's `xavier`: uniform, fan-in alone
            bound = (3.0 / layer.weight[0].numel()) ** 0.5
            nn.init.uniform_(layer.weight, -bound, bound)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:  # (B, C, 28, 28)
        exactly(x, 28, "LeNet")
        x = nn.functional.max_pool2d(self.conv1(x), 2)  # (B, 20, 12, 12)
        x = nn.functional.max_pool2d(self.conv2(x), 2)  # (B, 50, 4, 4)
        x = nn.functional.relu(self.ip1(x.flatten(1)))  # (B, 500)
        return self.ip2(x)

    def caffe_state(self, file: str | Path) -> dict[str, Tensor]:
        """The weights of a .caffemodel of examples/mnist, as a state dict; see `chainrule.interop.caffe.translation.state_of`."""
        return state_of(file, self, {name: name for name in ("conv1", "conv2", "ip1", "ip2")})


LENET5 = Card(
    name="lenet5",
    source="LeCun, Bottou, Bengio, Haffner: Gradient-based learning applied to document recognition, 1998, section II.B",
    build=LeNet5,
    example=images(32, 1),
    parameters=60_000,
    deviations=(
        "The 7 x 12 images that the output layer aims at are drawn anew after the paper's description; "
        "for other than ten classes they are random codes, as the paper considers.",
        "Trained by momentum SGD on batches, not by the stochastic diagonal Levenberg-Marquardt method.",
    ),
    topics=(
        Topic(
            "LeNet-5",
            "LeNet-5",
            lectures=(1, 2, 3, 4),
            code=("LeNet5", "Subsampling", "PartialConv", "C3_TABLE"),
            command="chainrule train lenet5",
        ),
    ),
)
LENET_CAFFE = Card(
    name="lenet-caffe",
    source="Caffe, examples/mnist/lenet_train_test.prototxt (Jia et al. 2014)",
    build=LeNetCaffe,
    example=images(28, 1),
    parameters=431_080,
    caffe=CaffeWeights(Preprocessing(28, 28, mean=(0.0,), std=(256 / 255,))),  # scale: 0.00390625
    topics=(
        Topic("LeNet in Caffe's form", "Caffe 形式的 LeNet", lectures=(2,), command="chainrule train lenet-caffe"),
    ),
)
