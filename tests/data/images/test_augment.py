"""Random changes to batches of images, each against what it is by definition."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from chainrule.data.images import augment


def some_images(count: int = 64, channels: int = 3, height: int = 9, width: int = 7) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, channels, height, width), dtype=torch.uint8, generator=generator)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(3)


def test_flip_mirrors_about_half_and_nothing_else() -> None:
    x = some_images()
    y = augment.flip(x)
    mirrored = (y == x.flip(3)).flatten(1).all(1)
    assert (mirrored | (y == x).flatten(1).all(1)).all() and 16 < int(mirrored.sum()) < 48


def test_shift_is_a_crop_of_the_padded_image() -> None:
    x = some_images(200)
    padded = F.pad(x, (2, 2, 2, 2))
    found = set()
    for before, after in zip(padded, augment.shift(x, pad=2), strict=True):
        places = [
            (top, left)
            for top in range(5)
            for left in range(5)
            if torch.equal(before[:, top : top + 9, left : left + 7], after)
        ]
        assert len(places) == 1
        found.add(places[0])
    assert len(found) == 25  # every place comes up


def test_resized_crop_shows_a_part_of_the_right_size() -> None:
    ramp = torch.arange(64.0).expand(1, 1, 64, 64)  # a pixel's value is its column, so values tell the place
    x = torch.cat([ramp, ramp.transpose(2, 3)], 1).round().to(torch.uint8).expand(500, -1, -1, -1)
    y = augment.random_resized_crop(x, smallest=0.25, stretch=1.5).float()
    across, down = (y[:, 0].amax((1, 2)) - y[:, 0].amin((1, 2))), (y[:, 1].amax((1, 2)) - y[:, 1].amin((1, 2)))
    area, ratio = across * down / 63**2, (across / down)
    assert 0.2 < float(area.min()) < 0.32 and 0.9 < float(area.max()) <= 1.0
    assert 1 / 1.6 < float(ratio.min()) < 0.8 and 1.25 < float(ratio.max()) < 1.6
    centres = (y[:, 0].amax((1, 2)) + y[:, 0].amin((1, 2))) / 2
    assert 28 < float(centres.mean()) < 35 and float(centres.std()) > 3
    assert augment.random_resized_crop(x[:0]).shape == (0, 2, 64, 64)


def test_colours_follow_their_definition() -> None:
    x = some_images(8)
    torch.manual_seed(5)
    found = augment.jitter_colours(x, strength=0.5)
    torch.manual_seed(5)
    factors = 1 + 0.5 * (2 * torch.rand(3, 8, 1, 1, 1) - 1)
    for image, after, brightness, contrast, saturation in zip(x, found, *factors, strict=True):
        y = image.double() * float(brightness)
        grey = 0.299 * y[0] + 0.587 * y[1] + 0.114 * y[2]
        y = grey + (y - grey) * float(saturation)
        y = y.mean() + (y - y.mean()) * float(contrast)
        assert (after.double() - y.clamp(0, 255)).abs().max() <= 0.51
    grey = augment.jitter_colours(some_images(4, channels=1), 0.5)
    assert grey.shape == (4, 1, 9, 7) and grey.dtype == torch.uint8


@pytest.mark.parametrize("size", [1, 2, 3, 20])
def test_cutout_is_one_square(size: int) -> None:
    x = torch.zeros(300, 2, 9, 7, dtype=torch.uint8)
    hidden = augment.cutout(x, size) == 128
    assert torch.equal(hidden[:, 0], hidden[:, 1])
    rows, columns = hidden[:, 0].any(2), hidden[:, 0].any(1)
    assert torch.equal(hidden[:, 0], rows[:, :, None] & columns[:, None, :])
    counts = rows.sum(1)
    assert int(counts.max()) == min(size, 9) and int(counts.min()) >= min((size + 1) // 2, 9)  # the centre is inside
    assert rows.any(0).all() and columns.any(0).all()


def test_mixup_mixes_as_it_says() -> None:
    x = torch.randn(6, 3, 2, 2)
    mixed, partner, share = augment.mixup(x, 0.4)
    assert torch.allclose(mixed, share * x + (1 - share) * x[partner]) and sorted(partner.tolist()) == list(range(6))
    shares = torch.stack([augment.mixup(x, 0.4)[2] for _ in range(3000)])
    assert abs(float(shares.mean()) - 0.5) < 0.03  # Beta(a, a) has variance 1 / (4 (2a + 1))
    assert abs(float(shares.var()) - 1 / (4 * 1.8)) < 0.01


def test_growing_keeps_to_its_shares() -> None:
    grow = augment.Growing((4, 6, 8), 8)
    x = torch.full((2, 1, 8, 8), 7, dtype=torch.uint8)
    moments = [augment.Moment(torch.zeros(2), torch.arange(2), epoch, 10) for epoch in range(10)]
    sizes = [grow(x, moment).shape[-1] for moment in moments]
    assert sizes == [4] * 4 + [6] * 3 + [8] * 3
    assert torch.equal(grow(x, moments[-1]), x) and torch.allclose(grow(x, moments[0]), torch.full((2, 1, 4, 4), 7.0))
