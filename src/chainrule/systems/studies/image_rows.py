"""Images as the rows that a perceptron takes, for studies on real data."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from chainrule.data.dataset import Dataset
from chainrule.data.images.loading import ImageSplit, load_images
from chainrule.data.images.spec import ImageSpec
from chainrule.nn.normalization.normalize import Normalize
from chainrule.run.run import Run


@dataclass(frozen=True)
class LabelledRows:
    """Normalised pixels x (N, channels * size * size) and classes y (N,), on the run's device."""

    x: Tensor
    y: Tensor


class ImageRows:
    """The run's images at one size; splits are read and normalised on demand.

    Args:
        run: whose data and device.
        size: of the squared images.
        samples: at most so many of the training split, drawn by the seed; 0 takes all.
    """

    def __init__(self, run: Run, *, size: int, samples: int = 0) -> None:
        self.run, self.samples = run, samples
        self.data: Dataset[ImageSpec, ImageSplit] = load_images(run.data, size=size)
        self.num_classes = len(self.data.spec.classes)
        self.width = self.data.spec.channels * size * size

    @property
    def train(self) -> LabelledRows:
        split = self.data.train
        if 0 < self.samples < len(split):
            order = torch.randperm(len(split), generator=torch.Generator().manual_seed(self.run.seed))[: self.samples]
            split = ImageSplit(split.x[order], split.y[order])
        return self._rows(split)

    @property
    def val(self) -> LabelledRows:
        return self._rows(self.data.val)

    @property
    def test(self) -> LabelledRows:
        return self._rows(self.data.test)

    def _rows(self, split: ImageSplit) -> LabelledRows:
        spec, device = self.data.spec, self.run.device
        normalize = Normalize(spec.mean, spec.std).to(device)
        return LabelledRows(normalize(split.x.to(device)).flatten(1), split.y.to(device))  # (N, C, S, S) -> (N, C S S)
