"""Figures for reports, drawn with Matplotlib: curves, confusion matrices, galleries.

They are SVG with text as text, so that a browser sets names in any script, whatever fonts Matplotlib itself finds.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chainrule.core.task import Figure
from chainrule.reporting.figure_text import figure_defaults, make_plain

COLOURS = ("#2563eb", "#ea580c", "#059669", "#9333ea", "#dc2626", "#0891b2", "#ca8a04", "#db2777", "#4b5563", "#65a30d")
ON_SHADE = "#101828"  # letters on a light shade, which stays light where the page is dark
_WIDE_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans SC",
    "Source Han Sans SC",
    "PingFang SC",
    "Hiragino Sans GB",
    "Heiti SC",
    "Microsoft YaHei",
    "SimHei",
    "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei",
    "Arial Unicode MS",
)
_POINTS = 1200  # of a curve; more are not seen on a screen and make the file heavy


@cache
def _fonts() -> list[str]:
    """Matplotlib's own font, then one with Chinese where it is installed."""
    from matplotlib.font_manager import fontManager

    installed = {font.name for font in fontManager.ttflist}
    return ["DejaVu Sans", *[name for name in _WIDE_FONTS if name in installed][:1]]


@contextlib.contextmanager
def drawing(salt: str = "") -> Iterator[None]:
    """Text stays text, ids are the same in every process, and a glyph that the font lacks is the browser's affair.

    What the user's matplotlibrc says does not count. It is a decorator too.
    """
    import matplotlib as mpl

    style: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": f"chainrule {salt}",
        "font.family": _fonts(),
        "font.size": 9,
        "axes.unicode_minus": False,
    }
    with mpl.rc_context(), warnings.catch_warnings():
        settings: Any = mpl.rcParams
        dict.update(settings, figure_defaults())  # as rc_context puts them back: they are valid
        mpl.rcParams.update(style)
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font", UserWarning)
        yield


def new_figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure as Canvas  # no pyplot: no state, no window system

    return Canvas(figsize=(width, height), layout="constrained")


def tidy_axes(axes: Any) -> None:
    """Only the axes that carry numbers, in a quiet grey."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#9ca3af")
    axes.tick_params(colors="#4b5563", labelsize=8.5, length=3)
    axes.grid(color="#e5e7eb", linewidth=0.7)
    axes.set_axisbelow(True)


def to_svg(canvas: Any, salt: str = "") -> str:
    """A Matplotlib figure as an <svg> element. `salt` keeps its ids apart from those of others on the page."""
    buffer = io.StringIO()
    with drawing(salt):
        make_plain(canvas)
        canvas.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def to_png(canvas: Any) -> bytes:
    """A Matplotlib figure as the bytes of a PNG."""
    buffer = io.BytesIO()
    with drawing():
        make_plain(canvas)
        canvas.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def thin(x: Sequence[float], y: Sequence[float], points: int = _POINTS) -> tuple[np.ndarray, np.ndarray]:
    """At most about `points` of a curve: the lowest and the highest of each stretch, so that no spike is lost.

    >>> [len(part) for part in thin(range(10_000), range(10_000), 100)]
    [100, 100]
    """
    xs, ys = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if len(xs) <= points:
        return xs, ys
    kept: set[int] = {0, len(xs) - 1}
    for part in np.array_split(np.arange(len(xs)), points // 2):
        values = np.where(np.isfinite(ys[part]), ys[part], 0.0)
        kept |= {int(part[values.argmin()]), int(part[values.argmax()])}
    index = np.array(sorted(kept))
    return xs[index], ys[index]


def curves(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]], title: str, xlabel: str = "step", salt: str = ""
) -> Figure:
    """Lines over steps; a logarithmic axis where the values are positive and span more than a hundred times.

    `salt` keeps apart the ids of two figures of one title on a page.
    """
    from matplotlib.ticker import EngFormatter, MaxNLocator

    with drawing(title):
        canvas = new_figure(5.6, 3.1)
        axes = canvas.add_subplot()
        low, high, last = np.inf, 0.0, 0.0
        for index, (name, (x, y)) in enumerate(series.items()):
            xs, ys = thin(x, y)
            line = {"color": COLOURS[index % len(COLOURS)], "linestyle": "-" if index < len(COLOURS) else "--"}
            axes.plot(xs, ys, label=name, linewidth=1.6, marker="o" if len(xs) < 30 else None, markersize=3, **line)
            finite = ys[np.isfinite(ys)]
            if len(finite):
                low, high, last = min(low, finite.min()), max(high, finite.max()), max(last, xs.max())
        if 0 < low < high / 100:
            axes.set_yscale("log")
        if last >= 10_000:
            axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        if last > 0 and all(min(x, default=0) > 0 for x, _ in series.values()):
            axes.set_xlim(left=0)
        tidy_axes(axes)
        axes.set_xlabel(xlabel, color="#4b5563")
        # Above the plot, where it hides no curve; as many columns as the longest name leaves room for.
        longest = max(map(len, series), default=0)
        columns = 2 if longest > 14 else 3 if longest > 9 else 4
        if series:
            axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=columns, borderaxespad=0.2)
        return Figure(title, svg=to_svg(canvas, title + salt))


def confusion_matrix(target: Tensor, answer: Tensor, classes: Sequence[str]) -> Figure:
    """Counts of true class (rows) against answer (columns)."""
    count = len(classes)
    matrix = torch.bincount(target * count + answer, minlength=count * count).reshape(count, count).numpy()
    side = min(max(3.6, 0.42 * count + 1.4), 11)
    with drawing("confusion"):
        canvas = new_figure(side, side)
        axes = canvas.add_subplot()
        axes.imshow(matrix / np.maximum(matrix.sum(1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1)
        if count <= 25:
            for row, column in zip(*matrix.nonzero(), strict=True):
                dark = matrix[row, column] > matrix[row].sum() / 2
                axes.text(
                    column,
                    row,
                    str(matrix[row, column]),
                    ha="center",
                    va="center",
                    fontsize=8,
                    color="white" if dark else ON_SHADE,
                )
            long = max(map(len, classes)) > 2
            axes.set_xticks(range(count), classes, rotation=45 if long else 0, ha="right" if long else "center")
            axes.set_yticks(range(count), classes)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0, colors="#374151")
        axes.set_xlabel("answer", color="#4b5563")
        axes.set_ylabel("true class", color="#4b5563")
        caption = "Counts on the test split; the shade is the share of the row."
        return Figure("Confusion matrix", caption, svg=to_svg(canvas, "confusion"))


def gallery(images: Tensor, titles: Sequence[str], title: str, caption: str = "", columns: int = 6) -> Figure:
    """Byte images (N, C, H, W) with a title above each, of one line or more."""
    columns = max(1, min(columns, len(images)))
    rows = max(1, -(-len(images) // columns))
    lines = 1 + max((text.count("\n") for text in titles), default=0)
    cells, height = mosaic(images, columns, lines), 0.98 + 0.22 * lines
    with drawing(title):
        from matplotlib.figure import Figure as Canvas

        canvas = Canvas(figsize=(0.98 * columns, height * rows))
        axes = canvas.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.imshow(cells, interpolation="none", extent=(0, columns, rows, 0), aspect="auto")
        for index, text in enumerate(titles):
            row, column = divmod(index, columns)
            base = row + (0.22 * lines - 0.04) / height  # of the last line
            axes.text(column + 0.5, base, text, fontsize=7.5, color="#374151", ha="center", va="baseline")
        axes.axis("off")
        return Figure(title, caption, svg=to_svg(canvas, title))


def mosaic(images: Tensor, columns: int, lines: int = 1) -> np.ndarray:
    """Byte images (N, C, H, W) as one figure with an alpha channel: a transparent edge around each, above wider by lines."""
    count, _, height, width = images.shape
    above, side = -(-height * lines // 4), -(-width // 20)
    rows = max(1, -(-count // columns))
    cells = np.zeros((rows, columns, above + height + side, width + 2 * side, 4), dtype=np.uint8)
    pixels = images.permute(0, 2, 3, 1).numpy()
    for index in range(count):
        cell = cells[divmod(index, columns)][above : above + height, side : side + width]
        cell[..., :3], cell[..., 3] = pixels[index], 255
    return cells.transpose(0, 2, 1, 3, 4).reshape(rows * cells.shape[2], columns * cells.shape[3], 4)
