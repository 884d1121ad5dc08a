"""What a segmenter does with one image: its answer and where it is unsure, its score maps, its switches, how far it looks.

Shapes: C channels, K classes, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from chainrule.core.course import Topic
from chainrule.core.task import Figure
from chainrule.reporting.plots import drawing, new_figure, to_png
from chainrule.systems.segmentation.answers import overlay
from chainrule.systems.segmentation.networks.deconvnet import DeconvNet
from chainrule.systems.segmentation.networks.fcn import FCN

WIDE = 8.4  # inches
Panel = tuple[str, np.ndarray]  # a title, and what is drawn: (H, W, 3) bytes, or numbers (H, W)


def illustrations(model: nn.Module, x: Tensor, image: np.ndarray, colours: Sequence[Sequence[int]]) -> list[Figure]:
    """Figures of one image.

    Args:
        model: the network, in eval mode.
        x: what it is given, (1, C, H, W).
        image: the same as bytes (H, W, C), for drawing.
        colours: (R, G, B) of each class.
    """
    with torch.no_grad():
        logits = model(x).float()
    found = [_answer(logits, image, colours)]
    if isinstance(model, FCN):
        found.append(_score_maps(model, x, colours))
    if isinstance(model, DeconvNet):
        found.append(_switches(model, x))
    return [*found, _field(model, x, image)]


def entropy(logits: Tensor) -> Tensor:
    """How unsure each pixel's answer is (H, W): -sum_k p_k log p_k / log K, from 0 to 1, for logits (1, K, H, W).

    >>> entropy(torch.zeros(1, 4, 1, 1)).item()
    1.0
    """
    log_p = logits.double().log_softmax(1)
    found = -(log_p.exp() * log_p).sum(1)[0] / np.log(max(2, logits.shape[1]))
    return found.clamp(0, 1)


def _answer(logits: Tensor, image: np.ndarray, colours: Sequence[Sequence[int]]) -> Figure:
    answer = logits.argmax(1)[0].cpu().numpy()
    unsure = entropy(logits).cpu().numpy()
    panels = [("image", np.broadcast_to(image, (*image.shape[:2], 3))), ("answer", overlay(image, answer, colours))]
    caption = (
        "Right: the entropy of each pixel's probabilities as a share of the largest possible, black where one class is certain, "
        f"white where all are as likely; its mean is {unsure.mean():.3f}."
    )
    return _drawn("Answer and entropy", caption, [*((t, np.asarray(p)) for t, p in panels), ("entropy", unsure)])


def _score_maps(model: FCN, x: Tensor, colours: Sequence[Sequence[int]]) -> Figure:
    """The likeliest class at each place of each map of scores."""
    with torch.no_grad():
        maps = model.score_maps(x)
    painted = np.array(colours, np.uint8)
    panels = [
        (f"{name}\n{scores.shape[-1]} x {scores.shape[-2]}", painted[scores.argmax(1)[0].cpu().numpy()])
        for name, scores in maps.items()
    ]
    caption = (
        "The class with the largest score at each place: of the dense layers' map, then of each finer pooling by itself (pool4, "
        "pool3) and after its scores were added to the enlarged coarser ones (stride 16, stride 8)."
    )
    return _drawn("Score maps before and after each fusion", caption, panels)


def _switches(model: DeconvNet, x: Tensor) -> Figure:
    """Of each unpooling the map with the largest numbers, before and after."""
    seen: list[tuple[Tensor, Tensor]] = []
    hook = model.unpool.register_forward_hook(lambda module, inputs, out: seen.append((inputs[0], out)))
    try:
        with torch.no_grad():
            model(x)
    finally:
        hook.remove()
    panels: list[Panel] = []
    for before, after in seen:
        channel = int(before[0].amax((1, 2)).argmax())
        for title, maps in (("before", before), ("unpooled", after)):
            panels.append((f"{title}\n{maps.shape[-1]} x {maps.shape[-2]}", maps[0, channel].float().cpu().numpy()))
    caption = (
        "Of each unpooling one map: each number goes to where the encoder's maximum stood, its switch, and all else is 0 until the "
        "transposed convolutions fill it."
    )
    return _drawn("Unpooling with switches", caption, panels, columns=4)


def _field(model: nn.Module, x: Tensor, image: np.ndarray) -> Figure:
    """Which pixels the answer in the middle depends on: the size of the gradient of its logit."""
    leaf = x.clone().requires_grad_(True)
    with torch.enable_grad():
        logits = model(leaf)
        row, column = logits.shape[-2] // 2, logits.shape[-1] // 2
        (gradient,) = torch.autograd.grad(logits[0, :, row, column].max(), leaf)
    size = gradient[0].abs().sum(0).float().cpu().numpy()  # (H, W)
    shown = (size / max(float(size.max()), 1e-30)) ** 0.5
    reached = float((size > 0).mean())
    dim = np.broadcast_to(image, (*image.shape[:2], 3)) * 0.35
    lit = (dim + shown[..., None] * np.array([255, 210, 60]) * 0.65).clip(0, 255).astype(np.uint8)
    caption = (
        f"How much the answer of the pixel in the middle (row {row}, column {column}) changes with each pixel: the absolute gradient "
        f"of its logit, its square root as light. {reached:.0%} of the image is in its receptive field."
    )
    return _drawn("Receptive field of one pixel", caption, [("", lit)], columns=2)


def _drawn(title: str, caption: str, panels: Sequence[Any], columns: int = 3) -> Figure:
    columns = min(columns, max(2, len(panels)))
    rows = -(-len(panels) // columns)
    height, width = panels[0][1].shape[:2]
    with drawing(title):
        canvas = new_figure(WIDE, rows * (WIDE / columns * height / width + 0.35))
        grid = canvas.subplots(rows, columns, squeeze=False)
        for axes in grid.flat:
            axes.axis("off")
        for axes, (name, pixels) in zip(grid.flat, panels, strict=False):
            axes.imshow(pixels, cmap="gray", interpolation="nearest")
            axes.set_title(name, fontsize=8)
        return Figure(title, caption, png=to_png(canvas))


TOPICS = (Topic("Unpooling with switches", code=("illustrations",)),)
