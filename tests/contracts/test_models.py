"""What must hold for every model, on the tiny configuration of its card.

A card that cannot keep one of these promises says so in its `skip`: the test's name without `test_`, and the reason.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chainrule.core.card import Card
from chainrule.introspection.layers import runs_as_one_call
from chainrule.introspection.tensors import first_tensor
from chainrule.models import all_cards
from chainrule.run.checkpoint.tree import load_tree, save_tree

CARDS = {
    name: card
    for name, card in all_cards().items()
    if not (isinstance(card.build, type) and hasattr(card.build, "fit"))
}
FALLS_TO = 0.2  # of where the loss begins, when a single batch is learnt by heart
STEPS = 300


@pytest.fixture(params=CARDS.values(), ids=lambda card: card.name)
def every_card(request: pytest.FixtureRequest) -> Card:
    """Each card in turn, for what must hold of its default configuration."""
    torch.manual_seed(0)
    return request.param


@pytest.fixture(params=[card for card in CARDS.values() if card.tested_as is None], ids=lambda card: card.name)
def card(request: pytest.FixtureRequest) -> Card:
    """Each card that is not tested as another; skips the test where the card says that it cannot hold."""
    torch.manual_seed(0)
    test = request.function.__name__.removeprefix("test_")
    if test in request.param.skip:
        pytest.skip(request.param.skip[test])
    return request.param


@pytest.fixture
def model(card: Card) -> nn.Module:
    """The tiny model, where it is one that is called; others are asked by methods that their own tests know."""
    module = card.build(**card.tiny)
    if not runs_as_one_call(module):
        pytest.skip("has no forward: it answers by other methods")
    return module


def example(card: Card, count: int) -> tuple[Any, ...]:
    return (card.tiny_example or card.example)(count)


def answer(module: nn.Module, inputs: tuple[Any, ...]) -> Tensor:
    """The first tensor that the module gives: its answer, whose first axis is the batch."""
    found = first_tensor(module(*inputs))
    assert found is not None
    return found


@torch.no_grad()
def asked(module: nn.Module, inputs: tuple[Any, ...]) -> Tensor:
    return answer(module.eval(), inputs)


def taken(inputs: tuple[Any, ...], index: Any) -> tuple[Any, ...]:
    return tuple(item[index] if isinstance(item, Tensor) else item for item in inputs)


def cast(inputs: tuple[Any, ...], dtype: torch.dtype) -> tuple[Any, ...]:
    return tuple(x.to(dtype) if isinstance(x, Tensor) and x.is_floating_point() else x for x in inputs)


def close(found: Tensor, expected: Tensor, tolerance: float) -> None:
    """Equal within `tolerance` of the largest absolute value expected."""
    assert found.shape == expected.shape
    scale = expected.double().abs().max().clamp_min(1e-12)
    difference = float((found.double() - expected.double()).abs().max() / scale)
    assert difference <= tolerance, f"differs by {difference:.2g} of the largest value"


def test_skips_name_tests_that_exist() -> None:
    tests = {name.removeprefix("test_") for name in vars(sys.modules[__name__]) if name.startswith("test_")}
    for card in CARDS.values():
        assert set(card.skip) <= tests, f"{card.name} skips tests that are not: {set(card.skip) - tests}"
        assert all(card.skip.values()), f"{card.name} skips without a reason"


def test_tested_as_another_means_the_same_class() -> None:
    """Only a network of the same class, with the same tiny configuration, stands for another."""
    for card in CARDS.values():
        if card.tested_as is not None:
            other = CARDS[card.tested_as]
            assert other.tested_as is None, f"{card.name} is tested as {other.name}, which is not tested itself"
            assert isinstance(card.build, partial) and isinstance(other.build, partial)
            assert card.build.func is other.build.func and card.tiny == other.tiny, card.name


def test_builds(every_card: Card) -> None:
    card = every_card
    module = card.build(**card.tiny)
    assert isinstance(module, nn.Module)
    assert card.source and card.name == card.name.lower() and "_" not in card.name and " " not in card.name
    assert all(card.deviations)


def test_parameters(every_card: Card) -> None:
    card = every_card
    if card.parameters is None:
        pytest.skip("no count is published")
    with torch.device("meta"):
        module = card.build()
    assert sum(p.numel() for p in module.parameters() if p.requires_grad) == card.parameters


def test_example(every_card: Card) -> None:
    """The canonical example fits the default configuration, at the batch that was asked for."""
    card = every_card
    with torch.device("meta"):
        module = card.build()
        inputs = card.example(2)
        assert all(len(item) == 2 for item in inputs if isinstance(item, Tensor))
        if not runs_as_one_call(module):
            pytest.skip("has no forward: it answers by other methods")
        assert len(asked(module, inputs)) == 2


def test_gradient(card: Card, model: nn.Module) -> None:
    out = answer(model.train(), example(card, 6))
    (out * torch.randn_like(out)).sum().backward()
    reached = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    assert reached, "there is nothing to learn"
    for name, gradient in reached.items():
        assert gradient is not None, f"no gradient reaches {name}"
        assert torch.isfinite(gradient).all(), f"the gradient of {name} is not finite"
        assert gradient.abs().max() > 0, f"the gradient of {name} is zero"


def test_save_and_load(card: Card, model: nn.Module, tmp_path: Path) -> None:
    """Everything that decides the answer is in the state, buffers too: after a training step, not at the start alone."""
    inputs = example(card, 3)
    with torch.no_grad():
        for value in model.state_dict().values():
            if value.is_floating_point():
                value.add_(torch.rand_like(value) * 1e-2)
        model.train()(*inputs)
    save_tree(model.state_dict(), tmp_path / "weights.safetensors")
    torch.manual_seed(1)
    other = card.build(**card.tiny)
    other.load_state_dict(load_tree(tmp_path / "weights.safetensors"))
    assert torch.equal(asked(other, inputs), asked(model, inputs))


def test_batch_order(card: Card, model: nn.Module) -> None:
    inputs, order = example(card, 5), torch.tensor([3, 0, 4, 1, 2])
    close(asked(model, taken(inputs, order)), asked(model, inputs)[order], 1e-5)


def test_batch_of_one(card: Card, model: nn.Module) -> None:
    inputs = example(card, 4)
    whole = asked(model, inputs)
    for index in range(4):
        close(asked(model, taken(inputs, slice(index, index + 1))), whole[index : index + 1], 1e-5)


def goal(out: Tensor) -> tuple[Tensor, Any]:
    """A target that fits the answer's shape, and its criterion.

    Scores (B, ..., K) get a class each, one number a sample gets yes or no, images get flat patches of light and dark.
    """
    if out.dim() == 4:
        patches = torch.randint(0, 2, (*out.shape[:2], 2, 2)).float() - 0.5
        return F.interpolate(patches, out.shape[2:]), F.mse_loss
    if out.dim() == 1:
        return (torch.arange(len(out)) % 2).float(), F.binary_cross_entropy_with_logits
    classes = torch.arange(out[..., 0].numel()).view(out.shape[:-1]) % out.shape[-1]
    return classes, lambda o, y: F.cross_entropy(o.flatten(0, -2), y.flatten())


def test_overfit(card: Card, model: nn.Module) -> None:
    """One batch is learnt by heart, so that the gradient is not only there but leads somewhere."""
    inputs = example(card, 4)
    target, criterion = goal(answer(model.train(), inputs))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    first = loss = float("nan")
    for step in range(STEPS):
        value = criterion(answer(model, inputs), target)
        loss = value.item()
        first = loss if step == 0 else first
        if loss < FALLS_TO * first:
            return
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    pytest.fail(f"after {STEPS} steps the loss of a single batch is {loss:.3g}, of {first:.3g} at first")


def test_eval_is_deterministic(card: Card, model: nn.Module) -> None:
    """The same answer twice, whatever the generators hold, and nothing of the model is changed by asking it."""
    inputs = example(card, 3)
    before = copy.deepcopy(model.state_dict())
    torch.manual_seed(1)
    first = asked(model, inputs)
    torch.manual_seed(2)
    assert torch.equal(asked(model, inputs), first)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.1), (torch.float16, 0.02)], ids=["bf16", "fp16"])
def test_half_precision(card: Card, model: nn.Module, dtype: torch.dtype, tolerance: float) -> None:
    inputs = example(card, 3)
    half = copy.deepcopy(model).to(dtype)
    found = asked(half, cast(inputs, dtype))
    assert found.dtype == dtype, "something inside is of another precision than the weights"
    close(found, asked(model, inputs), tolerance)


def test_double_precision(card: Card, model: nn.Module) -> None:
    inputs = example(card, 3)
    double = copy.deepcopy(model).double()
    found = asked(double, cast(inputs, torch.float64))
    assert found.dtype == torch.float64, "something inside is of another precision than the weights"
    close(asked(model, inputs), found, 1e-4)


def test_channels_last(card: Card, model: nn.Module) -> None:
    inputs = example(card, 3)
    if not any(isinstance(item, Tensor) and item.dim() == 4 for item in inputs):
        pytest.skip("no input is an image")
    last = copy.deepcopy(model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    laid = tuple(
        x.to(memory_format=torch.channels_last) if isinstance(x, Tensor) and x.dim() == 4 else x for x in inputs
    )
    close(asked(last, laid), asked(model, inputs), 1e-5)
    out = answer(last.train(), laid)
    (out * torch.ones_like(out)).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in last.parameters() if p.requires_grad)


def loose_tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from loose_tensors(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from loose_tensors(item)


def test_one_device(card: Card) -> None:
    """`to` moves everything: no child keeps a tensor of its own beside its parameters and buffers."""
    module = card.build(**card.tiny).to("meta")
    tensors = [*module.named_parameters(), *module.named_buffers()]
    assert {tensor.device.type for _, tensor in tensors} == {"meta"}
    for name, child in module.named_modules():
        own = {key: value for key, value in vars(child).items() if key not in ("_parameters", "_buffers", "_modules")}
        for key, value in own.items():
            moved = all(tensor.is_meta for tensor in loose_tensors(value))
            assert moved, f"{name or 'the model'}.{key} stays behind on the old device"
