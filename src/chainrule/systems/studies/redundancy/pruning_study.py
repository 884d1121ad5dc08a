"""Accuracy against the share of weights that are pruned, by four measures of what matters least, and after retraining."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from chainrule.core.errors import UserError
from chainrule.core.seeds import in_64_bits
from chainrule.core.task import Figure
from chainrule.loops.experiment import Row, descend
from chainrule.reporting.line_plots import Line, lines
from chainrule.run.run import Run
from chainrule.systems.studies.image_rows import ImageRows, LabelledRows
from chainrule.systems.studies.redundancy.pruning import prune_weights, remove_units
from chainrule.systems.studies.redundancy.saliency import magnitude, obd_saliency, unit_relevance
from chainrule.tasks.study import Study

RULES = ("random", "magnitude", "obd", "units")
MARGIN = 0.01  # of test error that pruning may cost
CLAIM = (
    "Most weights of a trained network can go without a loss in accuracy where what is left is trained again. The first of "
    "them cost less by the second derivative than by magnitude."
)


def pruning_study(
    run: Run,
    *,
    shares: Sequence[float],
    hidden: int,
    size: int,
    samples: int,
    steps: int,
    retrain: int,
    batch_size: int,
    lr: float,
    repeats: int,
) -> Study:
    """A perceptron with one hidden layer, pruned by each rule to each share, measured, trained again, measured again."""
    if not shares or not all(0 < share < 1 for share in shares):
        raise UserError(
            "a share of weights is out of range",
            expected="above 0 and below 1, one at least",
            found=f"shares={','.join(map(str, shares))}",
        )
    shares, rows = sorted(set(shares)), ImageRows(run, size=size, samples=samples)
    trained: dict[int, nn.Sequential] = {}

    def improve(network: nn.Module, data: LabelledRows, steps: int) -> None:
        optimizer = torch.optim.Adam(network.parameters(), lr)
        descend(network, data.x, data.y, cross_entropy, optimizer, steps=steps, batch_size=batch_size)

    def network_of(number: int, data: LabelledRows) -> nn.Sequential:
        """The trained network of a start: the same for all rules, whichever is measured first."""
        if number not in trained:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(in_64_bits((run.seed + 1) * 1_000_003 + 500_009 + number))
                layers = [nn.Linear(rows.width, hidden), nn.ReLU(), nn.Linear(hidden, rows.num_classes)]
                network = nn.Sequential(*layers).to(run.device)
                improve(network, data, steps)
            trained[number] = network
        return trained[number]

    def measure(point: Mapping[str, Any]) -> Row:
        train, test = rows.train, rows.test
        network = network_of(point["number"], train)
        whole = loss_and_error(network, train)[0]
        found: Row = {"error": loss_and_error(network, test)[1], "weights": weights_of(network)}
        curves: dict[str, list[float]] = {
            name: [] for name in ("pruned", "error_before", "error_after", "rise", "predicted")
        }
        scores = scores_of(network, point["rule"], train)
        for share in shares:
            # 1. Without the least salient part; units take all weights from and to them along.
            smaller, predicted = without(network, point["rule"], scores, share)
            loss, _ = loss_and_error(smaller, train)
            curves["pruned"].append(1 - weights_of(smaller) / found["weights"])
            curves["rise"].append(loss - whole)
            curves["predicted"].append(predicted)
            curves["error_before"].append(loss_and_error(smaller, test)[1])
            # 2. What is left is trained again.
            improve(smaller, train, retrain)
            curves["error_after"].append(loss_and_error(smaller, test)[1])
        return found | {"shares": list(shares)} | curves

    return Study(
        run,
        points=[{"rule": rule, "number": number} for number in range(repeats) for rule in RULES],
        measure=measure,
        conclude=conclude,
        draw=draw,
        claim=CLAIM,
        how=f"a perceptron with {hidden} rectified units, {repeats} starts, trained for {steps} steps; saliencies from the "
        f"training split, errors on the test split, before and after {retrain} more steps",
    )


def scores_of(network: nn.Sequential, rule: str, data: LabelledRows) -> dict[str, Tensor]:
    """The saliency of each weight, or of each hidden unit, by the layer's name."""
    if rule == "units":
        return {"0": unit_relevance(network, "0", data.x, data.y, cross_entropy)}
    if rule == "obd":
        return obd_saliency(network, data.x, data.y, cross_entropy)
    sizes = magnitude(network)
    return sizes if rule == "magnitude" else {name: torch.rand(size.shape).to(size) for name, size in sizes.items()}


def without(network: nn.Sequential, rule: str, scores: dict[str, Tensor], share: float) -> tuple[nn.Module, float]:
    """The network without the least salient share of its weights or hidden units, and the rise of the loss that OBD predicts."""
    if rule == "units":
        units = scores["0"]
        kept = units.argsort(descending=True)[: max(1, len(units) - round(share * len(units)))]
        return remove_units(network, "0", kept.sort().values), 0.0
    smaller = prune_weights(copy.deepcopy(network), scores, share)
    if rule != "obd":
        return smaller, 0.0
    masks = {name: module.weight_mask for name, module in smaller.named_modules() if hasattr(module, "weight_mask")}
    return smaller, sum(float((scores[name] * (1 - mask)).sum()) for name, mask in masks.items())


def weights_of(network: nn.Module) -> int:
    """How many weights of the linear layers are not pruned; biases are not counted."""
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
    return sum(int(getattr(layer, "weight_mask", torch.ones_like(layer.weight)).sum()) for layer in layers)


@torch.no_grad()
def loss_and_error(network: nn.Module, data: LabelledRows) -> tuple[float, float]:
    """Mean cross entropy in nats, and the share of wrong answers."""
    logits = network(data.x)
    return float(cross_entropy(logits.double(), data.y)), float((logits.argmax(1) != data.y).double().mean())


def mean_curve(rows: Sequence[Row], rule: str, name: str) -> list[float]:
    """Of a rule, the mean over the starts at each share."""
    some = [row[name] for row in rows if row["rule"] == rule]
    return [sum(values) / len(some) for values in zip(*some, strict=True)]


def share_that_may_go(shares: Sequence[float], errors: Sequence[float], most: float) -> float:
    """The largest share up to which no error is above `most`; 0 where the first is."""
    fine = 0.0
    for share, error in zip(shares, errors, strict=True):
        if error > most:
            break
        fine = share
    return fine


def conclude(rows: list[Row]) -> dict[str, float]:
    error = sum(row["error"] for row in rows) / len(rows)
    found: dict[str, float] = {"error": error, "weights": rows[0]["weights"]}
    for rule in (rule for rule in RULES if any(row["rule"] == rule for row in rows)):
        shares = mean_curve(rows, rule, "pruned")
        for when in ("before", "after"):
            errors = mean_curve(rows, rule, f"error_{when}")
            found[f"{rule}_share_{when}"] = share_that_may_go(shares, errors, error + MARGIN)
            found[f"{rule}_error_{when}_at_largest_share"] = errors[-1]
    return found


def draw(rows: list[Row]) -> list[Figure]:
    whole = sum(row["error"] for row in rows) / len(rows)
    figures = []
    for when, title in (("before", "Error as pruned"), ("after", "Error after retraining")):
        series = {
            rule: Line(mean_curve(rows, rule, "pruned"), mean_curve(rows, rule, f"error_{when}"), hue)
            for hue, rule in enumerate(RULES)
        }
        ends = [0.0, max(x for line in series.values() for x in line.x)]
        series["not pruned"] = Line(ends, [whole, whole], 8, ":")
        figures.append(
            lines(
                series,
                title,
                "On the test split, the mean over the starts. Units go with all weights from and to them.",
                xlabel="share of weights pruned",
                ylabel="error (share of test samples)",
                bottom=0,
            )
        )
    pruned = mean_curve(rows, "obd", "pruned")
    figures.append(
        lines(
            {
                "OBD: measured": Line(pruned, mean_curve(rows, "obd", "rise"), 2),
                "OBD: predicted": Line(pruned, mean_curve(rows, "obd", "predicted"), 2, "--"),
                "magnitude: measured": Line(pruned, mean_curve(rows, "magnitude", "rise"), 1),
            },
            "Rise of the training loss",
            "Predicted is the sum of the saliencies h w^2 / 2 of what was pruned, without the terms between two weights.",
            xlabel="share of weights pruned",
            ylabel="cross entropy (nats)",
            yscale="log",
        )
    )
    return figures
