"""One convention for padding: behind what it pads, with lengths, and a mask that is True where there is something."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.utils.rnn import pad_sequence

from chainrule.core.errors import UserError
from chainrule.data.batches import keep_mask, pad, pad_images, padding_share, unpad

lists_of_lengths = st.lists(st.integers(0, 7), min_size=1, max_size=6)


@given(lengths=lists_of_lengths, width=st.sampled_from([(), (2,), (2, 3)]), value=st.sampled_from([0.0, -1.0]))
def test_padded_sequences_come_back(lengths: list[int], width: tuple[int, ...], value: float) -> None:
    sequences = [torch.rand(length, *width) for length in lengths]
    padded, found = pad(sequences, value)
    assert torch.equal(padded, pad_sequence(sequences, batch_first=True, padding_value=value))
    assert found.tolist() == lengths
    assert all(map(torch.equal, unpad(padded, found), sequences))
    mask = keep_mask(found, padded.shape[1])
    assert mask.dtype == torch.bool and mask.tolist() == [
        [t < length for t in range(max(lengths))] for length in lengths
    ]
    assert torch.equal(padded[mask], torch.cat(sequences)) and (padded[~mask] == value).all()
    assert padding_share(found) == pytest.approx(1 - float(mask.double().mean()) if mask.numel() else 0)


@given(
    sizes=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=4), divisor=st.integers(1, 5)
)
def test_padded_images_are_where_the_mask_is(sizes: list[tuple[int, int]], divisor: int) -> None:
    images = [torch.rand(3, *size) + 1 for size in sizes]
    batch, found = pad_images(images, divisor)
    height, width = batch.shape[2:]
    assert found.tolist() == [list(size) for size in sizes]
    assert height % divisor == width % divisor == 0
    assert 0 <= height - max(h for h, _ in sizes) < divisor and 0 <= width - max(w for _, w in sizes) < divisor
    mask = keep_mask(found, height, width)
    assert torch.equal(mask, (batch > 0).all(1)) and torch.equal(mask, (batch > 0).any(1))
    for image, place, (h, w) in zip(images, batch, sizes, strict=True):
        assert torch.equal(place[:, :h, :w], image)


def test_the_mask_is_as_long_as_the_longest_unless_it_is_told() -> None:
    assert keep_mask(torch.tensor([1, 3])).shape == (2, 3) and keep_mask(torch.tensor([1, 3]), 5).shape == (2, 5)
    assert keep_mask(torch.tensor([[1, 2], [3, 1]])).shape == (2, 3, 2)
    assert keep_mask(torch.tensor([0])).shape == (1, 0)
    whole = keep_mask(torch.tensor([[1, 2, 3], [2, 1, 1]]))  # volumes too
    assert whole.shape == (2, 2, 2, 3) and whole.flatten(1).sum(1).tolist() == [6, 2]


def test_types_and_devices_stay() -> None:
    padded, lengths = pad([torch.ones(2, dtype=torch.uint8), torch.ones(3, dtype=torch.uint8)], 7)
    assert padded.dtype == torch.uint8 and padded[0, 2] == 7 and lengths.dtype == torch.int64
    assert padding_share(torch.tensor([])) == 0 == padding_share(torch.tensor([0, 0]))


def test_samples_that_do_not_go_together() -> None:
    with pytest.raises(UserError, match="no sequence to pad"):
        pad([])
    with pytest.raises(UserError, match="no image to pad"):
        pad_images([])
    for sequences in (
        [torch.ones(2, 3), torch.ones(2, 4)],
        [torch.ones(2), torch.ones(2, 1)],
        [torch.ones(2), torch.ones(2).long()],
    ):
        with pytest.raises(UserError, match=r"differ in more than their size"):
            pad(sequences)
    for images in (
        [torch.ones(3, 2, 2), torch.ones(1, 2, 2)],
        [torch.ones(3, 2, 2), torch.ones(2, 2)],
        [torch.ones(3, 2, 2), torch.ones(3, 2, 2).byte()],
    ):
        with pytest.raises(UserError, match=r"differ in more than their size"):
            pad_images(images)
