"""Forecasts that need no learning, which every learnt one must beat, and the error scaled by the simplest of them.

A series is v_0 .. v_(T-1). An origin o is the first time that is not known: v_0 .. v_(o-1) are, and a forecast over a
horizon H answers for the times o .. o+H-1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.core.errors import UserError


def naive(values: Tensor, origins: Tensor, horizon: int = 1) -> Tensor:
    """The last value known, v_(o-1), for each time to come.

    Args:
        values: the series (T,).
        origins: (N,) int64, each from 1 to T.
        horizon: H, 1 or more.

    Gives (N, H). Errors: a UserError for an origin without a past, or a horizon below 1.

    >>> naive(torch.tensor([3.0, 5.0]), torch.tensor([2]), 2).tolist()
    [[5.0, 5.0]]
    """
    _check(values, origins, horizon, past=1)
    return values[origins - 1][:, None].expand(-1, horizon)


def seasonal_naive(values: Tensor, origins: Tensor, horizon: int, period: int) -> Tensor:
    """What was there at the same phase of the last whole period known: v_(o - period + (h-1) mod period), h = 1 .. H.

    Args:
        values, origins, horizon: as for `naive`; each origin has a whole period before it.
        period: in time steps, 1 or more; 1 is `naive`.

    Source: Hyndman and Athanasopoulos: Forecasting: principles and practice, 3rd edition 2021, section 5.2.

    >>> seasonal_naive(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([3]), 4, period=3).tolist()
    [[1.0, 2.0, 3.0, 1.0]]
    """
    if period < 1:
        raise UserError("the period is out of range", expected="1 or more time steps", found=period)
    _check(values, origins, horizon, past=period)
    return values[(origins - period)[:, None] + torch.arange(horizon, device=values.device) % period]


def drift(values: Tensor, origins: Tensor, horizon: int = 1, firsts: Tensor | None = None) -> Tensor:
    """On along the line from the first to the last value known: v_(o-1) + h (v_(o-1) - v_0) / (o - 1), h = 1 .. H.

    Args:
        values, origins, horizon: as for `naive`; origins from 2 on.
        firsts: where the series of each origin begins (N,), if `values` are several series one after the other.

    Source: Hyndman and Athanasopoulos 2021, section 5.2.

    >>> drift(torch.tensor([1.0, 9.0, 5.0]), torch.tensor([3]), 2).tolist()
    [[7.0, 9.0]]
    """
    begin = torch.zeros_like(origins) if firsts is None else firsts
    _check(values, origins, horizon, past=2)
    last = values[origins - 1]
    slope = (last - values[begin]) / (origins - begin - 1).to(values.dtype)
    return last[:, None] + slope[:, None] * torch.arange(1, horizon + 1, device=values.device)


def mean_step(values: Tensor) -> float:
    """The mean of |v_t - v_(t-1)|: the error of the naive forecast on the series itself, the unit of MASE.

    MASE, the mean absolute scaled error, is the mean absolute error of a forecast over that of the training part: below
    1 is better than the naive forecast was there.

    Source: Hyndman and Koehler: Another look at measures of forecast accuracy, 2006, section 3.

    >>> mean_step(torch.tensor([1.0, 3.0, 2.0]))
    1.5
    """
    if len(values) < 2:
        raise UserError("the series is too short for a step", expected="2 values or more", found=len(values))
    return float((values[1:] - values[:-1]).abs().double().mean())


def _check(values: Tensor, origins: Tensor, horizon: int, past: int) -> None:
    if horizon < 1:
        raise UserError("the horizon is out of range", expected="1 or more time steps", found=horizon)
    if len(origins) and not (past <= int(origins.min()) and int(origins.max()) <= len(values)):
        raise UserError(
            "an origin has not the past that the forecast needs",
            expected=f"origins from {past} to {len(values)}",
            found=f"{int(origins.min())} to {int(origins.max())}",
        )


TOPICS = (Topic("Forecasting a time series", code=("naive", "seasonal_naive")),)
