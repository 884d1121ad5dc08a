"""Batches by length: how much of them is padding, of real sentences and of lengths as bad as they come."""

from __future__ import annotations

import re
from pydoc_data.topics import topics

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor

from chainrule.core.errors import UserError
from chainrule.data.batches import padding_share
from chainrule.data.samplers import ByLength, Sampler, Shuffled
from chainrule.data.text.sentence_files import read_sentences
from tests.conftest import mirror

lengths_of_any_kind = st.one_of(
    st.lists(st.integers(0, 12), min_size=1, max_size=60),
    st.lists(st.integers(0, 10**6), min_size=1, max_size=60),
    st.lists(st.sampled_from([0, 1, 19, 20, 21, 400]), min_size=1, max_size=60),
    st.builds(lambda count, base: [base**i for i in range(count)], st.integers(1, 15), st.integers(2, 3)),
)


def whole_share(lengths: Tensor, sampler: Sampler, epoch: int = 0) -> float:
    """Of all padded batches of an epoch together, the share that is padding."""
    parts = [lengths[index] for index in sampler.epoch(epoch)]
    padded = sum(len(part) * int(part.max()) for part in parts)
    return 1 - int(lengths.sum()) / padded


@given(lengths=lengths_of_any_kind, batch_size=st.integers(1, 16), padding=st.sampled_from([0.05, 0.01, 0.3]))
@example(lengths=[20, 19, 19, 19], batch_size=4, padding=0.05)
@example(lengths=[0, 0, 1], batch_size=4, padding=0.05)
def test_less_than_the_share_of_every_batch_is_padding(lengths: list[int], batch_size: int, padding: float) -> None:
    sizes = torch.tensor(lengths)
    sampler = ByLength(sizes, batch_size, seed=0, padding=padding)
    for epoch in range(2):
        batches = list(sampler.epoch(epoch))
        assert len(batches) == len(sampler) and all(1 <= len(index) <= batch_size for index in batches)
        assert sorted(torch.cat(batches).tolist()) == list(range(len(lengths)))
        for index in batches:
            assert padding_share(sizes[index]) < padding


def sentences() -> Tensor:
    """How many words each sentence of Python's own documentation has."""
    text = " ".join(topics[name] for name in sorted(topics))
    return torch.tensor([len(sentence.split()) for sentence in re.split(r"(?<=[.!?])\s+", text) if sentence.strip()])


def test_of_real_sentences_little_is_padding_and_most_batches_are_full() -> None:
    lengths = sentences()
    assert len(lengths) > 2500 and int(lengths.max()) > 10 * int(lengths.median())
    assert whole_share(lengths, Shuffled(len(lengths), 32, seed=0)) > 0.5  # what it is worth
    sampler = ByLength(lengths, 32, seed=0)
    for epoch in range(3):
        assert whole_share(lengths, sampler, epoch) < 0.05
    full = sum(len(index) == 32 for index in sampler.epoch(0))
    assert full * 32 > 0.75 * len(lengths), "too many samples are in small batches"


def test_padding_of_the_film_reviews() -> None:
    """The numbers of docs/architecture.md."""
    mirror("mr")
    raw = read_sentences("mr", None)
    lengths = torch.tensor([len(text.split()) for part in raw.splits.values() for text in part.texts])
    shuffled, sampler = Shuffled(len(lengths), 50, seed=0), ByLength(lengths, 50, seed=0)
    assert len(lengths) == 10_662 and len(shuffled) == 214 and len(sampler) == 220
    assert whole_share(lengths, shuffled) == pytest.approx(0.52, abs=0.005)
    assert whole_share(lengths, sampler) == pytest.approx(0.024, abs=0.0005)


def test_epochs_draw_other_batches_of_lengths_that_are_common() -> None:
    lengths = sentences()
    common = (lengths > 8) & (lengths < 25)
    first, second = (
        {tuple(sorted(index.tolist())) for index in ByLength(lengths, 32, seed=0).epoch(epoch) if common[index].all()}
        for epoch in range(2)
    )
    assert len(first) > 20 and len(first & second) < len(first) / 20


def test_one_sample_and_none() -> None:
    assert [index.tolist() for index in ByLength(torch.tensor([7]), 8, seed=0).epoch(0)] == [[0]]
    assert [index.tolist() for index in ByLength(torch.tensor([0]), 8, seed=0).epoch(0)] == [[0]]
    with pytest.raises(UserError, match="empty"):
        ByLength(torch.tensor([]), 8, seed=0)
