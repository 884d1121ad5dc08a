"""Makes the pictures of this folder, by the program itself.

python docs/pictures/make.py           the digits and the report, after `make demo`, with Chromium installed
python docs/pictures/make.py ground    those of docs/tutorial-ground.md
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from PIL import Image

import chainrule
from chainrule.inspect import graph
from chainrule.inspect.function_figures import write_activations
from chainrule.inspect.policy_figures import write_policies
from chainrule.run.run import Run

HERE = Path(__file__).parent


def digits(run: Run) -> None:
    """The first test pictures of two classes, as files to predict from."""
    split = run.system.data.test  # type: ignore[attr-defined]
    for label in (3, 5):
        index = int((split.y == label).nonzero()[0, 0])
        x = split.x[index, 0]
        border = (x.shape[0] - 28) // 2  # LeNet-5 reads 32 x 32 with a border; a file has none
        Image.fromarray(x[border : border + 28, border : border + 28].numpy()).save(HERE / f"digit-{label}.png")


def screenshot(page: Path, out: Path, size: str = "1000,1150") -> None:
    """The top of a page in headless Chromium, with few colours so that the file is small."""
    browser = shutil.which("chromium") or shutil.which("google-chrome") or sys.exit("Chromium is not installed")
    command = [
        browser, "--headless", "--no-sandbox", "--hide-scrollbars", "--force-device-scale-factor=1.5",
        f"--window-size={size}", f"--screenshot={out}", page.resolve().as_uri(),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    Image.open(out).convert("RGB").quantize(96).save(out, optimize=True)


def smaller(png: bytes | Path, out: Path) -> None:
    """The same picture with few colours."""
    image = Image.open(io.BytesIO(png) if isinstance(png, bytes) else png)
    image.convert("RGB").quantize(64).save(out, optimize=True)


def graphs() -> None:
    """The lecture's two graphs, at its numbers."""
    product = graph(lambda x, y, z: (x + y) * (y - z), -1, 3, 2)
    (HERE / "graph.svg").write_text(product.svg(), "utf-8")
    neuron = graph(
        lambda w0, x0, w1, x1, w2: 1 / (1 + torch.exp(-(w0 * x0 + w1 * x1 + w2))), 2.0, -1.0, -3.0, -2.0, -3.0
    )
    (HERE / "neuron.svg").write_text(neuron.svg(), "utf-8")


def figure_of(run: Run, title: str, out: Path) -> None:
    """One figure of a run's report, as a file."""
    system = run.open_system()
    found = next(figure for figure in system.figures() if figure.title.startswith(title))
    if found.svg is not None:
        out.write_text(found.svg, "utf-8")
    else:
        smaller(found.png or b"", out)


def ground() -> None:
    """Graphs, functions, and the figures of four runs of the tutorial."""
    graphs()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        smaller(write_policies(folder / "policies.png"), HERE / "policies.png")
        smaller(write_activations(folder / "activations.png"), HERE / "activations.png")
        line = chainrule.train("playground", hidden="none", epochs=10, out=folder / "line")
        figure_of(line, "Decision surface", HERE / "spiral-line.png")
        net = chainrule.train("playground", epochs=60, out=folder / "net")
        figure_of(net, "Decision surface", HERE / "spiral.png")
        fits = chainrule.train("bias-variance", out=folder / "fits", hidden=(1,))
        figure_of(fits, "Bias and variance: polynomials", HERE / "bias-variance.svg")
        ravine = chainrule.train("ravine", rates=12, momenta=(0.9,), max_steps=2000, out=folder / "ravine")
        figure_of(ravine, "The ravine", folder / "ravine.svg")
        screenshot(folder / "ravine.svg", HERE / "ravine.png", "810,500")  # its contour lines are long as SVG


if __name__ == "__main__":
    if sys.argv[1:] == ["ground"]:
        ground()
    else:
        folder = Path(sys.argv[1] if len(sys.argv) > 1 else "demo/lenet5")
        digits(Run.load(folder))
        screenshot(folder / "report.html", HERE / "report.png")
