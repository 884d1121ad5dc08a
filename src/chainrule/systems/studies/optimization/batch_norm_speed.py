"""Steps to reach an accuracy with and without batch normalisation, over learning rates and depths."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from chainrule.core.errors import UserError
from chainrule.core.task import Figure
from chainrule.loops.experiment import Row, descend
from chainrule.nn.normalization.batch_norm import BatchNorm
from chainrule.reporting.line_plots import DASHED, SOLID, Line, lines
from chainrule.run.run import Run
from chainrule.systems.studies.image_rows import ImageRows, LabelledRows
from chainrule.tasks.study import Study

CLAIM = (
    "With batch normalisation a net reaches the same accuracy in a fraction of the steps, and tolerates larger rates."
)


def batch_norm_study(
    run: Run,
    *,
    depths: Sequence[int],
    rates: Sequence[float],
    hidden: int,
    accuracy: float,
    steps: int,
    every: int,
    batch_size: int,
    size: int,
    samples: int,
) -> Study:
    """Sigmoid nets from the same initial weights on the same batches, with the normalisation and without."""
    if any(depth < 1 for depth in depths) or not all(rate > 0 for rate in rates) or not depths or not rates:
        raise UserError(
            "depths and rates are out of range",
            expected="depths of 1 or more, rates above 0, one at least",
            found=f"depths={','.join(map(str, depths))} rates={','.join(map(str, rates))}",
        )
    if batch_size < 2:
        raise UserError(
            "a batch of one has no variance", expected="batch_size=2 or more", found=f"batch_size={batch_size}"
        )
    rows = ImageRows(run, size=size, samples=samples)

    def measure(point: Mapping[str, Any]) -> Row:
        torch.manual_seed(run.seed)  # the same weights and batches with and without
        network = perceptron(rows.width, hidden, point["depth"], rows.num_classes, point["batch_norm"]).to(run.device)
        optimizer = torch.optim.SGD(network.parameters(), point["rate"])
        torch.manual_seed(run.seed + 1)
        return speed(
            network, optimizer, rows.train, rows.val, accuracy=accuracy, steps=steps, every=every, batch_size=batch_size
        )

    points = [
        {"depth": depth, "rate": rate, "batch_norm": normed}
        for depth in depths
        for rate in rates
        for normed in (False, True)
    ]
    return Study(
        run,
        points=points,
        measure=measure,
        conclude=lambda rows: conclude(rows, accuracy),
        draw=lambda rows: draw(rows, accuracy),
        claim=CLAIM,
        how=f"sigmoid nets of {hidden} units a layer, batches of {batch_size}, plain gradient descent of {steps} steps at most; "
        f"accuracy on the validation split every {every} steps; the fastest rate of each side is compared",
    )


def perceptron(width: int, hidden: int, depth: int, num_classes: int, batch_norm: bool) -> nn.Sequential:
    """`depth` sigmoid layers, the normalisation before the sigmoid and in place of the bias; weights as Xavier's."""
    parts: list[nn.Module] = []
    for before in (width, *[hidden] * (depth - 1)):
        linear = nn.Linear(before, hidden)  # with its bias, so that both sides draw the same random numbers
        nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(linear.bias)
        if batch_norm:
            linear.register_parameter("bias", None)
        parts += [linear, BatchNorm(hidden), nn.Sigmoid()] if batch_norm else [linear, nn.Sigmoid()]
    last = nn.Linear(hidden, num_classes)
    nn.init.xavier_uniform_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*parts, last)


def speed(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    train: LabelledRows,
    val: LabelledRows,
    *,
    accuracy: float,
    steps: int,
    every: int,
    batch_size: int,
) -> Row:
    """Trains until the validation accuracy is reached, or for `steps`; the accuracies on the way."""
    at: list[int] = []
    accuracies: list[float] = []
    losses: list[Tensor] = []

    def each_step(step: int, loss: Tensor) -> bool:
        losses.append(loss)
        if (step + 1) % every and step + 1 < steps:
            return False
        network.eval()
        with torch.no_grad():
            accuracies.append(float((network(val.x).argmax(1) == val.y).double().mean()))
        network.train()
        at.append(step + 1)
        return accuracies[-1] >= accuracy

    network.train()
    descend(
        network, train.x, train.y, cross_entropy, optimizer, steps=steps, batch_size=batch_size, each_step=each_step
    )
    return {
        "reached": accuracies[-1] >= accuracy,
        "steps_taken": at[-1],
        "val_accuracy": accuracies[-1],
        "train_loss": float(torch.stack(losses[-every:]).double().mean()),
        "at": at,
        "accuracies": accuracies,
    }


def fastest(rows: Iterable[Row]) -> Row:
    """The row that reached the accuracy in the fewest steps; where none did, the most accurate."""
    return min(rows, key=lambda row: (not row["reached"], row["steps_taken"], -row["val_accuracy"]))


def conclude(rows: list[Row], accuracy: float) -> dict[str, float]:
    found = {"val_accuracy_to_reach": accuracy}
    for depth in sorted({row["depth"] for row in rows}):
        of = [row for row in rows if row["depth"] == depth]
        without, normed = (fastest(row for row in of if row["batch_norm"] is side) for side in (False, True))
        found |= {
            f"depth_{depth}_steps_without": without["steps_taken"],
            f"depth_{depth}_steps_with": normed["steps_taken"],
            f"depth_{depth}_reached_without": float(without["reached"]),
            f"depth_{depth}_reached_with": float(normed["reached"]),
            f"depth_{depth}_ratio_of_steps": without["steps_taken"] / normed["steps_taken"],
            f"depth_{depth}_rate_without": without["rate"],
            f"depth_{depth}_rate_with": normed["rate"],
            f"depth_{depth}_rates_that_reached_without": sum(row["reached"] for row in of if not row["batch_norm"]),
            f"depth_{depth}_rates_that_reached_with": sum(row["reached"] for row in of if row["batch_norm"]),
        }
    return found


def draw(rows: list[Row], accuracy: float) -> list[Figure]:
    depths = sorted({row["depth"] for row in rows})
    curves, over_rates = {}, {}
    for hue, depth in enumerate(depths):
        for side in (True, False):
            words, style = ("with", SOLID) if side else ("without", DASHED)
            of = sorted((r for r in rows if r["depth"] == depth and r["batch_norm"] is side), key=lambda r: r["rate"])
            best = fastest(of)
            curves[f"depth {depth}, {words} (rate {best['rate']:g})"] = Line(best["at"], best["accuracies"], hue, style)
            reached = [row["steps_taken"] if row["reached"] else float("nan") for row in of]
            over_rates[f"depth {depth}, {words}"] = Line([row["rate"] for row in of], reached, hue, style)
    return [
        lines(
            curves,
            "The fastest with and without batch normalisation",
            f"Each at the rate that reached an accuracy of {accuracy:g} soonest; where no rate did, at its most accurate.",
            xlabel="steps",
            ylabel="accuracy on the validation split",
            xscale="log",
        ),
        lines(
            over_rates,
            "Steps to the accuracy, over learning rates",
            f"Accuracy {accuracy:g}. Where there is no point, it was not reached.",
            xlabel="learning rate",
            ylabel="steps",
            xscale="log",
            yscale="log",
        ),
    ]
