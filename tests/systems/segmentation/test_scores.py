"""Scores: scikit-learn's confusion and Jaccard, classes that are absent, boundaries against SciPy's distances."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from sklearn.metrics import confusion_matrix, jaccard_score

from chainrule.core.errors import UserError
from chainrule.systems.segmentation.scores import boundary_counts, boundary_f1, confusion, scores


def test_counts_and_ratios_are_scikit_learns() -> None:
    target, pred = torch.randint(5, (3, 20, 30)), torch.randint(5, (3, 20, 30))
    matrix = confusion(pred, target, 5)
    y, answer = target.flatten().numpy(), pred.flatten().numpy()
    assert (matrix.numpy() == confusion_matrix(y, answer)).all()
    found = scores(matrix)
    assert found["iou"] == pytest.approx(jaccard_score(y, answer, average=None), rel=1e-12)
    assert found["miou"] == pytest.approx(jaccard_score(y, answer, average="macro"), rel=1e-12)
    assert found["fw_iou"] == pytest.approx(jaccard_score(y, answer, average="weighted"), rel=1e-12)
    assert found["pixel_accuracy"] == pytest.approx((y == answer).mean(), rel=1e-12)
    assert "dice" not in found


def test_void_counts_nowhere() -> None:
    target = torch.tensor([0, 1, 255, 255])
    assert confusion(torch.tensor([0, 0, 0, 1]), target, 2).tolist() == [[1, 0], [1, 0]]
    assert confusion(torch.tensor([0, 0, 7, 9]), target, 2).tolist() == [[1, 0], [1, 0]]  # whatever was answered there
    assert confusion(torch.tensor([0, 1]), torch.tensor([0, 9]), 2, ignore=9).tolist() == [[1, 0], [0, 0]]


def test_a_class_in_neither_is_left_out_and_in_one_alone_is_zero() -> None:
    matrix = torch.tensor([[4, 1, 0, 0], [0, 5, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    matrix[0, 3] = 2  # answered where it is not
    found = scores(matrix)
    iou = found["iou"]
    assert isinstance(iou, list)
    assert math.isnan(iou[2]) and iou[3] == 0.0
    assert found["miou"] == pytest.approx((4 / 7 + 5 / 6 + 0) / 3)
    assert found["mean_accuracy"] == pytest.approx((4 / 7 + 1) / 2)


def test_scores_are_of_the_whole_set_and_no_mean_of_images() -> None:
    one, other = torch.tensor([[9, 1], [0, 0]]), torch.tensor([[0, 0], [0, 1]])
    assert scores(one + other)["iou"] == pytest.approx([0.9, 0.5])


def test_dice_of_two_classes() -> None:
    assert scores(torch.tensor([[5, 1], [2, 3]]))["dice"] == pytest.approx(2 * 3 / (5 + 4))


def test_nothing_to_count_is_nan() -> None:
    assert all(math.isnan(value) for name, value in scores(torch.zeros(2, 2)).items() if isinstance(value, float))


@pytest.mark.parametrize(
    ("pred", "target"), [([0, 3], [0, 1]), ([0, 1], [0, 4]), ([0, -1], [0, 1]), ([0, 1, 1], [0, 1])]
)
def test_what_is_no_class_is_told(pred: list[int], target: list[int]) -> None:
    with pytest.raises(UserError):
        confusion(torch.tensor(pred), torch.tensor(target), 3)


def edges(labels: np.ndarray, k: int) -> np.ndarray:
    """Pixels of class k with one of four neighbours in the image of another class that is not void, one by one."""
    found = np.zeros(labels.shape, bool)
    height, width = labels.shape
    for i in range(height):
        for j in range(width):
            around = [(i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)]
            there = [labels[a, b] for a, b in around if 0 <= a < height and 0 <= b < width]
            found[i, j] = labels[i, j] == k and any(value not in (k, 255) for value in there)
    return found


@pytest.mark.parametrize("tolerance", [0.0, 1.0, 1.5, 3.0])
def test_boundaries_by_scipys_distances(tolerance: float) -> None:
    rng = np.random.default_rng(0)
    target = np.kron(rng.integers(0, 3, (4, 5)), np.ones((5, 5), int))
    pred = np.roll(target, 1, 1)
    pred[8:12, 3:9] = 2
    target[0:4, 0:6] = 255
    counts = boundary_counts(torch.from_numpy(pred)[None], torch.from_numpy(target)[None], 3, tolerance)
    used = np.where(target == 255, 255, pred)
    for k in range(3):
        answered, true = edges(used, k), edges(target, k)
        near_true = ndimage.distance_transform_edt(~true) <= tolerance if true.any() else np.zeros_like(true)
        near_answered = ndimage.distance_transform_edt(~answered) <= tolerance if answered.any() else true & False
        expected = [answered.sum(), (answered & near_true).sum(), true.sum(), (true & near_answered).sum()]
        assert counts[:, k].tolist() == expected


def test_equal_boundaries_score_one() -> None:
    labels = torch.randint(3, (2, 9, 9))
    assert boundary_f1(boundary_counts(labels, labels, 3)) == 1.0
