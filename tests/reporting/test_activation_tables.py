"""`chainrule show activations`: the table, the ranges it tells, the figures, and what is refused."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from chainrule.functional.activations import ACTIVATIONS
from chainrule.reporting import activation_tables as function_figures
from chainrule.reporting.activation_tables import FACTS, activation_rows, write_activations
from tests.showing import show


def test_the_table_names_all(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = show(capsys, "activations")
    lines = out.splitlines()
    assert status == 0 and [line.split()[0] for line in lines[1 : 1 + len(ACTIVATIONS)]] == list(ACTIVATIONS)
    assert re.search(r"^relu .*0 of 0\|1 +hard below 0 +none +Nair", out, re.M)
    assert re.search(r"^hard_sigmoid .*0\.1667 +hard below -3 +hard above 3", out, re.M)
    assert re.search(r"^sigmoid .*\(0, 1\) +0\.25 +soft +soft", out, re.M)
    assert re.search(r"^step .*0, jump +hard below 0 +hard above 0", out, re.M)


@pytest.mark.parametrize("name", [name for name in FACTS if name not in ("maxout", "crelu")])
def test_the_ranges_told_are_those_reached(name: str) -> None:
    """Sampled far out: a bound is neared, and passed by nothing; an open end of the line has no bound."""
    values = ACTIVATIONS[name](torch.cat([torch.arange(-50, 50, 0.005), torch.tensor([0, -1e7, 1e7])]).double())
    text = FACTS[name].range
    if text.startswith("{"):
        assert sorted(set(values.tolist())) == [float(v) for v in text.strip("{}").split(",")]
        return
    low, high = (float(part) for part in text.strip("[]()").split(","))
    for told, reached in ((low, values.min().item()), (high, values.max().item())):
        assert abs(reached) > 1e4 if math.isinf(told) else reached == pytest.approx(told, abs=1e-9)
    near = ACTIVATIONS[name](torch.arange(-60, 61, dtype=torch.float64) / 4)
    assert bool(near.min() == low) == text.startswith("[") and bool(near.max() == high) == text.endswith("]")


def test_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = torch.get_rng_state()
    status, out, _ = show(capsys, "activations", "--out", str(tmp_path / "new folder" / "a.html"))
    page = Path(out.splitlines()[-1]).read_text("utf-8")
    assert (
        status == 0
        and "<svg" in page
        and "<table>" in page
        and "http://" not in re.sub(r'"http://www\.w3\.org[^"]*"', "", page)
    )
    svg = write_activations(tmp_path / "a.svg").read_text("utf-8")
    assert all(f">{name}<" in svg and f">{name}<" in page for name in ACTIVATIONS)
    assert ">hard outside -3 to 3<" in svg and ">hard outside 0<" in svg and ">soft on the left<" in svg
    assert re.findall(r' d="([^"]*)"', svg) == re.findall(r' d="([^"]*)"', page)  # drawn twice, the same each time
    assert torch.equal(torch.get_rng_state(), before)
    assert write_activations(tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_lines_of_the_image_are_the_functions() -> None:
    """What stands in a panel, read back from Matplotlib: tanh, its derivative, and a gap where a step jumps."""
    panels = dict(zip(ACTIVATIONS, function_figures.activation_canvas().axes, strict=False))
    value, slope = panels["tanh"].lines
    np.testing.assert_allclose(value.get_ydata(), np.tanh(value.get_xdata()), atol=1e-12)
    np.testing.assert_allclose(slope.get_ydata(), 1 / np.cosh(slope.get_xdata()) ** 2, atol=1e-12)
    jump = panels["step"].lines[0]
    assert np.isnan(jump.get_ydata()).sum() == 1 and not np.isnan(value.get_ydata()).any()
    assert len(panels["crelu"].lines) == 4


def test_the_table_and_the_functions_go_together() -> None:
    assert list(FACTS) == list(ACTIVATIONS) == [row[0] for row in activation_rows()[1:]]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["activation"], ["no recipe, network or topic 'activation'", "did you mean activations"]),
        (["activations", "--out", "a.pdf"], ["ending", ".html, .svg or .png", ".pdf"]),
        (["activations", "--out", "a"], ["found:    none"]),
        (["lenet5", "--out", "a.html"], ["--out is for topics", "activations", "lenet5"]),
    ],
)
def test_mistakes_of_the_command(words: list[str], said: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = show(capsys, *words)
    assert status == 2 and not out and "Traceback" not in err
    for text in said:
        assert text in err


def test_help_needs_no_torch() -> None:
    code = (
        "import sys\nfrom chainrule.cli import cli\n"
        "cli.main(['show', '--help'], standalone_mode=False)\nassert 'torch' not in sys.modules"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "activations" in found.stdout
