"""Depth against width: the sawtooth of Telgarsky by construction, its pieces counted, and by training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from chainrule.core.errors import UserError
from chainrule.core.task import Figure
from chainrule.loops.experiment import descend
from chainrule.optim import optimizer_of
from chainrule.run.run import Run
from chainrule.systems.studies.approximation.figures import built_figure, sawtooth_figure, trained_figure
from chainrule.systems.studies.approximation.linear_pieces import (
    Layer,
    deep_sawtooth,
    least_alternating_error,
    linear_pieces,
    sawtooth,
    shallow_sawtooth,
)
from chainrule.tasks.study import Study

SAMPLES_OF_A_PIECE = 32
EDGE = math.sqrt(3)  # a net that learns sees x from -EDGE to EDGE, of mean 0 and variance 1


def depth_width_study(
    run: Run,
    *,
    built: int,
    folds: int,
    widths: tuple[int, ...],
    depths: tuple[int, ...],
    parameters: int,
    repeats: int,
    steps: int,
    lr: float,
) -> Study:
    """Builds and trains nets of the given shapes; the recipe `depth-width` explains the settings."""
    for name, value, most in (("built", built, 11), ("folds", folds, 8)):
        if value > most:
            raise UserError(
                "the sawtooth has too many teeth to be measured", where=name, expected=f"at most {most}", found=value
            )
    if not widths or not depths:
        raise UserError("there is nothing to measure", where="widths and depths", expected="one or more of each")
    shapes = {depth: width_for(parameters, depth) for depth in sorted(set(depths))}
    widths = tuple(sorted(set(widths)))

    def measure(point: Mapping[str, Any]) -> dict[str, Any]:
        if point["what"] == "built":
            return measure_built(point["depth"])
        return measure_trained(point["depth"], point["width"], folds, steps, lr)

    points: list[dict[str, Any]] = [{"what": "width", "depth": 1, "width": w} for w in widths for _ in range(repeats)]
    points += [{"what": "depth", "depth": d, "width": w} for d, w in shapes.items() for _ in range(repeats)]
    points += [{"what": "built", "depth": depth, "width": 2} for depth in range(1, built + 1)]

    def draw(rows: list[dict[str, Any]]) -> list[Figure]:
        some = [r for r in rows if r["what"] == "depth"]
        best = {d: min((r for r in some if r["depth"] == d), key=lambda r: r["rms_error"]) for d in shapes}
        curves = {f"depth {d}, width {r['width']}: {r['pieces']} pieces": r["curve"] for d, r in best.items()}
        x = torch.linspace(0, 1, 2**folds * SAMPLES_OF_A_PIECE + 1, dtype=torch.float64)
        return [
            built_figure([r for r in rows if r["what"] == "built"]),
            trained_figure(
                [r for r in rows if r["what"] == "width"], [r for r in rows if r["what"] == "depth"], parameters
            ),
            sawtooth_figure(x, sawtooth(x, folds), curves, f"The best trained nets of about {parameters} parameters"),
        ]

    return Study(
        run,
        points=points,
        measure=measure,
        conclude=conclude,
        draw=draw,
        claim="The pieces of a deep net of rectified units grow exponentially with its depth, those of a shallow net linearly "
        "with its width.",
        how=f"pieces counted exactly; trained nets after {steps} full-batch steps of Adam on the sawtooth of {2**folds} pieces, "
        f"{repeats} random starts each",
    )


def conclude(rows: list[dict[str, Any]]) -> dict[str, float]:
    """The numbers of the result: of the deepest built net, and of the trained ones the mean over their starts."""
    last = [r for r in rows if r["what"] == "built"][-1]
    found = {
        "pieces_built": last["pieces"],
        "parameters_deep": last["parameters"],
        "parameters_shallow": last["shallow_parameters"],
        "largest_difference_of_the_two": last["difference"],
        "least_error_of_a_shallow_net_as_large": last["least_error"],
    }
    learnt = [r for r in rows if r["what"] != "built"]
    found["nets_below_the_least_error"] = sum(r["error"] < r["least_error"] for r in learnt)
    for row in learnt:
        name = f"width_{row['width']}" if row["what"] == "width" else f"depth_{row['depth']}"
        alike = [r for r in learnt if (r["what"], r["depth"], r["width"]) == (row["what"], row["depth"], row["width"])]
        found[f"rms_error_of_{name}"] = sum(r["rms_error"] for r in alike) / len(alike)
        found[f"pieces_of_{name}"] = sum(r["pieces"] for r in alike) / len(alike)
    return found


def measure_built(depth: int) -> dict[str, Any]:
    """The sawtooth of 2^depth pieces as a deep and as a shallow net, and what a shallow net of the deep one's size can do."""
    deep, shallow = deep_sawtooth(depth), shallow_sawtooth(depth)
    x = torch.linspace(0, 1, 2**depth * 2 + 1, dtype=torch.float64)
    size = count_parameters(deep)
    return {
        "pieces": linear_pieces(deep, 0.0, 1.0),
        "shallow_pieces": linear_pieces(shallow, 0.0, 1.0),
        "parameters": size,
        "shallow_parameters": count_parameters(shallow),
        "difference": float((answers(deep, x) - answers(shallow, x)).abs().max()),
        "least_error": least_alternating_error(2**depth, width_for(size, 1) + 1),
    }


def measure_trained(depth: int, width: int, folds: int, steps: int, lr: float) -> dict[str, Any]:
    """One net trained on the sawtooth: its errors, its pieces, and the labels 0, 1, 0, 1, ... at the sawtooth's corners."""
    network = rectified(depth, width).double()
    x = torch.linspace(0, 1, 2**folds * SAMPLES_OF_A_PIECE + 1, dtype=torch.float64)
    y, seen = sawtooth(x, folds), (2 * x - 1) * EDGE
    optimizer = optimizer_of("adam", network.parameters(), lr)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    descend(
        network,
        seen[:, None],
        y[:, None],
        nn.functional.mse_loss,
        optimizer,
        steps=steps,
        each_step=lambda step, loss: rate.step(),
    )
    layers = layers_of(network)
    curve = answers(layers, seen)
    pieces, points = linear_pieces(layers, -EDGE, EDGE), 2**folds
    corners = curve[:-1:SAMPLES_OF_A_PIECE]
    wrong = (corners >= 0.5) != (torch.arange(points) % 2 == 1)
    return {
        "parameters": count_parameters(layers),
        "pieces": pieces,
        "rms_error": float((curve - y).square().mean().sqrt()),
        "error": float(wrong.double().mean()),
        "least_error": least_alternating_error(points, pieces),
        "sup_error": float((curve - y).abs().max()),
        "curve": curve.tolist(),
    }


def rectified(depth: int, width: int) -> nn.Sequential:
    """A net from one input to one output with `depth` hidden layers of `width` rectified units."""
    sizes = [1, *[width] * depth, 1]
    parts: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        parts += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*parts[:-1])


def width_for(parameters: int, depth: int) -> int:
    """The widest net of that depth that has at most so many parameters.

    Errors: a UserError where not even one unit a layer fits.

    >>> width_for(200, 1), width_for(200, 3)
    (66, 8)
    """
    # (d - 1) w^2 + (d + 2) w + 1 <= parameters, solved for w in whole numbers
    square, linear, rest = depth - 1, depth + 2, parameters - 1
    width = (
        rest // linear
        if not square
        else (math.isqrt(linear**2 + 4 * square * rest) - linear) // (2 * square)
        if rest >= 0
        else 0
    )
    if not width:
        raise UserError(
            "the net has too few parameters for its depth",
            expected=f"{2 * (depth - 1) + 4} or more at depth {depth}",
            found=parameters,
        )
    return width


def layers_of(network: nn.Sequential) -> list[Layer]:
    return [(layer.weight.detach(), layer.bias.detach()) for layer in network if isinstance(layer, nn.Linear)]


def count_parameters(layers: list[Layer]) -> int:
    return sum(weight.numel() + bias.numel() for weight, bias in layers)


def answers(layers: list[Layer], x: Tensor) -> Tensor:
    """What the layers answer (N,) to x (N,)."""
    value = x[:, None]
    for number, (weight, bias) in enumerate(layers):
        value = nn.functional.linear(value.relu() if number else value, weight, bias)
    return value[:, 0]
