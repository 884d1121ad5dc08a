"""Figures of face verification: ROC and watch-list curves, similarity matrices, nearest neighbours, the hardest pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from chainrule.core.task import Figure
from chainrule.reporting.plots import COLOURS, drawing, gallery, new_figure, thin, tidy_axes, to_svg
from chainrule.systems.faces.verification import Roc
from chainrule.systems.faces.watch_list import WatchListCurve

SHOWN_IMAGES = 200  # along a side of a matrix
SHOWN_PROBES = 8
SHOWN_NEIGHBOURS = 5
SHOWN_PAIRS = 9  # of each kind
LEAST_RATE = 1e-4  # the left end of a ROC curve, where the axis is logarithmic


def roc_curves(curves: Mapping[str, Roc]) -> Figure:
    """The share of genuine pairs accepted over the share of impostors accepted, a line a method."""
    return Figure(
        "Face verification: ROC",
        "All pairs of the test persons' images; each point is a threshold of the distance.",
        svg=_rates(
            "roc",
            {name: (found.false_accept_rate, found.true_accept_rate) for name, found in curves.items()},
            "impostors accepted (false accept rate)",
            "genuine pairs accepted",
        ),
    )


def watch_list_curves(curves: Mapping[str, WatchListCurve]) -> Figure:
    """The share of listed persons' images that are found over the share of other persons' that give an alarm, a line a method."""
    return Figure(
        "Watch list: detection and identification",
        "The first image of each of half of the test persons is the list, then of the other half. An image gives an alarm where "
        "the nearest of the list is near enough; each point is a threshold. The right end is the share for whom the right "
        "person is nearest.",
        svg=_rates(
            "watch-list",
            {name: (found.false_alarm_rate, found.detection_rate) for name, found in curves.items()},
            "others taken for somebody on the list (false alarm rate)",
            "listed persons found and named",
        ),
    )


def _rates(name: str, curves: Mapping[str, tuple[Tensor, Tensor]], across: str, upwards: str) -> str:
    """Steps of one rate over another, a line a method; the axis across is logarithmic."""
    with drawing(name):
        canvas = new_figure(5.6, 3.6)
        axes = canvas.add_subplot()
        lowest = 1.0
        for colour, (method, rates) in zip(COLOURS, curves.items(), strict=False):
            x, y = thin(rates[0].tolist(), rates[1].tolist())
            lowest = min(lowest, min((v for v in x if v > 0), default=1.0))
            axes.step(x, y, where="post", label=method, linewidth=1.6, color=colour)
        axes.set_xscale("log")
        axes.set_xlim(max(lowest, LEAST_RATE), 1.0)
        axes.set_ylim(0.0, 1.02)
        tidy_axes(axes)
        axes.set_xlabel(across, color="#4b5563")
        axes.set_ylabel(upwards, color="#4b5563")
        axes.legend(frameon=False, loc="lower right")
        return to_svg(canvas, name)


def similarity_matrices(distances: Mapping[str, Tensor], labels: Tensor, names: Sequence[str]) -> Figure:
    """Every image against every other, ordered by person, a panel a method: dark is near.

    Args:
        distances: squared (N, N), by the name of the method.
        labels: the person of each image (N,).
        names: of the persons.
    """
    order = labels.argsort(stable=True)[:SHOWN_IMAGES]
    ordered = labels[order]
    persons, starts = ordered.unique_consecutive(return_inverse=True)
    places = [float((starts == i).nonzero().float().mean()) for i in range(len(persons))]
    edges = (ordered[1:] != ordered[:-1]).nonzero()[:, 0] + 0.5
    with drawing("similarity"):
        canvas = new_figure(4.2 * len(distances), 4.4)
        for number, (name, matrix) in enumerate(distances.items()):
            axes = canvas.add_subplot(1, len(distances), number + 1)
            axes.imshow(matrix[order][:, order].cpu().numpy(), cmap="Blues_r", vmin=0.0)
            for edge in edges.tolist():
                axes.axhline(edge, color="white", linewidth=0.6)
                axes.axvline(edge, color="white", linewidth=0.6)
            if len(persons) <= 25:
                shown = [names[int(person)] for person in persons]
                axes.set_xticks(places, shown, rotation=90)
                axes.set_yticks(places, shown)
            axes.set_title(name, fontsize=9)
            axes.tick_params(length=0, colors="#374151", labelsize=7)
            axes.spines[:].set_visible(False)
        left_out = f"; the first {SHOWN_IMAGES} of {len(labels)} images" if len(labels) > SHOWN_IMAGES else ""
        return Figure(
            "Similarity matrix",
            f"Squared distances between the test images, ordered by person{left_out}. Dark is near: squares along the "
            "diagonal are persons whom the method recognises.",
            svg=to_svg(canvas, "similarity"),
        )


def nearest_neighbours(images: Tensor, distances: Tensor, labels: Tensor, names: Sequence[str]) -> Figure:
    """The first image of each of some persons as a probe, followed by the other test images nearest to it."""
    others = distances.clone().fill_diagonal_(torch.inf)
    count = min(SHOWN_NEIGHBOURS, len(labels) - 1)
    probes = [int((labels == person).nonzero()[0, 0]) for person in labels.unique()[:SHOWN_PROBES]]
    shown, titles = [], []
    for probe in probes:
        near = others[probe].argsort(stable=True)[:count]
        shown += [probe, *near.tolist()]
        titles.append(f"{names[int(labels[probe])]}?")
        titles += [
            f"{names[int(labels[i])]} {float(others[probe, i]):.2f}{'' if labels[i] == labels[probe] else ' wrong'}"
            for i in near
        ]
    return gallery(
        images[torch.tensor(shown)],
        titles,
        "Nearest neighbours",
        "On the left a probe, an image of a test person, then the others in order of their squared distance from it.",
        columns=1 + count,
    )


def hardest_pairs(images: Tensor, distances: Tensor, labels: Tensor, names: Sequence[str], threshold: float) -> Figure:
    """The genuine pairs farthest apart, then the pairs of two persons nearest to each other."""
    row, column = torch.triu_indices(len(labels), len(labels), 1)
    found, same = distances[row, column], labels[row] == labels[column]
    shown, titles = [], []
    for kind, sign in ((same, -1.0), (~same, 1.0)):
        (members,) = kind.nonzero(as_tuple=True)
        for index in members[(sign * found[members]).argsort(stable=True)[:SHOWN_PAIRS]].tolist():
            i, j = int(row[index]), int(column[index])
            wrong = bool(found[index] <= threshold) != bool(same[index])
            shown += [i, j]
            titles += [
                names[int(labels[i])],
                f"{names[int(labels[j])]} {float(found[index]):.2f}{' wrong' if wrong else ''}",
            ]
    return gallery(
        images[torch.tensor(shown)],
        titles,
        "Hardest pairs",
        "Two by two: first one person's images that lie farthest apart, then two persons' that lie nearest, with the "
        f"squared distance; the threshold that the validation persons chose is {threshold:.3f}.",
        columns=6,
    )
