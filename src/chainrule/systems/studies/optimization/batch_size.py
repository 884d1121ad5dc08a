"""The size of a batch: how the loss falls per update and per epoch, and how noisy the gradient of a batch is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from chainrule.core.course import Topic
from chainrule.core.errors import UserError
from chainrule.core.task import Figure
from chainrule.loops.experiment import Row, descend
from chainrule.reporting.line_plots import Line, lines
from chainrule.run.run import Run
from chainrule.systems.studies.image_rows import ImageRows, LabelledRows
from chainrule.tasks.study import Study

SHOWN_UPDATES = 150  # whose batch losses are drawn
OF_AN_EPOCH = 4  # measurements of the loss on all samples
NOISE_SAMPLES, NOISE_DRAWS = 500, 200
CLAIM = (
    "An epoch of small batches lowers the loss further than an epoch of large ones, because it has more updates; an update "
    "of a small batch is less sure, for the variance of its gradient falls as one over its size."
)


def gradient_variance(gradients: Tensor, size: int) -> float:
    """The variance of the mean gradient of a batch drawn without replacement, summed over the parameters.

        E |g_B - g|^2 = (N - B) / (N - 1) s^2 / B,    s^2 = 1/N sum_i |g_i - g|^2

    Args:
        gradients: of every sample (N, P), N of 2 or more.
        size: B, from 1 to N.

    Raises:
        UserError: fewer than two samples, a size out of range.

    Source: Cochran: Sampling techniques, 1977, theorem 2.2.

    >>> gradient_variance(torch.tensor([[0.0], [2.0], [4.0]]), 1), gradient_variance(torch.tensor([[0.0], [2.0], [4.0]]), 3)
    (2.6666666666666665, 0.0)
    """
    count = len(gradients)
    if gradients.dim() != 2 or count < 2 or not 1 <= size <= count:
        raise UserError(
            "no batch of that",
            expected="gradients (N, P) and a size from 1 to N",
            found=f"{tuple(gradients.shape)}, {size}",
        )
    spread = (gradients.double() - gradients.double().mean(0)).square().sum(1).mean()
    return float(spread) * (count - size) / (count - 1) / size


def batch_size_study(
    run: Run,
    *,
    sizes: Sequence[int],
    target_loss: float,
    lr: float,
    hidden: int,
    epochs: int,
    repeats: int,
    size: int,
    samples: int,
) -> Study:
    """Trains one net at every batch size, at one rate and at rates that grow with it; `batch-size` explains the settings."""
    sizes = sorted(set(sizes), key=lambda s: s or math.inf)  # 0 is all samples
    if not sizes:
        raise UserError("there is nothing to measure", where="sizes", expected="one batch size or more")
    rows = ImageRows(run, size=size, samples=samples)

    def network() -> nn.Module:
        layers = (nn.Linear(rows.width, hidden), nn.ReLU(), nn.Linear(hidden, rows.num_classes))
        return nn.Sequential(*layers).to(run.device)

    def measure(point: Mapping[str, Any]) -> Row:
        train = rows.train
        count = min(point["batch_size"] or len(train.x), len(train.x))
        if point["what"] == "noise":
            return measure_noise(network(), train, count)
        rate = lr * count / min(sizes[0] or len(train.x), len(train.x)) if point["what"] == "rate grows" else lr
        return {"lr": rate, **measure_descent(network(), train, size=count, lr=rate, epochs=epochs, goal=target_loss)}

    points = [{"what": "noise", "batch_size": s} for s in sizes]
    points += [
        {"what": what, "batch_size": s} for what in ("same rate", "rate grows") for s in sizes for _ in range(repeats)
    ]
    return Study(
        run,
        points=points,
        measure=measure,
        conclude=conclude,
        draw=draw,
        claim=CLAIM,
        how=f"plain gradient descent on a net of {hidden} hidden units, {epochs} epochs, {repeats} starts each; updates until the "
        f"loss on all training samples, measured {OF_AN_EPOCH} times an epoch, is {target_loss:g}; the rate is {lr:g}, or grows with the "
        "batch from that of the smallest",
    )


def measure_descent(network: nn.Module, train: LabelledRows, *, size: int, lr: float, epochs: int, goal: float) -> Row:
    """The loss of each batch before its update, and that of all samples on the way; it ends where that is infinite or NaN."""
    an_epoch = len(train.x) / size  # updates, not always a whole number
    every = max(1, round(an_epoch / OF_AN_EPOCH))

    def of_all() -> float:
        with torch.no_grad():
            return float(cross_entropy(network(train.x), train.y))

    batch_losses: list[float] = []
    updates, losses = [0], [of_all()]

    def each_step(step: int, loss: Tensor) -> bool:
        if step < SHOWN_UPDATES:
            batch_losses.append(float(loss))
        if (step + 1) % every:
            return False
        now = of_all()
        if not math.isfinite(now):
            return True
        updates.append(step + 1)
        losses.append(now)
        return False

    optimizer = torch.optim.SGD(network.parameters(), lr)
    steps = math.ceil(epochs * an_epoch)
    descend(network, train.x, train.y, cross_entropy, optimizer, steps=steps, batch_size=size, each_step=each_step)
    reached = next((u for u, value in zip(updates, losses, strict=True) if value <= goal), None)
    return {
        "updates": reached,
        "epochs": None if reached is None else reached / an_epoch,
        "last_loss": losses[-1],
        "batch_losses": [value for value in batch_losses if math.isfinite(value)],
        "epochs_measured": [u / an_epoch for u in updates],
        "losses": losses,
    }


def measure_noise(network: nn.Module, train: LabelledRows, size: int) -> Row:
    """The variance of a batch's gradient at the first weights, over draws of batches, beside the closed form."""
    x, y = train.x[:NOISE_SAMPLES], train.y[:NOISE_SAMPLES]
    weights = list(network.parameters())
    each = [
        torch.autograd.grad(cross_entropy(network(image), label), weights)
        for image, label in zip(x.split(1), y.split(1), strict=True)
    ]
    gradients = torch.stack([torch.cat([part.flatten() for part in parts]) for parts in each]).double()  # (N, P)
    size = min(size, len(x))
    centred = gradients - gradients.mean(0)
    draws = [float(centred[torch.randperm(len(x))[:size]].mean(0).square().sum()) for _ in range(NOISE_DRAWS)]
    return {"size": size, "variance": sum(draws) / len(draws), "predicted": gradient_variance(gradients, size)}


def conclude(rows: list[Row]) -> dict[str, float]:
    """Of each batch size, at one rate for all: epochs and updates to the loss, in the mean; none where a start missed it."""
    found: dict[str, float] = {}
    same = [r for r in rows if r["what"] == "same rate"]
    for batch_size in dict.fromkeys(r["batch_size"] for r in same):
        some = [r for r in same if r["batch_size"] == batch_size]
        name = f"batch_{batch_size or 'all'}"
        found[f"{name}_last_loss"] = sum(r["last_loss"] for r in some) / len(some)
        for unit in ("epochs", "updates"):
            if all(r[unit] is not None for r in some):
                found[f"{name}_{unit}"] = sum(r[unit] for r in some) / len(some)
    gaps = [abs(r["variance"] / r["predicted"] - 1) for r in rows if r["what"] == "noise" and r["predicted"] > 0]
    if gaps:
        found["largest_relative_gap_of_variance"] = max(gaps)
    return found


def draw(rows: list[Row]) -> list[Figure]:
    """The loss per update and per epoch at one rate, per epoch at rates that grow, and the noise."""
    first: dict[tuple[str, int], Row] = {}  # of each size the first start
    for row in rows:
        first.setdefault((row["what"], row["batch_size"]), row)
    same, grows = ({s: r for (what, s), r in first.items() if what == which} for which in ("same rate", "rate grows"))
    figures = [
        lines(
            {
                _name(s): Line(range(1, len(r["batch_losses"]) + 1), r["batch_losses"], i)
                for i, (s, r) in enumerate(same.items())
            },
            "The loss per update",
            "Of each batch before its update, at one learning rate: small batches jump, large ones glide.",
            xlabel="update",
            ylabel="loss of the batch (nats)",
        )
    ]
    for some, title, caption in (
        (
            same,
            "The loss per epoch",
            "Of all training samples, at one learning rate: an epoch of small batches has more updates.",
        ),
        (
            grows,
            "The loss per epoch, the rate in proportion to the batch",
            "As long as the rate is not too high, the batches are alike.",
        ),
    ):
        figures.append(
            lines(
                {_name(s): Line(r["epochs_measured"], r["losses"], i) for i, (s, r) in enumerate(some.items())},
                title,
                caption,
                xlabel="epoch",
                ylabel="loss of all samples (nats)",
                yscale="log",
            )
        )
    noise = [r for r in rows if r["what"] == "noise" and r["predicted"] > 0]
    sizes = [r["size"] for r in noise]
    series = {
        "measured": Line(sizes, [r["variance"] for r in noise], 0, "o"),
        "closed form": Line(sizes, [r["predicted"] for r in noise], 0, "--"),
    }
    return [
        *figures,
        lines(
            series,
            "The noise of a batch's gradient",
            f"Of {NOISE_SAMPLES} samples at most, at the first weights; without replacement it ends at all of them.",
            xlabel="batch size",
            ylabel="variance, summed over parameters",
            xscale="log",
            yscale="log",
        ),
    ]


def _name(batch_size: int) -> str:
    return f"batches of {batch_size}" if batch_size else "all samples"


TOPICS = (Topic("Batch size: the loss per update and per epoch", code=("gradient_variance",)),)
