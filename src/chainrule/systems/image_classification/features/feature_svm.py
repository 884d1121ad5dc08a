"""A linear support vector machine behind features of images: the two stages of recognition before networks."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from chainrule.data.preprocess import Preprocess
from chainrule.nn.fitted import Fitted
from chainrule.systems.image_classification.features.hog import HOG
from chainrule.systems.image_classification.features.local_binary_patterns import LocalBinaryPatterns
from chainrule.systems.image_classification.features.patch_dictionary import PatchDictionary, draw_patches

CHUNK = 200  # images whose features are computed at a time
LARGEST = 1e4  # no scale is above it
HALVINGS = 60


class FeatureSVM(nn.Module):
    """Images (B, C, H, W), pixels from 0 to 1, to logits (B, K): `scale` times the machine's scores of their features.

    Args:
        features: images to rows (B, D).
        example: an image (1, C, H, W), which says how many features there are.
        svm: the machine, classes against the rest.
        num_classes: K. One without a training image has the lowest logit.

    The scale turns margins into log-odds: it is the one of least cross entropy on images that the machine was not fitted to
    (Platt 1999, with one number for all classes). It moves no answer.
    """

    scale: Tensor

    def __init__(self, features: nn.Module, example: Tensor, svm: Fitted, num_classes: int) -> None:
        super().__init__()
        self.features, self.svm, self.num_classes = features, svm, num_classes
        self.preprocess = Preprocess("standardize", features(example).shape[1])
        self.register_buffer("scale", torch.ones(()))

    @property
    def num_parameters(self) -> int:
        return self.svm.num_parameters

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * self.scores(self.preprocess(self.features(x)))

    def scores(self, rows: Tensor) -> Tensor:
        """Scores (N, K) of standardised features (N, D)."""
        found = self.svm(rows)
        if found.shape[1] == self.num_classes:
            return found
        scores = (found.amin(1, keepdim=True) - 1).repeat(1, self.num_classes)
        scores[:, torch.as_tensor(self.svm.estimator.classes_, device=rows.device)] = found  # type: ignore[attr-defined]
        return scores

    @torch.no_grad()
    def fit_features(
        self, x: Tensor, normalize: Callable[[Tensor], Tensor], *, samples: int, generator: torch.Generator
    ) -> Tensor:
        """Fits what stands before the machine to training images, bytes (N, C, H, W); gives their features, standardised.

        Args:
            normalize: bytes to pixels.
            samples: patches that a dictionary is learnt from.
            generator: draws the patches.
        """
        if isinstance(self.features, PatchDictionary):
            patches = draw_patches(x, self.features.size, samples, generator)
            self.features.fit(normalize(patches.to(self.scale.device)), generator)
        rows = self._features(x, normalize)
        self.preprocess.fit(rows)
        return self.preprocess(rows)

    @torch.no_grad()
    def rows(self, x: Tensor, normalize: Callable[[Tensor], Tensor]) -> Tensor:
        """The features of bytes x (N, C, H, W), standardised, (N, D)."""
        return self.preprocess(self._features(x, normalize))

    def _features(self, x: Tensor, normalize: Callable[[Tensor], Tensor]) -> Tensor:
        return torch.cat([self.features(normalize(chunk.to(self.scale.device))) for chunk in x.split(CHUNK)])

    @torch.no_grad()
    def calibrate(self, rows: Tensor, y: Tensor) -> None:
        """Sets `scale` by rows (N, D) and classes y (N,) that the machine was not fitted to."""
        self.scale.fill_(likeliest_scale(self.scores(rows), y))


def features_of(name: str, channels: int, *, cell: int, orientations: int, patches: int, patch: int) -> nn.Module:
    """The module that computes features by name: hog, lbp, patches or pixels; images (B, channels, H, W) to rows."""
    if name == "hog":
        return HOG(cell, orientations=orientations)
    if name == "lbp":
        return LocalBinaryPatterns(cell)
    return PatchDictionary(channels, patches, patch) if name == "patches" else nn.Flatten()


def likeliest_scale(scores: Tensor, y: Tensor) -> float:
    """The s above 0 of least cross entropy of softmax(s scores), from scores (N, K) and classes y (N,).

    As Platt has it, a class counts (N + 1) / (N + 2) for its own samples and the rest is shared by the others: where no answer
    is wrong it still stays finite. The derivative, the mean of sum_k (p_k - t_k) z_k, rises with s: it is halved upon.

    Source: Platt: Probabilistic outputs for support vector machines, 1999, section 2.1.

    >>> scores = torch.tensor([[1.0, -1.0], [1.0, -1.0], [-1.0, 1.0], [1.0, -1.0]])  # three of four are right
    >>> round(likeliest_scale(scores, torch.tensor([0, 0, 1, 1])), 4)  # log(2) / 2: softmax gives them 2/3
    0.3466
    """
    z, (count, classes) = scores.double(), scores.shape
    share = 1 / (count + 2)
    own = z.gather(1, y[:, None])[:, 0]
    wanted = (1 - share) * own + share * (z.sum(1) - own) / (classes - 1)  # sum_k t_k z_k
    low, high = 0.0, LARGEST
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        slope = float((((z * middle).softmax(1) * z).sum(1) - wanted).mean())
        low, high = (middle, high) if slope < 0 else (low, middle)
    return max(low, 1e-6)
