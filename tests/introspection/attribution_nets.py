"""Small networks for the tests of chainrule.introspection.attribution, and what must be as it was afterwards."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ConvNet(nn.Module):
    """Convolution, batch norm, ReLU in place, overlapping max pooling, twice; then a linear layer."""

    def __init__(self, channels: int = 2, classes: int = 3) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5)
        self.fc = nn.Linear(5 * 3 * 3, classes)
        for bn in (self.bn1, self.bn2):
            bn.running_mean.uniform_(-0.5, 0.5)  # type: ignore[union-attr]
            bn.running_var.uniform_(0.5, 2.0)  # type: ignore[union-attr]

    def forward(self, x: Tensor) -> Tensor:  # (B, C, 12, 12)
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x)), inplace=True), 3, 2, 1)  # (B, 4, 6, 6)
        x = F.relu(self.bn2(self.conv2(x)), inplace=True)  # (B, 5, 4, 4)
        return self.fc(F.max_pool2d(x, 2, 1).flatten(1))  # windows overlap: (B, 5, 3, 3)


class Block(nn.Module):
    """Two ways that meet again, one of them skipping every second place."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu_(self.conv(x) + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, 1)))


def linear(weight: list[list[float]], shape: tuple[int, int, int]) -> nn.Sequential:
    """A linear network on images (B, C, H, W) with these weights (K, C H W)."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], len(weight), bias=False))
    net[1].weight.data.copy_(torch.tensor(weight))
    return net


def made(net: nn.Module, seed: int = 0) -> nn.Module:
    """In double precision, training mode and with gradients of its own: all of which must stay."""
    net = net.double().train()
    for number, p in enumerate(net.parameters()):
        p.grad = torch.full_like(p, float(number + 1))
    return net


def state_of(net: nn.Module) -> dict[str, Any]:
    """Modes, hooks, what needs gradients, gradients, numbers, and whether gradients are on."""
    state: dict[str, Any] = {"grad": torch.is_grad_enabled()}
    for name, m in net.named_modules():
        state[f"module {name}"] = (m.training, len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks))
    for name, p in net.named_parameters():
        state[f"parameter {name}"] = (p.requires_grad, None if p.grad is None else p.grad.tolist())
    return state | {name: tensor.tolist() for name, tensor in net.state_dict().items()}


def images_of(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
