"""Universal approximation by hand: bumps of sigmoids set to a given function, against a bound and against training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from chainrule.core.errors import UserError
from chainrule.core.task import Figure
from chainrule.loops.experiment import descend
from chainrule.optim import optimizer_of
from chainrule.run.run import Run
from chainrule.systems.studies.approximation.bumps import (
    BumpWeights,
    bumps,
    bumps_bound,
    cell_centres,
    modulus_of_continuity,
    towers,
    towers_bound,
)
from chainrule.systems.studies.approximation.figures import bump_figure, error_figure, tower_figure
from chainrule.systems.studies.approximation.given_function import read_function, read_function_of_two
from chainrule.systems.studies.approximation.region_figures import bump_responses, region_figure
from chainrule.systems.studies.approximation.regions import square_bump
from chainrule.systems.studies.approximation.shapes import SHAPES, measure_region, region_of
from chainrule.tasks.study import Study

LOW, HIGH = -1.0, 1.0
SAMPLES, SIDE = 4096, 96  # intervals, about, of the grids on which the largest error is sought
SECOND = 60.0  # steepness of the second layer of towers
MOST_BUMPS, MOST_CELLS = 2048, 32
TRAINED_ON = 513  # points of the function that a trained net sees
REGION_SHARPNESS = (20.0, 200.0, 2000.0)  # on a square whose sides are 2 long
SHOWN_SHARPNESS = 100.0


def sigmoid_bumps_study(
    run: Run,
    *,
    function: str,
    function_2d: str,
    counts: tuple[int, ...],
    sharpness: tuple[float, ...],
    cells: tuple[int, ...],
    trained: tuple[int, ...],
    steps: int,
    lr: float,
) -> Study:
    """Builds and trains nets of the given sizes; the recipe `sigmoid-bumps` explains the settings."""
    _check_sizes("counts", counts, MOST_BUMPS)
    _check_sizes("trained", trained, MOST_BUMPS)
    _check_sizes("cells", cells, MOST_CELLS)
    if not sharpness:
        raise UserError("there is nothing to measure", where="sharpness", expected="one or more")
    counts, cells, sharpness = tuple(sorted({*counts})), tuple(sorted({*cells})), tuple(sorted({*sharpness}))
    f, g = read_function(function, "function"), read_function_of_two(function_2d, "function_2d")
    # A function that is NaN or infinite somewhere fails here, before the first step.
    f(torch.linspace(LOW, HIGH, SAMPLES + 1, dtype=torch.float64))
    g(*_square(SIDE + 1))

    def measure(point: Mapping[str, Any]) -> dict[str, Any]:
        if point["what"] == "built":
            return measure_bumps(f, point["count"], point["sharpness"])
        if point["what"] == "towers":
            return measure_towers(g, point["count"], sharpness[-1])
        if point["what"] == "region":
            return measure_region(point["shape"], REGION_SHARPNESS)
        return measure_trained(f, point["count"], sharpness[-1], point["start"], steps, lr)

    points: list[dict[str, Any]] = [{"what": "built", "count": n, "sharpness": s} for s in sharpness for n in counts]
    points += [{"what": "towers", "count": n} for n in cells]
    points += [
        {"what": "trained", "count": n, "start": start} for start in ("random", "built") for n in sorted(set(trained))
    ]
    # Regions come last: a point's random numbers follow from its place, and earlier runs had none.
    points += [{"what": "region", "shape": shape} for shape in SHAPES]

    def draw(rows: list[dict[str, Any]]) -> list[Figure]:
        few, x = counts[min(2, len(counts) - 1)], torch.linspace(LOW, HIGH, 1001, dtype=torch.float64)
        nets = {f"sharpness {s:g}": bumps(f(cell_centres(few, LOW, HIGH)), LOW, HIGH, s)(x[:, None]) for s in sharpness}
        side = torch.linspace(LOW, HIGH, 121, dtype=torch.float64)
        shown = cells[min(2, len(cells) - 1)]
        return [
            bump_figure(x, f(x), nets, f"{function}: {few} bumps, {2 * few} sigmoids, nothing learnt"),
            error_figure(rows, f"Largest error of {function} against the number of bumps"),
            tower_figure(
                side,
                g(*_square(121)),
                _of_square(_towers(g, shown, sharpness[-1]), 121),
                f"{function_2d}: {shown} x {shown} towers",
            ),
            bump_responses(square_bump(-0.4, 0.4, 10.0), (LOW, HIGH)),
            region_figure(
                {name: (shape, region_of(shape, SHOWN_SHARPNESS)) for name, shape in SHAPES.items()}, (LOW, HIGH)
            ),
        ]

    return Study(
        run,
        points=points,
        measure=measure,
        conclude=lambda rows: conclude(rows, sharpness[-1]),
        draw=draw,
        claim="One hidden layer of sigmoids comes as near to a continuous function as one likes, if it is wide enough.",
        how="largest error on an even grid of [-1, 1] on which all edges and middles of the bumps lie; trained nets after "
        f"{steps} steps of Adam on {TRAINED_ON} points",
    )


def conclude(rows: list[dict[str, Any]], sharpest: float) -> dict[str, float]:
    """The numbers of the result; `order` is the power of 1 / count by which the largest error falls, 1 for a smooth f."""
    built = [r for r in rows if r["what"] == "built" and r["sharpness"] == sharpest]
    flat = [r for r in rows if r["what"] == "towers"]
    most, finest = built[-1], flat[-1]
    found = {
        "bumps": most["count"],
        "sup_error": most["sup_error"],
        "sup_error_bound": most["bound"],
        "rms_error": most["rms_error"],
        "towers": finest["count"] ** 2,
        "sup_error_of_towers": finest["sup_error"],
        "sup_error_bound_of_towers": finest["bound"],
        "points_above_their_bound": sum(r["sup_error"] > r["bound"] * (1 + 1e-9) for r in rows if "bound" in r),
    }
    for name, some in (("order", built), ("order_of_towers", flat)):
        logs = np.log([[r["count"], r["sup_error"]] for r in some if r["sup_error"] > 0])
        if len(logs) > 1:
            found[name] = float(-np.polyfit(logs[:, 0], logs[:, 1], 1)[0])
    learnt = [r for r in rows if r["what"] == "trained"]
    for start in ("random", "built"):
        last = [r for r in learnt if r["start"] == start][-1]
        found[f"sup_error_trained_from_{start}"] = last["sup_error"]
    found |= {"bumps_trained": learnt[-1]["count"], "sup_error_before_training": learnt[-1]["before"]}
    regions = [r for r in rows if r["what"] == "region"]
    if regions:  # a run of an earlier version did not measure them
        found["regions"] = len(regions)
        found["largest_share_wrong_of_a_region"] = max(r["wrong"] for r in regions)
    return found


def measure_bumps(f: Any, count: int, sharpness: float) -> dict[str, Any]:
    """The errors of a net of bumps, and its bound, on a grid that holds the edges and the middles of all bumps."""
    reach = 2 * -(-SAMPLES // (2 * count))
    x = torch.linspace(LOW, HIGH, count * reach + 1, dtype=torch.float64)
    truth = f(x)
    error = (bumps(f(cell_centres(count, LOW, HIGH)), LOW, HIGH, sharpness)(x[:, None]) - truth).abs()
    bound = bumps_bound(
        sharpness, modulus_of_continuity(truth, reach), float(truth.max() - truth.min()), float(truth.abs().max())
    )
    return {"sup_error": float(error.max()), "rms_error": float(error.square().mean().sqrt()), "bound": bound}


def measure_towers(g: Any, count: int, sharpness: float) -> dict[str, Any]:
    """The errors of a net of towers, and its bound, on a grid that holds the edges and the middles of all cells."""
    reach = 2 * -(-SIDE // (2 * count))
    side = count * reach + 1
    truth = g(*_square(side))
    error = (_of_square(_towers(g, count, sharpness), side) - truth).abs()
    bound = towers_bound(_values(g, count), sharpness, SECOND, modulus_of_continuity(truth, reach))
    return {"sup_error": float(error.max()), "rms_error": float(error.square().mean().sqrt()), "bound": bound}


def measure_trained(f: Any, count: int, sharpness: float, start: str, steps: int, lr: float) -> dict[str, Any]:
    """The errors of the same net after training, from PyTorch's random weights or from the bumps."""
    network = nn.Sequential(nn.Linear(1, 2 * count), nn.Sigmoid(), nn.Linear(2 * count, 1)).double()
    if start == "built":
        fill(network, bumps(f(cell_centres(count, LOW, HIGH)), LOW, HIGH, sharpness))
    x = torch.linspace(LOW, HIGH, TRAINED_ON, dtype=torch.float64)
    fine = torch.linspace(LOW, HIGH, SAMPLES + 1, dtype=torch.float64)

    def errors() -> Tensor:
        with torch.no_grad():
            return (network(fine[:, None])[:, 0] - f(fine)).abs()

    before = float(errors().max())
    optimizer = optimizer_of("adam", network.parameters(), lr)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    descend(
        network,
        x[:, None],
        f(x)[:, None],
        nn.functional.mse_loss,
        optimizer,
        steps=steps,
        each_step=lambda step, loss: rate.step(),
    )
    after = errors()
    return {"before": before, "sup_error": float(after.max()), "rms_error": float(after.square().mean().sqrt())}


@torch.no_grad()
def fill(network: nn.Sequential, written: BumpWeights) -> None:
    """Sets the weights of the linear layers of a network to those that were written down."""
    layers = [layer for layer in network if isinstance(layer, nn.Linear)]
    for layer, weight, bias in zip(layers, written.weights, written.biases, strict=True):
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)


def _values(g: Any, count: int) -> Tensor:
    centres = cell_centres(count, LOW, HIGH)
    return g(*torch.meshgrid(centres, centres, indexing="ij"))


def _towers(g: Any, count: int, sharpness: float) -> BumpWeights:
    return towers(_values(g, count), LOW, HIGH, sharpness, SECOND)


def _square(side: int) -> tuple[Tensor, Tensor]:
    line = torch.linspace(LOW, HIGH, side, dtype=torch.float64)
    x, y = torch.meshgrid(line, line, indexing="ij")
    return x, y


def _of_square(net: BumpWeights, side: int) -> Tensor:
    places = torch.stack([axis.reshape(-1) for axis in _square(side)], 1)  # (side * side, 2)
    return torch.cat([net(part) for part in places.split(2048)]).reshape(side, side)


def _check_sizes(name: str, sizes: tuple[int, ...], most: int) -> None:
    if not sizes or not all(1 <= n <= most for n in sizes):
        raise UserError(
            "the sizes are out of range",
            where=name,
            expected=f"from 1 to {most}",
            found=", ".join(map(str, sizes)) or "none",
        )
