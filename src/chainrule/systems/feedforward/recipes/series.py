"""Forecasting a series of numbers: a perceptron over a window of the past, or a linear autoregression."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from chainrule.core.course import Topic
from chainrule.core.recipe import Headline, recipe
from chainrule.core.settings import Count, Fraction, NonNegative, Positive, Size

if TYPE_CHECKING:
    from chainrule.run.run import Run
    from chainrule.systems.feedforward.forecasting import Forecaster


@recipe(
    "mlp-series",
    task="forecasting",
    data="mackey-glass",
    kinds=("series",),
    source="Lapedes and Farber 1987; Rumelhart, Hinton, Williams 1986",
    model="mlp",
    headline=Headline(("mase", "rmse", "naive_mase", "seasonal_mase", "drift_mase")),
    tiny={"epochs": 3, "hidden": (8,), "lags": 6, "horizon": 4, "period": 5, "batch_size": 64, "log_every": 3},
    summary_zh="时间序列预测，与朴素预测比较",
    topics=(
        Topic(
            "Forecasting a time series",
            "时间序列预测",
            lectures=(1,),
            command="chainrule train mlp-series --data sunspots",
        ),
    ),
)
def mlp_series(
    run: Run,
    *,
    lags: Count = 12,
    horizon: Count = 12,
    period: Size = 0,
    difference: Size = 0,
    log: bool = False,
    epochs: Count = 300,
    patience: Size = 40,
    batch_size: Count = 16,
    lr: Positive = 0.003,
    optimizer: Literal["sgd", "nesterov", "adagrad", "adadelta", "rmsprop", "adam", "adamw"] = "adam",
    momentum: Fraction = 0.0,
    weight_decay: NonNegative = 1e-4,
    l1: NonNegative = 0.0,
    penalty_from: Size = 0,
    hidden: tuple[Count, ...] | None = (16,),
    activation: str = "tanh",
    normalization: Literal["none", "batch", "layer"] = "none",
    dropout: Fraction = 0.0,
    init: str = "torch",
    val_fraction: Fraction = 0.15,
    test_fraction: Fraction = 0.2,
) -> Forecaster:
    """The next values of a series from the last `lags`; hidden=none is a linear autoregression, period= adds its naive rival."""
    from chainrule.data.tables.series import load_series
    from chainrule.loops.penalty import penalize
    from chainrule.optim.by_name import optimizer_of
    from chainrule.systems.feedforward.forecasting import Forecaster
    from chainrule.systems.feedforward.mlp import MLP
    from chainrule.tasks.tables.training import fit_by_sgd

    data = load_series(
        run.data, lags=lags, difference=difference, log=log, val_fraction=val_fraction, test_fraction=test_fraction
    )
    model = run.place(MLP(lags, 1, hidden or (), activation, dropout, init=init, normalization=normalization))
    rule = optimizer_of(optimizer, model.parameters(), lr, momentum=momentum, weight_decay=weight_decay)
    penalize(run, rule, l1=l1, penalty_from=penalty_from, epochs=epochs)
    learn = fit_by_sgd(
        lambda answers, y: (answers.flatten() - y).square(),
        rule,
        epochs=epochs,
        batch_size=batch_size,
        choose_by=("rmse", True),
        patience=patience,
    )
    return Forecaster(run, data=data, model=model, learn=learn, horizon=horizon, period=period)
