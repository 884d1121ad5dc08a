"""What a segmenter's answers are worth: by class, its confusions, its worst images beside the truth.

Shapes: B images, K classes, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from chainrule.core.task import Figure
from chainrule.data.images.masks.loading import MaskSplit, resized_mask
from chainrule.data.images.masks.spec import MaskSpec
from chainrule.reporting.plots import COLOURS, drawing, new_figure, tidy_axes, to_png, to_svg
from chainrule.systems.segmentation.answers import overlay
from chainrule.systems.segmentation.scores import VOID, scores

SHOWN = 12  # images
LOOKED_AT = 200  # images of which the worst are shown
LEVELS = 101  # thresholds of the curve
GAP = 3  # pixels between images
RIGHT, WRONG, NO_CLASS = (235, 235, 235), (220, 38, 38), (120, 120, 120)


class Answers(Protocol):
    """What the figures ask: the segmenter."""

    classes: list[str]
    spec: MaskSpec

    def logits(self, images: Tensor, flip: bool = False) -> Tensor: ...


def segmentation_figures(task: Answers, split: MaskSplit, matrix: Tensor) -> list[Figure]:
    """All of them for a split, and its confusion matrix (K, K)."""
    found = [by_class(matrix, task.classes), confusion_figure(matrix, task.classes)]
    return [*found, worst_images(task, split), rarest_class(task, split, matrix)]


def by_class(matrix: Tensor, classes: Sequence[str]) -> Figure:
    """IoU, recall, precision and share of the pixels of each class, the worst first."""
    n = matrix.double()
    right, truth, answered = n.diagonal(), n.sum(1), n.sum(0)
    iou = torch.tensor(scores(matrix)["iou"])

    def shown(value: Tensor) -> str:
        return "-" if value.isnan() else f"{float(value):.3f}"

    rows = [
        [
            classes[k],
            shown(iou[k]),
            shown(right[k] / truth[k]),
            shown(right[k] / answered[k]),
            f"{float(truth[k] / n.sum()):.2%}",
        ]
        for k in iou.nan_to_num(2).argsort(stable=True).tolist()
    ]
    caption = (
        "IoU: pixels that are of the class and were answered so, over those that are or were. Recall: of the pixels of the "
        "class the share answered so. Precision: of the pixels answered so the share that is. The worst first."
    )
    return Figure("By class", caption, table=[["class", "IoU", "recall", "precision", "pixels"], *rows])


def confusion_figure(matrix: Tensor, classes: Sequence[str]) -> Figure:
    """Shares of each true class's pixels by what was answered."""
    shares = (matrix.double() / matrix.sum(1, keepdim=True).clamp_min(1)).numpy()
    K = len(classes)
    with drawing("confusion"):
        side = min(7.5, 2.2 + 0.42 * K)
        canvas = new_figure(side, side)
        axes = canvas.subplots()
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        axes.set_xticks(range(K), classes, rotation=60, ha="right", fontsize=8)
        axes.set_yticks(range(K), classes, fontsize=8)
        axes.set_xlabel("answer", color="#4b5563")
        axes.set_ylabel("truth", color="#4b5563")
        if K <= 15:
            for i in range(K):
                for j in range(K):
                    if shares[i, j] >= 0.005:
                        colour = "white" if shares[i, j] > 0.55 else "#374151"
                        axes.text(j, i, f"{100 * shares[i, j]:.0f}", ha="center", va="center", fontsize=7, color=colour)
        caption = "Of the pixels of each true class (row), the share answered as each class (column), in per cent."
        return Figure("Confusion", caption, svg=to_svg(canvas, "confusion"))


def worst_images(task: Answers, split: MaskSplit) -> Figure:
    """Image, truth, answer and error of the images with the most wrong pixels, worst first."""
    found = []
    for image, mask in zip(split.images[:LOOKED_AT], split.masks, strict=False):
        answer = task.logits(image[None]).argmax(1)[0].cpu().to(torch.uint8)
        truth = resized_mask(mask, *answer.shape)
        used = truth != VOID
        wrong = (answer != truth) & used
        found.append((float(wrong.sum() / used.sum().clamp_min(1)), image, truth, answer))
    found.sort(key=lambda each: -each[0])
    shown = found[:SHOWN]
    colours = [*task.spec.colours, *[[0, 0, 0]] * (VOID - len(task.spec.colours)), list(NO_CLASS)]
    height = max(image.shape[-2] for _, image, _, _ in shown)
    width = max(image.shape[-1] for _, image, _, _ in shown)
    sheet = np.full((len(shown) * (height + GAP), 4 * (width + GAP), 3), 255, np.uint8)
    for number, (_, image, truth, answer) in enumerate(shown):
        pixels = image.permute(1, 2, 0).cpu().numpy()
        error = np.where((answer != truth)[..., None], WRONG, RIGHT).astype(np.uint8)
        error[(truth == VOID).numpy()] = NO_CLASS
        painted = [np.asarray(overlay(pixels, classes.numpy(), colours)) for classes in (truth, answer)]
        panels = (pixels, *painted, error)
        for column, panel in enumerate(panels):
            top, left = number * (height + GAP), column * (width + GAP)
            sheet[top : top + pixels.shape[0], left : left + pixels.shape[1]] = panel
    with drawing("worst"):
        canvas = new_figure(8.4, 8.4 * sheet.shape[0] / sheet.shape[1] + 0.3)
        axes = canvas.subplots()  # one for all: forty-eight cost seconds
        axes.imshow(sheet)
        axes.axis("off")
        for column, title in enumerate(("image", "truth", "answer", "wrong")):
            axes.text((column + 0.5) * (width + GAP), -GAP, title, ha="center", va="bottom", fontsize=8)
        for number, (share, *_) in enumerate(shown):
            axes.text(sheet.shape[1], (number + 0.5) * (height + GAP), f"{share:.1%}", va="center", fontsize=7)
        caption = (
            f"The {len(shown)} of {len(found)} test images with the largest share of wrong pixels, the worst first. "
            "Right: wrong pixels red, void grey, and their share."
        )
        return Figure("Worst images", caption, png=to_png(canvas))


def rarest_class(task: Answers, split: MaskSplit, matrix: Tensor) -> Figure:
    """Precision over recall of the rarest class that the split has, by the threshold of its probability."""
    truth_pixels = matrix.sum(1)
    there = truth_pixels > 0
    k = int(torch.where(there, truth_pixels, truth_pixels.max() + 1).argmin())
    right, all_answered, positives = torch.zeros(LEVELS), torch.zeros(LEVELS), 0.0
    for image, mask in zip(split.images[:LOOKED_AT], split.masks, strict=False):
        probs = F.softmax(task.logits(image[None]), 1)[0, k].cpu()
        truth = resized_mask(mask, *probs.shape)
        used = truth != VOID
        level = (probs[used] * (LEVELS - 1)).floor().long()
        is_it = (truth[used] == k).float()
        right += torch.bincount(level, is_it, minlength=LEVELS).float()
        all_answered += torch.bincount(level, minlength=LEVELS).float()
        positives += float(is_it.sum())
    right, answered = right.flip(0).cumsum(0), all_answered.flip(0).cumsum(0)
    recall, precision = right / max(positives, 1.0), right / answered.clamp_min(1)
    held = answered > 0
    name = task.classes[k]
    with drawing("rarest"):
        canvas = new_figure(4.4, 3.4)
        axes = canvas.subplots()
        axes.plot(recall[held].numpy(), precision[held].numpy(), color=COLOURS[0])
        axes.set_xlabel("recall", color="#4b5563")
        axes.set_ylabel("precision", color="#4b5563")
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.02)
        tidy_axes(axes)
        caption = (
            f"The rarest class of the test split, {name}: of the pixels whose probability of it exceeds a threshold, the share "
            "that is of it, over the share of its pixels that are found."
        )
        return Figure(f"Precision and recall of {name}", caption, svg=to_svg(canvas, "rarest"))
