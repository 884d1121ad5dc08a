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
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

from measure import circumstances, in_turn, in_words, medians, table, write_results

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
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "linux" else 1024**2)
    value = objective(x, y, model.coef_, model.intercept_, 1.0 / (options.inverse_penalty * len(y)))
    return {"seconds": seconds, "objective": value, "iterations": int(model.n_iter_[0]), "peak_mib": peak}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sizes = {"rows": 1_000_000, "columns": 50, "repeats": 3, "threads": 2}
    for name, value in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--tolerance", type=float, default=1e-4)
    parser.add_argument("--inverse-penalty", type=float, default=1.0)
    parser.add_argument("--one", choices=CONTESTANTS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(given.one, given)))
        return
    kept = ("rows", "columns", "threads", "tolerance", "inverse_penalty")
    words = [f"--{name.replace('_', '-')}={getattr(given, name)}" for name in kept]
    record = {
        **circumstances(__file__, given.threads, ("chainrule", "torch", "scikit-learn", "numpy", "scipy")),
        "problem": {name: getattr(given, name) for name in (*kept, "repeats")},
        "runs": in_turn(Path(__file__), CONTESTANTS, words, repeats=given.repeats, threads=given.threads),
    }
    text = summarise(record)
    write_results("logistic_regression", record, text)
    print(text)


def summarise(record: dict[str, Any]) -> str:
    """The record as Markdown: medians, beside scikit-learn's quickest solver of the same precision."""
    p, runs = record["problem"], record["runs"]
    middle = {name: medians(of_one) for name, of_one in runs.items()}
    rows = []
    for name, own in middle.items():
        of_kind = [m for n, m in middle.items() if n.startswith("scikit-learn") and n.split()[-1] == name.split()[-1]]
        best = min(of_kind, key=lambda m: m["seconds"])
        seconds = [run["seconds"] for run in runs[name]]
        rows.append(
            [
                name,
                f"{own['seconds']:.2f}",
                f"{min(seconds):.2f} to {max(seconds):.2f}",
                f"{best['seconds'] / own['seconds']:.1f}",
                f"{own['iterations']:.0f}",
                f"{own['peak_mib']:.0f}",
                f"{own['objective']:.9f}",
                f"{own['objective'] / best['objective'] - 1:+.1e}",
            ]
        )
    header = [
        "",
        "seconds",
        "least to most",
        "times as fast",
        "iterations",
        "peak MiB",
        "objective",
        "relative to best",
    ]
    return "\n\n".join(
        [
            "# Logistic regression",
            f"{p['rows']:,} x {p['columns']}, two classes, C = {p['inverse_penalty']:g}, tolerance {p['tolerance']:g}; medians of "
            f"{p['repeats']}, contestants in turn, a process each.",
            table(header, rows),
            in_words(record),
            "Speed and objective are relative to scikit-learn's quickest solver on rows of the same precision. Objectives are NumPy's, "
            "in float64, of each one's weights on its own rows. Iterations of chainrule are those on all rows. Peaks are of the whole process, "
            "with its libraries and the making of the rows.",
        ]
    )


if __name__ == "__main__":
    main()
