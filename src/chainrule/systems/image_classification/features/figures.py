"""What features keep of an image: drawn gradients, labels of patterns, the patches of a dictionary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from chainrule.core.task import Figure
from chainrule.reporting.plots import COLOURS, drawing, gallery, new_figure, tidy_axes, to_svg
from chainrule.systems.image_classification.features.hog import HOG, glyphs
from chainrule.systems.image_classification.features.local_binary_patterns import LocalBinaryPatterns, pattern_codes
from chainrule.systems.image_classification.features.patch_dictionary import PatchDictionary

SHOWN = 6  # images
SHOWN_PATCHES = 100
NAMES = {
    "pixels": "pixels and SVM",
    "lbp": "local binary patterns and SVM",
    "hog": "HOG and SVM",
    "patches": "patch dictionary and SVM",
    "network": "convolutional network",
}


def feature_figures(features: nn.Module, x: Tensor) -> list[Figure]:
    """What the features keep of some images, bytes (N, C, H, W); nothing where they are the pixels."""
    some = x[:SHOWN].cpu().float() / 255
    if isinstance(features, HOG):
        drawn = glyphs(some, cell=features.cell, orientations=features.orientations)
        return [
            _pairs(
                x,
                drawn,
                "What HOG keeps",
                "Each image, and in each of its cells a line along its edges: the brighter, the stronger.",
            )
        ]
    if isinstance(features, LocalBinaryPatterns):
        codes = pattern_codes(some.mean(1), features.neighbours, features.radius)
        drawn = (codes[:, None].float() * (255 / (2**features.neighbours - 1))).round().to(torch.uint8)
        return [
            _pairs(x, drawn, "Local binary patterns", "Each image, and the code of each of its pixels as a grey value.")
        ]
    if isinstance(features, PatchDictionary):
        return [_dictionary(features)]
    return []


def _pairs(x: Tensor, drawn: Tensor, title: str, caption: str) -> Figure:
    """Some images, bytes (N, C, H, W), and below each what was drawn of it, bytes (n, 1, h, w), at one size."""
    side = max(x.shape[2], drawn.shape[2])
    shown = x[:SHOWN].cpu()
    parts = [
        nn.functional.interpolate(part.float(), (side, side * part.shape[3] // part.shape[2])).to(torch.uint8)
        for part in (shown, drawn.expand(-1, shown.shape[1], -1, -1))
    ]
    return gallery(torch.cat(parts), [""] * (2 * len(shown)), title, caption, columns=len(shown))


def _dictionary(features: PatchDictionary) -> Figure:
    patches = features.pixels()[:SHOWN_PATCHES].cpu()
    low, high = patches.amin((1, 2, 3), keepdim=True), patches.amax((1, 2, 3), keepdim=True)
    shown = ((patches - low) / (high - low).clamp(min=1e-12) * 255).round().to(torch.uint8)
    return gallery(
        shown if features.channels in (1, 3) else shown[:, :1],
        [""] * len(shown),
        "The dictionary",
        f"{len(shown)} of {len(features.centres)} patches of {features.size} x {features.size} pixels, their whitening undone; "
        "each from its lowest value to its highest.",
        columns=20,
    )


def stages_figure(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """The test error over the number of training images, a line a method."""
    title = "Errors against training images"
    with drawing(title):
        canvas = new_figure(6.0, 3.8)
        axes = canvas.add_subplot()
        for colour, (method, name) in zip(COLOURS, NAMES.items(), strict=False):
            some = sorted((row["images"], row["error"]) for row in rows if row["method"] == method)
            if not some:
                continue
            axes.plot(*zip(*some, strict=True), color=colour, marker="o", markersize=4, linewidth=1.5, label=name)
        counts = sorted({row["images"] for row in rows})
        axes.set_xscale("log")
        axes.set_xticks(counts, [f"{count:,}" for count in counts])
        axes.set_xticks([], minor=True)
        axes.set_ylim(bottom=0)
        tidy_axes(axes)
        axes.set_xlabel("training images", color="#4b5563")
        axes.set_ylabel("test error", color="#4b5563")
        axes.legend(frameon=False)
        caption = "The same images for all methods; of each machine the validation split chose C."
        return Figure(title, caption, svg=to_svg(canvas, title))
