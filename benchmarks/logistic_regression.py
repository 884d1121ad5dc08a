"""Logistic regression on many rows: chainrule against scikit-learn's solvers, at one tolerance, in one run.

    python benchmarks/logistic_regression.py                        # 1,000,000 x 50, both cores
    python benchmarks/logistic_regression.py --rows 100000 --repeats 1

Each measurement runs in a process of its own, the contestants in turn. The clock runs over `fit` alone; rows are made
before it, and are the same numbers for all (rounded, for float32). Tolerance means the same to lbfgs of both: the largest
element of the gradient of the mean loss; newton-cholesky stops by its own decrement as well. Whose objective is lower is
judged by NumPy in float64. Writes results/logistic_regression.md and .json beside this file.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from typing import Any

from measure import Figures, compare, in_words, peak_mib, speed_table

CONTESTANTS = (
    "scikit-learn lbfgs float64",
    "scikit-learn newton-cholesky float64",
    "chainrule float64",
    "scikit-learn lbfgs float32",
    "scikit-learn newton-cholesky float32",
    "chainrule float32",
)


def problem(rows: int, columns: int, dtype: str) -> tuple[Any, Any]:
    """Correlated columns of unequal scale, and classes drawn from a logistic model of half of them."""
    import numpy as np

    random = np.random.default_rng(0)
    mix = np.eye(columns) + 0.3 * random.normal(size=(columns, columns)) / np.sqrt(columns)
    mix *= np.geomspace(0.3, 3.0, columns)
    x = random.normal(size=(rows, columns)) @ mix
    x += random.normal(size=columns)
    w = np.where(random.random(columns) < 0.5, random.normal(size=columns), 0.0) / np.sqrt(columns)
    y = random.random(rows) < 1.0 / (1.0 + np.exp(0.5 - x @ w))
    return x.astype(dtype), y.astype(np.int64)


def objective(x: Any, y: Any, coef: Any, intercept: Any, penalty: float) -> float:
    """Mean loss and penalty, in float64, a block of rows at a time."""
    import numpy as np

    w, total = coef.astype(np.float64)[0], 0.0
    for rows, classes in zip(np.array_split(x, 100), np.array_split(y, 100), strict=True):
        z = rows.astype(np.float64) @ w + float(intercept[0])
        total += float((np.logaddexp(0.0, z) - classes * z).sum())
    return total / len(y) + 0.5 * penalty * float(w @ w)


def measure(name: str, options: argparse.Namespace) -> dict[str, float]:
    """Seconds of the fit, objective, iterations and the peak of memory, of one contestant."""
    library, *solver, dtype = name.split()
    x, y = problem(options.rows, options.columns, dtype)
    if library == "chainrule":
        import torch

        from chainrule.systems.linear.logistic import LogisticRegression

        torch.set_num_threads(options.threads)
        model = LogisticRegression(C=options.inverse_penalty, tol=options.tolerance)
    else:
        from sklearn.linear_model import LogisticRegression as Theirs

        model = Theirs(C=options.inverse_penalty, tol=options.tolerance, solver=solver[0], max_iter=1000)
    before = time.perf_counter()
    model.fit(x, y)
    seconds = time.perf_counter() - before
    peak = peak_mib()
    value = objective(x, y, model.coef_, model.intercept_, 1.0 / (options.inverse_penalty * len(y)))
    return {"seconds": seconds, "objective": value, "iterations": int(model.n_iter_[0]), "peak_mib": peak}


def quickest_of_theirs(name: str, middle: Mapping[str, Figures]) -> Figures:
    """The medians of scikit-learn's quickest solver on rows of the same precision."""
    of_kind = [m for n, m in middle.items() if n.startswith("scikit-learn") and n.split()[-1] == name.split()[-1]]
    return min(of_kind, key=lambda m: m["seconds"])


def summarise(record: dict[str, Any]) -> str:
    """The record as Markdown: medians, beside scikit-learn's quickest solver of the same precision."""
    p = record["problem"]
    columns = {
        "iterations": lambda own, _: f"{own['iterations']:.0f}",
        "peak MiB": lambda own, _: f"{own['peak_mib']:.0f}",
        "objective": lambda own, _: f"{own['objective']:.9f}",
        "relative to best": lambda own, beside: f"{own['objective'] / beside['objective'] - 1:+.1e}",
    }
    return "\n\n".join(
        [
            "# Logistic regression",
            f"{p['rows']:,} x {p['columns']}, two classes, C = {p['inverse_penalty']:g}, tolerance {p['tolerance']:g}; medians of "
            f"{p['repeats']}, contestants in turn, a process each.",
            speed_table(record["runs"], quickest_of_theirs, columns),
            in_words(record),
            "Speed and objective are relative to scikit-learn's quickest solver on rows of the same precision. Objectives are NumPy's, "
            "in float64, of each one's weights on its own rows. Iterations of chainrule are those on all rows. Peaks are of the whole process, "
            "with its libraries and the making of the rows.",
        ]
    )


if __name__ == "__main__":
    compare(
        __file__,
        __doc__,
        CONTESTANTS,
        measure,
        summarise,
        {"rows": 1_000_000, "columns": 50, "repeats": 3, "threads": 2, "tolerance": 1e-4, "inverse_penalty": 1.0},
    )
