"""Figures of a text classifier: the words that count most for each class, the most confident mistakes."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from chainrule.core.task import Figure


def speaking_words(speaks: Tensor, vocabulary: Sequence[str], classes: Sequence[str], count: int) -> Figure:
    """The words that speak most for each class, a row a class.

    Args:
        speaks: how much each word speaks for each class, (K, V).
        vocabulary: the words (V).
        classes: names (K).
        count: words of a class.
    """
    best = speaks.topk(min(count, speaks.shape[1]), dim=1).indices
    rows = [[name, ", ".join(vocabulary[i] for i in row)] for name, row in zip(classes, best.tolist(), strict=True)]
    caption = f"The {best.shape[1]} of {len(vocabulary):,} whose weight for the class is furthest above the mean of all classes."
    return Figure("Words that speak for each class", caption, table=[["class", "words"], *rows])


def wrong_texts(
    texts: Sequence[str], target: Tensor, scores: Tensor, classes: Sequence[str], count: int, *, probabilities: bool
) -> list[Figure]:
    """The texts that were answered wrongly with most certainty, as a table; none where all answers are right."""
    values = scores.softmax(1) if probabilities else scores
    best = values.max(1)
    wrong = (best.indices != target).nonzero()[:, 0]
    if not len(wrong):
        return []
    order = wrong[best.values[wrong].argsort(descending=True, stable=True)][:count].tolist()
    word = "probability" if probabilities else "score"
    rows = [
        [_shortened(texts[i]), classes[int(target[i])], classes[int(best.indices[i])], f"{float(best.values[i]):.3f}"]
        for i in order
    ]
    caption = f"Of {len(wrong):,} wrong answers on the test split those with the largest {word}."
    return [Figure("Surest mistakes", caption, table=[["text", "true class", "answer", word], *rows])]


def _shortened(text: str, most: int = 240) -> str:
    return text if len(text) <= most else text[: most - 1] + "\u2026"
