"""Answers about image files: which show the same person, and who of a gallery is shown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from chainrule.core.answers import Ranking
from chainrule.core.errors import UserError
from chainrule.data.images.packed import ImageFile

METRIC = "squared Euclidean distance of embeddings of length 1"  # 0 for the same image, 2 for unrelated ones, 4 at most


def verify(files: Sequence[ImageFile], distances: Tensor, threshold: float) -> list[dict[str, Any]]:
    """For each image, which of the others show the same person; of two images, simply whether they do.

    Args:
        files: the images, N of them, 2 or more.
        distances: squared, between their embeddings (N, N).
        threshold: up to which a pair is accepted as the same person.
    """
    if len(files) == 2:
        distance = float(distances[0, 1])
        shared = {
            "answer": "one person" if distance <= threshold else "two persons",
            "squared_distance": round(distance, 6),
            "threshold": round(threshold, 6),
            "metric": METRIC,
        }
        one, other = map(str, files)
        return [{"with": other, **shared}, {"with": one, **shared}]
    answers = []
    for i in range(len(files)):
        others = [(str(other), round(float(distances[i, j]), 6)) for j, other in enumerate(files) if j != i]
        same = [str(other) for j, other in enumerate(files) if j != i and float(distances[i, j]) <= threshold]
        answers.append(
            {
                "same_person_as": ", ".join(dict.fromkeys(same)) or "none of the others",
                "squared_distances": Ranking(others, of="image", by="squared_distance"),
                "threshold": round(threshold, 6),
                "metric": METRIC,
            }
        )
    return answers


def _is_same(file: ImageFile, probe: ImageFile) -> bool:
    return isinstance(file, Path) and isinstance(probe, Path) and file.resolve() == probe.resolve()


def identify(
    probes: Sequence[ImageFile],
    gallery: Sequence[ImageFile],
    persons: list[str],
    distances: Tensor,
    threshold: float,
    top: int,
) -> list[dict[str, Any]]:
    """For each probe its nearest gallery images, and the person of the nearest; nobody where it is beyond the threshold.

    Args:
        probes, gallery: files, Q and G of them. A probe that lies in the gallery is not compared with itself.
        persons: of the gallery's images.
        distances: squared, of probes to the gallery (Q, G).
        threshold: up to which a pair is accepted as the same person.
        top: how many images of the gallery an answer names.

    Raises:
        UserError: a gallery of the probe alone.
    """
    answers = []
    for probe, row in zip(probes, distances, strict=True):
        order = [i for i in row.argsort(stable=True).tolist() if not _is_same(gallery[i], probe)]
        if not order:
            raise UserError("the gallery holds nothing but the image itself", where=gallery[0], found=probe)
        nearest = order[0]
        answers.append(
            {
                "person": persons[nearest] if float(row[nearest]) <= threshold else "nobody in the gallery",
                "nearest": str(gallery[nearest]),
                "squared_distance": round(float(row[nearest]), 6),
                "threshold": round(threshold, 6),
                "metric": METRIC,
                "top": Ranking(
                    ((str(gallery[i]), round(float(row[i]), 6)) for i in order[:top]), of="image", by="squared_distance"
                ),
            }
        )
    return answers
