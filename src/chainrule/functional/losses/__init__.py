"""Loss functions of answer and target. `normalization` names what the sum over a batch is divided by.

| function | of | an item |
| --- | --- | --- |
| `zero_one` | labels or scores | a label |
| `squared`, `smooth_l1` | numbers | an element |
| `euclidean` | vectors | a sample |
| `cross_entropy`, `cross_entropy_from_probs`, `label_smoothing`, `softmax_focal` | classes that exclude each other | a label |
| `sigmoid_cross_entropy`, `focal` | yes or no | an element |
| `kl_divergence`, `kl_divergence_from_log_probs` | distributions | a distribution |
| `hinge`, `multiclass_perceptron` | scores of K classes | a label |
| `binary_hinge`, `perceptron` | scores of two classes | a score |
| `contrastive`, `triplet` | embeddings | a pair, a triplet |

It is one of valid, full, batch, none, unreduced; `reduce_losses` has the table.
"""

from chainrule.functional.losses.classification import (
    cross_entropy,
    cross_entropy_from_probs,
    focal,
    kl_divergence,
    kl_divergence_from_log_probs,
    label_smoothing,
    sigmoid_cross_entropy,
    softmax_focal,
)
from chainrule.functional.losses.margin import binary_hinge, hinge, multiclass_perceptron, perceptron, zero_one
from chainrule.functional.losses.metric import contrastive, triplet
from chainrule.functional.losses.normalization import (
    Normalization,
    check_binary,
    check_labels,
    check_probs,
    check_signs,
    reduce_losses,
)
from chainrule.functional.losses.regression import euclidean, smooth_l1, squared

__all__ = [
    "Normalization",
    "binary_hinge",
    "check_binary",
    "check_labels",
    "check_probs",
    "check_signs",
    "contrastive",
    "cross_entropy",
    "cross_entropy_from_probs",
    "euclidean",
    "focal",
    "hinge",
    "kl_divergence",
    "kl_divergence_from_log_probs",
    "label_smoothing",
    "multiclass_perceptron",
    "perceptron",
    "reduce_losses",
    "sigmoid_cross_entropy",
    "smooth_l1",
    "softmax_focal",
    "squared",
    "triplet",
    "zero_one",
]
