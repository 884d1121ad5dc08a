"""Output codings: classes as targets that a network or a set of two-class machines can learn, and back.

Shapes: N rows, K classes, P = K (K - 1) / 2 pairs of them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.core.errors import UserError


def one_of_c(y: Tensor, num_classes: int, *, on: float = 1.0, off: float = 0.0) -> Tensor:
    """1-of-C targets: t_nk = `on` where k is the class of row n, else `off`, (N, K).

    Args:
        y: classes from 0 to K - 1, (N,), whole numbers.
        num_classes: K.
        on, off: the two values: 1 and 0 for probabilities, 1 and -1 for hinge or squared loss, 0.9 and 0.1 for
            sigmoid outputs that should not saturate.

    Raises:
        UserError: for classes out of range, or y that is not a vector of whole numbers.

    Source: Bishop: Pattern Recognition and Machine Learning, 2006, section 4.1.3.

    >>> one_of_c(torch.tensor([2, 0]), 3, off=-1.0)
    tensor([[-1., -1.,  1.],
            [ 1., -1., -1.]])
    """
    if y.ndim != 1 or y.is_floating_point() or y.dtype == torch.bool:
        raise UserError(
            "classes are not understood", expected="whole numbers, (N,)", found=f"{y.dtype}, {tuple(y.shape)}"
        )
    if len(y) and not (int(y.min()) >= 0 and int(y.max()) < num_classes):
        raise UserError(
            "a class is out of range", expected=f"0 to {num_classes - 1}", found=f"{int(y.min())} to {int(y.max())}"
        )
    code = torch.full((len(y), num_classes), off, device=y.device)
    return code.scatter_(1, y.long()[:, None], on)


def class_of_code(outputs: Tensor) -> Tensor:
    """The class whose output is largest, (N,): what `one_of_c` is read back by; the first of equals.

    >>> class_of_code(torch.tensor([[0.2, 0.7, 0.1], [0.5, 0.0, 0.5]]))
    tensor([1, 0])
    """
    if outputs.ndim != 2 or not outputs.shape[1]:
        raise UserError("outputs are not understood", expected="(N, K)", found=tuple(outputs.shape))
    best = outputs == outputs.max(1, keepdim=True).values
    return best.to(torch.uint8).argmax(1)  # argmax of equals is free to give any, so the first is asked for on 0 and 1


def class_pairs(num_classes: int) -> list[tuple[int, int]]:
    """The P pairs (i, j), i < j, in the order that all one-vs-one functions here share.

    >>> class_pairs(3)
    [(0, 1), (0, 2), (1, 2)]
    """
    return [(i, j) for i in range(num_classes) for j in range(i + 1, num_classes)]


def one_vs_one_scores(decisions: Tensor, num_classes: int) -> Tensor:
    """Scores of the classes (N, K) from the decisions of the pairs (N, P): votes, and confidences that part ties.

    Machine p of pair (i, j) votes for j where its decision is above 0, else for i. With v_k the votes and
    s_k = sum of the decisions in favour of k, minus those against,

        score_k = v_k + s_k / (3 (|s_k| + 1))

    The second term is below 1/3 in size, so that two classes whose votes differ keep their order.

    Args:
        decisions: (N, P), in the order of `class_pairs`; a positive one is for the second class of the pair.
        num_classes: K.

    Source: votes: Friedman: Another approach to polychotomous classification, 1996; the tie-break is scikit-learn's.

    >>> one_vs_one_scores(torch.tensor([[-1.0, -1.0, 1.0]]), 3)  # 0 beats 1 and 2; 2 beats 1
    tensor([[ 2.2222, -0.2222,  1.0000]])
    """
    pairs = class_pairs(num_classes)
    if decisions.ndim != 2 or decisions.shape[1] != len(pairs):
        raise UserError("decisions do not fit the pairs", expected=f"(N, {len(pairs)})", found=tuple(decisions.shape))
    first, second = torch.tensor(pairs, device=decisions.device).reshape(-1, 2).T
    against = torch.zeros(len(pairs), num_classes, dtype=decisions.dtype, device=decisions.device)
    place = torch.arange(len(pairs), device=decisions.device)
    in_favour = against.index_put((place, second), against.new_ones(()))
    against = against.index_put((place, first), against.new_ones(()))
    for_second = (decisions > 0).to(decisions.dtype)
    votes = for_second @ in_favour + (1.0 - for_second) @ against
    confidence = decisions @ (in_favour - against)
    return votes + confidence / (3.0 * (confidence.abs() + 1.0))


TOPICS = (Topic("Classifiers of two classes put together: one against the rest, one against one", code=("one_of_c",)),)
