"""Dropout as averaging: one pass with scaled weights against means over sampled masks, and over all masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, nll_loss

from chainrule.core.errors import UserError
from chainrule.core.task import Figure
from chainrule.functional.metrics.calibration import expected_calibration_error
from chainrule.loops.experiment import Row, descend
from chainrule.nn.dropout import Dropout, monte_carlo
from chainrule.reporting.line_plots import Line, lines
from chainrule.run.run import Run
from chainrule.systems.studies.generalization.dropout_masks import all_masks, arithmetic_mean, geometric_mean
from chainrule.systems.studies.image_rows import ImageRows
from chainrule.tasks.study import Study

MOST_ENUMERATED = 12  # units, so that 4096 masks are made
ENUMERATED_ROWS = 200  # test samples that all masks are tried on
CLAIM = (
    "A pass without dropout is the geometric mean over all thinned networks where the masks are before a softmax layer, "
    "and approximates it elsewhere. The arithmetic mean over sampled masks needs some 50 passes to err as little."
)


def dropout_study(
    run: Run,
    *,
    rates: Sequence[float],
    hidden: int,
    enumerated: int,
    draws: int,
    size: int,
    samples: int,
    steps: int,
    batch_size: int,
    lr: float,
) -> Study:
    """A wide net of two hidden layers at each rate, with sampled masks; and two small nets whose masks are all tried."""
    if not all(0 < rate < 1 for rate in rates):
        raise UserError(
            "a rate is out of range", expected="above 0 and below 1", found=f"rates={','.join(map(str, rates))}"
        )
    if not 2 <= enumerated <= MOST_ENUMERATED or enumerated % 2:
        raise UserError(
            "the enumerated units are out of range",
            expected=f"an even number from 2 to {MOST_ENUMERATED}",
            found=f"enumerated={enumerated}",
        )
    rows = ImageRows(run, size=size, samples=samples)

    def measure(point: Mapping[str, Any]) -> Row:
        train, test, wide = rows.train, rows.test, point["net"] == "wide"
        layers = 1 if point["net"] == "one hidden layer" else 2
        network = perceptron(
            rows.width, hidden if wide else enumerated // layers, layers, rows.num_classes, point["rate"]
        ).to(run.device)
        optimizer = torch.optim.Adam(network.parameters(), lr)
        descend(network, train.x, train.y, cross_entropy, optimizer, steps=steps, batch_size=batch_size)
        network.eval()
        with torch.no_grad():
            if not wide:  # in float64: the two sides agree to the last digits
                network.double()
            scaled = network(test.x.to(next(network.parameters()).dtype)).double().log_softmax(1)
            found = quality(scaled, test.y, "scaled")
            if not wide:
                small, y = scaled[:ENUMERATED_ROWS], test.y[:ENUMERATED_ROWS]
                return found | measure_means(
                    *enumerate_masks(network, test.x[:ENUMERATED_ROWS], point["rate"]), small, y
                )
            if point["rate"] == 0:
                return found
            sampled = monte_carlo(network, test.x, draws).double().log_softmax(-1)
            weights = sampled.new_full((draws,), 1 / draws)
            return found | measure_means(sampled, weights, scaled, test.y) | over_samples(sampled, test.y)

    points = [{"net": "wide", "rate": rate} for rate in (0.0, *rates)]
    points += [{"net": net, "rate": 0.5} for net in ("one hidden layer", "two hidden layers")]
    return Study(
        run,
        points=points,
        measure=measure,
        conclude=conclude,
        draw=draw,
        claim=CLAIM,
        how=f"nets trained on the training split and measured on the test split, with {draws} sampled masks, and with all "
        f"masks of {enumerated} units on its first {ENUMERATED_ROWS} samples",
    )


def perceptron(width: int, hidden: int, layers: int, num_classes: int, rate: float) -> nn.Sequential:
    """Linear, ReLU and dropout for each hidden layer, then a linear layer."""
    parts: list[nn.Module] = []
    for before in (width, *[hidden] * (layers - 1)):
        parts += [nn.Linear(before, hidden), nn.ReLU(), Dropout(rate)]
    return nn.Sequential(*parts, nn.Linear(hidden, num_classes))


def enumerate_masks(network: nn.Sequential, x: Tensor, rate: float) -> tuple[Tensor, Tensor]:
    """Log-probabilities of a net in float64 under every mask (M, N, K) and the masks' probabilities (M,)."""
    linear = [part for part in network if isinstance(part, nn.Linear)]
    widths = [layer.out_features for layer in linear[:-1]]
    masks, probabilities = all_masks(sum(widths), rate)  # (M, units), (M,)
    answers: Tensor = x.double()
    for layer, mask in zip(linear, masks.to(x.device).split(widths, 1), strict=False):
        answers = layer(answers).relu() * mask[:, None]  # (M, N, units of the layer), one net a mask
    return linear[-1](answers).log_softmax(-1), probabilities.to(x.device)


def quality(log_probs: Tensor, y: Tensor, name: str) -> Row:
    """Error, mean negative log-likelihood and calibration error of an answer (N, K)."""
    return {
        f"{name}_error": float((log_probs.argmax(1) != y).double().mean()),
        f"{name}_nll_nats": float(nll_loss(log_probs, y)),
        f"{name}_calibration": float(expected_calibration_error(log_probs.exp(), y)),
    }


def distance(one: Tensor, other: Tensor) -> float:
    """Half the sum of absolute differences of two distributions: the mean over the samples, from 0 to 1."""
    return float((one.exp() - other.exp()).abs().sum(1).mean() / 2)


def measure_means(log_probs: Tensor, weights: Tensor, scaled: Tensor, y: Tensor) -> Row:
    """Both means over the masks, and how far each lies from the pass with scaled weights."""
    geometric, arithmetic = geometric_mean(log_probs, weights), arithmetic_mean(log_probs, weights)
    return {
        **quality(arithmetic, y, "mean"),
        "distance_geometric": distance(scaled, geometric),
        "distance_arithmetic": distance(scaled, arithmetic),
        "single_error": float((weights[:, None] * (log_probs.argmax(-1) != y)).sum(0).mean()),
    }


def over_samples(log_probs: Tensor, y: Tensor) -> Row:
    """Quality of the arithmetic mean of the first, second, ... group of T masks, the mean over the groups, for each T."""
    counts = [t for t in (1, 2, 3, 5, 10, 20, 30, 50, 100, 200, 500, 1000) if t <= len(log_probs)]
    found: Row = {"counts": counts}
    for t in counts:
        groups = log_probs[: len(log_probs) // t * t].split(t)
        each = [quality(arithmetic_mean(g, g.new_full((t,), 1 / t)), y, "sampled") for g in groups]
        for name in each[0]:
            found.setdefault(name, []).append(sum(row[name] for row in each) / len(each))
    return found


def conclude(rows: list[Row]) -> dict[str, float]:
    wide = [row for row in rows if row["net"] == "wide"]
    found = {
        "error_without_dropout": wide[0]["scaled_error"],
        "calibration_without_dropout": wide[0]["scaled_calibration"],
    }
    for row in wide[1:]:
        label = f"rate_{round(100 * row['rate'])}"
        found |= {
            f"{label}_scaled_error": row["scaled_error"],
            f"{label}_mean_error": row["mean_error"],
            f"{label}_single_error": row["single_error"],
            f"{label}_scaled_calibration": row["scaled_calibration"],
            f"{label}_mean_calibration": row["mean_calibration"],
            f"{label}_enough_samples": enough(row),
        }
    for row in rows[len(wide) :]:
        label = row["net"].replace(" hidden ", "_").replace("layers", "layer")
        found |= {
            f"{label}_geometric_gap": row["distance_geometric"],
            f"{label}_arithmetic_gap": row["distance_arithmetic"],
        }
    return found


def enough(row: Row) -> int:
    """The fewest sampled masks whose mean errs no more than one pass with scaled weights; 0 where none did."""
    reached = (t for t, error in zip(row["counts"], row["sampled_error"], strict=True) if error <= row["scaled_error"])
    return next(reached, 0)


def draw(rows: list[Row]) -> list[Figure]:
    sampled = [row for row in rows if "counts" in row]
    figures = []
    for name, title, unit in (
        ("error", "Error against the number of masks", "error (share of test samples)"),
        ("nll_nats", "Likelihood against the number of masks", "negative log-likelihood (nats)"),
        ("calibration", "Calibration against the number of masks", "expected calibration error"),
    ):
        series = {}
        for hue, row in enumerate(sampled):
            ends = [row["counts"][0], row["counts"][-1]]
            series[f"p = {row['rate']:g}: mean of masks"] = Line(row["counts"], row[f"sampled_{name}"], hue)
            series[f"p = {row['rate']:g}: scaled weights"] = Line(ends, [row[f"scaled_{name}"]] * 2, hue, "--")
        ends = [sampled[0]["counts"][0], sampled[0]["counts"][-1]]
        series["trained without dropout"] = Line(ends, [rows[0][f"scaled_{name}"]] * 2, 8, ":")
        figures.append(
            lines(
                series,
                title,
                "Solid: probabilities averaged over sampled masks. Dashed: one pass without dropout.",
                xlabel="sampled masks",
                ylabel=unit,
                xscale="log",
            )
        )
    table = [["net", "rate", "masks", "to the geometric mean", "to the arithmetic mean"]]
    for row in rows[1:]:
        masks = f"{row['counts'][-1]} sampled" if "counts" in row else "all"
        table.append(
            [
                row["net"],
                f"{row['rate']:g}",
                masks,
                f"{row['distance_geometric']:.2g}",
                f"{row['distance_arithmetic']:.2g}",
            ]
        )
    caption = (
        "Total variation, the mean over test samples. With masks before the softmax layer only, the first is zero."
    )
    return [*figures, Figure("Distance of scaled weights from the means over masks", caption, table=table)]
