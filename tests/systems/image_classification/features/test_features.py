"""HOG, local binary patterns and patch dictionaries against loops over pixels; the machine behind them."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

import chainrule
from chainrule.core.errors import UserError
from chainrule.run.run import Run
from chainrule.systems.image_classification.features.feature_svm import likeliest_scale
from chainrule.systems.image_classification.features.figures import feature_figures
from chainrule.systems.image_classification.features.hog import HOG, glyphs, hog, orientation_histograms
from chainrule.systems.image_classification.features.local_binary_patterns import (
    LocalBinaryPatterns,
    pattern_codes,
    uniform_labels,
)
from chainrule.systems.image_classification.features.patch_dictionary import PatchDictionary, draw_patches


def images(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def made_by_formula() -> np.ndarray:
    r = np.arange(20)
    return ((r[:, None] * 7 + r * r * 3 + (r[:, None] * r) % 11 * 9) % 64).astype(float)


def test_numbers_of_scikit_image() -> None:
    """scikit-image 0.26: `hog` of L2-Hys, grey and in colour, and `local_binary_pattern`, of all pixels of one image."""
    grey = made_by_formula()
    colour = np.stack([grey, grey * 5 % 64, grey.T * 3 % 64])
    found = hog(torch.tensor(grey)[None, None], cell=5)[0].numpy()
    np.testing.assert_allclose(found[:6], [0.22731, 0.195489, 0.22731, 0.158181, 0.22731, 0.0], atol=1e-6)
    assert found.sum() == pytest.approx(47.21049696, abs=1e-6)
    assert found @ np.arange(324) == pytest.approx(7666.1577548, abs=1e-4)
    found = hog(torch.tensor(colour)[None], cell=4, block=3, orientations=8)[0].numpy()
    np.testing.assert_allclose(found[:4], [0.191872, 0.185632, 0.210353, 0.0], atol=1e-6)
    assert len(found) == 648 and found.sum() == pytest.approx(64.496404, abs=1e-5)
    row = [0, 250, 254, 255, 233, 160, 255, 225, 0, 191, 4, 120, 255, 0, 17, 0, 255, 4, 249, 0]
    codes = pattern_codes(torch.tensor(grey)[None])[0]
    assert codes[9].tolist() == row and int(codes.sum()) == 46981
    codes = pattern_codes(torch.tensor(grey)[None], 6, 2.0)[0]
    assert codes[9, :8].tolist() == [0, 38, 63, 63, 62, 51, 63, 22] and int(codes.sum()) == 11493


# -- HOG ------------------------------------------------------------------------------------------------------------


def hog_by_loops(x: np.ndarray, cell: int, block: int, orientations: int) -> list[float]:
    """Of one image (C, H, W), as the paper's chapter reads: votes, cells, blocks, L2-Hys."""
    channels, height, width = x.shape
    rows, columns = height // cell, width // cell
    cells = np.zeros((rows, columns, orientations))
    for r in range(rows * cell):
        for c in range(columns * cell):
            largest, angle = -1.0, 0.0
            for channel in range(channels):
                down = x[channel, r + 1, c] - x[channel, r - 1, c] if 0 < r < height - 1 else 0.0
                across = x[channel, r, c + 1] - x[channel, r, c - 1] if 0 < c < width - 1 else 0.0
                if math.hypot(down, across) > largest:
                    largest, angle = math.hypot(down, across), math.degrees(math.atan2(down, across)) % 180
            cells[r // cell, c // cell, min(int(angle * orientations // 180), orientations - 1)] += largest / cell**2
    found: list[float] = []
    for r in range(rows - block + 1):
        for c in range(columns - block + 1):
            v = [cells[r + i, c + j, o] for i in range(block) for j in range(block) for o in range(orientations)]
            for cut in (0.2, math.inf):
                length = math.sqrt(sum(one * one for one in v) + 1e-10)
                v = [min(one / length, cut) for one in v]
            found += v
    return found


@pytest.mark.parametrize(("cell", "block", "orientations"), [(4, 2, 9), (5, 1, 4), (3, 3, 6)])
def test_hog_by_loops(cell: int, block: int, orientations: int) -> None:
    x = images(2, 3, 14, 11)  # rows and columns are left over
    found = hog(x, cell=cell, block=block, orientations=orientations)
    for image, row in zip(x.numpy(), found, strict=True):
        np.testing.assert_allclose(row.numpy(), hog_by_loops(image, cell, block, orientations), rtol=0, atol=1e-12)


def test_light_does_not_matter_and_turning_an_image_turns_its_directions() -> None:
    x = images(1, 1, 16, 16)
    torch.testing.assert_close(hog(3 * x + 5, cell=4), hog(x, cell=4), atol=1e-6, rtol=0)
    straight = torch.arange(16.0).expand(1, 1, 16, 16)  # brighter to the right
    for turned, bin_of in ((straight, 0), (straight.transpose(2, 3), 2), (straight + straight.transpose(2, 3), 1)):
        votes = orientation_histograms(turned, cell=8, orientations=4).sum((0, 2, 3))
        inside = orientation_histograms(turned[:, :, 1:-1, 1:-1], cell=2, orientations=4)[:, :, 1:-1, 1:-1]
        assert int(votes.argmax()) == bin_of and inside[0, :, 0, 0].nonzero().tolist() == [[bin_of]]


def test_glyphs_lie_along_the_edge() -> None:
    """Brightness that rises to the right has an edge that runs up and down."""
    drawn = glyphs(torch.arange(8.0).expand(1, 1, 8, 8), cell=8, orientations=9, side=15)[0, 0]
    lit = (drawn > 200).nonzero()
    assert drawn.shape == (15, 15) and int(lit[:, 0].max() - lit[:, 0].min()) > 9
    assert int(lit[:, 1].max() - lit[:, 1].min()) < 5


def test_a_gradient_passes_through_hog_also_where_an_image_is_flat() -> None:
    x = torch.zeros(1, 1, 16, 16)
    x[..., 8:] = 0.5
    x.requires_grad_()
    hog(x, cell=4).sum().backward()
    assert x.grad is not None and bool(x.grad.isfinite().all())


# -- local binary patterns --------------------------------------------------------------------------------------------


def code_by_loops(x: np.ndarray, r: int, c: int, neighbours: int, radius: float) -> int:
    def pixel(row: int, column: int) -> float:
        return float(x[row, column]) if 0 <= row < x.shape[0] and 0 <= column < x.shape[1] else 0.0

    code = 0
    for p in range(neighbours):
        row = r - round(radius * math.sin(2 * math.pi * p / neighbours), 5)
        column = c + round(radius * math.cos(2 * math.pi * p / neighbours), 5)
        value = 0.0
        for i in (math.floor(row), math.floor(row) + 1):
            for j in (math.floor(column), math.floor(column) + 1):
                value += max(0.0, 1 - abs(row - i)) * max(0.0, 1 - abs(column - j)) * pixel(i, j)
        code += 2**p if value >= x[r, c] else 0
    return code


@pytest.mark.parametrize(("neighbours", "radius"), [(8, 1.0), (4, 1.0), (6, 2.5)])
def test_patterns_by_loops(neighbours: int, radius: float) -> None:
    x = images(2, 7, 6)
    found = pattern_codes(x, neighbours, radius)
    for image, codes in zip(x.numpy(), found, strict=True):
        expected = [[code_by_loops(image, r, c, neighbours, radius) for c in range(6)] for r in range(7)]
        assert codes.tolist() == expected


def test_flat_parts_are_flat_and_codes_do_not_follow_the_light() -> None:
    """Bilinear interpolation of equal values is that value: 255/256 * v + 1/256 * v need not be."""
    flat = torch.full((1, 9, 9), 0.1)
    assert (pattern_codes(flat)[:, 1:-1, 1:-1] == 255).all()
    x = (images(1, 9, 9) * 255).round()
    straight = pattern_codes(x, 4)[:, 1:-1, 1:-1]
    assert torch.equal(pattern_codes(x.square() + 1, 4)[:, 1:-1, 1:-1], straight), "four neighbours lie on pixels"


def test_uniform_patterns_are_those_of_at_most_two_changes() -> None:
    labels = uniform_labels(8)
    counts = torch.bincount(labels)
    assert len(counts) == 59 and counts[:58].tolist() == [1] * 58 and int(counts[58]) == 256 - 58
    for code in range(256):
        bits = f"{code:08b}"
        assert (sum(a != b for a, b in zip(bits, bits[1:] + bits[0], strict=True)) <= 2) == (int(labels[code]) < 58)


def test_histograms_by_loops() -> None:
    x = images(2, 3, 9, 8)
    found = LocalBinaryPatterns(cell=4)(x).view(2, 2, 2, 59)
    labels = uniform_labels(8)[pattern_codes(x.mean(1))]
    for i in range(2):
        for r in range(2):
            for c in range(2):
                cell = labels[i, 4 * r : 4 * r + 4, 4 * c : 4 * c + 4].flatten()
                shares = torch.bincount(cell, minlength=59).double() / 16
                torch.testing.assert_close(found[i, r, c].square(), shares)


# -- dictionaries ---------------------------------------------------------------------------------------------------


def test_activations_by_loops() -> None:
    x, size = images(2, 2, 7, 6), 3
    dictionary = PatchDictionary(2, 5, size).double()
    patches = draw_patches(x, size, 60, torch.Generator().manual_seed(1))
    dictionary.fit(patches, torch.Generator().manual_seed(2))
    shift, factor, centres = (
        t.numpy() for t in (dictionary.whitening.shift, dictionary.whitening.factor, dictionary.centres)
    )
    maps = np.zeros((2, 5, 5, 4))
    for i in range(2):
        for r in range(5):
            for c in range(4):
                p = x[i, :, r : r + size, c : c + size].numpy().ravel()
                p = (p - p.mean()) / math.sqrt(p.var() + 10 / 255**2)
                d = np.linalg.norm((p - shift) @ factor - centres, axis=1)
                maps[i, :, r, c] = np.maximum(d.mean() - d, 0)
    np.testing.assert_allclose(dictionary.activations(x).numpy(), maps, atol=1e-9)
    parts = [maps[:, :, rows, columns] for rows in (slice(0, 3), slice(2, 5)) for columns in (slice(0, 2), slice(2, 4))]
    np.testing.assert_allclose(dictionary(x).numpy(), np.concatenate([p.mean((2, 3)) for p in parts], 1), atol=1e-9)


def test_a_dictionary_finds_what_images_are_made_of() -> None:
    """Two kinds of patches, seen through noise: the dictionary is these two, their whitening undone."""
    g = torch.Generator().manual_seed(0)
    kinds = torch.tensor([[[1.0, 1, 0, 0]] * 4, [[0.0, 1, 1, 0]] * 4])[:, :, :4]  # (2, 4, 4)
    which = torch.randint(2, (400,), generator=g)
    patches = kinds[which][:, None] + 0.02 * torch.randn(400, 1, 4, 4, generator=g)
    dictionary = PatchDictionary(1, 2, 4)
    dictionary.fit(patches, g)
    found = dictionary.pixels()[:, 0].flatten(1)
    normal = kinds.flatten(1) - 0.5
    likeness = torch.corrcoef(torch.cat([found, normal]))[:2, 2:].abs()
    assert likeness.amax(1).min() > 0.99 and likeness.argmax(1).sort().values.tolist() == [0, 1]


def test_every_place_is_drawn() -> None:
    x = torch.arange(18).view(2, 1, 3, 3)
    drawn = draw_patches(x, 2, 200, torch.Generator().manual_seed(0))
    assert drawn[:, 0, 0, 0].unique().tolist() == [0, 1, 3, 4, 9, 10, 12, 13]
    assert (drawn[:, 0, 1, 1] == drawn[:, 0, 0, 0] + 4).all()


# -- the machine behind them ------------------------------------------------------------------------------------------


def test_the_scale_is_the_likeliest() -> None:
    g = torch.Generator().manual_seed(0)
    y = torch.randint(4, (200,), generator=g)
    scores = torch.randn(200, 4, generator=g) + 1.5 * torch.nn.functional.one_hot(y, 4)
    targets = torch.full((200, 4), 1 / 202 / 3, dtype=torch.float64)
    targets[torch.arange(200), y] = 201 / 202

    def loss(s: float) -> float:
        return float(torch.nn.functional.cross_entropy(s * scores.double(), targets))

    best = minimize_scalar(loss, bounds=(0.01, 10), method="bounded", options={"xatol": 1e-9}).x
    assert likeliest_scale(scores, y) == pytest.approx(best, abs=1e-5)
    assert likeliest_scale(-scores, y) == 1e-6, "the wrong way round nothing is better than to know nothing"
    perfect = likeliest_scale(torch.eye(4), torch.arange(4))
    assert float((perfect * torch.eye(4)).softmax(1)[0, 0]) == pytest.approx(5 / 6), "no mistake, yet no certainty"


@pytest.mark.parametrize(
    ("features", "settings", "most"),
    [("lbp", {"cell": 16}, 0.35), ("patches", {"patches": 8, "samples": 500, "patch": 5}, 0.2)],
)
def test_it_learns_digits_and_is_the_same_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, features: str, settings: dict[str, Any], most: float
) -> None:
    monkeypatch.setattr("chainrule.api.training._report", lambda run: None)  # tests/contracts looks at it
    shared = {"data": "digits", "features": features, "size": 16, "c": (0.1,), "tol": 1e-2, "device": "cpu"}
    run = chainrule.train("feature-svm", out=tmp_path / "run", **shared, **settings)
    found = run.result()
    assert found is not None and found["metrics"]["error"] < most and "chose C by its error" in found["protocol"]
    task: Any = Run.load(tmp_path / "run", "cpu").open_task()
    assert task.evaluate() == found["metrics"] and found["metrics"]["calibration_error"] < 0.1
    # Margins of the fitted machine on features of its own, standardised by the training split.
    model, test = task.model, task.data.test
    rows = model.rows(test.x, task.normalize)
    scores = rows.double().numpy() @ model.svm.estimator.coef_.T + model.svm.estimator.intercept_
    assert (scores.argmax(1) == task.logits(test.x).argmax(1).numpy()).mean() > 0.995
    assert len(feature_figures(model.features, test.x)) == 1


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: hog(torch.rand(1, 1, 8, 8), cell=9), "no cell fits"),
        (lambda: hog(torch.rand(1, 1, 8, 8), cell=8), "no block of cells"),
        (lambda: HOG(8, orientations=0)(torch.rand(1, 1, 16, 16)), "1 orientation or more"),
        (lambda: LocalBinaryPatterns(9)(torch.rand(1, 1, 8, 8)), "no cell fits"),
        (lambda: pattern_codes(torch.rand(1, 8, 8), 17), "1 to 16 neighbours"),
        (lambda: pattern_codes(torch.rand(8, 8)), "grey images"),
        (lambda: PatchDictionary(1, 3, 9)(torch.rand(1, 1, 8, 8)), "does not fit"),
        (lambda: draw_patches(torch.rand(1, 1, 8, 8), 9, 1, torch.Generator()), "does not fit"),
        (lambda: PatchDictionary(1, 3, 2).fit(torch.zeros(9, 1, 2, 2), torch.Generator()), "fewer distinct"),
    ],
)
def test_wrong_arguments(call: Callable[[], object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        call()
