"""k-means with bounds against the plain algorithm, scikit-learn and enumeration."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans as TheirKMeans
from sklearn.datasets import load_digits, make_blobs
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score
from torch import Tensor

from chainrule.core.answers import flat
from chainrule.core.errors import UserError
from chainrule.systems.classical.k_means import KMeans
from chainrule.systems.classical.solvers import lloyd as module
from chainrule.systems.classical.solvers.lloyd import lloyd, nearest


def plainly(x: Tensor, centres: Tensor, iterations: int) -> tuple[Tensor, Tensor, list[float]]:
    """The algorithm as it is written in books, by differences; no cluster may become empty."""
    path = []
    for _ in range(iterations):
        labels = (x[:, None] - centres).square().sum(2).argmin(1)
        assert len(labels.unique()) == len(centres)
        centres = torch.stack([x[labels == k].mean(0) for k in range(len(centres))])
        path.append(float((x - centres[labels]).square().sum()))
    return centres, labels, path


def blobs(rows: int, columns: int, clusters: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    x, _ = make_blobs(rows, columns, centers=clusters, cluster_std=3.0, random_state=seed)
    pick = np.random.default_rng(seed).choice(rows, clusters, replace=False)
    return torch.from_numpy(x), torch.from_numpy(x[pick])


@pytest.mark.parametrize("shape", [(500, 3, 25), (400, 70, 4), (300, 1, 4), (60, 2, 1), (30, 5, 30)])
def test_takes_the_steps_of_the_plain_algorithm(shape: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups of centres, a bound for each centre, one cluster, a cluster a row; in blocks of 64 rows."""
    monkeypatch.setitem(module.BLOCK_NUMBERS, "cpu", 64)
    x, start = blobs(*shape)
    for iterations in (1, 2, 5):
        found = lloyd(x, start, max_iterations=iterations, tolerance=0.0)
        centres, _, path = plainly(x, start, found.iterations)
        torch.testing.assert_close(found.centres, centres, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(found.inertia_path, path, rtol=1e-9, atol=1e-7)
        torch.testing.assert_close(found.labels, (x[:, None] - found.centres).square().sum(2).argmin(1))


@pytest.mark.parametrize("offset", [0.0, 1e4])
@pytest.mark.parametrize("shape", [(3000, 10, 40), (1000, 100, 10), (2000, 2, 5)])
def test_equals_scikit_learn_from_the_same_start(shape: tuple[int, int, int], offset: float) -> None:
    x, start = (t.numpy() + offset for t in blobs(*shape, seed=3))
    ours = KMeans(n_clusters=shape[2], init=start).fit(x)
    theirs = TheirKMeans(shape[2], init=start, n_init=1, algorithm="lloyd").fit(x)
    assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=1e-9)
    assert ours.n_iter_ == theirs.n_iter_
    np.testing.assert_array_equal(ours.labels_, theirs.labels_)
    np.testing.assert_allclose(ours.cluster_centers_, theirs.cluster_centers_, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(ours.predict(x), ours.labels_)
    np.testing.assert_allclose(ours.transform(x), theirs.transform(x), atol=1e-6)
    assert ours.score(x) == pytest.approx(-theirs.inertia_, rel=1e-6)


def test_digits_in_float64_and_float32() -> None:
    x = load_digits().data
    start = x[np.random.default_rng(1).choice(len(x), 10, replace=False)]
    theirs = TheirKMeans(10, init=start, n_init=1).fit(x)
    assert KMeans(n_clusters=10, init=start).fit(x).inertia_ == pytest.approx(theirs.inertia_, rel=1e-9)
    narrow = KMeans(n_clusters=10, init=start).fit(x.astype(np.float32))
    assert narrow.cluster_centers_.dtype == np.float32
    assert narrow.inertia_ == pytest.approx(theirs.inertia_, rel=1e-5)


def test_float32_far_from_the_origin() -> None:
    """At 4,000 times the spread, where |x|^2 - 2 x.c has no digit left; the answer is that of the same rows in float64."""
    x, start = (((t / 10).float() + 4000.0) for t in blobs(2000, 5, 10))
    found, wide = lloyd(x, start), lloyd(x.double(), start.double())
    assert (found.labels == wide.labels).float().mean() > 0.99  # rows between two centres may fall either way
    assert found.inertia == pytest.approx(wide.inertia, rel=1e-3)


def test_most_distances_are_never_computed() -> None:
    x, start = blobs(4000, 10, 30)
    found = lloyd(x, start, tolerance=0.0)
    assert found.measured[0] == len(x)
    assert sum(found.measured) < 0.5 * len(x) * found.iterations


def test_the_inertia_never_rises_and_ends_at_what_is_said() -> None:
    x, start = blobs(1000, 4, 12)
    found = lloyd(x, start, tolerance=0.0)
    assert (np.diff(found.inertia_path) <= 1e-9 * found.inertia_path[0]).all()
    assert found.inertia == pytest.approx(found.inertia_path[-1], rel=1e-9)


def test_finds_the_best_of_all_partitions() -> None:
    """Eight points, every way to part them in three; the best of thirty starts is the best there is."""
    x = np.random.default_rng(2).normal(size=(8, 2))
    best = min(
        sum(((x[of] - x[of].mean(0)) ** 2).sum() for k in range(3) if (of := np.array(labels) == k).any())
        for labels in itertools.product(range(3), repeat=8)
    )
    assert KMeans(n_clusters=3, n_init=30).fit(x).inertia_ == pytest.approx(best, rel=1e-9)


# -- hostile inputs ---------------------------------------------------------------------------------------------------


def test_an_empty_cluster_takes_the_farthest_row_as_in_scikit_learn() -> None:
    x = np.array([[0.0], [1.0], [2.0], [10.0], [30.0]])
    start = np.array([[1.0], [100.0], [200.0]])
    ours, theirs = KMeans(n_clusters=3, init=start, max_iter=1), TheirKMeans(3, init=start, n_init=1, max_iter=1)
    np.testing.assert_allclose(ours.fit(x).cluster_centers_, theirs.fit(x).cluster_centers_)
    to_the_end = KMeans(n_clusters=3, init=start).fit(x)
    assert to_the_end.inertia_ == TheirKMeans(3, init=start, n_init=1).fit(x).inertia_ == 2.0


def test_a_cluster_that_gave_its_only_row_away_takes_the_place_of_the_largest() -> None:
    """As in scikit-learn; where it stayed, the inertia would end at 2."""
    x = np.array([[-8.8], [-3.8], [6.0], [-2.4], [-5.8]])
    start = np.array([[26.0], [-3.0], [26.0], [-1.0]])
    ours = KMeans(n_clusters=4, init=start, tol=0).fit(x)
    theirs = TheirKMeans(4, init=start, n_init=1, tol=0).fit(x)
    assert ours.inertia_ == pytest.approx(theirs.inertia_) == pytest.approx(0.98)


def test_fewer_distinct_rows_than_clusters() -> None:
    x = np.array([[1.0], [1.0], [3.0], [3.0]])
    with pytest.raises(UserError, match="fewer distinct samples"):
        KMeans(n_clusters=3).fit(x)
    with pytest.warns(ConvergenceWarning, match="2 of 3 clusters"):
        model = KMeans(n_clusters=3, init=np.array([[1.0], [3.0], [9.0]])).fit(x)
    assert model.inertia_ == 0.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_all_rows_the_same(dtype: torch.dtype) -> None:
    x = torch.full((50, 3), 7.1, dtype=dtype)
    found = lloyd(x, x[:1])
    assert found.inertia == pytest.approx(0.0, abs=1e-9)
    torch.testing.assert_close(found.centres, x[:1])


def test_equal_distances() -> None:
    """A row between two centres begins with the lower number, and stays where it is."""
    x = torch.tensor([[0.0], [2.0], [4.0]])
    found = lloyd(x, torch.tensor([[0.0], [4.0]]), max_iterations=1, tolerance=0.0)
    assert found.centres.tolist() == [[1.0], [4.0]]
    assert nearest(x, torch.tensor([[4.0], [0.0]])).tolist() == [1, 0, 0]
    grid = torch.cartesian_prod(*[torch.arange(6.0)] * 2)
    start = grid[[0, 5, 30, 35, 14]]
    theirs = TheirKMeans(5, init=start.numpy(), n_init=1, tol=0.0).fit(grid.numpy())
    assert lloyd(grid, start, tolerance=0.0).inertia <= theirs.inertia_ * (1 + 1e-6)


def test_one_row() -> None:
    found = lloyd(torch.tensor([[5.0, -1.0]]), torch.tensor([[0.0, 0.0]]))
    assert (found.labels.tolist(), found.centres.tolist(), found.inertia) == ([0], [[5.0, -1.0]], 0.0)


def test_what_is_refused() -> None:
    x = np.random.default_rng(0).normal(size=(10, 2))
    cases: list[tuple[dict[str, Any], str]] = [
        ({"n_clusters": 11}, "fewer rows than clusters"),
        ({"n_clusters": 0}, "n_clusters is out of range"),
        ({"n_init": 0}, "n_init is out of range"),
        ({"max_iter": 0}, "max_iter is out of range"),
        ({"tol": -1.0}, "tol is out of range"),
        ({"init": "random"}, "init is out of range"),
        ({"n_clusters": 2, "init": x[:3]}, "centres given do not fit"),
    ]
    for settings, match in cases:
        with pytest.raises(UserError, match=match):
            KMeans(**settings).fit(x)
    t = torch.from_numpy(x)
    for rows, start, match in (
        (t, t[:2, :1], "do not fit"),
        (t[:1], t[:2], "fewer rows"),
        (t.half(), t[:2].half(), "float32 or float64"),
        (t.index_fill(0, torch.tensor(3), torch.nan), t[:2], "missing or infinite"),
        (t.index_fill(0, torch.tensor(3), torch.inf), t[:2], "missing or infinite"),
    ):
        with pytest.raises(UserError, match=match):
            lloyd(rows, start)


def test_measures_of_clusters_against_classes() -> None:
    x, y = load_digits(return_X_y=True)
    model = KMeans(n_clusters=10, random_state=0).fit(x)
    found = model.measure(torch.from_numpy(x), torch.from_numpy(y))
    assert found["adjusted_rand"] == pytest.approx(adjusted_rand_score(y, model.labels_), rel=1e-9)
    commonest = sum(np.bincount(y[model.labels_ == k]).max() for k in range(10))
    assert found["purity"] == pytest.approx(commonest / len(y))
    assert found["mean_square"] == pytest.approx(model.inertia_ / len(x), rel=1e-9)
    answer = model.answers(torch.from_numpy(x[:1]))[0]
    assert (answer["cluster"], answer["distance"]) == (
        model.labels_[0],
        pytest.approx(model.transform(x[:1]).min(), abs=1e-6),
    )
    every = flat(answer)
    assert [every[f"distance_{k}"] for k in range(10)] == pytest.approx(model.transform(x[:1])[0], abs=1e-6)


def test_threads_change_nothing_but_time() -> None:
    """Parts of rows are summed in one order, whoever counted them; torch has its threads back, after an error too."""
    x, start = blobs(9000, 6, 20)
    before = torch.get_num_threads()
    alone = lloyd(x, start)
    torch.set_num_threads(3)
    try:
        together = lloyd(x, start)
        assert torch.get_num_threads() == 3
        with torch.inference_mode():
            inferred = lloyd(x, start)
        with pytest.raises(UserError, match="missing or infinite"):
            lloyd(x.index_fill(0, torch.tensor(3), torch.nan), start)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    for other in (together, inferred):
        assert torch.equal(alone.labels, other.labels)
        assert torch.equal(alone.centres, other.centres)
        assert alone.inertia_path == other.inertia_path
