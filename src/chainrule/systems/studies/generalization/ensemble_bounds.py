"""The error of a vote against what independent members would make of it, and against Hoeffding's bound."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from chainrule.core.errors import UserError
from chainrule.core.task import Figure
from chainrule.loops.experiment import Row, descend
from chainrule.reporting.line_plots import Line, lines
from chainrule.run.run import Run
from chainrule.systems.studies.generalization.bias_variance import function, net_answers
from chainrule.systems.studies.generalization.bounds import (
    ambiguity_decomposition,
    majority_error,
    majority_error_bound,
)
from chainrule.systems.studies.generalization.ensemble_linear import EnsembleLinear
from chainrule.systems.studies.generalization.voting import error_correlation, wrong_majority
from chainrule.systems.studies.image_rows import ImageRows
from chainrule.tasks.study import Study

DRAWS = 50  # subsets of the members that a smaller ensemble's error is averaged over
WAYS = {
    "starts": "same samples, other initial weights",
    "resamples": "bagging: samples drawn with replacement",
    "parts": "each member its own part of the samples",
}
CLAIM = (
    "If members erred independently, the error of their vote would be a tail of the binomial distribution, below "
    "Hoeffding's bound exp(-M (1 - 2 error)^2 / 2). Their errors are correlated, so the vote stays above."
)


def ensemble_study(
    run: Run, *, members: int, hidden: int, size: int, samples: int, steps: int, lr: float, noise: float
) -> Study:
    """Nets that separate the first half of the classes from the second, diversified in three ways; and regressors."""
    if members < 3 or members % 2 == 0:
        raise UserError(
            "a vote needs an odd number of members", expected="members=3, 5, ...", found=f"members={members}"
        )
    rows = ImageRows(run, size=size, samples=samples)
    sizes = list(range(1, members + 1, 2))

    def measure(point: Mapping[str, Any]) -> Row:
        if point["members"] == "regressors":
            return measure_regressors(sizes, noise=noise, hidden=hidden, steps=steps)
        train, test = rows.train, rows.test
        if len(train.x) < members:
            raise UserError(
                "there are more members than samples", expected=f"members up to {len(train.x)}", found=members
            )
        half = rows.num_classes // 2
        weights = member_weights(point["members"], members, len(train.x)).to(run.device)
        network = nn.Sequential(
            EnsembleLinear(members, rows.width, hidden), nn.Tanh(), EnsembleLinear(members, hidden, 1)
        ).to(run.device)

        def criterion(logits: Tensor, y: Tensor) -> Tensor:
            each = binary_cross_entropy_with_logits(logits.squeeze(2), y.expand(members, -1), reduction="none")
            return (each * weights).sum()

        target = (train.y >= half).to(train.x.dtype)
        descend(network, train.x, target, criterion, torch.optim.Adam(network.parameters(), lr), steps=steps)
        with torch.no_grad():
            probs = network(test.x).squeeze(2).sigmoid().double()
        return measure_votes(probs.cpu(), (test.y >= half).cpu(), sizes)

    points = [{"members": way} for way in (*WAYS, "regressors")]
    return Study(
        run,
        points=points,
        measure=measure,
        conclude=conclude,
        draw=draw,
        claim=CLAIM,
        how=f"{members} nets of {hidden} hidden units each; errors on the test split, of the first half of the classes "
        f"against the second; smaller ensembles are the mean of {DRAWS} subsets",
    )


def member_weights(way: str, members: int, count: int) -> Tensor:
    """The weight of each of `count` samples in each member's mean loss (members, count); every row adds up to 1."""
    if way == "starts":
        weights = torch.ones(members, count)
    elif way == "resamples":
        drawn = torch.randint(count, (members, count))
        weights = torch.zeros(members, count).scatter_add_(1, drawn, torch.ones(members, count))
    else:
        part = torch.randperm(count) % members
        weights = (part == torch.arange(members)[:, None]).float()
    return weights / weights.sum(1, keepdim=True)


def measure_votes(probs: Tensor, target: Tensor, sizes: list[int]) -> Row:
    """Votes of the members' answers `probs` of the second class (M, N) against `target` (N,), bool."""
    wrong = (probs >= 0.5) != target
    mean = float(wrong.double().mean())
    errors = [mean_over_subsets(wrong, size) for size in sizes]
    binomial = [majority_error(mean, size) for size in sizes]
    hoeffding = [majority_error_bound(mean, size) if mean < 0.5 else 1.0 for size in sizes]  # no better than chance
    square, mean_square, ambiguity = (float(v) for v in ambiguity_decomposition(probs, target.double()))
    return {
        "size": sizes[-1],
        "mean_error": mean,
        "vote_error": errors[-1],
        "correlation": error_correlation(wrong),
        "binomial_error": binomial[-1],
        "hoeffding_bound": hoeffding[-1],
        "square_error": square,
        "mean_square_error": mean_square,
        "ambiguity": ambiguity,
        "sizes": sizes,
        "errors": errors,
        "binomial": binomial,
        "hoeffding": hoeffding,
    }


def mean_over_subsets(wrong: Tensor, size: int) -> float:
    """The error of the vote of `size` members, the mean over subsets."""
    if size == len(wrong):
        return float(wrong_majority(wrong).double().mean())
    picks = [torch.randperm(len(wrong))[:size] for _ in range(DRAWS)]
    return float(torch.stack([wrong_majority(wrong[pick]).double().mean() for pick in picks]).mean())


def measure_regressors(sizes: list[int], *, noise: float, hidden: int, steps: int) -> Row:
    """Means of nets fitted to resamples of one noisy curve: squared error against the function without noise."""
    members, count = sizes[-1], 30
    x, grid = torch.linspace(-1, 1, count, dtype=torch.float64), torch.linspace(-1, 1, 201, dtype=torch.float64)
    y = function(x) + noise * torch.randn(count, dtype=torch.float64)
    picks = torch.randint(count, (members, count))
    answers, truth = net_answers(x[picks], y[picks], grid, hidden=hidden, steps=steps, lr=0.02), function(grid)
    square, mean_square, ambiguity = (float(v) for v in ambiguity_decomposition(answers, truth))
    errors = []
    for size in sizes:
        subsets = [torch.randperm(members)[:size] for _ in range(DRAWS if size < members else 1)]
        errors.append(float(torch.stack([(answers[s].mean(0) - truth).square().mean() for s in subsets]).mean()))
    return {
        "size": members,
        "mean_error": mean_square,
        "vote_error": square,
        "correlation": error_correlation(answers - truth),
        "square_error": square,
        "mean_square_error": mean_square,
        "ambiguity": ambiguity,
        "sizes": sizes,
        "errors": errors,
    }


def conclude(rows: list[Row]) -> dict[str, float]:
    found = {"size": rows[0]["size"]}
    for row in rows[:-1]:
        way = row["members"]
        found |= {
            f"{name}_{way}": row[name]
            for name in ("mean_error", "vote_error", "binomial_error", "hoeffding_bound", "correlation")
        }
    regressors = rows[-1]
    gaps = [abs(row["mean_square_error"] - row["ambiguity"] - row["square_error"]) for row in rows]
    return found | {
        "regression_mean_error": regressors["mean_square_error"],
        "regression_error_of_mean": regressors["square_error"],
        "regression_ambiguity": regressors["ambiguity"],
        "regression_correlation": regressors["correlation"],
        "largest_gap_of_ambiguity": max(gaps),
    }


def draw(rows: list[Row]) -> list[Figure]:
    measured = {f"measured: {row['members']}": Line(row["sizes"], row["errors"], i) for i, row in enumerate(rows[:-1])}
    binomial = {
        f"independent: {row['members']}": Line(row["sizes"], row["binomial"], i, "--")
        for i, row in enumerate(rows[:-1])
    }
    bounds = {
        f"Hoeffding: {row['members']}": Line(row["sizes"], row["hoeffding"], i, ":") for i, row in enumerate(rows[:-1])
    }
    series = {
        name: line
        for trio in zip(measured.items(), binomial.items(), bounds.items(), strict=True)
        for name, line in trio
    }
    low = min(min(row["errors"]) for row in rows[:-1])
    votes = lines(
        series,
        "The error of a vote",
        "; ".join(f"{way}: {words}" for way, words in WAYS.items()) + ".",
        xlabel="members",
        ylabel="error (share of test samples)",
        yscale="log",
        bottom=low / 30,
        top=1.3,
    )
    row = rows[-1]
    sizes, mean = row["sizes"], row["mean_square_error"]
    squares = lines(
        {
            "measured": Line(sizes, row["errors"], 0),
            "mean error of a member": Line(sizes, [mean] * len(sizes), 8, ":"),
            "mean error / members": Line(sizes, [mean / m for m in sizes], 8, "--"),
        },
        "The error of a mean",
        "Regressors fitted to resamples of one noisy curve: between the error of one member and, were "
        "their errors uncorrelated, its M-th part.",
        xlabel="members",
        ylabel="squared error",
        yscale="log",
    )
    table = [["members", "mean squared error", "ambiguity", "error of the mean", "difference"]]
    for row in rows:
        gap = row["mean_square_error"] - row["ambiguity"] - row["square_error"]
        numbers = (row["mean_square_error"], row["ambiguity"], row["square_error"])
        table.append([row["members"], *(f"{v:.5f}" for v in numbers), f"{gap:.1e}"])
    return [
        votes,
        squares,
        Figure("Ambiguity", "The error of the mean is the mean error less the ambiguity, exactly.", table=table),
    ]
