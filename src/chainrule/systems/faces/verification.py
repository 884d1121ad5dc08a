"""Face verification (do two images show the same person?) and identification (whom does a probe show?), measured.

A pair is accepted as the same person where its distance is at most a threshold. A pair of the same person is genuine, one
of two persons an impostor. Shapes: M pairs, N images, Q probes, G images of a gallery. Rates are fractions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.core.errors import UserError
from chainrule.systems.faces.watch_list import watch_list_metrics

FALSE_ACCEPT_RATES = {"tar_at_far_1e2": 1e-2, "tar_at_far_1e3": 1e-3}  # of `verification_metrics`


@dataclass(frozen=True)
class Roc:
    """The rates at every threshold that makes a difference, ascending: T = 1 + the number of distinct distances.

    Attributes:
        thresholds: (T,); the first is -inf, which accepts nothing.
        false_accept_rate: the share of impostors accepted (T,), float64.
        true_accept_rate: the share of genuine pairs accepted (T,), float64.
    """

    thresholds: Tensor
    false_accept_rate: Tensor
    true_accept_rate: Tensor


def pair_distances(distances: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Each pair of two different images once: its distance (M,), and whether it is genuine (M,); M = N (N - 1) / 2.

    Args:
        distances: between all images (N, N), symmetric.
        labels: the person of each image (N,).

    >>> d = torch.tensor([[0.0, 1.0, 4.0], [1.0, 0.0, 9.0], [4.0, 9.0, 0.0]])
    >>> [part.tolist() for part in pair_distances(d, torch.tensor([0, 0, 1]))]
    [[1.0, 4.0, 9.0], [True, False, False]]
    """
    _check_square(distances, labels)
    above = torch.ones_like(distances, dtype=torch.bool).triu(1)
    return distances[above], (labels[:, None] == labels[None, :])[above]


def roc(distances: Tensor, same: Tensor) -> Roc:
    """The receiver operating characteristic of accepting pairs whose distance is at most a threshold.

    Args:
        distances: of the pairs (M,).
        same: whether a pair is genuine (M,), bool.

    Raises:
        UserError: shapes that differ, a distance that is NaN, no genuine pair or no impostor.

    >>> found = roc(torch.tensor([0.1, 0.4, 0.4, 0.9]), torch.tensor([True, True, False, False]))
    >>> found.false_accept_rate.tolist(), found.true_accept_rate.tolist()
    ([0.0, 0.0, 0.5, 1.0], [0.0, 0.5, 1.0, 1.0])
    """
    thresholds, accepted, same_accepted = _counts(distances, same)
    zero = accepted.new_zeros(1)
    genuine, impostors = same_accepted[-1], accepted[-1] - same_accepted[-1]
    return Roc(
        torch.cat([thresholds.new_full((1,), -torch.inf), thresholds]),
        torch.cat([zero, accepted - same_accepted]).double() / impostors,
        torch.cat([zero, same_accepted]).double() / genuine,
    )


def area_under_roc(distances: Tensor, same: Tensor) -> float:
    """The probability that a genuine pair is nearer than an impostor; where they are equally near, a half.

    It is the area under the polygon of `roc` (Hanley and McNeil 1982).

    >>> area_under_roc(torch.tensor([0.1, 0.4, 0.4, 0.9]), torch.tensor([True, True, False, False]))
    0.875
    """
    found = roc(distances, same)
    return float(torch.trapezoid(found.true_accept_rate, found.false_accept_rate))


def equal_error_rate(distances: Tensor, same: Tensor) -> float:
    """The rate at which impostors are accepted as often as genuine pairs are refused, on the polygon of `roc`.

    >>> equal_error_rate(torch.tensor([0.1, 0.3, 0.2, 0.9]), torch.tensor([True, True, False, False]))
    0.5
    """
    found = roc(distances, same)
    refused = 1.0 - found.true_accept_rate
    gap = found.false_accept_rate - refused  # from -1 at the first point to 1 at the last, never falling
    after = int((gap >= 0).nonzero()[0, 0])
    low, high = gap[after - 1], gap[after]
    share = -low / (high - low)
    far = found.false_accept_rate
    return float(far[after - 1] + share * (far[after] - far[after - 1]))


def val_at_far(distances: Tensor, same: Tensor, false_accept_rate: float) -> float:
    """VAL at FAR: the largest share of genuine pairs that a threshold accepts while it accepts at most that share of impostors.

    Raises:
        UserError: as `roc`; or there are fewer than 1 / false_accept_rate impostors, so that nothing is known of so
            rare an event.

    Source: FaceNet, section 4, equations 5 and 6.

    >>> val_at_far(torch.tensor([0.1, 0.4, 0.3, 0.9]), torch.tensor([True, True, False, False]), 0.5)
    1.0
    """
    if not 0 < false_accept_rate <= 1:
        raise UserError(
            "the false accept rate is out of range", expected="above 0 and at most 1", found=false_accept_rate
        )
    _, accepted, same_accepted = _counts(distances, same)
    wrong = accepted - same_accepted
    impostors = int(wrong[-1])
    most = math.floor(impostors * false_accept_rate + 1e-9)  # 100 * 0.29 is a little less than 29
    if most < 1:
        raise UserError(
            "there are too few pairs of two persons for so small a rate",
            expected=f"{1 / false_accept_rate:.0f} or more",
            found=impostors,
        )
    allowed = wrong <= most
    return float(same_accepted[allowed].max()) / int(same_accepted[-1]) if allowed.any() else 0.0


def best_threshold(distances: Tensor, same: Tensor) -> float:
    """The threshold of the largest `balanced_accuracy`, half way between the two distances that it parts.

    Of several equally good ones the least; where accepting everything is best, the largest distance.

    >>> round(best_threshold(torch.tensor([0.1, 0.4, 0.6, 0.9]), torch.tensor([True, True, False, False])), 4)
    0.5
    """
    thresholds, accepted, same_accepted = _counts(distances, same)
    wrong = accepted - same_accepted
    right = same_accepted.double() / same_accepted[-1] - wrong.double() / wrong[-1]
    place = int(right.argmax())
    low, high = thresholds[place], thresholds[min(place + 1, len(thresholds) - 1)]
    middle = 0.5 * (low.double() + high.double())
    return float(middle if middle < high else low)  # two neighbouring numbers have nothing between them


def balanced_accuracy(distances: Tensor, same: Tensor, threshold: float) -> float:
    """The share of pairs judged rightly where genuine pairs and impostors count alike, however many there are of each.

    Half the sum of the share of genuine pairs accepted and that of impostors refused; guessing has 1/2.

    >>> balanced_accuracy(torch.tensor([0.1, 0.7, 0.6, 0.9]), torch.tensor([True, True, False, False]), 0.65)
    0.5
    """
    _check(distances, same)
    accepted = distances.double() <= threshold
    return 0.5 * (float(accepted[same].double().mean()) + float((~accepted[~same]).double().mean()))


def fold_accuracy(distances: Tensor, labels: Tensor, *, num_folds: int = 10) -> float:
    """Verification accuracy by cross-validation: at thresholds that were chosen on other persons.

    The persons, in the order of their labels and those of a single image last, are dealt into folds. For every two folds,
    `best_threshold` of the pairs among all other folds' persons judges the genuine pairs within the two and the impostors
    between them; the result is the mean of the balanced accuracies. So no person takes part in choosing the threshold that
    judges them, every impostor pair across folds is judged once, and with a person a fold that is every one there is.

    Args:
        distances: between all images (N, N), symmetric.
        labels: the person of each image (N,).
        num_folds: 4 or more; as many as there are persons of two images or more where these are fewer.

    Raises:
        UserError: fewer than four such persons or folds.

    Source: after the protocol of Labeled Faces in the Wild (Huang et al. 2007, section III), which has ten folds of
    given pairs, half of them genuine; here all pairs are used, weighed so that each kind counts half.

    >>> labels = torch.arange(16) // 2
    >>> x = labels + torch.tensor([0.0, 0.2]).repeat(8)
    >>> fold_accuracy((x[:, None] - x).square(), labels)
    1.0
    """
    _check_square(distances, labels)
    _, person, counts = labels.unique(return_inverse=True, return_counts=True)  # of each image, of each person
    folds = min(num_folds, int((counts > 1).sum()))
    if folds < 4:
        raise UserError(
            "there are too few persons of two images, or folds, to choose a threshold by others",
            expected="4 or more",
            found=folds,
        )
    place = (counts == 1).long().argsort(stable=True).argsort()  # of each person in the deal
    fold = place[person] % folds  # (N,)
    scores = []
    for one in range(folds):
        for other in range(one + 1, folds):
            # The threshold is chosen on all other folds.
            here, there = fold == one, fold == other
            rest = ~(here | there)
            threshold = best_threshold(*pair_distances(distances[rest][:, rest], labels[rest]))
            # It judges the genuine pairs within the two folds and the impostors between them.
            within = [pair_distances(distances[part][:, part], labels[part]) for part in (here, there)]
            genuine = torch.cat([d[s] for d, s in within])
            impostors = distances[here][:, there].flatten()
            same = torch.arange(len(genuine) + len(impostors), device=impostors.device) < len(genuine)
            scores.append(balanced_accuracy(torch.cat([genuine, impostors]), same, threshold))
    return sum(scores) / len(scores)


def rank1_rate(distances: Tensor, probe_labels: Tensor, gallery_labels: Tensor) -> float:
    """Rank-1 identification rate: the share of probes whose nearest gallery image shows the same person; of ties the first.

    Args:
        distances: of probes to the gallery (Q, G).
        probe_labels: (Q,).
        gallery_labels: (G,).

    Raises:
        UserError: shapes that do not fit, no probe, an empty gallery, or a distance that is NaN.

    Source: Phillips et al.: The FERET evaluation methodology for face-recognition algorithms, 2000, section 3.1.

    >>> rank1_rate(torch.tensor([[0.1, 0.2], [0.3, 0.4]]), torch.tensor([0, 1]), torch.tensor([0, 1]))
    0.5
    """
    if distances.shape != (len(probe_labels), len(gallery_labels)) or not distances.numel():
        raise UserError(
            "the distances are not those of probes to a gallery",
            found=tuple(distances.shape),
            expected=f"({len(probe_labels)}, {len(gallery_labels)}), one or more of each",
        )
    _check_nan(distances)
    return float((gallery_labels[distances.argmin(1)] == probe_labels).double().mean())


def first_as_gallery(distances: Tensor, labels: Tensor) -> float:
    """`rank1_rate` where the first image of each person is the gallery and all others are probes.

    >>> x = torch.tensor([0.0, 0.1, 1.0, 0.2])
    >>> first_as_gallery((x[:, None] - x).square(), torch.tensor([0, 0, 1, 1]))
    0.5
    """
    first = torch.stack([(labels == person).nonzero()[0, 0] for person in labels.unique()])  # (G,)
    probe = torch.ones_like(labels, dtype=torch.bool)
    probe[first] = False
    return rank1_rate(distances[probe][:, first], labels[probe], labels[first])


def verification_metrics(distances: Tensor, labels: Tensor) -> dict[str, float]:
    """All metrics of distances (N, N) between images of persons (N,): what too few pairs cannot tell is left out."""
    unordered, same = pair_distances(distances, labels)
    ordered, order = unordered.sort()
    pairs = ordered, same[order]  # once for all: every metric sorts them, which is quick then
    found = {"auc": area_under_roc(*pairs), "eer": equal_error_rate(*pairs)}
    impostors = int((~pairs[1]).sum())
    found |= {name: val_at_far(*pairs, far) for name, far in FALSE_ACCEPT_RATES.items() if impostors * far >= 1}
    if int((torch.bincount(labels) > 1).sum()) >= 4:
        found["verification_accuracy"] = fold_accuracy(distances, labels)
    return {**found, "rank1": first_as_gallery(distances, labels), **watch_list_metrics(distances, labels)}


def _counts(distances: Tensor, same: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The distinct distances ascending (T,), how many pairs lie within each, and how many of them are genuine."""
    _check(distances, same)
    ordered, order = distances.sort()
    last = torch.cat([ordered[1:] != ordered[:-1], same.new_ones(1)]).nonzero()[:, 0]
    return ordered[last], last + 1, same[order].cumsum(0)[last]


def _check(distances: Tensor, same: Tensor) -> None:
    if distances.dim() != 1 or distances.shape != same.shape or same.dtype != torch.bool:
        raise UserError(
            "there must be a distance and an answer for each pair",
            expected="(M,) numbers and (M,) bool",
            found=f"{tuple(distances.shape)} and {tuple(same.shape)} {same.dtype}",
        )
    _check_nan(distances)
    genuine = int(same.sum())
    if genuine in (0, len(same)):
        raise UserError(
            "pairs of one kind alone measure nothing",
            expected="genuine pairs and impostors",
            found=f"{genuine} genuine of {len(same)}",
        )


def _check_nan(distances: Tensor) -> None:
    if distances.isnan().any():
        raise UserError("a distance is NaN", found=f"{int(distances.isnan().sum())} of {distances.numel()}")


def _check_square(distances: Tensor, labels: Tensor) -> None:
    if labels.dim() != 1 or distances.shape != (len(labels), len(labels)):
        raise UserError(
            "the distances are not those between all images",
            found=tuple(distances.shape),
            expected=f"({len(labels)}, {len(labels)})",
        )


TOPICS = (Topic("FaceNet: triplets, verification, identification", code=("roc",)),)
