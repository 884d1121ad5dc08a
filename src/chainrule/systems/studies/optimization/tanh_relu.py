"""ReLU, tanh and the logistic function: the epochs that a four-layer net needs to a training error, after Krizhevsky 2012."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from chainrule.core.course import Topic
from chainrule.core.errors import UserError
from chainrule.core.task import Figure
from chainrule.data.dataset import Dataset
from chainrule.data.images.loading import ImageSplit
from chainrule.data.images.spec import ImageSpec
from chainrule.functional.activations import relu, sigmoid, tanh
from chainrule.loops.experiment import descend
from chainrule.nn.normalization.normalize import Normalize
from chainrule.optim import initialise, optimizer_of
from chainrule.run.run import Run
from chainrule.systems.studies.optimization.figures import rates_figure, speed_figure
from chainrule.tasks.study import Study

ACTIVATIONS = {"relu": relu, "tanh": tanh, "sigmoid": sigmoid}
MEASURED = 2000  # images whose error is the training error; all of fewer
INITIALISERS = {
    "relu": "msra",
    "tanh": "xavier",
    "sigmoid": "xavier",
}  # of the first two each keeps the signal's variance


class FourLayers(nn.Module):
    """Three convolutions of 5 x 5, each with an activation and max-pooling of 3 x 3 at stride 2, and a linear layer.

    The paper of 2012 says no more of its net than four layers; this is the one of its author's cuda-convnet.

    Args:
        channels, size: of the images (B, channels, size, size), normalised.
        num_classes: of the logits (B, num_classes).
        width: channels of the first two convolutions; the third has twice as many.
        activation: a name of `ACTIVATIONS`.
    """

    def __init__(self, channels: int, size: int, num_classes: int, width: int, activation: str) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[activation]
        widths = [channels, width, width, 2 * width]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 5, padding=2) for inputs, outputs in pairwise(widths)
        )
        for _ in self.convolutions:
            size = (size - 1) // 2 + 1
        self.classifier = nn.Linear(2 * width * size * size, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        for convolution in self.convolutions:
            x = nn.functional.max_pool2d(self.activation(convolution(x)), 3, 2, 1)
        return self.classifier(x.flatten(1))


def tanh_relu_study(
    run: Run,
    *,
    data: Dataset[ImageSpec, ImageSplit],
    goal: float,
    rates: tuple[float, ...],
    repeats: int,
    epochs: int,
    batch_size: int,
    momentum: float,
    width: int,
    init: str,
    train_size: int,
    measure_every: int,
) -> Study:
    """Trains the net with each activation at every rate; the recipe `tanh-relu` explains the settings."""
    if not rates:
        raise UserError("there is nothing to measure", where="rates", expected="one learning rate or more")
    if not 0 < goal < 1:
        raise UserError("the error to reach is out of range", where="error", expected="above 0 and below 1", found=goal)
    if momentum >= 1:
        raise UserError("the momentum is out of range", where="momentum", expected="below 1", found=momentum)
    rates = tuple(sorted(set(rates)))
    # The logistic function comes last: a point's random numbers follow from its place, and earlier runs had two activations.
    first, last = ("relu", "tanh"), ("sigmoid",)
    points = [
        {"activation": a, "lr": lr, "number": i}
        for some in (first, last)
        for i in range(repeats)
        for a in some
        for lr in rates
    ]

    def measure(point: Mapping[str, Any]) -> dict[str, Any]:
        x, y = subset(data.train, train_size, run.seed)
        spec = data.spec
        network = FourLayers(spec.channels, spec.size, len(spec.classes), width, point["activation"])
        if init == "matched":
            initialise(network, INITIALISERS[point["activation"]])
        whole = nn.Sequential(Normalize(spec.mean, spec.std), network).to(run.device)
        return train_to(
            whole,
            x.to(run.device),
            y.to(run.device),
            goal=goal,
            lr=point["lr"],
            momentum=momentum,
            epochs=epochs,
            batch_size=batch_size,
            measure_every=measure_every,
        )

    def draw(rows: list[dict[str, Any]]) -> list[Figure]:
        best = {a: rate for a in ACTIVATIONS if (rate := best_rate(rows, a)) is not None}
        return [speed_figure(rows, goal, best), rates_figure(rows, epochs)]

    return Study(
        run,
        points=points,
        measure=measure,
        conclude=lambda rows: conclude(rows, epochs),
        draw=draw,
        claim="A net of rectified units reaches a training error several times faster than the same net of tanh units, and "
        "that faster than one of logistic units.",
        how=f"epochs until the error on {MEASURED} training images at most, measured every {measure_every} updates, is "
        f"{goal:g}; {repeats} starts at each learning rate, and of each activation the rate that is fastest",
    )


def conclude(rows: list[dict[str, Any]], epochs: int) -> dict[str, float]:
    """Epochs of each activation at its best rate, and ratios: tanh to ReLU, the logistic function to tanh. An activation that never arrived has none."""
    found: dict[str, float] = {}
    for activation in ACTIVATIONS:
        lr = best_rate(rows, activation)
        if lr is not None:
            found |= {f"{activation}_epochs": _mean_epochs(rows, activation, lr), f"{activation}_lr": lr}
            tried = {r["lr"] for r in rows}
            found[f"{activation}_lr_is_at_an_end"] = float(len(tried) > 1 and lr in (min(tried), max(tried)))
    found["max_epochs"] = epochs
    if "relu_epochs" in found and "tanh_epochs" in found:
        found["ratio_of_epochs"] = found["tanh_epochs"] / found["relu_epochs"]
    if "sigmoid_epochs" in found and "tanh_epochs" in found:
        found["sigmoid_ratio_of_epochs"] = found["sigmoid_epochs"] / found["tanh_epochs"]
    return found


def best_rate(rows: list[dict[str, Any]], activation: str) -> float | None:
    """The rate with the fewest epochs in the mean; None where every rate has a start that did not arrive."""
    rates = sorted({r["lr"] for r in rows if r["activation"] == activation})
    if not rates:  # a run of an earlier version, which did not measure it
        return None
    fastest = min(rates, key=lambda lr: _mean_epochs(rows, activation, lr))
    return fastest if _mean_epochs(rows, activation, fastest) < math.inf else None


def _mean_epochs(rows: list[dict[str, Any]], activation: str, lr: float) -> float:
    some = [r["epochs"] for r in rows if (r["activation"], r["lr"]) == (activation, lr)]
    return math.inf if None in some else sum(some) / len(some)


def subset(split: ImageSplit, size: int, seed: int) -> tuple[Tensor, Tensor]:
    """`size` of the images, drawn by the seed; all of them, in that order, where it is 0 or more than there are."""
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(seed))
    chosen = order[: size or len(split)]
    return split.x[chosen], split.y[chosen]


def train_to(
    network: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    goal: float,
    lr: float,
    momentum: float,
    epochs: int,
    batch_size: int,
    measure_every: int,
) -> dict[str, Any]:
    """Trains until the training error is at most `goal`, or the epochs are over, or the loss is NaN or infinite.

    Returns:
        `epochs`: to the goal, None for never; `errors` at `epochs_measured`.
    """
    batch_size = min(batch_size, len(x))
    an_epoch = len(x) / batch_size
    seen, errors = [0.0], [training_error(network, x, y)]

    def each_step(step: int, loss: Tensor) -> bool:
        if (step + 1) % measure_every:
            return False
        if not bool(torch.isfinite(loss)):
            return True
        seen.append((step + 1) / an_epoch)
        errors.append(training_error(network, x, y))
        return errors[-1] <= goal

    optimizer = optimizer_of("sgd", network.parameters(), lr, momentum=momentum)
    descend(
        network,
        x,
        y,
        nn.functional.cross_entropy,
        optimizer,
        steps=math.ceil(epochs * an_epoch),
        batch_size=batch_size,
        each_step=each_step,
    )
    reached = errors[-1] <= goal
    return {
        "epochs": seen[-1] if reached else None,
        "last_error": errors[-1],
        "epochs_measured": seen,
        "errors": errors,
    }


@torch.no_grad()
def training_error(network: nn.Module, x: Tensor, y: Tensor) -> float:
    """The share of wrong answers to the first `MEASURED` images."""
    x, y = x[:MEASURED], y[:MEASURED]
    wrong = sum(int((network(a).argmax(1) != b).sum()) for a, b in zip(x.split(500), y.split(500), strict=True))
    return wrong / len(y)


TOPICS = (Topic("Tanh against ReLU", code=("FourLayers",)),)
