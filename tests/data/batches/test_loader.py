"""What a sampler draws, made into records: over processes, over tokens, on another device."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from chainrule.core.device import World
from chainrule.core.errors import UserError
from chainrule.data.batches import Batch, Batches, BatchLoader, pad, pairs
from chainrule.data.samplers import ByLength, Shuffled, Windows
from tests.data.batches.examples import Sentences

LENGTHS = torch.tensor([3, 1, 4, 1, 5, 2, 0])
TEXTS = [torch.arange(length) + 10 * number + 1 for number, length in enumerate(LENGTHS.tolist())]


def padded(index: Tensor, count: int, processes: int) -> Sentences:
    x, lengths = pad([TEXTS[number] for number in index.tolist()])
    nothing = torch.zeros(len(index), 1)
    return Sentences(x.double(), lengths, (nothing, nothing), torch.tensor(0.0), index, count, processes)


def test_the_parts_of_two_processes_are_the_batch() -> None:
    def drawn(world: World, start: int = 0) -> list[Sentences]:
        loader = BatchLoader(Shuffled(6, 4, seed=0), padded, world=world)
        assert len(loader) == 2
        return list(loader.epoch(2, start))

    whole, parts = drawn(World()), [drawn(World(rank, 2)) for rank in range(2)]
    for batch, first, second in zip(whole, *parts, strict=True):
        assert torch.equal(batch.index, torch.cat([first.index, second.index]))
        assert first.count == second.count == batch.count == len(batch.index) and first.processes == 2
        mean = (first.mean(first.x.sum(1)) + second.mean(second.x.sum(1))) / 2
        torch.testing.assert_close(mean, batch.mean(batch.x.sum(1)))
    assert torch.equal(drawn(World(1, 2), 1)[0].index, parts[1][1].index)


def test_a_process_without_a_sample_takes_one_that_weighs_nothing() -> None:
    def last(world: World) -> Sentences:
        return list(BatchLoader(Shuffled(6, 4, seed=0), padded, world=world).epoch(2))[1]  # it has two samples

    whole, parts = last(World()), [last(World(rank, 3)) for rank in range(3)]
    assert [part.index.tolist() for part in parts] == [[n] for n in whole.index.tolist()] + [whole.index.tolist()[:1]]
    mean = sum(part.mean(part.x.sum(1)) for part in parts) / 3
    torch.testing.assert_close(mean, whole.mean(whole.x.sum(1)))
    empty = list(Batches(torch.ones(6, 2), torch.ones(6), 4, seed=0, world=World(2, 3)).epoch(2))[1]
    assert empty.x.shape == (0, 2) and float(empty.mean(empty.y)) == 0


def test_a_mean_over_tokens() -> None:
    """Where `count` is that of the tokens, parts of unequal lengths still average to the mean over all tokens."""
    index = torch.tensor([0, 2, 4, 1, 3, 5])

    class Once:
        def __len__(self) -> int:
            return 1

        def epoch(self, epoch: int, start: int = 0):  # type: ignore[no-untyped-def]
            yield index

    def count(whole: Tensor) -> int:
        return int(LENGTHS[whole].sum())

    for size in (1, 2, 3):
        parts = [
            next(BatchLoader(Once(), padded, world=World(rank, size), count=count).epoch(0)) for rank in range(size)
        ]
        assert {part.count for part in parts} == {16}
        tokens = [part.x[part.x > 0].square() for part in parts]
        mean = torch.stack([part.mean(losses) for part, losses in zip(parts, tokens, strict=True)]).mean()
        torch.testing.assert_close(mean, torch.cat([TEXTS[number] for number in index]).double().square().mean())


def test_records_are_moved() -> None:
    batch = next(BatchLoader(Shuffled(6, 4, seed=0), padded, device="meta").epoch(0))
    assert {batch.x.device.type, batch.state[1].device.type, batch.index.device.type} == {"meta"} and batch.count == 4


def test_pairs_of_what_lies_on_the_device() -> None:
    x, y = torch.rand(7, 2), torch.arange(7)
    drawn = list(BatchLoader(ByLength(LENGTHS, 3, seed=0), pairs(x, y)).epoch(1))
    assert sorted(torch.cat([batch.y for batch in drawn]).tolist()) == list(range(7))
    assert all(torch.equal(batch.x, x[batch.index]) and batch.count == len(batch.y) for batch in drawn)


def test_windows_are_shared_by_streams() -> None:
    def loader(world: World) -> BatchLoader[Batch]:
        def collate(at: Tensor, count: int, processes: int) -> Batch:
            return Batch(at, at + 1, at[:, 0], count, processes)

        return BatchLoader(Windows(40, 5, 3), collate, world=world)

    for batch, first, second in zip(
        *(loader(world).epoch(0) for world in (World(), World(0, 2), World(1, 2))), strict=True
    ):
        assert torch.equal(batch.x, torch.cat([first.x, second.x])) and batch.count == first.count == 5


def test_batches_of_pairs_are_those_of_every_run_so_far() -> None:
    """Old runs resume with these; with several processes each has its part of the same."""
    x = torch.arange(12.0)[:, None]
    batch = next(Batches(x, torch.arange(12), 5, seed=7).epoch(4, 1))
    assert batch.index.tolist() == batch.y.tolist() == [9, 7, 3, 8, 1] and batch.count == 5 and batch.processes == 1
    parts = [next(Batches(x, torch.arange(12), 5, seed=7, world=World(rank, 2)).epoch(4, 1)) for rank in range(2)]
    assert [part.y.tolist() for part in parts] == [[9, 7, 3], [8, 1]] and {part.processes for part in parts} == {2}
    with pytest.raises(UserError, match=r"smaller than one batch(.|\n)*batch_size=12 or less"):
        Batches(x, x, 13, seed=0)
