"""A series of numbers in time as windows: the values before a time, and the value at it. The past never sees the future."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from chainrule.core.course import Topic
from chainrule.core.data.request import DataRequest
from chainrule.core.errors import UserError
from chainrule.data.catalog.record import Source
from chainrule.data.dataset import Dataset, dataset_of
from chainrule.data.inputs import STDIN, Asked, InMemory, asked_paths, files_below, is_folder, is_list, stdin_lines
from chainrule.data.layout import SPLITS, Layout, Place, joined, layout_of
from chainrule.data.spec import Spec
from chainrule.data.splits import fingerprint
from chainrule.data.tables.csv_files import column_of, to_numbers
from chainrule.data.tables.mackey_glass import mackey_glass
from chainrule.data.tables.table_files import READERS, is_table_file, read_cells, table_ending


@dataclass(frozen=True)
class SeriesSplit:
    """The windows whose targets lie in one stretch of time.

    Attributes:
        x: what the model sees (N, lags), differenced and scaled.
        y: what it answers with (N,), in the same scale.
        values: the series from its beginning to the end of the stretch (T,), float64, in its own units.
        origins: which of `values` the targets are (N,).
    """

    x: Tensor
    y: Tensor
    values: Tensor
    origins: Tensor

    def __len__(self) -> int:
        return len(self.origins)


@dataclass(frozen=True, kw_only=True)
class SeriesSpec(Spec):
    """A series seen through windows.

    Attributes:
        where: the path or the name of the data set.
        target: the column.
        lags, difference, log, mean, std: of the `Window`.
        dtype: of x and y, as torch names it.
        mean_step: mean of |v_t - v_(t-1)| over the training part, the unit of MASE.
        low, high: of the training part.
    """

    where: str
    target: str
    lags: int
    difference: int
    log: bool
    mean: float
    std: float
    dtype: str
    mean_step: float
    low: float
    high: float


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


def window_of(spec: SeriesSpec) -> Window:
    """The window that a run with this spec sees through."""
    return Window(spec.lags, spec.difference, spec.log, spec.mean, spec.std)


def differenced(values: Tensor, difference: int, log: bool) -> Tensor:
    """u_t - u_(t-k) along the last axis, u the values or their logarithms; (..., T) to (..., T - k).

    >>> differenced(torch.tensor([1.0, 4.0, 9.0]), 1, log=False).tolist()
    [3.0, 5.0]
    """
    u = values.log() if log else values
    return u[..., difference:] - u[..., :-difference] if difference else u


def load_series(
    request: DataRequest,
    *,
    lags: int,
    difference: int = 0,
    log: bool = False,
    dtype: torch.dtype = torch.float32,
    val_fraction: float = 0.1,
    test_fraction: float = 0.2,
) -> Dataset[SeriesSpec, SeriesSplit]:
    """The run's series: its last part is the test split, the part before that the validation split.

    Windows reach back over the border: at a time of the test split everything before it is known. What is fitted (mean
    and std) comes from the training part alone, and no target of the training split lies later.

    Spec: where, target (the column), lags, difference, log, mean and std, `mean_step` (the unit of MASE), low and high
    of the training part, counts, how the splits were made, fingerprint.

    Args:
        request: what is read, and where the spec is kept.
        lags: values that the model sees.
        difference: over how many steps differences are taken; 1 removes a trend, 12 a year of months; 0 is none.
        log: whether logarithms are taken, for a series above 0 whose swings grow with it.
        dtype: of x and y.
        val_fraction, test_fraction: the test split's share of the values, and the validation split's of the rest.
    """

    def read() -> tuple[SeriesSpec, dict[str, SeriesSplit]]:
        return read_splits(
            request,
            request.target,
            lags=lags,
            difference=difference,
            log=log,
            dtype=dtype,
            val_fraction=request.share("val", val_fraction),
            test_fraction=request.share("test", test_fraction),
        )

    return dataset_of(request, SeriesSpec, read)


def read_splits(
    source: Place,
    target: str | None,
    *,
    lags: int,
    difference: int,
    log: bool,
    dtype: torch.dtype,
    val_fraction: float,
    test_fraction: float,
) -> tuple[SeriesSpec, dict[str, SeriesSplit]]:
    """Reads, checks, splits in time and scales; what `load_series` gives a run."""
    name, given, where = read_parts(source, target)
    values = torch.cat([given[part] for part in SPLITS if part in given])
    check_log(values, log, where)
    count, context = len(values), lags + difference
    test = count - (len(given["test"]) if "test" in given else round(count * test_fraction))
    val = test - (len(given["val"]) if "val" in given else round(test * val_fraction))
    ends = {"train": (context, val), "val": (val, test), "test": (test, count)}
    short = [part for part in ("train", "test") if ends[part][1] - ends[part][0] < 2]
    if short or val < context:
        raise UserError(
            f"the series is too short for a {(short or ['train'])[0]} split",
            where=where,
            found=f"{count} values",
            expected=f"2 or more values a split to predict, after the {context} that a window reads",
            cure="fewer lags, a smaller difference, or a longer series",
        )
    known = differenced(values[:val], difference, log)
    std = float(known.std(correction=0))
    if not std > 1e-12 * float(known.abs().max()):
        raise UserError(
            "the series is constant on the training part",
            where=where,
            found=f"{float(values[0]):g} throughout" if not difference else f"differences of {float(known[0]):g}",
        )
    spec = SeriesSpec(
        where=where,
        target=name,
        lags=lags,
        difference=difference,
        log=log,
        mean=float(known.mean()),
        std=std,
        dtype=str(dtype).removeprefix("torch."),
        mean_step=float((values[1:val] - values[: val - 1]).abs().mean()),
        low=float(values[:val].min()),
        high=float(values[:val].max()),
        counts={part: end - start for part, (start, end) in ends.items()},
        splits={
            "train": f"the first {val} values",
            "val": "as given" if "val" in given else f"the {test - val} values after them",
            "test": "as given" if "test" in given else f"the last {count - test} of {count} values",
        },
        fingerprint=fingerprint(values),
    )
    window = window_of(spec)
    return spec, {part: windows(values[:end], start, window, dtype) for part, (start, end) in ends.items()}


def windows(values: Tensor, start: int, window: Window, dtype: torch.dtype) -> SeriesSplit:
    """The windows of a series (T,) float64 whose targets are the values from number `start` on."""
    scaled = (differenced(values, window.difference, window.log) - window.mean) / window.std
    origins = torch.arange(start, len(values))
    at = origins - window.difference  # where the targets stand among the differences
    x = scaled.unfold(0, window.lags, 1)[at - window.lags] if len(origins) else scaled.new_zeros(0, window.lags)
    return SeriesSplit(x.to(dtype), scaled[at].to(dtype), values, origins)


def read_parts(source: Place, target: str | None) -> tuple[str, dict[str, Tensor], str]:
    """Name, values of each given split and place of a series: those of val and test follow those of train in time."""
    layout = layout_of(source)
    if not layout.sources:
        name, values, where = read_values(layout, target)
        return name, {"train": values}, where
    if "val" in layout.sources and "test" not in layout.sources:
        raise UserError("a series with a val source needs a test source too, which follows in time", where=layout)
    names: dict[str, str] = {}

    def read(part: Layout) -> dict[str, Tensor]:
        name, values, where = read_values(part, target)
        names[where] = name
        return {"train": values}

    parts = joined(layout, read)
    if len(set(names.values())) > 1:
        raise UserError(
            "the sources name their columns differently",
            where=layout,
            found=", ".join(f"{name!r} in {where}" for where, name in names.items()),
            cure="--target COLUMN, one that each has",
        )
    return next(iter(names.values())), parts, str(layout)


def read_values(source: Place, target: str | None) -> tuple[str, Tensor, str]:
    """Name, values (T,) float64 and place of a series: a column of a .csv, by default the last; or a known series."""
    layout = layout_of(source)
    place = layout.place
    if isinstance(place, Source):
        if place.name != "mackey-glass":
            raise UserError(
                f"{layout} is a set of {place.kind}, not a series",
                expected="a .csv with a column of numbers",
                cure="--data mackey-glass",
            )
        return "x", torch.from_numpy(mackey_glass()), str(layout)
    if not is_table_file(place):
        raise UserError(
            "this is no series", where=place, expected="a .csv with a line of column names and a column of numbers"
        )
    name, values = read_column(place, target)
    return name, torch.from_numpy(values), str(place)


def read_column(file: Path, target: str | None) -> tuple[str, np.ndarray]:
    """The column named, else the last one, as float64 (T,), line after line."""
    cells = read_cells(file)
    name = cells.header[-1] if target is None else target
    return name, to_numbers(cells, [column_of(name, cells.header, file)])[:, 0]


def asked_series(inputs: Iterable[str], spec: SeriesSpec) -> Iterator[Asked[Tensor]]:
    """The user's own series, each (T,) float64, one after the other.

    An input is a series as `read_history` has it, a folder of .csv files, a CSV with a column `path` that lists such
    files, or `-` for series on stdin, numbers such as 112,118,132 on a line each.
    """
    for text in inputs:
        path = Path(text)
        if text == STDIN:
            yield from (Asked(line, read_history(line, spec)) for line in stdin_lines())
        elif is_folder(text):
            yield from (Asked(str(f), read_history(str(f), spec)) for f in files_below(path, READERS, "series"))
        elif is_table_file(path) and is_list(path, [spec.target]):
            yield from (Asked(a.name, read_history(a.name, spec), a.own) for a in asked_paths([text]))
        else:
            yield Asked(text, read_history(text, spec))


def read_history(text: str, spec: SeriesSpec) -> Tensor:
    """The user's own series (T,) float64: a .csv with the run's column, or numbers such as 112,118,132."""
    path = Path(text)
    if isinstance(text, InMemory):
        values = text.value
    elif table_ending(path):
        if not is_table_file(path):
            raise UserError("there is no such file", where=path, expected="a .csv, or numbers such as 1,2,3")
        values = read_column(path, spec.target if len(read_cells(path).header) > 1 else None)[1]
    else:
        try:
            values = np.array([float(cell) for cell in text.split(",")])
        except ValueError:
            raise UserError(
                "the series is not understood", expected="a .csv, or numbers such as 1,2,3", found=text[:60]
            ) from None
        if not np.isfinite(values).all():
            raise UserError("a value is missing or infinite", where=text[:60], expected="finite numbers")
    needed = spec.lags + spec.difference
    if len(values) < needed:
        raise UserError(
            "the series is too short to forecast from",
            where=text[:60],
            expected=f"{needed} values or more",
            found=len(values),
        )
    history = torch.from_numpy(values)
    check_log(history, spec.log, text[:60])
    return history


def check_log(values: Tensor, log: bool, where: str) -> None:
    """UserError where logarithms are to be taken of what has none."""
    if log and bool((values <= 0).any()):
        at = int((values <= 0).nonzero()[0])
        raise UserError(
            "the series has a value without a logarithm",
            where=f"{where}, value {at + 1}",
            expected="above 0",
            found=f"{float(values[at]):g}",
            cure="log=no",
        )


TOPICS = (Topic("Forecasting a time series", code=("load_series",)),)
