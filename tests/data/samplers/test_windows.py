"""Windows of a long sequence: every position once, each stream from beginning to end, none skipped between two windows."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from chainrule.data.samplers import Windows
from chainrule.data.samplers.windows import stream_size, stream_starts


def test_starts_of_streams_by_hand() -> None:
    assert stream_starts(10, 4).tolist() == [0, 2, 5, 7] and stream_size(10, 4) == 3


@given(size=st.integers(1, 300), streams=st.integers(1, 9), length=st.integers(1, 40))
def test_every_stream_reads_its_stretch(size: int, streams: int, length: int) -> None:
    sampler = Windows(size, streams, length)
    windows = list(sampler.epoch(0))
    assert len(windows) == len(sampler)
    times = [window.shape[1] for window in windows]
    assert max(times) <= length and max(times) - min(times) <= 1
    whole = torch.cat(windows, 1)  # (S, size of a stream)
    assert (whole[:, 1:] == whole[:, :-1] + 1).all(), "a position is skipped, or read twice, between two windows"
    seen = whole.flatten().bincount(minlength=size)
    if size >= streams:
        assert len(seen) == size and seen.min() == 1 and int(seen.sum()) - size < streams
