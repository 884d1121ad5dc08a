"""The answer of a classifier: a class, and the classes that come next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from torch import Tensor

from chainrule.core.answers import Ranking


def best_classes(values: Tensor, classes: Sequence[str], top: int, word: str) -> Iterator[dict[str, Any]]:
    """For each row of values (N, K) the class of the largest, its value, and the `top` classes with theirs.

    Args:
        values: probabilities or scores, on the CPU.
        classes: their names, K of them.
        top: how many classes an answer names, K at most.
        word: what the values are: probability, score.

    >>> import torch
    >>> next(best_classes(torch.tensor([[0.2, 0.8]]), ["cat", "dog"], 1, "probability"))
    {'class': 'dog', 'probability': 0.8, 'top': {'dog': 0.8}}
    """
    best = values.topk(min(top, len(classes)), dim=1)

    def every(row: int) -> dict[str, float]:
        return {name: round(v, 6) for name, v in zip(classes, values[row].tolist(), strict=True)}

    for row, (index, value) in enumerate(zip(best.indices.tolist(), best.values.tolist(), strict=True)):
        pairs = [(classes[i], round(v, 6)) for i, v in zip(index, value, strict=True)]
        top_classes = Ranking(pairs, of="class", by=word, every=partial(every, row))
        yield {"class": pairs[0][0], word: pairs[0][1], "top": top_classes}
