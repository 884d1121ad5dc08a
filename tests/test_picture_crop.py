"""Resampling by the shorter side and cutting out the middle, against torchvision's transforms."""

from __future__ import annotations

import pytest
import torch

from chainrule.errors import UserError
from chainrule.functional.picture_crop import resize_and_crop
from tests.torchvision_oracle import torchvision


@pytest.mark.parametrize("shape", [(300, 451), (97, 64), (33, 33), (256, 300), (1, 5), (500, 31)])
def test_it_is_torchvisions_resize_and_crop(shape: tuple[int, int]) -> None:
    torchvision()
    from torchvision.transforms import functional as T

    torch.manual_seed(0)
    pixels = torch.randint(0, 256, (2, 3, *shape), dtype=torch.uint8)
    resize, size = (64, 57) if shape == (256, 300) else (40, 36)
    expected = T.center_crop(T.resize(pixels, [resize], antialias=True), [size])
    assert (resize_and_crop(pixels, resize, size).int() - expected.int()).abs().max() <= 1
    found, wanted = (
        resize_and_crop(pixels.double(), resize, size),
        T.center_crop(T.resize(pixels.float(), [resize], antialias=True), [size]),
    )
    torch.testing.assert_close(found, wanted.double(), atol=1e-3, rtol=0)


def test_a_picture_of_the_right_size_is_left_as_it_is() -> None:
    pixels = torch.arange(48, dtype=torch.uint8).view(1, 3, 4, 4)
    assert torch.equal(resize_and_crop(pixels, 4, 4), pixels)
    assert torch.equal(resize_and_crop(pixels, 4, 2), pixels[..., 1:3, 1:3])
    assert resize_and_crop(pixels[:0], 8, 6).shape == (0, 3, 6, 6)


@pytest.mark.parametrize(
    ("shape", "resize", "size"), [((3, 4, 4), 4, 4), ((1, 3, 0, 4), 4, 4), ((1, 3, 4, 4), 4, 5), ((1, 3, 4, 4), 4, 0)]
)
def test_wrong_input_is_told(shape: tuple[int, ...], resize: int, size: int) -> None:
    with pytest.raises(UserError):
        resize_and_crop(torch.zeros(shape), resize, size)
