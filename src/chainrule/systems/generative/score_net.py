"""A small classifier of digits by which generators are scored: its 64 features, its ten probabilities.

Inception-v3, which the published scores use, is 100 MB and was trained on photographs; for 28-pixel digits a network
of 47,034 weights trained on digits discriminates better, and fits into the package. Its scores compare only with
each other.

Shapes: B batch, K classes.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import safetensors.torch
import torch.nn.functional as F
from torch import Tensor, nn

from chainrule.core.card import Card, images
from chainrule.nn.image_size import exactly
from chainrule.nn.normalization.normalize import Normalize


class ScoreNet(nn.Module):
    """Three convolutions with max pooling, 64 hidden units (the features), logits (B, K)."""

    def __init__(self, num_classes: int = 10, in_channels: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.conv3 = nn.Conv2d(32, 48, 3, padding=1)
        self.hidden = nn.Linear(48 * 3 * 3, 64)
        self.head = nn.Linear(64, num_classes)

    def features(self, x: Tensor) -> Tensor:  # (B, C, 28, 28) -> (B, 64)
        exactly(x, 28, "score-net")
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)  # (B, 16, 14, 14)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)  # (B, 32, 7, 7)
        x = F.max_pool2d(F.relu(self.conv3(x)), 2)  # (B, 48, 3, 3)
        return F.relu(self.hidden(x.flatten(1)))  # (B, 48 * 3 * 3) -> (B, 64)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


class DigitScorer(nn.Module):
    """The trained ScoreNet of this package, on bytes.

    Takes grey images (B, 1, H, W) in 0 to 255, resampled to 28 x 28; gives features (B, 64), log-probabilities (B, 10).
    """

    def __init__(self) -> None:
        super().__init__()
        folder = resources.files("chainrule.systems.generative") / "assets"
        self.provenance: dict[str, Any] = json.loads((folder / "score-net-mnist.json").read_text("utf-8"))
        self.normalize = Normalize(self.provenance["mean"], self.provenance["std"])
        self.net = ScoreNet()
        self.net.load_state_dict(safetensors.torch.load((folder / "score-net-mnist.safetensors").read_bytes()))
        self.eval().requires_grad_(False)

    @property
    def name(self) -> str:
        return f"a digit classifier (score-net, MNIST test accuracy {self.provenance['test_accuracy']})"

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        if pixels.shape[-2:] != (28, 28):
            pixels = F.interpolate(pixels.float(), (28, 28), mode="bilinear", antialias=True)
        features = self.net.features(self.normalize(pixels))
        return features, self.net.head(features).log_softmax(1)


SCORE_NET = Card(
    name="score-net",
    source="none: a small convolutional network of our own, to score generators of digits with",
    build=ScoreNet,
    example=images(28, 1),
    parameters=47_034,
)
