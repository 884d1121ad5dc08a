"""Momentum in a ravine: steps to the bottom over learning rates, and the contraction beside its closed form."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from chainrule.core.errors import UserError
from chainrule.core.task import Figure
from chainrule.optim import optimal_rate
from chainrule.run.run import Run
from chainrule.systems.studies.optimization.descent_theory import Method, best_tuning
from chainrule.systems.studies.optimization.figures import contraction_figure, path_figure, steps_over_rates
from chainrule.systems.studies.optimization.surface_figures import parabola_figure
from chainrule.systems.studies.optimization.surfaces import Surface, ravine, rosenbrock
from chainrule.systems.studies.optimization.walk import HAS_MOMENTUM, LABELS, RULES, Walk, walk
from chainrule.tasks.study import Study

METHODS: dict[str, Method] = {
    "sgd": "gradient descent",
    "momentum": "momentum",
    "nesterov": "nesterov",
}  # with a closed form
SHOWN_STEPS = 300  # of a path
PATIENCE = 20  # walks that need more than this many times the steps of the fastest are given up
SHARES = (0.4, 1.0, 1.7, 2.1)  # of the optimal rate on a parabola: under it, at it, over it, over twice
PARABOLA_STEPS = 12
HOLD = 20  # steps that a walk must stay at the minimum: at a high rate some pass through it by luck
# Not on a diagonal of the ravine: the first steps of adaptive rules are equal in both coordinates, straight along one.
PLACES = {
    "ravine": {"start": (-1.2, 0.5), "end": (0.0, 0.0), "window": (-1.35, 1.35, -1.2, 1.2)},
    "rosenbrock": {"start": (-1.2, 1.0), "end": (1.0, 1.0), "window": (-1.7, 1.7, -0.7, 1.7)},
}


def ravine_study(
    run: Run,
    *,
    condition: float,
    angle: float,
    rates: int,
    momenta: tuple[float, ...],
    tolerance: float,
    max_steps: int,
    contraction_steps: int,
) -> Study:
    """Measures every rule on the quadratic ravine and in Rosenbrock's valley; the recipe `ravine` explains the settings."""
    if condition <= 1:
        raise UserError("this quadratic is no ravine", where="condition", expected="above 1", found=condition)
    if not momenta or not all(0 < m < 1 for m in momenta):
        raise UserError(
            "a momentum is out of range",
            where="momenta",
            expected="above 0 and below 1",
            found=", ".join(map(str, momenta)) or "none",
        )
    if not 0 < tolerance < 1:
        raise UserError(
            "the tolerance is out of range", where="tolerance", expected="above 0 and below 1", found=tolerance
        )

    def surface_of(name: str) -> Surface:
        return (lambda points: ravine(points, condition, angle)) if name == "ravine" else rosenbrock

    def measure(point: Mapping[str, Any]) -> dict[str, Any]:
        if point["what"] == "contraction":
            return measure_contraction(point["rule"], condition, angle, contraction_steps)
        if point["what"] == "rate":
            return measure_rate(point["share"], condition)
        return sweep(
            surface_of(point["what"]),
            point["what"],
            point["rule"],
            momenta=momenta,
            count=rates,
            tolerance=tolerance,
            max_steps=max_steps,
        )

    points: list[dict[str, Any]] = [{"what": "contraction", "rule": rule} for rule in METHODS]
    points += [{"what": what, "rule": rule} for what in PLACES for rule in RULES]
    points += [{"what": "rate", "rule": "sgd", "share": share} for share in SHARES]

    def draw(rows: list[dict[str, Any]]) -> list[Figure]:
        swept = {what: [r for r in rows if r["what"] == what] for what in PLACES}
        titles = {
            "ravine": f"The ravine of condition {condition:g}, turned by {angle:g} degrees",
            "rosenbrock": "Rosenbrock's valley",
        }
        figures = [contraction_figure({METHODS[r["rule"]]: r for r in rows if r["what"] == "contraction"})]
        for what, some in swept.items():
            paths = {LABELS[r["rule"]]: (r["path"], r["best_steps"]) for r in some}
            figures.append(path_figure(surface_of(what), paths, titles[what], PLACES[what]))
            series = {LABELS[r["rule"]]: (r["rates"], r["steps"]) for r in some}
            figures.append(
                steps_over_rates(
                    series,
                    f"{titles[what]}: steps over learning rates",
                    f"{max_steps:,} steps, or {PATIENCE} times those of the fastest",
                )
            )
        if parabola := [r for r in rows if r["what"] == "rate"]:  # a run of an earlier version did not measure it
            figures.append(parabola_figure(parabola, condition))
        return figures

    return Study(
        run,
        points=points,
        measure=measure,
        conclude=conclude,
        draw=draw,
        claim="In a ravine momentum needs about the root of the steps that gradient descent needs.",
        how=f"steps until the distance to the minimum is {tolerance:g} of that at the start and stays so for {HOLD} steps, each rule at the best of "
        f"{rates} learning rates (and of the momenta {', '.join(f'{m:g}' for m in momenta)} where it has one)",
    )


def conclude(rows: list[dict[str, Any]]) -> dict[str, float]:
    """The numbers of the result. A rule that never arrived has no entry."""
    found: dict[str, float] = {}
    for row in rows:
        if row["what"] == "contraction":
            name = row["rule"]
            found |= {f"{name}_contraction": row["contraction"], f"{name}_contraction_predicted": row["predicted"]}
        elif row["what"] == "rate":
            gap = abs(row["contraction"] - row["predicted"])
            found["largest_gap_of_rates"] = max(found.get("largest_gap_of_rates", 0.0), gap)
        elif row["best_steps"] is not None:
            found[f"{row['what']}_{row['rule']}_steps"] = row["best_steps"]
    for what in PLACES:
        plain, faster = found.get(f"{what}_sgd_steps"), found.get(f"{what}_momentum_steps")
        if plain is not None and faster:
            found[f"{what}_speedup_of_momentum"] = plain / faster
    found["ravine_speedup_predicted"] = math.log(found["momentum_contraction_predicted"]) / math.log(
        found["sgd_contraction_predicted"]
    )
    return found


def measure_contraction(rule: str, condition: float, angle: float, steps: int) -> dict[str, Any]:
    """The mean factor of a step over the second half of a long walk at the best tuning, and the curve of distances.

    At the best tuning of momentum two roots fall together, and the distance falls as t q^t: so the measured factor is
    above q by about 2^(2 / steps).
    """
    tuning = best_tuning(METHODS[rule], 1.0, condition)
    # Not so long that the distance leaves float64: it can fall by 250 orders of magnitude.
    steps = max(4, min(steps, int(-250 * math.log(10) / math.log(max(tuning.contraction, 1e-6)))))
    walker = Walk(torch.tensor([1.0, 1.0], dtype=torch.float64), tuning.lr, tuning.momentum)
    never = lambda points: torch.zeros(len(points), dtype=torch.bool)  # noqa: E731
    walk(lambda points: ravine(points, condition, angle), rule, [walker], done=never, max_steps=steps - 1, keep=steps)
    distance = [math.hypot(*place) for place in walker.path]
    half = len(distance) // 2
    measured = (distance[-1] / distance[half]) ** (1 / (len(distance) - 1 - half))
    return {
        "best_rate": tuning.lr,
        "best_momentum": tuning.momentum,
        "contraction": measured,
        "predicted": tuning.contraction,
        "distance": distance[:SHOWN_STEPS],
    }


def measure_rate(share: float, curvature: float) -> dict[str, Any]:
    """Descent on a parabola at a share of the optimal rate, the inverse second derivative: a step multiplies w by 1 - share."""
    w = torch.ones((), dtype=torch.float64, requires_grad=True)
    lr = share * optimal_rate(curvature * w**2 / 2, [w])
    path = [1.0]
    for _ in range(PARABOLA_STEPS):
        (slope,) = torch.autograd.grad(curvature * w**2 / 2, [w])
        w = (w - lr * slope).detach().requires_grad_()
        path.append(w.item())
    measured = abs(path[-1]) ** (1 / PARABOLA_STEPS)
    return {"best_rate": lr, "contraction": measured, "predicted": abs(1 - share), "path": path}


def sweep(
    surface: Surface, what: str, rule: str, *, momenta: tuple[float, ...], count: int, tolerance: float, max_steps: int
) -> dict[str, Any]:
    """Walks from the usual start at `count` rates from 3e-4 to 3, at the best momentum for each rate."""
    place = PLACES[what]
    end = torch.tensor(place["end"], dtype=torch.float64)
    start = torch.tensor(place["start"], dtype=torch.float64)
    goal = tolerance * float((start - end).norm())

    def done(points: Tensor) -> Tensor:
        return (points - end).norm(dim=1) <= goal

    rates = torch.logspace(math.log10(3e-4), math.log10(3), count, dtype=torch.float64).tolist()
    walks = [Walk(start, lr, m) for lr in rates for m in (momenta if rule in HAS_MOMENTUM else (0.0,))]
    walk(surface, rule, walks, done=done, max_steps=max_steps, hold=HOLD, patience=PATIENCE)
    best: list[Walk] = []
    for lr in rates:
        best.append(min((w for w in walks if w.lr == lr), key=_order))
    champion = min(best, key=_order)
    shown = Walk(start, champion.lr, champion.momentum)
    walk(surface, rule, [shown], done=done, max_steps=min(max_steps, SHOWN_STEPS), keep=SHOWN_STEPS + 1, hold=HOLD)
    return {
        "best_steps": champion.steps,
        "best_rate": champion.lr,
        "best_momentum": champion.momentum,
        "rates": rates,
        "steps": [w.steps for w in best],
        "path": shown.path,
    }


def _order(walked: Walk) -> float:
    return math.inf if walked.steps is None else walked.steps
