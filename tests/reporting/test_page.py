"""Pages of a report: figures follow the reader's choice of dark, and are read on a narrow screen."""

from __future__ import annotations

import re

import torch

from chainrule.core.task import Figure
from chainrule.reporting.page import DARK, figure, render
from chainrule.reporting.plots import COLOURS, confusion_matrix, curves


def luminance(colour: str) -> float:
    """The relative luminance of sRGB (WCAG 2.1)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_charts_follow_dark_mode() -> None:
    shown = str(figure(curves({"a": ([1, 2], [3.0, 4.0]), "b": ([1, 2], [4.0, 3.0])}, "Loss")))
    left = re.findall(r"(?<!, )#[0-9a-f]{6}\b", shown)
    assert not left, "every colour of a chart has another in the dark"
    assert "var(--c-ffffff, #ffffff)" in shown and f"var(--c-{COLOURS[0][1:]}, {COLOURS[0]})" in shown
    page = render("functions.html.j2", title="t", figures=[Figure("Loss", svg="<svg></svg>")], version="1")
    dark = page.partition("screen and (prefers-color-scheme: dark)")[2].partition("\n.")[0]
    assert all(f"--c-{light[1:]}: {other};" in dark for light, other in DARK.items())
    assert f"--card: {DARK['#ffffff']}" in dark


def test_lines_and_letters_are_seen_on_the_dark_ground() -> None:
    ground = DARK["#ffffff"]
    assert all(contrast(DARK[colour], ground) > 4.5 for colour in (*COLOURS, "#000000", "#111827", "#374151"))


def test_letters_on_a_shade_keep_their_colour() -> None:
    target, answer = torch.tensor([0, 0, 0, 1, 1]), torch.tensor([0, 0, 0, 1, 0])
    shown = str(figure(confusion_matrix(target, answer, ["a", "b"])))
    cells = re.findall(r'<text style="[^"]*fill: (#\w{6})[^"]*"[^>]*>\d', shown)
    assert sorted(cells) == ["#101828", "#101828", "#ffffff"]


def test_a_chart_scrolls_before_its_letters_are_too_small() -> None:
    shown = str(figure(curves({"a": ([1], [3.0])}, "<Loss>")))
    assert re.match(r'<div class="chart"><svg role="img" aria-label="&lt;Loss&gt;" style="min-width:31\dpx"', shown)
