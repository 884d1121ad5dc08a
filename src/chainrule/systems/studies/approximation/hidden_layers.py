"""What hidden layers are for: learning curves with and without them on problems in the plane."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from chainrule.core.task import Figure
from chainrule.data.tables import plane
from chainrule.functional.features import polynomial
from chainrule.loops.experiment import Row, descend
from chainrule.nn.features import BasisExpansion
from chainrule.reporting.plots import curves
from chainrule.run.run import Run
from chainrule.tasks.study import Study

CURVE = 40  # points of a learning curve
TEST = 2000  # points that measure
CLAIM = (
    "Without a hidden layer the border between two classes is a straight line, however long it learns; a hidden layer "
    "of a few units bends it, and so do polynomial features."
)


def hidden_layers_study(
    run: Run,
    *,
    build: Callable[[int, tuple[int, ...]], nn.Module],
    problems: Sequence[str],
    hidden: Sequence[int],
    steps: int,
    lr: float,
    count: int,
    noise: float,
) -> Study:
    """Each problem learnt by each form of network, by Adam on all points at once; the error on the way and at the end."""
    forms: dict[str, tuple[int, tuple[int, ...]]] = {"linear": (1, ())}
    forms |= {f"linear, degree {degree}": (degree, ()) for degree in (2, 3)}
    forms |= {f"{units} units": (1, (units,)) for units in hidden}
    forms |= {f"{units}+{units} units": (1, (units, units)) for units in hidden}

    def measure(point: Mapping[str, Any]) -> Row:
        x, y = _points(point["problem"], count, noise, run.seed)
        test_x, test_y = _points(point["problem"], TEST, noise, run.seed + 1_000_003)
        degree, sizes = forms[point["network"]]
        features = polynomial(2, degree, bias=False)
        network = BasisExpansion(features, build(len(features), sizes)).to(run.device)
        wrong: list[Tensor] = []

        def criterion(logits: Tensor, target: Tensor) -> Tensor:
            wrong.append((logits.detach().argmax(1) != target).double().mean())
            return cross_entropy(logits, target)

        x, y = x.to(run.device), y.to(run.device)
        descend(network, x, y, criterion, torch.optim.Adam(network.parameters(), lr), steps=steps)
        with torch.inference_mode():
            error = (network(test_x.to(run.device)).argmax(1).cpu() != test_y).double().mean()
        chunks = torch.stack(wrong).cpu().tensor_split(min(CURVE, steps))
        return {
            "error": float(error),
            "train_error": float(wrong[-1]),
            "parameters": sum(p.numel() for p in network.parameters()),
            "curve": [float(chunk.mean()) for chunk in chunks],
            "curve_steps": [steps * (i + 1) / len(chunks) for i in range(len(chunks))],
        }

    points = [{"problem": problem, "network": form} for problem in problems for form in forms]
    plane.make(problems[0], count, noise)  # a wrong count fails now
    return Study(
        run,
        points=points,
        measure=measure,
        conclude=conclude,
        draw=draw,
        claim=CLAIM,
        how=f"{count} training points a problem, all in each of {steps} steps; error on {TEST} test points drawn with "
        "another seed",
    )


def _points(problem: str, count: int, noise: float, seed: int) -> tuple[Tensor, Tensor]:
    x, y = plane.make(problem, count, noise, seed)
    return torch.from_numpy(x).float(), torch.from_numpy(y)


def conclude(rows: list[Row]) -> dict[str, float]:
    """The error of each problem without a hidden layer, and the least with one."""
    found: dict[str, float] = {}
    for problem in dict.fromkeys(row["problem"] for row in rows):
        of = [row for row in rows if row["problem"] == problem]
        found[f"{problem}_error_without"] = next(r["error"] for r in of if r["network"] == "linear")
        found[f"{problem}_error_with"] = min(r["error"] for r in of if not r["network"].startswith("linear"))
        found[f"{problem}_error_polynomial"] = min(r["error"] for r in of if r["network"].startswith("linear, "))
    return found


def draw(rows: list[Row]) -> list[Figure]:
    """The learning curves of each problem."""
    figures = []
    for problem in dict.fromkeys(row["problem"] for row in rows):
        lines = {row["network"]: (row["curve_steps"], row["curve"]) for row in rows if row["problem"] == problem}
        figure = curves(lines, f"Learning curves: {problem}", "step")
        figures.append(Figure(figure.title, "Share of the training points that are wrong.", svg=figure.svg))
    return figures
