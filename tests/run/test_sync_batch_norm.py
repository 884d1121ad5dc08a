"""Batch normalisation over the batch of two processes: outputs, gradients and averages are those of one."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from chainrule.nn.normalization.batch_norm import BatchNorm, CaffeBatchNorm
from chainrule.nn.normalization.sync_batch_norm import synchronize_batch_norm
from tests.run import toy
from tests.run.together import can_fork, together

pytestmark = can_fork

LAYERS = {
    "torch, two dimensions": lambda: nn.BatchNorm2d(3),
    "torch, an average of all batches": lambda: nn.BatchNorm2d(3, momentum=None),
    "torch, no averages": lambda: nn.BatchNorm2d(3, affine=False, track_running_stats=False),
    "ours": lambda: BatchNorm(3, momentum=0.3),
    "Caffe's": lambda: CaffeBatchNorm(3, moving_average_fraction=0.7),
}


def passes(net: nn.Module, x: Tensor, dy: Tensor, mine: slice) -> list[Tensor]:
    """Outputs and gradients of two passes in training and one in eval, of the rows of one process."""
    found = []
    for scale in (1.0, -2.0):
        part = (x[mine] * scale).requires_grad_()
        out = net(part)
        (out * dy[mine]).sum().backward()
        found += [out, part.grad]
    net.eval()
    return [*found, net(x[mine])]


@pytest.mark.parametrize("name", LAYERS)
def test_two_unequal_parts_give_what_the_whole_gives(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(LAYERS[name](), nn.Conv2d(3, 2, 1))
    x, dy = torch.randn(5, 3, 4, 4) * 3 + 7, torch.randn(5, 2, 4, 4)  # the mean is far from 0
    alone = copy.deepcopy(net)
    expected = passes(alone, x, dy, slice(0, 5))

    def act(rank: int) -> None:
        run = toy.new(tmp_path / "run")
        synchronize_batch_norm(net)
        twin = copy.deepcopy(net)  # a copy, too, is synchronised
        mine = run.world.share(5)
        for found, whole in zip(passes(twin, x, dy, mine), expected, strict=True):
            torch.testing.assert_close(found, whole[mine], rtol=1e-5, atol=1e-5)
        gradients = [run.world.sum(p.grad) for p in twin.parameters()]
        torch.testing.assert_close(gradients, [p.grad for p in alone.parameters()], rtol=1e-5, atol=1e-4)
        for (key, value), other in zip(twin.state_dict().items(), alone.state_dict().values(), strict=True):
            torch.testing.assert_close(value, other, rtol=1e-5, atol=1e-5, msg=key)

    together(act)


def test_the_setting_is_that_of_every_recipe(tmp_path: Path) -> None:
    """A part of one image, which has no variance of its own, is normalised by the whole batch."""

    def act(rank: int) -> None:
        run = toy.new(tmp_path / "run", sync_batch_norm=True)
        layer = run.place(nn.Sequential(nn.BatchNorm1d(2)))
        found = layer(torch.tensor([[1.0, 2.0], [3.0, 6.0]])[rank : rank + 1])
        torch.testing.assert_close(found, torch.full((1, 2), -1.0 if rank == 0 else 1.0), rtol=1e-4, atol=1e-4)

    together(act)
