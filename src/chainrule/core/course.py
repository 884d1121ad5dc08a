"""What of the course a part of the code serves: records that stand beside the code and that the documents are made of."""

from __future__ import annotations

from dataclasses import dataclass

# The five texts of the course. A topic names them by number, from 1.
LECTURES = (
    "第五章 非线性方法，2. 人工神经网络",
    "Brief Introduction of Deep Learning（深度学习导引）",
    "神经网络与深度学习",
    "第4章 人工神经网络",
    "Chap 8: Deep Learning",
)


@dataclass(frozen=True)
class Topic:
    """A topic of the course, stated where the code for it stands: by a recipe, a card, or a module in its `TOPICS`.

    Several places may serve one topic. One of them states it in full; the others give its name, and their `code`.

    Args:
        name: as the index lists it.
        zh: the same in Chinese; where it is left out, another place states the topic in full.
        lectures: the numbers of the texts in `LECTURES` that treat it; none where it belongs to practice.
        code: the names in this file that a reader looks for; of a recipe and a card their own, where none are given.
        command: what to try; of a recipe and a card, where none is given, to train it and to show it.

    >>> Topic("gradient clipping", "梯度截断", lectures=(3, 4), code=("clip_norm",)).lectures
    (3, 4)
    """

    name: str
    zh: str = ""
    lectures: tuple[int, ...] = ()
    code: tuple[str, ...] = ()
    command: str = ""


@dataclass(frozen=True)
class Family:
    """A family of systems, stated as `FAMILY` in the `__init__.py` of its room; the docstring there says what it is.

    Args:
        title: in English.
        zh: in Chinese.
        order: the smaller, the earlier the family stands in lists.
        best: the recipe whose figure stands for the family in the README; none where nothing was measured.
        metric: which of its figures, where it has no target.
    """

    title: str
    zh: str
    order: int = 100
    best: str = ""
    metric: str = ""
