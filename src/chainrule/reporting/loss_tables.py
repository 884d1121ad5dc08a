"""The losses of two classes over the margin: a table, and one figure of all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from chainrule.functional.losses import binary_hinge, perceptron, sigmoid_cross_entropy, squared, zero_one
from chainrule.reporting.activation_tables import write_topic
from chainrule.reporting.plots import COLOURS, drawing, new_figure, tidy_axes

EXTENT = 3.0  # of the margin in the figure
AT = (-2.0, -1.0, 0.0, 1.0, 2.0)  # margins of the table


@dataclass(frozen=True)
class MarginLoss:
    """A loss as a function of the margin m = y s: y is -1 or +1, s the score.

    `of_scores` gives the losses of scores s for the class +1, whose margin is s.
    """

    name: str
    equation: str
    of_scores: Callable[[Tensor], Tensor]
    used_by: str


def _wrong(scores: Tensor) -> Tensor:
    return zero_one((scores > 0).long(), torch.ones_like(scores, dtype=torch.int64), normalization="unreduced")


def _ones(scores: Tensor) -> Tensor:
    return torch.ones_like(scores)


MARGIN_LOSSES = (
    MarginLoss("0-1", "1 if m <= 0, else 0", lambda s: _wrong(s).to(s), "what is counted: the error rate"),
    MarginLoss(
        "perceptron",
        "max(0, -m)",
        lambda s: perceptron(s, _ones(s), normalization="unreduced"),
        "chainrule train perceptron",
    ),
    MarginLoss(
        "hinge",
        "max(0, 1 - m)",
        lambda s: binary_hinge(s, _ones(s), normalization="unreduced"),
        "chainrule train linear-svm loss=hinge",
    ),
    MarginLoss(
        "squared hinge",
        "max(0, 1 - m)^2",
        lambda s: binary_hinge(s, _ones(s), norm="L2", normalization="unreduced"),
        "chainrule train linear-svm",
    ),
    MarginLoss(
        "logistic",
        "ln(1 + exp(-m))",
        lambda s: sigmoid_cross_entropy(s, _ones(s), normalization="unreduced"),
        "chainrule train logistic-regression",
    ),
    MarginLoss("squared", "(1 - m)^2", lambda s: squared(s, _ones(s), normalization="unreduced"), "least squares"),
    MarginLoss("exponential", "exp(-m)", lambda s: torch.exp(-s), "AdaBoost (Friedman et al. 2000)"),
)
LEGEND = (
    "m = y s is the margin: positive where the sign of the score s is that of the class y. Each but the 0-1 loss has a",
    "gradient to descend on; hinge, squared hinge, squared and exponential lie above the 0-1 loss everywhere, logistic does",
    "once it is divided by ln 2. The squared loss punishes answers that are right and sure; the exponential one, outliers.",
)


def loss_rows() -> list[tuple[str, ...]]:
    """The table of the losses, a header first: values at some margins, and the slope at the boundary, computed.

    >>> loss_rows()[3]
    ('hinge', 'max(0, 1 - m)', '3', '2', '1', '0', '0', '-1', 'chainrule train linear-svm loss=hinge')
    """
    rows = [("name", "l(m)", *(f"l({m:g})" for m in AT), "l'(0)", "used by")]
    for loss in MARGIN_LOSSES:
        values = loss.of_scores(torch.tensor(AT, dtype=torch.float64)).tolist()
        rows.append((loss.name, loss.equation, *(f"{v + 0.0:.4g}" for v in values), _slope_at_zero(loss), loss.used_by))
    return rows


def _slope_at_zero(loss: MarginLoss) -> str:
    at = torch.zeros((), dtype=torch.float64, requires_grad=True)
    value = loss.of_scores(at)
    return f"{float(torch.autograd.grad(value, at)[0]):g}" if value.requires_grad else "a step"


def losses_canvas() -> Any:
    """All losses over the margin in one figure."""
    with drawing("losses"):
        canvas = new_figure(6.2, 3.9)
        axes = canvas.add_subplot()
        margins = torch.linspace(-EXTENT, EXTENT, 601, dtype=torch.float64)
        for number, loss in enumerate(MARGIN_LOSSES):
            counted = loss.name == "0-1"
            axes.plot(
                margins.numpy(),
                loss.of_scores(margins).numpy(),
                label=loss.name,
                color="#111827" if counted else COLOURS[number - 1],
                linewidth=2.0 if counted else 1.5,
                linestyle=(0, (4, 3)) if loss.name == "squared" else "-",  # on the left it lies on the squared hinge
            )
        axes.set_ylim(0, 4)
        axes.set_xlim(-EXTENT, EXTENT)
        tidy_axes(axes)
        axes.set_xlabel("margin m = y s", color="#4b5563")
        axes.set_ylabel("loss", color="#4b5563")
        axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=4, borderaxespad=0.2)
        return canvas


def write_losses(out: str | Path) -> Path:
    """Writes the figure of all losses to a file: .html (with the table), .svg or .png."""
    caption = "Left of 0 an answer is wrong. A classifier that only counts mistakes has the step, which has no slope to descend."
    table = [list(row) for row in loss_rows()]
    return write_topic(
        out,
        "Losses over the margin",
        losses_canvas(),
        "Losses of two classes over the margin",
        caption,
        table,
        " ".join(LEGEND),
    )
