"""How much a word says of the class: mutual information and chi-square, from counts of which occurs with which.

Shapes: V words, K classes; a table (V, 2, K) counts, for each word, the texts of each class without it and with it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.core.errors import UserError


def contingency(with_word: Tensor, per_class: Tensor) -> Tensor:
    """The table (V, 2, K), float64: row 0 the texts of each class without the word, row 1 those with it.

    Args:
        with_word: texts of each class that have the word, (V, K).
        per_class: texts of each class, (K,).

    Errors: a UserError for shapes that do not fit, and where a word is in more texts than there are.

    >>> contingency(torch.tensor([[3, 0]]), torch.tensor([4, 2])).tolist()
    [[[1.0, 2.0], [3.0, 0.0]]]
    """
    if with_word.dim() != 2 or per_class.dim() != 1 or with_word.shape[1] != len(per_class):
        raise UserError(
            "the counts do not fit",
            expected="(V, K) and (K,)",
            found=f"{tuple(with_word.shape)} and {tuple(per_class.shape)}",
        )
    table = torch.stack([per_class.double() - with_word.double(), with_word.double()], 1)
    if bool((table < 0).any()):
        word = int((table < 0).any(2).any(1).double().argmax())
        raise UserError(
            "a word is in more texts than there are, or in fewer than none",
            where=f"word {word}",
            expected=f"0 to {per_class.tolist()}",
            found=with_word[word].tolist(),
        )
    return table


def mutual_information(table: Tensor) -> Tensor:
    """What knowing whether a word is there tells of the class, in nats (V,):

        I(word; class) = sum over e, k of p(e, k) log(p(e, k) / (p(e) p(k)))

    with shares of the texts as probabilities, and 0 log 0 = 0.

    Args:
        table: counts (V, 2, K), as `contingency` makes them.

    Source: Manning, Raghavan, Schuetze: Introduction to information retrieval, 2008, section 13.5.1 (there in bits).

    >>> mutual_information(contingency(torch.tensor([[2, 0], [1, 1]]), torch.tensor([2, 2]))).round(decimals=4).tolist()
    [0.6931, 0.0]
    """
    joint = _checked(table) / table.double().sum((1, 2), keepdim=True)
    independent = joint.sum(2, keepdim=True) * joint.sum(1, keepdim=True)
    terms = torch.where(joint > 0, joint * (joint / independent.clamp_min(torch.finfo(torch.float64).tiny)).log(), 0.0)
    return terms.sum((1, 2)).clamp_min(0.0)  # rounding may bring an independent word below


def chi_square(table: Tensor) -> Tensor:
    """Pearson's statistic of word and class (V,), 0 where a word is in no text or in all:

        X^2 = sum over e, k of (N_ek - E_ek)^2 / E_ek,    E_ek = N_e. N_.k / N

    Args:
        table: counts (V, 2, K), as `contingency` makes them.

    Source: Manning, Raghavan, Schuetze 2008, section 13.5.2, which writes it for two classes.

    >>> chi_square(contingency(torch.tensor([[2, 0], [1, 1]]), torch.tensor([2, 2]))).tolist()
    [4.0, 0.0]
    """
    counts = _checked(table)
    expected = counts.sum(2, keepdim=True) * counts.sum(1, keepdim=True) / counts.sum((1, 2), keepdim=True)
    terms = (counts - expected).square() / torch.where(expected > 0, expected, 1.0)
    return terms.sum((1, 2))


def _checked(table: Tensor) -> Tensor:
    if table.dim() != 3 or table.shape[1] != 2 or table.shape[2] < 1:
        raise UserError("this is no table of words and classes", expected="(V, 2, K)", found=tuple(table.shape))
    if bool((table < 0).any()) or not bool((table.sum((1, 2)) > 0).all()):
        raise UserError("a table of counts is out of range", expected="counts of 0 or more, one text at least")
    return table.double()


TOPICS = (Topic("Bag of words, TF-IDF, text classification", code=("chi_square",)),)
