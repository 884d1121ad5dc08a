"""Records of all forms: moved, selected from and divided as a whole; the mean of the parts is that of the batch."""

from __future__ import annotations

from dataclasses import make_dataclass
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from chainrule.core.device import World
from chainrule.core.errors import UserError
from chainrule.core.records import is_record, leaves, map_tensors
from chainrule.data.batches import Batch, batch_mean, fields, move, select, split
from tests.data.batches.examples import Scenes, Sentences, Target, graphs, scenes, sentences


def pair(count: int = 5) -> Batch:
    return Batch(torch.rand(count, 3), torch.rand(count), torch.arange(count), count)


ALL = {"pair": pair, "scenes": scenes, "sentences": sentences}


@pytest.fixture(params=ALL)
def batch(request: pytest.FixtureRequest) -> Any:
    return ALL[request.param]()


def equal(a: Any, b: Any) -> bool:
    """Whether two structures are the same, by plain recursion."""
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if type(a) is not type(b):
        return False
    if hasattr(a, "__dataclass_fields__"):
        return equal(vars(a), vars(b))
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(equal, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(equal(a[key], b[key]) for key in a)
    return a == b


# -- walking --------------------------------------------------------------------------------------------------------


def test_what_is_a_record() -> None:
    assert is_record(pair()) and is_record(sentences()) and is_record(graphs())
    assert not any(map(is_record, ((1, 2), [1], {}, torch.ones(1), Batch, Sentences)))
    assert list(fields(sentences())) == ["x", "lengths", "state", "scale", "index", "count", "processes"]
    assert list(fields(scenes())) == ["images", "target", "names", "index", "count", "processes"]


def test_every_tensor_is_found_under_its_name() -> None:
    found = [(name, entry) for name, entry, _ in leaves(scenes(2))]
    assert found == [
        *(("images", entry) for entry in (0, 1)),
        *(("target.boxes", entry) for entry in (0, 1)),
        *(("target.labels", entry) for entry in (0, 1)),
        ("target.crowd", None),
        ("index", None),
    ]
    assert [name for name, _, _ in leaves(sentences())] == ["x", "lengths", "state.0", "state.1", "scale", "index"]
    assert ("extra.y", None) in [(name, entry) for name, entry, _ in leaves(graphs())]
    nested = {"levels": [[torch.ones(1)], [torch.ones(1), torch.ones(2)]]}
    assert [entry for _, entry, _ in leaves(nested)] == [0, 1, 1], "the number in the outer list"


def test_a_move_moves_every_tensor_and_nothing_else(batch: Any) -> None:
    moved = move(batch, "meta")
    assert type(moved) is type(batch) and {tensor.device.type for _, _, tensor in leaves(moved)} == {"meta"}
    assert [name for name, *_ in leaves(moved)] == [name for name, *_ in leaves(batch)]
    assert moved.count == batch.count and {tensor.device.type for _, _, tensor in leaves(batch)} == {"cpu"}
    assert move(batch, "cpu") is batch or equal(move(batch, "cpu"), batch)


def test_a_map_leaves_what_holds_no_tensor_as_it_is() -> None:
    thing = object()
    assert map_tensors({"a": thing, "b": [1, "two", None]}, torch.neg) == {"a": thing, "b": [1, "two", None]}
    batch = pair()
    assert map_tensors(batch, lambda tensor: tensor) is batch


# -- taking apart ---------------------------------------------------------------------------------------------------


def test_selected_samples_are_those_in_all_fields() -> None:
    rows = torch.tensor([3, 1])
    found, whole = select(scenes(), rows), scenes()
    assert found.index.tolist() == [103, 101] and found.names == ["scene 3", "scene 1"] and found.count == 4
    assert torch.equal(found.images[0], whole.images[3]) and torch.equal(found.target.boxes[1], whole.target.boxes[1])
    words, all_words = select(sentences(), rows), sentences()
    assert torch.equal(words.state[1], all_words.state[1][rows]) and float(words.scale) == 2
    assert torch.equal(words.lengths, all_words.lengths[rows]) and isinstance(words, Sentences)


@given(size=st.integers(1, 4), count=st.integers(1, 9), kind=st.sampled_from(sorted(ALL)))
def test_the_parts_of_all_processes_are_the_batch(size: int, count: int, kind: str) -> None:
    whole = ALL[kind](count)
    parts = [split(whole, World(rank, size)) for rank in range(size)]
    assert all(part.count == count and part.processes == size for part in parts) or size == 1
    lengths = [len(part.index) for part in parts]
    assert max(lengths) - min(lengths) <= 1 and sum(lengths) == count
    assert torch.equal(torch.cat([part.index for part in parts]), whole.index)
    if kind == "scenes":
        for name in ("images", "names"):
            assert equal([each for part in parts for each in getattr(part, name)], getattr(whole, name))
        assert equal([box for part in parts for box in part.target.boxes], whole.target.boxes)
    else:
        assert torch.equal(torch.cat([part.x for part in parts]), whole.x)


def test_a_batch_that_cannot_be_taken_apart_says_which_field() -> None:
    with pytest.raises(UserError, match=r"cannot be taken apart(.|\n)*Graphs\.nodes(.|\n)*3 rows(.|\n)*5"):
        split(graphs(), World(0, 2))
    torn = Scenes(scenes().images[:3], scenes().target, scenes().names, torch.arange(4), 4)
    with pytest.raises(UserError, match=r"Scenes\.images(.|\n)*found: *3"):
        select(torn, torch.tensor([0]))
    inner = Scenes(scenes().images, Target([], [], torch.zeros(4)), scenes().names, torch.arange(4), 4)
    with pytest.raises(UserError, match=r"Scenes\.target\.boxes"):
        select(inner, torch.tensor([0]))


def test_a_record_without_processes_is_not_divided() -> None:
    other = make_dataclass("Other", [("x", Tensor), ("index", Tensor), ("count", int)])(
        torch.ones(2), torch.arange(2), 2
    )
    assert split(other, World()) is other
    with pytest.raises(UserError, match=r"no field `processes`(.|\n)*Other"):
        split(other, World(0, 2))


# -- the mean -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("count", [3, 4, 5, 7])
def test_the_average_of_the_parts_gradients_is_the_gradient_of_the_mean(size: int, count: int) -> None:
    torch.manual_seed(0)
    net, whole = nn.Linear(3, 1).double(), pair(count)

    def gradient(batch: Batch) -> Tensor:
        loss = batch.mean((net(batch.x.double())[:, 0] - batch.y).square())
        return torch.cat([part.flatten() for part in torch.autograd.grad(loss, list(net.parameters()))])

    plain = (net(whole.x.double())[:, 0] - whole.y).square().mean()
    expected = torch.cat([part.flatten() for part in torch.autograd.grad(plain, list(net.parameters()))])
    together = torch.stack([gradient(split(whole, World(rank, size))) for rank in range(size)]).mean(0)
    torch.testing.assert_close(together, expected, rtol=1e-12, atol=1e-12)


def test_the_means_of_selected_parts_add_up() -> None:
    whole, losses = pair(5), torch.rand(5)
    rows = torch.tensor([0, 1, 2]), torch.tensor([3, 4])
    torch.testing.assert_close(sum(select(whole, part).mean(losses[part]) for part in rows), losses.mean())
    assert float(batch_mean(whole, torch.ones(5))) == 1
