"""Makes the figures of this folder, by the program itself.

python docs/figures/make.py           the digits and the report, after `make demo`, with Chromium installed
python docs/figures/make.py ground    those of docs/tutorial-ground.md
python docs/figures/make.py vision    those of docs/tutorial-vision.md, in some minutes
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Literal

import torch
from matplotlib.figure import Figure as Canvas
from PIL import Image
from sklearn.datasets import load_digits

import chainrule
from chainrule.inspect import graph
from chainrule.inspect import to_svg as graph_svg
from chainrule.introspection.attribution.grad_cam import grad_cam
from chainrule.introspection.attribution.images import image_grid, overlay, png
from chainrule.introspection.attribution.occlusion import mean_over_squares, occlusion
from chainrule.introspection.layers import layers
from chainrule.loops.experiment import descend
from chainrule.models import all_cards
from chainrule.reporting.activation_tables import write_activations
from chainrule.reporting.plots import COLOURS, to_svg
from chainrule.reporting.policy_plots import write_policies
from chainrule.run.run import Run
from chainrule.systems.image_classification.resnet_cifar import ResNetCifar

HERE = Path(__file__).parent


def digits(run: Run) -> None:
    """The first test figures of two classes, as files to predict from."""
    split = run.task.data.test  # type: ignore[attr-defined]
    for label in (3, 5):
        index = int((split.y == label).nonzero()[0, 0])
        x = split.x[index, 0]
        border = (x.shape[0] - 28) // 2  # LeNet-5 reads 32 x 32 with a border; a file has none
        Image.fromarray(x[border : border + 28, border : border + 28].numpy()).save(HERE / f"digit-{label}.png")


def screenshot(page: Path, out: Path, size: str = "1000,1150") -> None:
    """The top of a page in headless Chromium, with few colours so that the file is small."""
    browser = shutil.which("chromium") or shutil.which("google-chrome") or sys.exit("Chromium is not installed")
    command = [
        browser,
        "--headless",
        "--no-sandbox",
        "--hide-scrollbars",
        "--force-device-scale-factor=1.5",
        f"--window-size={size}",
        f"--screenshot={out}",
        page.resolve().as_uri(),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    Image.open(out).convert("RGB").quantize(96).save(out, optimize=True)


def smaller(png: bytes | Path, out: Path) -> None:
    """The same figure with few colours."""
    image = Image.open(io.BytesIO(png) if isinstance(png, bytes) else png)
    image.convert("RGB").quantize(64).save(out, optimize=True)


def graphs() -> None:
    """The lecture's two graphs, at its numbers."""
    product = graph(lambda x, y, z: (x + y) * (y - z), -1, 3, 2)
    (HERE / "graph.svg").write_text(graph_svg(product), "utf-8")
    neuron = graph(
        lambda w0, x0, w1, x1, w2: 1 / (1 + torch.exp(-(w0 * x0 + w1 * x1 + w2))), 2.0, -1.0, -3.0, -2.0, -3.0
    )
    (HERE / "neuron.svg").write_text(graph_svg(neuron), "utf-8")


def figure_of(run: Run, title: str, out: Path) -> None:
    """One figure of a run's report, as a file."""
    task = run.open_task()
    found = next(figure for figure in task.figures() if figure.title.startswith(title))
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


def vision() -> None:
    """Cost and error of all networks, training against depth, and why a digit is a three."""
    (HERE / "networks.svg").write_text(networks(), "utf-8")
    (HERE / "depth.svg").write_text(depths(), "utf-8")
    with tempfile.TemporaryDirectory() as place:
        settings: dict[str, Any] = {"epochs": 4, "crop": "shift", "flip": False, "lr": 0.02}
        run = chainrule.train("image-classifier", network="lenet-caffe", size=28, out=f"{place}/digits", **settings)
        smaller(why(run.open_task(), "3"), HERE / "why.png")


def networks() -> str:
    """ImageNet error of every network with published weights against its multiply-adds; the area is the weights."""
    canvas = Canvas(figsize=(6.4, 4.2), layout="constrained")
    axes = canvas.add_subplot()
    beside = {  # where a name would lie on another
        "googlenet-bn": (-66, 4), "resnet101": (-50, -12), "vgg13-bn": (-36, -20), "vgg16-bn": (-36, -20), "vgg11-bn": (-20, -22),
        "vgg19": (14, 4), "vgg19-bn": (14, -6), "vgg16": (8, 12), "vgg13": (10, 10), "vgg11": (10, 10),
    }  # fmt: skip
    for family, colour in zip(("alexnet", "vgg", "googlenet", "resnet"), COLOURS, strict=False):
        for name, card in all_cards().items():
            if name.startswith(family) and (found := card.weights.get("torchvision")):
                with torch.device("meta"):
                    rows = layers(card.build(), card.example(1))
                work, held = sum(row.multiply_adds for row in rows), sum(row.parameters for row in rows)
                axes.scatter(work / 1e9, 100 * (1 - found.accuracy), held / 2e5, color=colour, alpha=0.45, linewidths=0)
                at = (work / 1e9, 100 * (1 - found.accuracy))
                axes.annotate(name, at, beside.get(name, (6, 4)), textcoords="offset points", fontsize=8)
    axes.set(
        xscale="log",
        xlim=(0.5, 32),
        ylim=(20, 45),
        xlabel="multiply-adds a figure, in thousand millions",
        ylabel="ImageNet error, %",
    )
    axes.set_xticks([0.5, 1, 2, 5, 10, 20], ["0.5", "1", "2", "5", "10", "20"])
    axes.minorticks_off()
    axes.grid(color="#e5e7eb", linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    return to_svg(canvas, "networks")


def depths() -> str:
    """Mean loss of the last of three passes over digits against depth; a line for the middle of three seeds."""
    digits = load_digits()
    x = (torch.tensor(digits.images[:1280], dtype=torch.float32)[:, None] - 4.9) / 6.0
    y = torch.tensor(digits.target[:1280])

    def loss_of(depth: int, shortcut: Literal["A", "none"], seed: int) -> float:
        torch.manual_seed(seed)
        net, losses = ResNetCifar(depth, in_channels=1, shortcut=shortcut), []
        rule = torch.optim.SGD(net.parameters(), 0.05, momentum=0.9, weight_decay=1e-4)
        descend(
            net,
            x,
            y,
            torch.nn.functional.cross_entropy,
            rule,
            steps=60,
            batch_size=64,
            each_step=lambda step, loss: losses.append(float(loss)),
        )
        return sum(losses[-20:]) / 20

    canvas = Canvas(figsize=(5.6, 3.1), layout="constrained")
    axes, of = canvas.add_subplot(), (8, 14, 20, 26, 32, 44)
    kinds: tuple[tuple[str, Literal["A", "none"]], ...] = (("plain", "none"), ("residual", "A"))
    for (name, shortcut), colour in zip(kinds, COLOURS, strict=False):
        found = [sorted(loss_of(depth, shortcut, seed) for seed in range(3)) for depth in of]
        axes.plot(of, [losses[1] for losses in found], color=colour, label=name, marker="o", markersize=4)
        axes.fill_between(of, [a[0] for a in found], [a[-1] for a in found], color=colour, alpha=0.2, linewidth=0)
    axes.set(xlabel="layers with weights", ylabel="training loss, nats", xticks=of, ylim=(0, None))
    axes.grid(color="#e5e7eb", linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return to_svg(canvas, "depth")


def why(task: Any, name: str) -> bytes:
    """The first test figure of a class, Grad-CAM of the class, and the probability it loses where a square is covered."""
    split, label = task.data.test, task.classes.index(name)
    one_image = split.x[int((split.y == label).nonzero()[0])]
    x, network = task.normalize(one_image[None]), task.model.eval()
    with torch.no_grad():
        probability = network(x).softmax(1)[0, label]
    side = one_image.shape[-1]
    fall = mean_over_squares(probability - occlusion(network, x, label, size=7), (side, side), 7)
    shown = [one_image, overlay(one_image, grad_cam(network, x, label)[0]), overlay(one_image, fall, signed=True)]
    return png(image_grid(shown, 3, 196), 0)


if __name__ == "__main__":
    if sys.argv[1:] == ["ground"]:
        ground()
    elif sys.argv[1:] == ["vision"]:
        vision()
    else:
        folder = Path(sys.argv[1] if len(sys.argv) > 1 else "demo/lenet5")
        digits(Run.load(folder))
        screenshot(folder / "report.html", HERE / "report.png")
