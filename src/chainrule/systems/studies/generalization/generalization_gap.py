"""Risk and empirical risk against the number of samples, beside the bounds by |H|, VC dimension, Rademacher complexity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from chainrule.core.errors import UserError
from chainrule.core.seeds import in_64_bits
from chainrule.core.task import Figure
from chainrule.loops.experiment import Row, descend
from chainrule.reporting.line_plots import Line, Style, lines
from chainrule.run.run import Run
from chainrule.systems.studies.generalization.bounds import pac_gap, rademacher_gap, vc_gap
from chainrule.systems.studies.generalization.capacity import (
    CLASSES,
    IN_THE_PLANE,
    VC_DIMENSIONS,
    growth_bound,
    massart_bound,
    rademacher_complexity,
    vc_dimension,
)
from chainrule.systems.studies.image_rows import ImageRows
from chainrule.tasks.study import Study

BORDER = 0.35  # from which on the true label is 1
MOST_POINTS, MOST_SAMPLES = 10, 100_000
DRAWS = 200  # sequences of signs for the complexity on a sample of the line
POOL = 6  # points of which the largest part that is shattered is sought
CLAIM = (
    "The generalisation error R - R_emp goes to 0 as data grow, as one over the root of their number; the bounds hold for "
    "every hypothesis and every distribution, and lie above."
)


def gap_study(
    run: Run,
    *,
    samples: Sequence[int],
    hypotheses: int,
    delta: float,
    noise: float,
    sets: int,
    points: int,
    hidden: int,
    steps: int,
    lr: float,
    repeats: int,
    size: int,
) -> Study:
    """Thresholds on a line, nets on images, and classes enumerated; the recipe `generalization-gap` explains the settings."""
    counts = sorted(set(samples))
    for name, value, most in (("points", points, MOST_POINTS), ("samples", max(counts, default=0), MOST_SAMPLES)):
        if value > most:
            raise UserError("these are too many to be enumerated", where=name, expected=f"at most {most}", found=value)
    if not counts:
        raise UserError("there is nothing to measure", where="samples", expected="one number or more")
    if not delta < 1 or not noise < 0.5:
        raise UserError(
            "delta or noise is out of range", expected="delta below 1, noise below 0.5", found=f"{delta:g}, {noise:g}"
        )
    rows = ImageRows(run, size=size)

    def measure(point: Mapping[str, Any]) -> Row:
        if point["what"] == "class":
            return measure_class(point["class"], point["samples"], run.seed)
        if point["what"] == "thresholds":
            return measure_thresholds(point["samples"], hypotheses=hypotheses, noise=noise, sets=sets, delta=delta)
        network = nn.Sequential(nn.Linear(rows.width, hidden), nn.Tanh(), nn.Linear(hidden, rows.num_classes))
        return measure_net(network.to(run.device), rows, point["samples"], steps=steps, lr=lr)

    there = rows.data.spec.counts["train"]
    learnt = [*(n for n in counts if 1.5 * n < there), there]
    todo = [{"what": "class", "class": name, "samples": n} for name in CLASSES for n in range(1, points + 1)]
    todo += [{"what": "thresholds", "samples": n} for n in counts]
    todo += [{"what": "net", "samples": n} for n in learnt for _ in range(repeats)]
    return Study(
        run,
        points=todo,
        measure=measure,
        conclude=conclude,
        draw=lambda rows: draw(rows, delta),
        claim=CLAIM,
        how=f"{hypotheses} thresholds, the best on each of {sets} samples whose labels are wrong with probability {noise:g}, and the "
        f"deviation that {1 - delta:g} of the samples stay below; nets of {hidden} hidden units on {repeats} parts of the training "
        "split, their error on the test split less that on the part",
    )


def measure_class(name: str, count: int, seed: int) -> Row:
    """The labellings of points drawn at random by a class, and its complexity on them, beside their bounds.

    The seed draws the points one after the other, so that more of them are those of before and some.
    """
    generator = torch.Generator().manual_seed(in_64_bits(seed))
    shape = (MOST_POINTS, 2) if name in IN_THE_PLANE else (MOST_POINTS,)
    x = torch.rand(shape, dtype=torch.float64, generator=generator)
    labellings = CLASSES[name](x[:count])
    return {
        "labellings": len(labellings),
        "sauer": growth_bound(count, VC_DIMENSIONS[name]),
        "complexity": rademacher_complexity(labellings),
        "massart": massart_bound(len(labellings), count),
        "shattered": vc_dimension(CLASSES[name], x[:POOL]) if count == POOL else None,
    }


def measure_thresholds(count: int, *, hypotheses: int, noise: float, sets: int, delta: float) -> Row:
    """Of `sets` samples the gap of the threshold with the least empirical risk, and the largest deviation of any."""
    t = torch.arange(hypotheses, dtype=torch.float64) / hypotheses
    x = torch.rand(sets, count, dtype=torch.float64)
    y = (x >= BORDER) != (torch.rand(sets, count) < noise)
    risk = noise + (1 - 2 * noise) * (t - BORDER).abs()  # of each threshold, exactly (H,)
    empirical = empirical_risks(x, y, t)  # (sets, H)
    best = empirical.argmin(1)
    gaps = risk[best] - empirical.gather(1, best[:, None])[:, 0]
    deviations = (risk - empirical).abs().amax(1)
    labellings = (x[0] >= t[:, None]).unique(dim=0).to(torch.int8) * 2 - 1  # of the first sample by the hypotheses
    complexity = rademacher_complexity(labellings, DRAWS)
    bound = pac_gap(count, delta, hypotheses)
    return {
        "gap": float(gaps.mean()),
        "deviation": float(torch.quantile(deviations, 1 - delta)),
        "pac_gap": bound,
        "vc_gap": vc_gap(count, delta, VC_DIMENSIONS["thresholds"]),
        "rademacher_gap": rademacher_gap(count, delta, complexity),
        "above_pac": float((deviations > bound).double().mean()),
    }


def empirical_risks(x: Tensor, y: Tensor, t: Tensor) -> Tensor:
    """The share of each sample that each threshold gets wrong.

    Args:
        x, y: the samples (S, N), y bool.
        t: the thresholds in order (H,); the answer is x >= t.

    Returns:
        (S, H), float64.

    >>> empirical_risks(torch.tensor([[0.2, 0.6]]), torch.tensor([[False, True]]), torch.tensor([0.1, 0.5, 0.9])).tolist()
    [[0.5, 0.0, 0.5]]
    """
    below = torch.searchsorted(t, x, right=True)  # how many thresholds say 1 to each point: the first ones (S, N)
    counts = torch.zeros(2, len(x), len(t) + 1, dtype=torch.float64)
    for label in (0, 1):
        counts[label].scatter_add_(1, below, (y == bool(label)).double())
    no, yes = counts.cumsum(2)[
        ..., :-1
    ]  # of each label the points with which threshold h and all after it say 0 (S, H)
    return (counts[0].sum(1, keepdim=True) - no + yes) / x.shape[1]


def measure_net(network: nn.Module, rows: ImageRows, count: int, *, steps: int, lr: float) -> Row:
    """Error on the samples that a net has learnt from, on the test split, and their difference."""
    train, test = rows.train, rows.test
    part = torch.randperm(len(train.x))[:count].to(train.x.device)
    x, y = train.x[part], train.y[part]
    descend(network, x, y, cross_entropy, torch.optim.Adam(network.parameters(), lr), steps=steps)
    with torch.inference_mode():
        seen, unseen = (float((network(a).argmax(1) != b).double().mean()) for a, b in ((x, y), (test.x, test.y)))
    return {"train_error": seen, "test_error": unseen, "gap": unseen - seen}


def conclude(rows: list[Row]) -> dict[str, float]:
    """Of the thresholds at the most samples, with the power of their number by which the deviation falls; nets; classes."""
    line = [r for r in rows if r["what"] == "thresholds"]
    last = line[-1]
    found = {"samples": last["samples"], "gap": last["gap"], "largest_deviation": last["deviation"]}
    found |= {name: last[name] for name in ("pac_gap", "vc_gap", "rademacher_gap")}
    found["largest_share_above_pac_gap"] = max(r["above_pac"] for r in line)
    if len(line) > 1:
        logs = np.log([[r["samples"], r["deviation"]] for r in line])
        found["order_of_deviation"] = float(-np.polyfit(logs[:, 0], logs[:, 1], 1)[0])
    nets = [r for r in rows if r["what"] == "net"]
    for name, count in (("fewest", nets[0]["samples"]), ("most", nets[-1]["samples"])):
        some = [r["gap"] for r in nets if r["samples"] == count]
        found |= {f"net_gap_of_{name}": sum(some) / len(some), f"net_samples_{name}": count}
    for row in rows:
        if row["what"] == "class" and row["shattered"] is not None:
            found[f"points_shattered_by_{row['class'].replace(' ', '_')}"] = row["shattered"]
    return found


def draw(rows: list[Row], delta: float) -> list[Figure]:
    """The gap of thresholds beside the bounds, that of nets, labellings and complexity of the classes."""
    line, nets = ([r for r in rows if r["what"] == what] for what in ("thresholds", "net"))
    x = [r["samples"] for r in line]
    shown: dict[str, tuple[str, int, Style]] = {
        "gap of the best, mean": ("gap", 0, "-"),
        f"largest deviation, {1 - delta:.0%} below": ("deviation", 1, "-"),
        "bound by |H|": ("pac_gap", 2, "--"),
        "bound by VC dimension": ("vc_gap", 3, "--"),
        "bound by Rademacher complexity": ("rademacher_gap", 5, "--"),
    }
    sizes = list(dict.fromkeys(r["samples"] for r in nets))
    means = {
        k: [float(np.mean([r[k] for r in nets if r["samples"] == n])) for n in sizes]
        for k in ("train_error", "test_error", "gap")
    }
    figures = [
        lines(
            {name: Line(x, [r[key] for r in line], hue, style) for name, (key, hue, style) in shown.items()},
            "Thresholds on a line: risk less empirical risk",
            "The bounds hold whatever the distribution is; this one is kinder.",
            xlabel="samples",
            ylabel="gap (share of samples)",
            xscale="log",
            yscale="log",
        ),
        lines(
            {
                "training error": Line(sizes, means["train_error"], 0),
                "test error": Line(sizes, means["test_error"], 1),
                "gap": Line(sizes, means["gap"], 8, "--"),
            },
            "Nets on images: training and test error",
            "The mean over parts of the training split.",
            xlabel="samples",
            ylabel="error (share of samples)",
            xscale="log",
        ),
    ]
    classes = {name: [r for r in rows if r["what"] == "class" and r["class"] == name] for name in CLASSES}
    n = [r["samples"] for r in next(iter(classes.values()))]
    for key, bound, title, caption, ylabel in (
        (
            "labellings",
            "sauer",
            "Labellings of n points",
            "Dashed: Sauer's bound by the VC dimension; dotted: 2^n, all that there are.",
            "labellings",
        ),
        (
            "complexity",
            "massart",
            "Rademacher complexity on n points",
            "Exact, over all 2^n sequences of signs. Dashed: Massart's bound.",
            "R",
        ),
    ):
        series = {name: Line(n, [r[key] for r in some], hue) for hue, (name, some) in enumerate(classes.items())}
        series |= {
            f"{name}, bound": Line(n, [r[bound] for r in some], hue, "--")
            for hue, (name, some) in enumerate(classes.items())
        }
        if key == "labellings":
            series["2^n"] = Line(n, [2**count for count in n], 8, ":")
        figures.append(
            lines(
                series,
                title,
                caption,
                xlabel="points",
                ylabel=ylabel,
                yscale="log" if key == "labellings" else "linear",
            )
        )
    return figures
