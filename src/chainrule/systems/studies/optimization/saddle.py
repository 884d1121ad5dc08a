"""Escape from a saddle: the steps that each rule needs, against how near to it the walk starts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chainrule.core.errors import UserError
from chainrule.core.task import Figure
from chainrule.run.run import Run
from chainrule.systems.studies.optimization.descent_theory import escape_steps, factor
from chainrule.systems.studies.optimization.figures import escape_figure, path_figure
from chainrule.systems.studies.optimization.surface_figures import loss_surfaces, plateau_figure
from chainrule.systems.studies.optimization.surfaces import Surface, monkey_saddle, saddle
from chainrule.systems.studies.optimization.two_weights import DEPTHS, LOSSES, measure_plateau, two_weight_loss
from chainrule.systems.studies.optimization.walk import LABELS, Walk, walk, walk_newton
from chainrule.tasks.study import Study

SURFACES: dict[str, Surface] = {"saddle": saddle, "monkey": monkey_saddle}
TITLES = {"saddle": "The saddle x\u00b2 \u2212 y\u00b2", "monkey": "The monkey saddle x\u00b3 \u2212 3xy\u00b2"}
RULES = ("sgd", "momentum", "nesterov", "noise", "adagrad", "rmsprop", "adam", "newton", "damped_newton")
CURVATURE = -2.0  # of x^2 - y^2 along y
# The direction of the start: on the saddle half into it, half out; on the monkey saddle midway between a ridge and a
# valley. On a ridge itself plain descent would go into the saddle and stay.
DIRECTIONS = {"saddle": math.radians(45), "monkey": math.radians(30)}
RADIUS = 1.0
NEWTON_STEPS = 60
SHOWN_STEPS = 1000
PLATEAU = "plateau"  # of the net of two weights, where the rule is gradient descent and the point names the loss
WINDOW = {"start": (0.0, 0.0), "end": (0.0, 0.0), "window": (-1.1, 1.1, -1.1, 1.1)}


def saddle_study(
    run: Run, *, distances: tuple[float, ...], lr: float, momentum: float, noise: float, repeats: int, max_steps: int
) -> Study:
    """Measures every rule on both saddles; the recipe `saddle-escape` explains the settings."""
    if len(distances) < 2 or not all(0 < d < RADIUS for d in distances) or len(set(distances)) < len(distances):
        raise UserError(
            "the distances are out of range",
            where="distances",
            expected="two or more, different, above 0 and below 1",
            found=", ".join(f"{d:g}" for d in distances) or "none",
        )
    if not 0 < momentum < 1:
        raise UserError(
            "the momentum is out of range", where="momentum", expected="above 0 and below 1", found=momentum
        )
    if noise <= 0:
        raise UserError("there is no noise", where="noise", expected="above 0", found=noise)
    distances = tuple(sorted(distances, reverse=True))

    def measure(point: Mapping[str, Any]) -> dict[str, Any]:
        if point["surface"] == PLATEAU:
            return measure_plateau(point["rule"], max_steps=max_steps)
        return measure_escape(
            point["surface"],
            point["rule"],
            distances=distances,
            lr=lr,
            momentum=momentum,
            noise=noise,
            repeats=repeats,
            max_steps=max_steps,
        )

    def draw(rows: list[dict[str, Any]]) -> list[Figure]:
        theory: dict[str, Sequence[float]] = {
            "theory: gradient descent": [escape_steps(_out(d), RADIUS, lr, CURVATURE) for d in distances],
            "theory: momentum": [math.log(RADIUS / d) / math.log(factor(CURVATURE, lr, momentum)) for d in distances],
        }
        figures = []
        for name, surface in SURFACES.items():
            some = [row for row in rows if row["surface"] == name]
            series = {LABELS[row["rule"]]: row["steps"] for row in some}
            figures.append(
                escape_figure(distances, series, theory if name == "saddle" else {}, f"{TITLES[name]}: steps to leave")
            )
            paths = {LABELS[row["rule"]]: (row["path"], row["steps"][_shown(distances)]) for row in some}
            title = f"{TITLES[name]}: paths from a distance of {distances[_shown(distances)]:g}"
            figures.append(path_figure(surface, paths, title, WINDOW))
        plateau = {row["rule"]: row for row in rows if row["surface"] == PLATEAU}
        if plateau:  # a run of an earlier version did not measure it
            figures.append(loss_surfaces(two_weight_loss, {loss: row["path"] for loss, row in plateau.items()}))
            figures.append(plateau_figure(DEPTHS, plateau))
        return figures

    return Study(
        run,
        # The plateau comes last: a point's random numbers follow from its place, and earlier runs had none.
        points=[
            *({"surface": s, "rule": r} for s in SURFACES for r in RULES),
            *({"surface": PLATEAU, "rule": loss} for loss in LOSSES),
        ],
        measure=measure,
        conclude=lambda rows: conclude(rows, distances, lr, momentum),
        draw=draw,
        claim="Gradient descent leaves a strict saddle in log(1/distance) / log(1 + lr curvature) steps; Newton goes into it.",
        how=f"steps until the distance from the saddle is {RADIUS:g}, all rules at lr {lr:g} from the same starts; noisy "
        f"descent as the median of {repeats} walks",
    )


def measure_escape(
    surface: str,
    rule: str,
    *,
    distances: tuple[float, ...],
    lr: float,
    momentum: float,
    noise: float,
    repeats: int,
    max_steps: int,
) -> dict[str, Any]:
    """Steps to leave from each distance, None for never; and what happens from the saddle itself."""
    angle = DIRECTIONS[surface]
    way = torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)
    starts = [d * way for d in (*distances, 0.0)]
    shape, shown = SURFACES[surface], _shown(distances)
    if rule in ("newton", "damped_newton"):
        walks = [
            walk_newton(shape, start, NEWTON_STEPS, damped=rule == "damped_newton", done=_out_of_it) for start in starts
        ]
        last = math.hypot(*walks[shown].path[-1])
        return _row([w.steps for w in walks], walks[shown].path, last if rule == "newton" else None)
    many = repeats if rule == "noise" else 1
    walks = [Walk(start, lr, momentum) for start in starts for _ in range(many)]
    walk(shape, rule, walks, done=_out_of_it, max_steps=max_steps, noise=noise, keep=SHOWN_STEPS)
    steps = [_median([w.steps for w in walks[i : i + many]]) for i in range(0, len(walks), many)]
    return _row(steps, walks[shown * many].path, None)


def conclude(rows: list[dict[str, Any]], distances: tuple[float, ...], lr: float, momentum: float) -> dict[str, float]:
    """The numbers of the result: of the strict saddle a slope in steps per factor of ten, measured and predicted.

    Of the monkey saddle the power of 1 / distance by which the steps of plain descent grow, which is 1 in the limit.
    """
    found: dict[str, float] = {}
    for row in rows:
        if row["surface"] == PLATEAU:
            for where in ("nearest", "farthest"):
                if row[f"steps_from_{where}"] is not None:
                    found[f"plateau_{row['rule'].replace(' ', '_')}_steps_from_{where}"] = row[f"steps_from_{where}"]
            continue
        prefix = f"{row['surface']}_{row['rule']}"
        if row["surface"] == "saddle" and None not in row["steps"]:
            slope = np.polyfit(-np.log10(distances), row["steps"], 1)[0]
            found[f"{prefix}_steps_per_decade"] = round(float(slope), 9)
        if row["from_the_saddle"] is not None:
            found[f"{prefix}_steps_from_the_saddle"] = row["from_the_saddle"]
        if row["last_distance"] is not None:
            found[f"{prefix}_last_distance"] = row["last_distance"]
        left = [(d, s) for d, s in zip(distances, row["steps"], strict=True) if s is not None]
        if (row["surface"], row["rule"]) == ("monkey", "sgd") and len(left) > 1:
            logs = np.log10(np.array(left, dtype=np.float64)).T
            found["monkey_sgd_exponent"] = float(np.polyfit(-logs[0], logs[1], 1)[0])
    plain = next(r["steps"] for r in rows if (r["surface"], r["rule"]) == ("saddle", "sgd"))
    predicted = [escape_steps(_out(d), RADIUS, lr, CURVATURE) for d in distances]
    found["saddle_sgd_largest_deviation_in_steps"] = max(
        (abs(p - m) for p, m in zip(predicted, plain, strict=True) if m is not None), default=0
    )
    for rule, mu, nesterov in (("sgd", 0.0, False), ("momentum", momentum, False), ("nesterov", momentum, True)):
        growth = factor(CURVATURE, lr, mu, nesterov=nesterov)
        found[f"saddle_{rule}_steps_per_decade_predicted"] = math.log(10) / math.log(growth)
    return found


def _row(steps: Sequence[float | None], path: list[list[float]], last: float | None) -> dict[str, Any]:
    *from_distances, from_itself = steps
    left = [s for s in from_distances if s is not None]
    return {
        "left": f"{len(left)} of {len(from_distances)}",
        "steps_from_farthest": from_distances[0],
        "steps_from_nearest": from_distances[-1],
        "from_the_saddle": from_itself,
        "last_distance": last,
        "steps": from_distances,
        "path": path,
    }


def _median(steps: list[int | None]) -> float | None:
    """None where half of the walks never left."""
    ordered = sorted(math.inf if s is None else s for s in steps)
    middle = ordered[len(ordered) // 2]
    return None if middle == math.inf else middle


def _out_of_it(points: Tensor) -> Tensor:
    return points.norm(dim=1) >= RADIUS


def _out(distance: float) -> float:
    """The part of the start that points out of the saddle."""
    return distance * math.sin(DIRECTIONS["saddle"])


def _shown(distances: tuple[float, ...]) -> int:
    """The start whose path is drawn: the nearest to a hundredth."""
    return min(range(len(distances)), key=lambda i: abs(math.log10(distances[i]) + 2))
