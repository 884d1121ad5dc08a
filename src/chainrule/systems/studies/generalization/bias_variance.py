"""Expected squared error = bias^2 + variance + noise, measured over many training sets."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from chainrule.core.errors import UserError
from chainrule.core.task import Figure
from chainrule.loops.experiment import Row, descend
from chainrule.reporting.line_plots import Line, lines
from chainrule.run.run import Run
from chainrule.systems.studies.generalization.bias_variance_decomposition import (
    bias_variance,
    legendre,
    linear_bias_variance,
)
from chainrule.systems.studies.generalization.ensemble_linear import EnsembleLinear
from chainrule.tasks.study import Study

GRID = 201  # inputs at which answers are compared with the function
CLAIM = "The expected squared error is bias^2 + variance + noise; a larger model has less bias and more variance."


def function(x: Tensor) -> Tensor:
    """The function to learn: 0.8 sin(2 pi x) + 0.4 x on [-1, 1]."""
    return 0.8 * (2 * math.pi * x).sin() + 0.4 * x


def bias_variance_study(
    run: Run,
    *,
    degrees: Sequence[int],
    hidden: Sequence[int],
    samples: int,
    sets: int,
    noise: float,
    steps: int,
    lr: float,
) -> Study:
    """Polynomials of each degree, and nets of each hidden size, fitted to `sets` training sets each.

    The training inputs are the same in every set, evenly spaced; the noise of the targets is drawn anew. So the closed
    form for least squares holds exactly, and is reported beside what was measured.
    """
    if sets < 2:
        raise UserError("a variance needs several training sets", expected="sets=2 or more", found=f"sets={sets}")
    if any(degree < 0 for degree in degrees):
        raise UserError("a polynomial has no negative degree", found=f"degrees={','.join(map(str, degrees))}")
    if any(size < 1 for size in hidden):
        raise UserError("a hidden layer has one unit or more", found=f"hidden={','.join(map(str, hidden))}")
    x = torch.linspace(-1, 1, samples, dtype=torch.float64)
    grid = torch.linspace(-1, 1, GRID, dtype=torch.float64)
    truth = function(grid)

    def measure(point: Mapping[str, Any]) -> Row:
        targets = function(x) + noise * torch.randn(sets, samples, dtype=torch.float64)
        fresh = truth + noise * torch.randn(sets, GRID, dtype=torch.float64)
        if point["model"] == "polynomial":
            features, at_grid = legendre(x, point["size"]), legendre(grid, point["size"])
            answers = targets @ (at_grid @ torch.linalg.pinv(features)).T
            expected = linear_bias_variance(features, function(x), at_grid, truth, noise**2)
            exact = {f"exact_{name}": float(v.mean()) for name, v in zip(("bias2", "variance"), expected, strict=True)}
        else:
            answers, exact = net_answers(x, targets, grid, hidden=point["size"], steps=steps, lr=lr), {}
        bias2, variance = (float(value.mean()) for value in bias_variance(answers, truth))
        return {
            "parameters": point["size"] + 1 if point["model"] == "polynomial" else 3 * point["size"] + 1,
            "bias2": bias2,
            "variance": variance,
            "noise": noise**2,
            "sum": bias2 + variance + noise**2,
            "test_error": float((answers - fresh).square().mean()),
            **exact,
        }

    points = [{"model": "polynomial", "size": size} for size in degrees]
    points += [{"model": "net", "size": size} for size in hidden]
    return Study(
        run,
        points=points,
        measure=measure,
        conclude=conclude,
        draw=lambda rows: draw(rows, samples),
        claim=CLAIM,
        how=f"{sets} training sets of {samples} samples for each size, noise of deviation {noise:g}; errors against fresh "
        f"noisy targets at {GRID} inputs",
    )


def net_answers(x: Tensor, targets: Tensor, grid: Tensor, *, hidden: int, steps: int, lr: float) -> Tensor:
    """Tanh nets of one hidden layer, one for each row of targets (S, n), all trained at once; answers (S, N).

    The training inputs x are (n,), the same for all nets, or (S, n).
    """
    sets = len(targets)
    first = EnsembleLinear(sets, 1, hidden)
    with torch.no_grad():  # inputs fill [-1, 1]: bends must lie there, and be as sharp as the function's
        first.weight.mul_(6.0)
        first.bias.mul_(6.0)
    network = nn.Sequential(first, nn.Tanh(), EnsembleLinear(sets, hidden, 1)).double()
    optimizer = torch.optim.Adam(network.parameters(), lr)
    descend(
        network,
        x[..., None],
        targets,
        lambda answers, y: (answers.squeeze(2) - y).square().mean(1).sum(),  # each net has a mean of its own
        optimizer,
        steps=steps,
    )
    with torch.no_grad():
        return network(grid[:, None]).squeeze(2)


def conclude(rows: list[Row]) -> dict[str, float]:
    found: dict[str, float] = {
        "noise": rows[0]["noise"],
        "largest_relative_gap": max(abs(row["test_error"] / row["sum"] - 1) for row in rows),
    }
    for model in ("polynomial", "net"):
        of = [row for row in rows if row["model"] == model]
        if not of:
            continue
        best = min(of, key=lambda row: row["test_error"])
        found |= {
            f"{model}_best_size": best["size"],
            f"{model}_best_error": best["test_error"],
            f"{model}_bias2_smallest": of[0]["bias2"],
            f"{model}_variance_smallest": of[0]["variance"],
            f"{model}_bias2_largest": of[-1]["bias2"],
            f"{model}_variance_largest": of[-1]["variance"],
            f"{model}_peak_error": max(row["test_error"] for row in of),
            f"{model}_error_largest": of[-1]["test_error"],
        }
    exact = [row for row in rows if "exact_variance" in row]
    if exact:
        found["largest_gap_to_closed_form"] = max(
            abs(row["bias2"] + row["variance"] - row["exact_bias2"] - row["exact_variance"])
            / (row["exact_bias2"] + row["exact_variance"] + row["noise"])
            for row in exact
        )
    return found


def draw(rows: list[Row], samples: int) -> list[Figure]:
    figures = []
    for model, xlabel in (("polynomial", "degree of the polynomial"), ("net", "hidden units")):
        of = [row for row in rows if row["model"] == model]
        if not of:
            continue
        sizes = [row["size"] for row in of]
        shown = {
            "bias²": Line(sizes, [row["bias2"] for row in of], 0),
            "variance": Line(sizes, [row["variance"] for row in of], 1),
            "bias$^2$ + variance + noise": Line(sizes, [row["sum"] for row in of], 2),
            "measured test error": Line(sizes, [row["test_error"] for row in of], 4, "o"),
        }
        if "exact_variance" in of[0]:
            shown["variance, closed form"] = Line(sizes, [row["exact_variance"] for row in of], 8, "--")
        passes = model == "polynomial" and sizes[0] < samples - 1 < sizes[-1]
        low = min(row["test_error"] for row in of)
        fives = [size for size in sizes if size % 5 == 0]  # of many degrees, so that their names do not overlap
        figures.append(
            lines(
                shown,
                f"Bias and variance: {'polynomials' if model == 'polynomial' else 'nets'}",
                "The circles were measured on noisy targets that no model has seen; they should lie on the sum.",
                xlabel=xlabel,
                ylabel="squared error (units of y$^2$)",
                xscale="symlog" if model == "polynomial" else "log",
                yscale="log",
                bottom=low / 100,
                marks={f"{samples} coefficients, {samples} samples": samples - 1} if passes else None,
                linear_to=2 * samples,
                ticks=() if model == "net" else fives if len(sizes) > 8 else sizes,
            )
        )
    return figures
