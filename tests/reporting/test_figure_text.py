"""Text in figures is text, whatever stands in it, and whatever the user's matplotlibrc says."""

from __future__ import annotations

import html
from functools import cache

import matplotlib as mpl
import pytest
import torch

from chainrule.core.task import Figure
from chainrule.reporting.line_plots import Line, lines
from chainrule.reporting.plots import confusion_matrix, curves, drawing, gallery, new_figure, to_png, to_svg
from chainrule.tasks.tables.density_figures import image_grid

NAMES = ["$x$", "$", r"$\frac{", "50 %_^\\", "<b>&", "²"]  # the third is no mathematics: a traceback


@cache
def figures() -> list[Figure]:
    y = torch.arange(len(NAMES))
    logarithmic = {name: ([1, 2, 3], [1e-3, 1.0, 1e4]) for name in NAMES}
    return [
        confusion_matrix(y, y, NAMES),
        curves(logarithmic, "$a$"),
        lines({n: Line([1, 10, 1e3], [1e-2, 1, 50], i) for i, n in enumerate(NAMES)}, "$a$", "", xlabel="$", ylabel="$$",
              xscale="log", yscale="log", marks={"$m$": 5.0}),
        gallery(torch.zeros(6, 1, 4, 4, dtype=torch.uint8), NAMES, "$a$"),
    ]  # fmt: skip


def test_a_name_is_drawn_as_it_is() -> None:
    for figure in figures():
        svg = html.unescape(figure.svg or "")
        assert all(name in svg for name in NAMES), figure.title
    assert image_grid(torch.zeros(6, 16), (4, 4), NAMES, "$a$", "").png


def test_powers_of_ten_need_no_mathematics() -> None:
    svg = figures()[1].svg or ""
    assert "10⁻³" in svg and "10⁴" in svg and "mathdefault" not in svg


def test_a_users_matplotlibrc_does_not_count() -> None:
    y = torch.arange(len(NAMES))
    expected = figures()[0].svg
    theirs = {
        "text.usetex": True, "font.size": 30, "savefig.bbox": "tight", "figure.facecolor": "black", "axes.grid": True,
        "svg.fonttype": "path", "lines.linewidth": 9, "image.cmap": "hot", "savefig.dpi": 5,
    }  # fmt: skip
    with mpl.rc_context(theirs):
        assert confusion_matrix(y, y, NAMES).svg == expected
        assert mpl.rcParams["font.size"] == 30  # and it is as it was

        @drawing()
        def square() -> bytes:
            canvas = new_figure(1, 1)
            canvas.add_subplot().set_title("$")
            return to_png(canvas)

        png = square()
    assert png == square()


def test_what_was_made_outside_is_plain_too() -> None:
    canvas = new_figure(2, 2)
    canvas.add_subplot().set_title("$x$ and $")
    assert "$x$ and $" in to_svg(canvas)


@pytest.mark.parametrize("scale", ["log", "symlog"])
def test_labels_of_logarithmic_axes(scale: str) -> None:
    with drawing():
        canvas = new_figure(4, 3)
        axes = canvas.add_subplot()
        axes.plot([1, 2], [-100.0 if scale == "symlog" else 1e-2, 100.0])
        axes.set_yscale(scale)
        svg = to_svg(canvas)
    assert ("-10²" if scale == "symlog" else "10⁻²") in svg and "$" not in svg
