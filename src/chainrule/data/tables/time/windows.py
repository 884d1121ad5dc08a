"""Windows over series: the values before a time, and the value at it. The past never sees the future."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class SeriesSplit:
    """The windows whose targets lie in one stretch of time.

    Attributes:
        x: what the model sees (N, lags), differenced and scaled.
        y: what it answers with (N,), in the same scale.
        values: the series from its beginning to the end of the stretch (T,), float64, in its own units.
        origins: which of `values` the targets are (N,).
        firsts, ends: which of `values` the series of each target begins with, and the place after its last (N,). With one
            series 0 and T; of several `values` are one after the other.
    """

    x: Tensor
    y: Tensor
    values: Tensor
    origins: Tensor
    firsts: Tensor
    ends: Tensor

    def __len__(self) -> int:
        return len(self.origins)

    def first_series(self) -> SeriesSplit:
        """The part of the first series that has a window here: what is drawn."""
        first, end = int(self.firsts[0]), int(self.ends[0])
        own = self.firsts == first
        places = (part[own] - first for part in (self.origins, self.firsts, self.ends))
        return SeriesSplit(self.x[own], self.y[own], self.values[first:end], *places)


class Window(nn.Module):
    """Between values in their units and what a model sees; `decode` turns back what `forward` does.

    With u = log v where `log`, else v, and d_t = u_t - u_(t-k) for a difference over k steps (k = 0: d = u), the model
    sees z = (d - mean) / std of the last `lags` times. Mean and deviation are those of d over the training part.

    >>> window = Window(lags=2, difference=1, log=False, mean=0.0, std=2.0)
    >>> values = torch.tensor([[1.0, 3.0, 9.0]], dtype=torch.float64)
    >>> window(values).tolist(), window.decode(torch.tensor([5.0]), values).tolist()
    ([[1.0, 3.0]], [19.0])
    """

    mean: Tensor
    std: Tensor

    def __init__(self, lags: int, difference: int, log: bool, mean: float, std: float) -> None:
        super().__init__()
        self.lags, self.difference, self.log = lags, difference, log
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float64))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float64))

    @property
    def context(self) -> int:
        """How many values it reads."""
        return self.lags + self.difference

    def forward(self, values: Tensor) -> Tensor:  # (B, context) -> (B, lags) float64
        return (differenced(values.double(), self.difference, self.log) - self.mean) / self.std

    def decode(self, z: Tensor, values: Tensor) -> Tensor:  # (B,), (B, context) -> (B,) float64
        """The value that follows `values`, of which the model has answered z."""
        u = z.double() * self.std + self.mean
        if self.difference:
            before = values[:, -self.difference].double()
            u = u + (before.log() if self.log else before)
        return u.exp() if self.log else u


def differenced(values: Tensor, difference: int, log: bool) -> Tensor:
    """u_t - u_(t-k) along the last axis, u the values or their logarithms; (..., T) to (..., T - k).

    >>> differenced(torch.tensor([1.0, 4.0, 9.0]), 1, log=False).tolist()
    [3.0, 5.0]
    """
    u = values.log() if log else values
    return u[..., difference:] - u[..., :-difference] if difference else u


def windows(values: Tensor, start: int, window: Window, dtype: torch.dtype) -> SeriesSplit:
    """The windows of a series (T,) float64 whose targets are the values from number `start` on."""
    scaled = (differenced(values, window.difference, window.log) - window.mean) / window.std
    origins = torch.arange(start, max(start, len(values)))
    at = origins - window.difference  # where the targets stand among the differences
    x = scaled.unfold(0, window.lags, 1)[at - window.lags] if len(origins) else scaled.new_zeros(0, window.lags)
    y = scaled[at] if len(origins) else scaled.new_zeros(0)
    first, end = torch.zeros_like(origins), torch.full_like(origins, len(values))
    return SeriesSplit(x.to(dtype), y.to(dtype), values, origins, first, end)


def joint_windows(parts: Sequence[SeriesSplit]) -> SeriesSplit:
    """The windows of several series as one split, whose values are those of one series after the other."""
    if len(parts) == 1:
        return parts[0]
    x, y, values = (torch.cat([getattr(part, name) for part in parts]) for name in ("x", "y", "values"))
    begins = np.cumsum([0, *(len(part.values) for part in parts[:-1])]).tolist()
    places = (
        torch.cat([getattr(part, name) + begin for part, begin in zip(parts, begins, strict=True)])
        for name in ("origins", "firsts", "ends")
    )
    return SeriesSplit(x, y, values, *places)
