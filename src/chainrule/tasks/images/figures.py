"""What a classifier's answers are worth: figures by class, of its mistakes, and of its certainty.

Shapes: N samples, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.core.task import Figure
from chainrule.functional.metrics.calibration import expected_calibration_error
from chainrule.reporting.columns import columns_of, shortened
from chainrule.reporting.plots import COLOURS, confusion_matrix, drawing, gallery, new_figure, tidy_axes, to_svg

MISTAKES = 24  # that are shown
BINS = 15
TITLE = 16  # columns of text that fit above an image


def of_images(x: Tensor, y: Tensor, probs: Tensor, classes: Sequence[str]) -> list[Figure]:
    """All of them for images x, bytes (N, C, H, W), of classes y (N,), from probabilities (N, K)."""
    answer = probs.argmax(1)
    found = [confusion_matrix(y, answer, classes), by_class(y, answer, classes), reliability(y, probs)]
    return found + worst_mistakes(x, y, probs, classes)


def by_class(y: Tensor, answer: Tensor, classes: Sequence[str]) -> Figure:
    """Precision, recall and F1 of each class, the worst F1 first, from classes and answers (N,)."""
    K = len(classes)
    right = torch.bincount(y[y == answer], minlength=K).double()
    true, answered = torch.bincount(y, minlength=K).double(), torch.bincount(answer, minlength=K).double()
    precision, recall, f1 = right / answered, right / true, 2 * right / (true + answered)

    def shown(value: Tensor) -> str:
        return "-" if value.isnan() else f"{float(value):.3f}"

    rows = [
        [classes[k], shown(precision[k]), shown(recall[k]), shown(f1[k]), str(int(true[k]))]
        for k in f1.nan_to_num(-1).argsort(stable=True).tolist()
    ]
    caption = (
        "Precision: of the samples answered so, the share that is so. Recall: of the samples that are so, the share "
        "answered so. F1: their harmonic mean. The worst first."
    )
    return Figure("By class", caption, table=[["class", "precision", "recall", "F1", "samples"], *rows])


def reliability(y: Tensor, probs: Tensor) -> Figure:
    """How often answers of each certainty are right: the reliability diagram, with the expected calibration error."""
    certainty, answer = probs.double().max(1)
    place = (certainty * BINS).ceil().long().clamp(1, BINS) - 1
    count = torch.bincount(place, minlength=BINS).double()
    right = torch.bincount(place, (answer == y).double(), minlength=BINS) / count
    middles = (torch.arange(BINS) + 0.5) / BINS
    held = count > 0
    error = float(expected_calibration_error(probs, y, BINS))
    with drawing("reliability"):
        canvas = new_figure(4.4, 3.9)
        upper, lower = canvas.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        upper.plot([0, 1], [0, 1], color="#9ca3af", linewidth=1, linestyle="--")
        upper.bar(middles[held].numpy(), right[held].numpy(), width=0.9 / BINS, color=COLOURS[0])
        upper.set_ylabel("share that is right", color="#4b5563")
        lower.bar(middles.numpy(), (count / count.sum()).numpy(), width=0.9 / BINS, color="#9ca3af")
        lower.set_ylabel("share", color="#4b5563")
        lower.set_xlabel("probability of the answer", color="#4b5563")
        for axes in (upper, lower):
            tidy_axes(axes)
            axes.set_xlim(0, 1)
        upper.set_ylim(0, 1)
        caption = (
            f"On the dashed line, of the answers with probability p a share of p is right. The mean distance from it "
            f"is {error:.4f} (expected calibration error, {BINS} bins); below, how many answers each bin has."
        )
        return Figure("Calibration", caption, svg=to_svg(canvas, "reliability"))


def worst_mistakes(x: Tensor, y: Tensor, probs: Tensor, classes: Sequence[str]) -> list[Figure]:
    """The images that were answered wrongly with most certainty; none where all answers are right."""
    certainty, answer = probs.max(1)
    wrong = (answer != y).nonzero()[:, 0]
    if not len(wrong):
        return []
    surest = wrong[certainty[wrong].argsort(descending=True)[:MISTAKES]]
    titles = _titles([(classes[int(y[i])], classes[int(answer[i])], float(certainty[i])) for i in surest])
    caption = "True class, answer, and its probability; the surest first."
    return [gallery(x[surest], titles, "Worst mistakes", caption)]


def _titles(mistakes: Sequence[tuple[str, str, float]]) -> list[str]:
    """True class, answer and certainty as the title of an image: in a line where all fit, else in three, shortened.

    >>> _titles([("3", "8", 0.98)])
    ['3 as 8 (0.98)']
    >>> _titles([("golden retriever", "Labrador retriever", 0.98)])
    ['golden retriever\\nas Labrador ret…\\n(0.98)']
    """
    titles = [f"{true} as {answer} ({certainty:.2f})" for true, answer, certainty in mistakes]
    if all(columns_of(title) <= TITLE for title in titles):
        return titles
    return [
        f"{shortened(true, TITLE)}\n{shortened(f'as {answer}', TITLE)}\n({certainty:.2f})"
        for true, answer, certainty in mistakes
    ]


TOPICS = (
    Topic(
        "Rare classes, precision and recall, calibration",
        "稀有类别、查准率与查全率、校准",
        code=("by_class", "reliability"),
        command="chainrule train image-classifier balance=loss",
    ),
)
