"""Series in tables: by their dates whatever the rows' order, several by a column, gaps and repeats told."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import chainrule
from chainrule.core.data.request import DataRequest
from chainrule.core.errors import UserError
from chainrule.data.check import check
from chainrule.data.layout import layout_of
from chainrule.data.tables.series import SeriesSpec, columns_of, load_series, split_series
from chainrule.data.tables.time.series_files import Columns, read_series
from chainrule.systems.feedforward.forecast_errors import drift
from chainrule.systems.feedforward.forecasting import known_ahead

pytestmark = pytest.mark.usefixtures("no_report")
DAYS = [datetime.date(2020, 1, 1) + datetime.timedelta(days) for days in range(100)]
VALUES = np.round(10 + 0.1 * np.arange(100) + np.sin(np.arange(100)), 4)
ROWS = [f"{day:%d.%m.%Y},{value}" for day, value in zip(DAYS, VALUES, strict=True)]


def write(rows: list[str], header: str = "date,sold", name: str = "sales.csv") -> str:
    Path(name).write_text("\n".join([header, *rows]) + "\n", "utf-8")
    return name


def load(file: str, **options: Any) -> tuple[Any, DataRequest]:
    request = DataRequest({"": file}, options=options)
    data = load_series(request, lags=3, dtype=torch.float64)
    assert len(data.train)
    return data, request


def shuffled(rows: list[str]) -> list[str]:
    return [rows[i] for i in np.random.default_rng(0).permutation(len(rows))]


@pytest.mark.parametrize(("order", "said"), [(ROWS, ""), (ROWS[::-1], "turned round"), (shuffled(ROWS), "sorted")])
def test_rows_are_put_in_the_order_of_their_dates(order: list[str], said: str) -> None:
    data, request = load(write(order))
    assert data.test.values.tolist() == VALUES.tolist() and data.spec.dates == "date"
    assert len(request.notes) == bool(said) and said in "".join(request.notes)
    found = check("sales.csv", None)
    assert found["kind"] == "series" and found["dates"] == "date, 2020-01-01 to 2020-04-09, a day apart"
    assert said in found.get("warning", "")


def test_a_date_and_a_number_is_a_series_whatever_is_named() -> None:
    write([",".join(row.split(",")[::-1]) for row in ROWS], "sold,date")
    for target in (None, "sold"):
        found = check("sales.csv", target)
        assert (found["kind"], found["target"], found["found"]) == ("series", "sold", {"values": 100})
    with pytest.raises(UserError, match="holds dates"):
        check("sales.csv", "date")
    write([f"{day.year}年{day.month}月{day.day}日,{v}" for day, v in zip(DAYS, VALUES, strict=True)], "日期,销量")
    assert check("sales.csv", "销量")["dates"].startswith("日期, 2020-01-01")
    write([*ROWS[:5], "06.01.2020,", *ROWS[6:]])
    with pytest.raises(UserError, match=r"missing or infinite\n.*line 7"):
        check("sales.csv", None)


def test_gaps_are_told() -> None:
    _, request = load(write([*ROWS[:10], *ROWS[12:50], *ROWS[51:]]))
    assert request.notes[0].startswith(
        "2 gaps in the dates (column 'date'), which are a day apart, 3 missing: 2020-01-13 after 2020-01-10; "
        "2020-02-21 after 2020-02-19"
    )
    assert "2 gaps" in check("sales.csv", None)["warning"]
    uneven = [
        f"{day + datetime.timedelta(days=i * i)},{v}" for i, (day, v) in enumerate(zip(DAYS, VALUES, strict=True))
    ]
    assert "unevenly apart" in load(write(uneven))[1].notes[0]


SHOPS = [f"{day},{shop},{value + place}" for day, value in zip(DAYS, VALUES, strict=True)
         for place, shop in enumerate(["north", "south"])]  # fmt: skip


def test_a_date_that_comes_twice_is_refused_with_what_tells_the_series_apart() -> None:
    write(SHOPS, "date,shop,sold")
    with pytest.raises(UserError, match=r"comes twice[^$]*line 3[^$]*2020-01-01, as in line 2[^$]*series=shop"):
        load("sales.csv")
    stores = [row.replace("north", "1").replace("south", "2").replace(",", ",5,", 1) for row in SHOPS]
    with pytest.raises(UserError, match="series=store"):  # of whole numbers; `region` tells nothing apart
        load(write(stores, "date,region,store,sold"))
    write(SHOPS, "date,shop,sold")
    with pytest.raises(UserError, match="comes twice in the series 'north'"):
        load(write([*SHOPS, "2020-02-01,north,3"], "date,shop,sold"), series="shop")
    with pytest.raises(UserError, match="remove or average"):
        load(write([*ROWS, ROWS[4]]))
    with pytest.raises(UserError, match="no column 'shops'"):
        load("sales.csv", series="shops")


def test_several_series_are_windowed_each_by_itself_and_split_at_the_same_dates() -> None:
    late = [row for row in SHOPS if "south" not in row or row > "2020-03-01"]  # the south opens in March
    data, _ = load(write(shuffled(late), "date,shop,sold"), series="shop")
    values = {"north": VALUES, "south": VALUES[60:] + 1}
    assert data.spec.series == "shop" and data.spec.counts == {"train": 69 + 9, "val": 8 + 8, "test": 40}
    for split in (data.train, data.val, data.test):
        scaled = (split.values - data.spec.mean) / data.spec.std
        for row, origin in enumerate(split.origins.tolist()):
            assert split.firsts[row] + 3 <= origin < split.ends[row]  # no window reaches into another series
            assert torch.allclose(split.x[row], scaled[origin - 3 : origin]) and split.y[row] == scaled[origin]
    test, found = data.test, []
    for first, end in dict.fromkeys(zip(test.firsts.tolist(), test.ends.tolist(), strict=True)):
        found.append(test.values[first:end].tolist())
    assert sorted(found, key=len) == [values["south"].tolist(), values["north"].tolist()]
    assert test.values[test.origins[0]] in (VALUES[80], VALUES[80] + 1)  # both begin on one date
    known = np.concatenate([VALUES[:72], values["south"][:12]])
    assert data.spec.mean == pytest.approx(known.mean()) and data.spec.std == pytest.approx(known.std())
    origins, ahead = known_ahead(test, 5)
    assert len(origins) == 2 * (20 - 4) and ahead[-1].tolist() == test.values[-5:].tolist()
    firsts = test.firsts[torch.searchsorted(test.origins, origins)]
    last = test.values[origins - 1]
    slope = (last - test.values[firsts]) / (origins - firsts - 1)
    assert torch.allclose(drift(test.values, origins, 1, firsts)[:, 0], last + slope)
    one = test.first_series()
    assert len(one) == 20 and int(one.firsts.max()) == 0 and int(one.ends.min()) == len(one.values)


def check_of_series(file: str) -> dict[str, Any]:
    return check(layout_of(DataRequest({"": file}, options={"series": "shop"})), None)


def test_data_check_of_several_series() -> None:
    found = check_of_series(write(SHOPS, "date,shop,sold"))
    assert found["kind"] == "series" and found["found"] == {"north": 100, "south": 100}
    assert found["series"] == "2, by shop" and "warning" not in found


def test_a_run_of_several_series_goes_from_data_to_answers() -> None:
    write(shuffled(SHOPS), "date,shop,sold")
    run = chainrule.train("mlp-series", data="sales.csv", series="shop", out="run", device="cpu", epochs=1, lags=4,
                          horizon=3, period=7, hidden=(4,))  # fmt: skip
    metrics = run.result()["metrics"]
    steps = np.abs(np.diff(VALUES))
    assert metrics["naive_mae"] == pytest.approx(steps[79:].mean())  # the same in both
    assert metrics["naive_mase"] == pytest.approx(steps[79:].mean() / steps[:67].mean())
    at = np.arange(80, 100)
    by_drift = VALUES[at - 1] + (VALUES[at - 1] - VALUES[0]) / (at - 1)  # each from its own first value
    assert metrics["drift_mae"] == pytest.approx(np.abs(by_drift - VALUES[at]).mean())
    assert all(np.isfinite(value) for value in metrics.values()) and len(run.task.figures()) == 3
    answers = chainrule.predict(run.folder, ["sales.csv"], device="cpu")
    assert len(answers) == 2
    by_shop = {answer["shop"]: answer["forecast"] for answer in answers}
    newest = ",".join(map(str, VALUES[-4:] + 1))
    assert by_shop["south"] == chainrule.predict(run.folder, [newest], device="cpu")[0]["forecast"]
    again = chainrule.evaluate(run.folder, data="sales.csv", device="cpu")
    assert again == pytest.approx(metrics)


def test_predict_goes_on_from_the_newest_value(capsys: pytest.CaptureFixture[str]) -> None:
    write(ROWS)
    chainrule.train("mlp-series", data="sales.csv", out="run", device="cpu", epochs=1, lags=4, horizon=3, hidden=(4,))
    write(ROWS[::-1], name="falling.csv")
    answers = chainrule.predict("run", ["sales.csv", "falling.csv"], device="cpu")
    assert answers[0]["forecast"] == answers[1]["forecast"]
    assert "falling.csv: the dates (column 'date') fall" in capsys.readouterr().err


def test_sources_follow_each_other_in_time() -> None:
    write(ROWS[70:][::-1], name="test.csv")
    found = read_series(layout_of(DataRequest({"train": write(ROWS[:70]), "test": "test.csv"})), Columns())
    assert found.series[0].values.tolist() == VALUES.tolist() and found.series[0].begins == {"test": 70}
    assert "test.csv: the dates" in found.order[0]
    with pytest.raises(UserError, match="begins before the one before it ends"):
        read_series(layout_of(DataRequest({"train": "test.csv", "test": "sales.csv"})), Columns())


def test_a_run_of_an_earlier_version_reads_rows_as_they_stand() -> None:
    data, _ = load(write(ROWS[::-1]))
    old = {key: value for key, value in data.spec.to_json().items() if key not in ("dates", "series")}
    columns = columns_of(SeriesSpec.from_json(old), None)
    found = read_series("sales.csv", columns)
    assert found.series[0].values.tolist() == VALUES[::-1].tolist() and not found.notes
    spec, _ = split_series(
        found, lags=3, difference=0, log=False, dtype=torch.float64, val_fraction=0.1, test_fraction=0.2
    )
    assert spec.fingerprint != data.spec.fingerprint and spec.dates == ""
