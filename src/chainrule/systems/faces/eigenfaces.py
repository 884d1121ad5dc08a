"""The eigenfaces baseline: distances between principal components of the pixels, which the validation persons choose."""

from __future__ import annotations

from torch import Tensor

from chainrule.nn.fitted import Fitted
from chainrule.systems.faces.triplets import pairwise_squared_distances
from chainrule.systems.faces.verification import area_under_roc, pair_distances

COMPONENTS = (5, 10, 20, 40, 80, 160)


def fit_eigenfaces(eigenfaces: Fitted, train: Tensor, val: Tensor, labels: Tensor) -> None:
    """Fits the components to the training pixels; their number and whitening are those of the largest validation AUC.

    Args:
        eigenfaces: a PCA, which is fitted in place.
        train, val: pixels (N, C S S), float64.
        labels: the person of each validation image.

    Source: Turk, Pentland: Eigenfaces for recognition, 1991.
    """
    eigenfaces.fit(train)
    variance = eigenfaces.get_buffer("explained_variance_").to(val.device)
    coordinates = eigenfaces(val)  # (N, number of components)
    rank = int((variance > 1e-9 * variance[0]).sum())
    best: tuple[float, int, bool] | None = None
    for count in [count for count in COMPONENTS if count <= rank] or [rank]:
        for whiten in (False, True):
            rows = coordinates[:, :count] / (variance[:count].sqrt() if whiten else 1.0)
            auc = area_under_roc(*pair_distances(pairwise_squared_distances(rows), labels.to(rows.device)))
            if best is None or auc > best[0]:
                best = (auc, count, whiten)
    assert best is not None
    eigenfaces.fit(train, n_components=best[1], whiten=best[2])
