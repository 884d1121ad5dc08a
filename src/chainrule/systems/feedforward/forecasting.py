"""The next values of a series of numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from chainrule.core.errors import UserError
from chainrule.core.files.standard_streams import say
from chainrule.core.settings import Count
from chainrule.core.task import Deployable, Figure
from chainrule.data.dataset import Dataset
from chainrule.data.inputs import answer_to
from chainrule.data.layout import Place
from chainrule.data.tables.series import (
    SeriesSpec,
    SeriesSplit,
    Window,
    asked_series,
    check_log,
    columns_of,
    joint_windows,
    window_of,
    windows,
)
from chainrule.data.tables.time.series_files import read_series
from chainrule.run.run import Run
from chainrule.systems.feedforward import forecast_errors as forecasting
from chainrule.systems.feedforward import forecast_figures as series_figures
from chainrule.tasks.tables.evaluation import selection_protocol
from chainrule.tasks.tables.training import Learn

BASELINES = ("naive", "seasonal", "drift")


class NextValue(nn.Module):
    """The model as one over values in their units: the last `context` of them (B, context) to the next (B,), float64."""

    def __init__(self, window: Window, model: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.window, self.model, self.dtype = window, model, dtype

    def forward(self, values: Tensor) -> Tensor:
        z = self.model(self.window(values).to(self.dtype)).flatten()
        return self.window.decode(z, values)


class Forecaster:
    """A model of the next value of a series, and with its own answers as inputs of the values after that.

    Args:
        run: the run it belongs to.
        data: what `load_series` gave.
        model: windows (B, lags) to (B, 1), in the scale of the data.
        learn: how it learns: `fit_by_sgd`.
        horizon: how many values a forecast has.
        period: time steps of a season, for the seasonal naive forecast; 0 is none.
        how: what the protocol says of the learning beyond who chose.
    """

    def __init__(
        self,
        run: Run,
        *,
        data: Dataset[SeriesSpec, SeriesSplit],
        model: nn.Module,
        learn: Learn,
        horizon: int,
        period: int = 0,
        how: str = "",
    ) -> None:
        spec = data.spec
        first = spec.lags + spec.difference + spec.counts["train"]
        if period > first:
            raise UserError(
                "the period is longer than the training part",
                where=spec.where,
                found=f"period={period}",
                expected=f"{first} at most, or 0 for none",
            )
        if horizon > spec.counts["test"]:
            raise UserError(
                "the horizon is longer than the test split",
                where=spec.where,
                found=f"horizon={horizon}",
                expected=f"{spec.counts['test']} at most",
            )
        self.run, self.data, self.model, self.learn, self.how = run, data, model, learn, how
        self.horizon, self.period = horizon, period
        self.dtype: torch.dtype = getattr(torch, spec.dtype)
        self.next_value = NextValue(window_of(spec).to(run.device), model, self.dtype)

    def modules(self) -> dict[str, nn.Module]:
        return {"model": self.model}

    def train(self, run: Run) -> None:
        if not len(known_ahead(self.data.test, self.horizon)[0]):
            raise UserError(
                "the horizon is longer than the test split of every series",
                where=self.data.spec.where,
                found=f"horizon={self.horizon}",
                cure="a smaller horizon, or --test 0.4",
            )
        self.learn(run, self)

    def evaluate(self, data: Place | None = None) -> dict[str, float]:
        self.measured = self.data.test if data is None else self._other(data)
        return self.scores(self.measured)

    def protocol(self) -> str:
        spec = self.data.spec
        how = (
            f"at each time of it everything before is known; a forecast over {self.horizon} begins at each; "
            f"mase is in mean steps of the training part, {spec.mean_step:.4g}"
        )
        return selection_protocol(self.run, spec, f"{how}; {self.how}" if self.how else how)

    def example(self) -> dict[str, tuple[Tensor, ...]]:
        return {"model": (torch.zeros(1, self.data.spec.lags, dtype=self.dtype, device=self.run.device),)}

    def measure(self, split: SeriesSplit) -> dict[str, float]:
        """Errors of the forecast of the next value, in the units of the series."""
        return self._errors(self.forecast(split, 1)[:, 0], split.values[split.origins], "")

    def scores(self, split: SeriesSplit) -> dict[str, float]:
        """Errors of the next value, and over the horizon from every origin that has it: ours, and those without learning."""
        found: dict[str, float] = {}
        for horizon, prefix in ((1, ""), (self.horizon, "horizon_")):
            if prefix and horizon == 1:
                continue
            origins, truth = known_ahead(split, horizon)
            found |= self._errors(self.forecast(split, horizon, origins), truth, prefix)
            for name, answers in self.baselines(split, origins, horizon).items():
                found |= self._errors(answers, truth, f"{prefix}{name}_")
        return found

    def baselines(self, split: SeriesSplit, origins: Tensor, horizon: int) -> dict[str, Tensor]:
        """Forecasts (N, horizon) that need no learning, by name; those that the past is long enough for."""
        values = split.values
        firsts = split.firsts[torch.searchsorted(split.origins, origins)]  # where the series of each origin begins
        past = int((origins - firsts).min())
        found = {"naive": forecasting.naive(values, origins, horizon)}
        if self.period and past >= self.period:
            found["seasonal"] = forecasting.seasonal_naive(values, origins, horizon, self.period)
        if past >= 2:
            found["drift"] = forecasting.drift(values, origins, horizon, firsts)
        return found

    def _errors(self, answers: Tensor, truth: Tensor, prefix: str) -> dict[str, float]:
        residual = (answers - truth.reshape(answers.shape)).double()
        mae = float(residual.abs().mean())
        rmse = float(residual.square().mean().sqrt())
        return {f"{prefix}rmse": rmse, f"{prefix}mae": mae, f"{prefix}mase": mae / self.data.spec.mean_step}

    @torch.inference_mode()
    def forecast(self, split: SeriesSplit, horizon: int, origins: Tensor | None = None) -> Tensor:
        """Forecasts (N, horizon) float64 on the CPU, in units, from each origin; of a split all where none are given."""
        at = split.origins if origins is None else origins
        context = self.next_value.window.context
        return self.resume(split.values.unfold(0, context, 1)[at - context], horizon)

    @torch.inference_mode()
    def resume(self, history: Tensor, horizon: int) -> Tensor:
        """The values (B, horizon) that follow `history` (B, context), each found from those before it."""
        self.model.eval()
        known = history.to(self.run.device, torch.float64)
        for _ in range(horizon):
            known = torch.cat([known, self.next_value(known[:, -history.shape[1] :])[:, None]], 1)
        return known[:, history.shape[1] :].cpu()

    def predict(
        self, inputs: Iterable[str], out: Path | None, *, horizon: Count | None = None
    ) -> Iterator[dict[str, Any]]:
        """The next `horizon` values of each of the user's series; none: as many as the run was measured on."""
        for asked in asked_series(inputs, self.data.spec, self.run.data.options):
            history = asked.value[-self.next_value.window.context :]
            values = self.resume(history[None], horizon or self.horizon)[0]
            yield answer_to(asked, {"forecast": [float(f"{value:.6g}") for value in values.tolist()]})

    def prepare(self, inputs: list[str]) -> dict[str, tuple[Tensor, ...]]:
        window = self.next_value.window
        rows = torch.stack(
            [asked.value[-window.context :] for asked in asked_series(inputs, self.data.spec, self.run.data.options)]
        )
        return {"model": (window(rows.to(self.run.device)).to(self.dtype),)}

    def deployable(self) -> Deployable:
        spec, context = self.data.spec, self.next_value.window.context
        low, high = spec.low, spec.high
        return Deployable(
            self.next_value.cpu().eval(),
            lambda count: (low + (high - low) * torch.rand(count, context, dtype=torch.float64),),
            ("values",),
            ("next",),
            {"values": f"float64 (B, {context}), the last values of the series in its units, the latest last"},
            lambda: (self.data.test.values.unfold(0, context, 1)[self.data.test.origins - context],),
        )

    def figures(self) -> list[Figure]:
        test, spec = self.data.test, self.data.spec
        drawn = test.first_series()
        ahead = self.forecast(drawn, len(drawn), drawn.origins[:1])[0]
        origins, _ = known_ahead(test, self.horizon)
        found = [
            series_figures.forecasts(
                drawn.values, int(drawn.origins[0]), self.forecast(drawn, 1)[:, 0], ahead, str(spec.target)
            ),
            series_figures.table_of_errors(self.scores(test), BASELINES, self.horizon),
        ]
        if self.horizon > 1:
            answers = {"forecast": self.forecast(test, self.horizon, origins)}
            answers |= self.baselines(test, origins, self.horizon)
            truth = known_ahead(test, self.horizon)[1]
            found.append(series_figures.error_by_step({k: v - truth for k, v in answers.items()}))
        return found

    def _other(self, source: Place) -> SeriesSplit:
        """Another series, seen as this run sees its own; all of it that has a past is measured."""
        spec, window = self.data.spec, window_of(self.data.spec)
        found = read_series(source, columns_of(spec, self.run.data.target))
        for note in found.notes:
            say(note)
        for one in found.series:
            check_log(one.values, spec.log, found.where)
            if len(one.values) < window.context + self.horizon:
                raise UserError(
                    "the series is too short" if not one.name else f"the series {one.name!r} is too short",
                    where=found.where,
                    expected=f"{window.context + self.horizon} values or more",
                    found=len(one.values),
                )
        return joint_windows([windows(one.values, window.context, window, self.dtype) for one in found.series])


def known_ahead(split: SeriesSplit, horizon: int) -> tuple[Tensor, Tensor]:
    """The origins (N,) from which a whole horizon is known, and what came then (N, horizon)."""
    origins = split.origins[split.origins + horizon <= split.ends]
    return origins, split.values.unfold(0, horizon, 1)[origins] if len(origins) else split.values.new_zeros(0, horizon)
