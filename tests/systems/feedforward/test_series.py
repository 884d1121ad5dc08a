"""Series: windows and forecasts worked by hand, nothing of the future in the past, and forecasts that must be beaten."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import chainrule
from chainrule.core.errors import UserError
from chainrule.data.check import check
from chainrule.data.tables.mackey_glass import mackey_glass
from chainrule.data.tables.series import SeriesSpec, Window, differenced, read_history, split_series, window_of, windows
from chainrule.data.tables.time.series_files import Columns, read_series
from chainrule.run.run import Run
from chainrule.systems.feedforward.forecast_errors import drift, mean_step, naive, seasonal_naive
from chainrule.systems.feedforward.forecasting import known_ahead
from tests.conftest import mirror
from tests.contracts.every_recipe import result

pytestmark = pytest.mark.usefixtures("no_report")


def write(values: Any, name: str = "series.csv") -> Path:
    Path(name).write_text("month,sold\n" + "\n".join(f"m{i},{float(v)!r}" for i, v in enumerate(values)) + "\n")
    return Path(name)


def read(source: object, **options: Any) -> tuple[Any, dict[str, Any]]:
    settings: dict[str, Any] = {
        "lags": 3,
        "difference": 0,
        "log": False,
        "dtype": torch.float64,
        "val_fraction": 0.25,
        "test_fraction": 0.2,
    }
    return split_series(read_series(str(source), Columns(None)), **(settings | options))


def wave(count: int) -> np.ndarray:
    return 10 + np.arange(count) * 0.3 + 4 * np.sin(np.arange(count) * 0.9)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that several tests look at; not to be written into."""
    folder = tmp_path_factory.mktemp("series") / "run"
    settings: dict[str, Any] = {"epochs": 1, "lags": 4, "hidden": (4,), "horizon": 3, "period": 6, "batch_size": 64}
    chainrule.train("mlp-series", out=folder, device="cpu", **settings)
    return folder


# -- forecasts without learning ----------------------------------------------------------------------------------------


def test_forecasts_without_learning_by_hand() -> None:
    values, origins = torch.tensor([2.0, 4.0, 9.0, 1.0, 5.0]), torch.tensor([3, 5])
    assert naive(values, origins, 2).tolist() == [[9.0, 9.0], [5.0, 5.0]]
    assert seasonal_naive(values, origins, 4, 3).tolist() == [[2.0, 4.0, 9.0, 2.0], [9.0, 1.0, 5.0, 9.0]]
    assert torch.equal(seasonal_naive(values, origins, 3, 1), naive(values, origins, 3))
    assert drift(values, origins, 2).tolist() == [[12.5, 16.0], [5.75, 6.5]]  # slopes (9-2)/2 and (5-2)/4
    assert mean_step(values) == (2 + 5 + 8 + 4) / 4


@pytest.mark.parametrize(
    "call",
    [
        lambda v: naive(v, torch.tensor([0])),
        lambda v: naive(v, torch.tensor([6])),
        lambda v: naive(v, torch.tensor([1]), 0),
        lambda v: seasonal_naive(v, torch.tensor([2]), 1, 3),
        lambda v: seasonal_naive(v, torch.tensor([2]), 1, 0),
        lambda v: drift(v, torch.tensor([1])),
        lambda v: mean_step(v[:1]),
    ],
)
def test_forecasts_without_a_past_are_refused(call: Any) -> None:
    with pytest.raises(UserError):
        call(torch.arange(5.0))


# -- windows --------------------------------------------------------------------------------------------------------------


def test_windows_by_hand() -> None:
    spec, splits = read(write([1, 2, 4, 7, 11, 16, 22, 29, 37, 46]), lags=2)
    assert spec.target == "sold" and spec.counts == {"train": 4, "val": 2, "test": 2}
    known = np.array([1, 2, 4, 7, 11, 16])  # the training part
    assert spec.mean == pytest.approx(known.mean()) and spec.std == pytest.approx(known.std())
    back = {name: (s.x * spec.std + spec.mean, s.y * spec.std + spec.mean) for name, s in splits.items()}
    torch.testing.assert_close(back["train"][0], torch.tensor([[1.0, 2], [2, 4], [4, 7], [7, 11]]).double())
    torch.testing.assert_close(back["train"][1], torch.tensor([4.0, 7, 11, 16]).double())
    torch.testing.assert_close(back["test"][0], torch.tensor([[22.0, 29], [29, 37]]).double())
    torch.testing.assert_close(back["test"][1], torch.tensor([37.0, 46]).double())
    assert splits["val"].origins.tolist() == [6, 7] and spec.mean_step == 3.0
    origins, ahead = known_ahead(splits["test"], 2)
    assert origins.tolist() == [8] and ahead.tolist() == [[37.0, 46.0]]


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("difference", [0, 1, 4])
def test_decode_turns_back_what_the_window_does(log: bool, difference: int) -> None:
    values = torch.from_numpy(wave(60))
    spec, splits = read(write(values), log=log, difference=difference)
    window, split = window_of(spec), splits["test"]
    context = values.unfold(0, window.context, 1)[split.origins - window.context]
    torch.testing.assert_close(window(context), split.x, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(window.decode(split.y, context), values[split.origins], rtol=1e-10, atol=1e-10)
    u = np.log(values.numpy()) if log else values.numpy()
    expected = u[difference:] - u[:-difference] if difference else u
    np.testing.assert_allclose(differenced(values, difference, log).numpy(), expected)


def test_a_window_is_exact_on_a_large_offset() -> None:
    window = Window(3, 1, log=False, mean=0.0, std=1.0)
    values = 1e9 + torch.tensor([[1.0, 2.0, 4.0, 8.0]], dtype=torch.float64)
    assert window(values).tolist() == [[1.0, 2.0, 4.0]]
    assert window.decode(torch.tensor([0.5]), values).tolist() == [1e9 + 8.5]


# -- no leak --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("log", "difference"), [(False, 0), (True, 2)])
def test_the_training_part_does_not_change_with_the_future(log: bool, difference: int) -> None:
    """Whatever comes after it: x, y, scale and the unit of MASE of the training part stay, bit for bit."""
    values = wave(80)
    spec, splits = read(write(values), log=log, difference=difference)
    known = len(splits["train"].values)
    changed = values.copy()
    changed[known:] = 1000 * np.random.default_rng(0).random(80 - known) + 1
    other_spec, other = read(write(changed), log=log, difference=difference)
    for name in ("mean", "std", "mean_step", "low", "high"):
        assert getattr(spec, name) == getattr(other_spec, name)
    assert torch.equal(splits["train"].x, other["train"].x) and torch.equal(splits["train"].y, other["train"].y)
    assert spec.fingerprint != other_spec.fingerprint


def test_splits_follow_each_other_in_time() -> None:
    _, splits = read(write(wave(100)), difference=2)
    times = torch.cat([splits[name].origins for name in ("train", "val", "test")])
    assert times.tolist() == list(range(5, 100))  # each once, in order
    for split in splits.values():
        assert len(split.values) == int(split.origins[-1]) + 1  # a split does not even hold what comes after it


def test_an_answer_depends_on_the_past_alone(small: Path) -> None:
    task: Any = Run.load(small, "cpu").open_task()
    split = task.data.test
    first = task.forecast(split, 3)
    values = split.values.clone()
    values[-1] += 100.0
    later = windows(values, int(split.origins[0]), task.next_value.window, torch.float32)
    assert torch.equal(first, task.forecast(later, 3))  # the last value is in no window
    values = split.values.clone()
    values[int(split.origins[0]) - 1] += 1.0
    earlier = windows(values, int(split.origins[0]), task.next_value.window, torch.float32)
    moved = (task.forecast(earlier, 1)[:, 0] != first[:, 0]).nonzero()[:, 0].tolist()
    assert moved == [0, 1, 2, 3]  # the value before the first origin is in four windows


# -- the system -------------------------------------------------------------------------------------------------------------


def test_a_linear_autoregression_finds_the_recursion() -> None:
    """v_t = 1.6 v_(t-1) - v_(t-2): a sine is an autoregression of order two; least squares is the oracle."""
    values = np.sin(np.arange(150) * math.acos(0.8))
    write(values)
    run = chainrule.train(
        "mlp-series",
        data="series.csv",
        out="run",
        device="cpu",
        hidden=(),
        lags=2,
        horizon=5,
        period=4,
        epochs=80,
        lr=0.05,
        batch_size=32,
        weight_decay=0,
        patience=0,
    )
    task: Any = run.open_task()
    np.testing.assert_allclose(task.model.output.weight.detach().numpy(), [[-1.0, 1.6]], atol=2e-3)
    metrics = run.result()["metrics"]
    assert metrics["rmse"] < 0.003 and metrics["horizon_rmse"] < 0.03 < metrics["horizon_naive_rmse"]
    asked = ",".join(f"{v:.12f}" for v in values[:10])
    found = chainrule.predict(run.folder, [asked], device="cpu")[0]["forecast"]
    np.testing.assert_allclose(found, values[10:15], atol=0.03)


def test_recursion_feeds_answers_back(small: Path) -> None:
    task: Any = Run.load(small, "cpu").open_task()
    history = torch.tensor([[1.0, 1.1, 1.0, 0.8]], dtype=torch.float64)
    known = history
    for _ in range(4):
        with torch.no_grad():
            known = torch.cat([known, task.next_value(known[:, -4:])[:, None]], 1)
    torch.testing.assert_close(task.resume(history, 4), known[:, 4:])


def test_metrics_by_hand(small: Path) -> None:
    task: Any = Run.load(small, "cpu").open_task()
    metrics, values = result(small)["metrics"], mackey_glass()
    unit = np.abs(np.diff(values[:680])).mean()  # 1000 values, 200 in test, 0.15 of 800 in val
    steps = values[800:] - values[799:-1]
    assert metrics["naive_rmse"] == pytest.approx(np.sqrt((steps**2).mean()))
    assert metrics["naive_mase"] == pytest.approx(np.abs(steps).mean() / unit)
    assert metrics["seasonal_mae"] == pytest.approx(np.abs(values[800:] - values[794:-6]).mean())
    ahead = np.concatenate([values[800 + h : 998 + h] - values[799:997] for h in range(3)])
    assert metrics["horizon_naive_mae"] == pytest.approx(np.abs(ahead).mean())
    residual = task.forecast(task.data.test, 1)[:, 0].numpy() - values[800:]
    assert metrics["mae"] == pytest.approx(np.abs(residual).mean())
    assert metrics["mase"] == pytest.approx(np.abs(residual).mean() / unit)


def test_another_series_is_measured_whole(small: Path) -> None:
    values = mackey_glass(60, skip=900)
    found = chainrule.evaluate(small, data=str(write(values)), device="cpu")
    assert found["naive_mae"] == pytest.approx(np.abs(np.diff(values))[3:].mean())
    with pytest.raises(UserError, match="too short"):
        chainrule.evaluate(small, data=str(write(values[:5])), device="cpu")


def test_what_is_deployed_takes_values() -> None:
    run = chainrule.train(
        "mlp-series", out="run", device="cpu", epochs=1, lags=3, difference=1, log=True, hidden=(4,), batch_size=64
    )
    task: Any = Run.load(run.folder, "cpu").open_task()
    given = task.deployable()
    rows = given.inputs(5)[0]
    assert rows.shape == (5, 4)
    torch.testing.assert_close(given.module(rows), task.resume(rows.double(), 1)[:, 0], rtol=1e-4, atol=1e-4)
    assert chainrule.export(run.folder, "torch", out="out")["largest_difference"] < 1e-4


def test_a_forecast_from_a_file_and_from_numbers_agree(small: Path) -> None:
    Path("one.csv").write_text("x\n0.5\n0.9\n1.1\n1.2\n")
    Path("two.csv").write_text("t,x\n7,0.1\n8,0.5\n9,0.9\n10,1.1\n11,1.2\n")
    answers = chainrule.predict(small, ["one.csv", "two.csv", "0.5,0.9,1.1,1.2"], device="cpu")
    assert (
        answers[0]["forecast"] == answers[1]["forecast"] == answers[2]["forecast"] and len(answers[0]["forecast"]) == 3
    )
    Path("list.csv").write_text("path,shop\none.csv,north\ntwo.csv,south\n")
    longer = chainrule.predict(small, ["list.csv"], horizon=5, device="cpu")
    assert [answer["shop"] for answer in longer] == ["north", "south"] and len(longer[0]["forecast"]) == 5
    assert longer[0]["forecast"][:3] == answers[0]["forecast"]


LOGS = SeriesSpec(
    where="here",
    target="x",
    lags=2,
    difference=1,
    log=True,
    mean=0.0,
    std=1.0,
    dtype="float32",
    mean_step=1.0,
    low=1.0,
    high=2.0,
    counts={},
    splits={},
    fingerprint="",
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1,2", "too short to forecast"),
        ("1,b,3", "not understood"),
        ("1,nan,3", "missing or infinite"),
        ("1,0,3", "without a logarithm"),
        ("none.csv", "no such file"),
    ],
)
def test_a_history_that_is_wrong(text: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        read_history(text, LOGS)


@pytest.mark.parametrize(
    ("values", "options", "words"),
    [
        (range(6), {"lags": 8}, "too short"),
        ([1, 2], {"lags": 1}, "too short"),
        ([5] * 40, {}, "constant"),
        (range(40), {"difference": 1}, "constant"),
        ([*range(1, 30), 0, *range(30)], {"log": True}, "without a logarithm"),
        ([1.0] * 20 + [math.nan] + [2.0] * 20, {}, "missing or infinite"),
    ],
)
def test_a_series_that_is_wrong(values: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        read(write(values), **options)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"data": "iris"}, "not a series"),
        ({"target": "y", "data": "series.csv"}, "no column 'y'"),
        ({"period": 900}, "period is longer"),
        ({"horizon": 201}, "horizon is longer"),
        ({"data": "series.csv", "target": "month"}, "not numeric"),
    ],
)
def test_wrong_settings_end_before_the_first_step(settings: dict[str, Any], words: str) -> None:
    write(wave(50))
    with pytest.raises(UserError, match=words):
        chainrule.train("mlp-series", out="run", device="cpu", **settings)
    assert not Path("run").exists()


# -- the series ---------------------------------------------------------------------------------------------------------------


def test_mackey_glass_against_a_plain_solver() -> None:
    """Euler's method with a tiny step, over a time in which chaos has not yet taken them apart."""
    fine, substeps, delay = [1.2] * 3401, 200, 17
    for i in range(3400, 3400 + 60 * substeps):
        before = fine[i - delay * substeps]
        fine.append(fine[i] + (0.2 * before / (1 + before**10) - 0.1 * fine[i]) / substeps)
    expected = fine[3400::substeps]
    np.testing.assert_allclose(mackey_glass(61, skip=0), expected, atol=3e-3)
    np.testing.assert_array_equal(mackey_glass(20, skip=7), mackey_glass(27, skip=0)[7:])
    whole = mackey_glass(2000)
    assert 0.2 < whole.min() < 0.5 < 1.2 < whole.max() < 1.4
    assert np.abs(whole[1000:1500] - whole[1500:]).max() > 0.1  # no period of 500


def test_mackey_glass_refuses_what_is_none() -> None:
    for wrong in ({"count": 0}, {"delay": 0}, {"substeps": 0}, {"skip": -1}):
        with pytest.raises(UserError, match="no such series"):
            mackey_glass(**wrong)


def test_a_perceptron_beats_the_naive_forecast_of_chaos() -> None:
    run = chainrule.train("mlp-series", out="run", device="cpu", epochs=15, batch_size=32, lr=0.01)
    metrics = run.result()["metrics"]
    assert (
        metrics["rmse"] < 0.5 * metrics["naive_rmse"] and metrics["horizon_rmse"] < 0.7 * metrics["horizon_naive_rmse"]
    )


def test_airline_passengers_against_the_naive_forecasts() -> None:
    mirror("tabular")
    run = chainrule.train(
        "mlp-series", data="airline-passengers", out="run", device="cpu", log=True, difference=1, period=12, epochs=60
    )
    metrics = run.result()["metrics"]
    assert metrics["naive_rmse"] == pytest.approx(52.49, abs=0.01) and metrics["seasonal_rmse"] == pytest.approx(
        46.08, abs=0.01
    )
    assert (
        metrics["rmse"] < 0.5 * metrics["seasonal_rmse"] and metrics["horizon_rmse"] < metrics["horizon_seasonal_rmse"]
    )
    assert check("airline-passengers", None)["found"] == {"values": 144}
