"""A watch list: is this face one of a few who are looked for, and of whom, where most who come by are not on the list?

The set is open: a probe may show anybody. An alarm is given where the nearest image of the list is near enough. Shapes: Q
probes, G images of the list, N images. Rates are fractions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.core.errors import UserError

FALSE_ALARM_RATES = {"dir_at_far_1e1": 1e-1, "dir_at_far_1e2": 1e-2}  # of `watch_list_metrics`


@dataclass(frozen=True)
class Probes:
    """What a watch list says of each probe.

    Attributes:
        nearest: the distance to the nearest image of the list (Q,).
        right: whether that image shows the person of the probe (Q,), bool.
        listed: whether the person of the probe is on the list at all (Q,), bool.
    """

    nearest: Tensor
    right: Tensor
    listed: Tensor


@dataclass(frozen=True)
class WatchListCurve:
    """The rates at every threshold that makes a difference, ascending: T = 1 + the number of distinct distances.

    Attributes:
        thresholds: (T,); the first is -inf, which gives no alarm.
        false_alarm_rate: the share of probes of unlisted persons that give an alarm (T,), float64.
        detection_rate: the share of probes of listed persons that give one, for the right person (T,), float64.
    """

    thresholds: Tensor
    false_alarm_rate: Tensor
    detection_rate: Tensor


def look_up(distances: Tensor, probe_labels: Tensor, list_labels: Tensor) -> Probes:
    """Looks each probe up in a watch list; of equally near images of the list the first counts.

    Args:
        distances: of probes to the images of the list (Q, G).
        probe_labels: the person of each probe (Q,).
        list_labels: the person of each image of the list (G,).

    Raises:
        UserError: shapes that do not fit, no probe, an empty list, or a distance that is NaN.

    >>> found = look_up(torch.tensor([[1.0, 5.0], [3.0, 2.0]]), torch.tensor([4, 9]), torch.tensor([4, 7]))
    >>> found.nearest.tolist(), found.right.tolist(), found.listed.tolist()
    ([1.0, 2.0], [True, False], [True, False])
    """
    if distances.shape != (len(probe_labels), len(list_labels)) or not distances.numel():
        raise UserError(
            "the distances are not those of probes to a watch list",
            found=tuple(distances.shape),
            expected=f"({len(probe_labels)}, {len(list_labels)}), one or more of each",
        )
    if distances.isnan().any():
        raise UserError("a distance is NaN", found=f"{int(distances.isnan().sum())} of {distances.numel()}")
    nearest, place = distances.min(1)
    return Probes(nearest, list_labels[place] == probe_labels, torch.isin(probe_labels, list_labels))


def watch_list_curve(probes: Probes) -> WatchListCurve:
    """Detection and identification rate over false alarm rate: the ROC of an open set, at rank 1.

        DIR(t) = share of listed probes with nearest <= t, the right person nearest
        FAR(t) = share of unlisted probes with nearest <= t

    DIR ends at the share of listed probes for whom the right person is nearest, not at 1.

    Raises:
        UserError: no probe of a listed person, or none of an unlisted one.

    Source: Phillips, Grother, Micheals: Evaluation methods in face recognition, in Handbook of Face Recognition, 2005,
    section 2.2 (open-set identification, the watch list).

    >>> nearest, right = torch.tensor([0.1, 0.3, 0.4, 0.2, 0.9]), torch.tensor([True, False, True, False, False])
    >>> found = watch_list_curve(Probes(nearest, right, torch.tensor([True, True, True, False, False])))
    >>> [(round(float(f), 2), round(float(d), 2)) for f, d in zip(found.false_alarm_rate, found.detection_rate)]
    [(0.0, 0.0), (0.0, 0.33), (0.5, 0.33), (0.5, 0.33), (0.5, 0.67), (1.0, 0.67)]
    """
    listed = int(probes.listed.sum())
    if listed in (0, len(probes.listed)):
        raise UserError(
            "a watch list is measured on persons who are on it and on others",
            expected="probes of both",
            found=f"{listed} of {len(probes.listed)} probes are of persons on the list",
        )
    nearest, order = probes.nearest.sort()
    last = torch.cat([nearest[1:] != nearest[:-1], probes.listed.new_ones(1)]).nonzero()[:, 0]
    alarms = (~probes.listed)[order].cumsum(0)[last]
    detected = (probes.listed & probes.right)[order].cumsum(0)[last]
    zero = alarms.new_zeros(1)
    return WatchListCurve(
        torch.cat([nearest.new_full((1,), -torch.inf), nearest[last]]),
        torch.cat([zero, alarms]).double() / (len(probes.listed) - listed),
        torch.cat([zero, detected]).double() / listed,
    )


def detection_rate(probes: Probes, false_alarm_rate: float) -> float:
    """The largest detection and identification rate of a threshold whose false alarm rate is at most this.

    Raises:
        UserError: as `watch_list_curve`; or there are fewer than 1 / false_alarm_rate probes of unlisted persons, so that
            nothing is known of so rare an event.

    >>> probes = Probes(torch.tensor([0.1, 0.3, 0.2, 0.9]), torch.ones(4).bool(), torch.tensor([True, True, False, False]))
    >>> detection_rate(probes, 0.5)
    1.0
    """
    if not 0 < false_alarm_rate <= 1:
        raise UserError(
            "the false alarm rate is out of range", expected="above 0 and at most 1", found=false_alarm_rate
        )
    curve = watch_list_curve(probes)
    unlisted = int((~probes.listed).sum())
    most = math.floor(unlisted * false_alarm_rate + 1e-9)  # 100 * 0.29 is a little less than 29
    if most < 1:
        raise UserError(
            "there are too few probes of persons who are not on the list for so small a rate",
            expected=f"{1 / false_alarm_rate:.0f} or more",
            found=unlisted,
        )
    return float(curve.detection_rate[(curve.false_alarm_rate * unlisted).round() <= most].max())


def two_lists(distances: Tensor, labels: Tensor) -> Probes:
    """Every image looked up, with half of the persons on the list, and again with the other half.

    The persons, in the order of their labels, are dealt into two halves. The first image of each person of a half is that
    half's list; all other images of these persons, and all images of the others, are probes. So each image is a probe of
    an unlisted person once, and each but the first of a person one of a listed person once.

    Args:
        distances: between all images (N, N).
        labels: the person of each image (N,).

    >>> x = torch.tensor([0.0, 0.1, 1.0, 1.1])
    >>> found = two_lists((x[:, None] - x).square(), torch.tensor([0, 0, 1, 1]))
    >>> found.listed.tolist()  # 0's second image and both of 1; 1's second and both of 0
    [True, False, False, False, False, True]
    """
    persons, person = labels.unique(return_inverse=True)
    if len(persons) < 2 or distances.shape != (len(labels), len(labels)):
        raise UserError(
            "two watch lists need two persons, and the distances between all images",
            expected=f"2 persons or more, ({len(labels)}, {len(labels)})",
            found=f"{len(persons)} persons, {tuple(distances.shape)}",
        )
    first = torch.stack([(person == number).nonzero()[0, 0] for number in range(len(persons))])
    parts = []
    for half in (0, 1):
        gallery = first[half::2]
        probe = torch.ones_like(labels, dtype=torch.bool)
        probe[gallery] = False
        parts.append(look_up(distances[probe][:, gallery], labels[probe], labels[gallery]))
    return Probes(
        torch.cat([part.nearest for part in parts]),
        torch.cat([part.right for part in parts]),
        torch.cat([part.listed for part in parts]),
    )


def watch_list_metrics(distances: Tensor, labels: Tensor) -> dict[str, float]:
    """Detection and identification rates of `two_lists`: what too few probes cannot tell is left out.

    Args:
        distances: between all images (N, N).
        labels: the person of each image (N,).
    """
    probes = two_lists(distances, labels)
    unlisted = int((~probes.listed).sum())
    return {
        name: detection_rate(probes, rate) for name, rate in FALSE_ALARM_RATES.items() if unlisted * rate >= 1 - 1e-9
    }


TOPICS = (
    Topic(
        "Watch list: detection and identification of an open set",
        "监控名单：开集人脸的检出与识别",
        lectures=(1,),
        code=("watch_list_curve",),
        command="chainrule train facenet",
    ),
)
