"""The metrics of a classifier: accuracy, and beside it those that do not rise by answering the commonest class alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from chainrule.functional.metrics.classification import balanced_accuracy, macro_f1, roc_auc

# By name, and whether lower is better; any of them may choose.
KNOWN = {"accuracy": False, "error": True, "loss": True, "balanced_accuracy": False, "f1": False, "auc": False}


@torch.no_grad()
def class_metrics(scores: Tensor, y: Tensor, probabilistic: bool) -> dict[str, float]:
    """Accuracy and error, balanced accuracy, F1 (macro), AUC; the mean negative log-probability in nats where there are any.

    Args:
        scores: of the classes (N, K).
        y: the true classes (N,).
        probabilistic: whether a softmax of the scores is a probability.

    Of two classes `auc` is the area under the ROC, beyond two the mean of each class against the rest. A class without a
    sample in y is left out of the means over classes; where y has one class alone there is no `auc`.

    >>> found = class_metrics(torch.tensor([[2.0, 0.0], [1.0, 0.0], [0.0, 3.0]]), torch.tensor([0, 1, 1]), False)
    >>> {name: round(value, 3) for name, value in found.items()}
    {'accuracy': 0.667, 'error': 0.333, 'balanced_accuracy': 0.75, 'f1': 0.667, 'auc': 1.0}
    """
    scores, answer = scores.double(), scores.argmax(1)
    accuracy = float((answer == y).double().mean())
    loss = {"loss": float(nn.functional.cross_entropy(scores, y))} if probabilistic else {}
    ranked = scores.softmax(1) if probabilistic else scores
    area = roc_auc(y, ranked[:, 1] if probabilistic and ranked.shape[1] == 2 else ranked)
    return {
        "accuracy": accuracy,
        "error": 1.0 - accuracy,
        **loss,
        "balanced_accuracy": balanced_accuracy(y, answer),
        "f1": macro_f1(y, answer),
        **({} if area is None else {"auc": area}),
    }


def beside_majority(metrics: dict[str, float], y: Tensor, commonest: int | None) -> dict[str, float]:
    """The metrics with `majority_accuracy` after accuracy: that of answering the commonest class of the training split.

    >>> beside_majority({"accuracy": 0.9, "error": 0.1}, torch.tensor([0, 0, 0, 1]), commonest=0)
    {'accuracy': 0.9, 'majority_accuracy': 0.75, 'error': 0.1}
    """
    if commonest is None:
        return metrics
    share = float((y == commonest).double().mean())
    found: dict[str, float] = {}
    for name, value in metrics.items():
        found[name] = value
        if name == "accuracy":
            found["majority_accuracy"] = share
    return found


def commonest_class(y: Tensor) -> int:
    """The class with most samples, of equals the first."""
    return int(y.bincount().argmax())
