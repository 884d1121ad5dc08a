"""The readers on the files that the publishers give out: counts, shapes and facts that are known of each set."""

from __future__ import annotations

import numpy as np
import pytest

from chainrule.data.catalog.sources import resolve
from chainrule.data.images.files import read_images
from chainrule.data.text.characters import read_texts
from tests.conftest import mirror


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_idx(name: str) -> None:
    mirror(name)
    found = read_images(resolve(name), None).splits
    assert found["train"].arrays.shape[:3] == (60_000, 28, 28) and found["test"].arrays.shape[:3] == (10_000, 28, 28)
    counts = np.bincount(found["train"].labels)
    if name == "mnist":
        assert found["train"].labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
        assert counts.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
        assert found["train"].arrays.mean() / 255 == pytest.approx(0.1307, abs=1e-4)
    else:
        assert counts.tolist() == [6000] * 10


def test_cifar_binary_batches() -> None:
    mirror("cifar10")
    raw = read_images(resolve("cifar10"), None)
    assert raw.classes[0] == "airplane" and raw.classes[9] == "truck"
    assert raw.splits["train"].arrays.shape == (50_000, 32, 32, 3)
    assert np.bincount(raw.splits["train"].labels).tolist() == [5000] * 10
    assert np.bincount(raw.splits["test"].labels).tolist() == [1000] * 10


def test_tiny_shakespeare() -> None:
    mirror("tiny-shakespeare")
    text = read_texts("tiny-shakespeare")[1]["train"]
    assert len(text) == 1_115_394 and len(set(text)) == 65 and text.startswith("First Citizen:\nBefore we proceed")
