"""Softmax regression on MNIST: chainrule against scikit-learn's lbfgs, at one tolerance, in one run.

    python benchmarks/softmax_regression.py --data DIR                     # DIR holds mnist/, the official files
    python benchmarks/softmax_regression.py --data DIR --rows 10000 --repeats 1

Each measurement runs in a process of its own, the contestants in turn. The clock runs over `fit` alone. Pixels are divided
by 255. Tolerance means the same to both: the largest element of the gradient of the mean loss. Whose objective is lower is
judged by NumPy in float64. Writes results/softmax_regression.md and .json beside this file.
"""

from __future__ import annotations

import argparse
import gzip
import time
from pathlib import Path
from typing import Any

from measure import compare, in_words, peak_mib, speed_table

CONTESTANTS = ("scikit-learn float64", "chainrule float64", "scikit-learn float32", "chainrule float32")


def images(folder: Path, part: str, dtype: str, rows: int | None = None) -> tuple[Any, Any]:
    """Pixels (N, 784) from 0 to 1, and digits (N,)."""
    import numpy as np

    pixels = np.frombuffer(gzip.decompress((folder / f"{part}-images-idx3-ubyte.gz").read_bytes())[16:], np.uint8)
    digits = np.frombuffer(gzip.decompress((folder / f"{part}-labels-idx1-ubyte.gz").read_bytes())[8:], np.uint8)
    return (pixels.reshape(-1, 784)[:rows] / np.float32(255.0)).astype(dtype), digits[:rows].astype(np.int64)


def objective(x: Any, y: Any, coef: Any, intercept: Any, penalty: float) -> float:
    """Mean loss and penalty, in float64, a block of rows at a time."""
    import numpy as np

    w, total = coef.astype(np.float64), 0.0
    for rows, digits in zip(np.array_split(x, 20), np.array_split(y, 20), strict=True):
        z = rows.astype(np.float64) @ w.T + intercept.astype(np.float64)
        total += float((np.logaddexp.reduce(z, axis=1) - z[np.arange(len(z)), digits]).sum())
    return total / len(y) + 0.5 * penalty * float(np.square(w).sum())


def measure(name: str, options: argparse.Namespace) -> dict[str, float]:
    """Seconds of the fit, objective, test error, iterations and the peak of memory, of one contestant."""
    library, dtype = name.split()
    folder = Path(options.data) / "mnist"
    x, y = images(folder, "train", dtype, options.rows)
    if library == "chainrule":
        import torch

        from chainrule.systems.linear.logistic import SoftmaxRegression

        torch.set_num_threads(options.threads)
        model = SoftmaxRegression(C=options.inverse_penalty, tol=options.tolerance)
    else:
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(C=options.inverse_penalty, tol=options.tolerance, max_iter=10_000)
    before = time.perf_counter()
    model.fit(x, y)
    seconds = time.perf_counter() - before
    peak = peak_mib()
    value = objective(x, y, model.coef_, model.intercept_, 1.0 / (options.inverse_penalty * len(y)))
    error = 1.0 - float(model.score(*images(folder, "t10k", dtype)))
    return {
        "seconds": seconds,
        "objective": value,
        "test_error": error,
        "iterations": int(model.n_iter_[0]),
        "peak_mib": peak,
    }


def summarise(record: dict[str, Any]) -> str:
    """The record as Markdown: medians, beside scikit-learn on rows of the same precision."""
    p = record["problem"]
    columns = {
        "iterations": lambda own, _: f"{own['iterations']:.0f}",
        "peak MiB": lambda own, _: f"{own['peak_mib']:.0f}",
        "objective": lambda own, _: f"{own['objective']:.7f}",
        "relative": lambda own, beside: f"{own['objective'] / beside['objective'] - 1:+.1e}",
        "test error": lambda own, _: f"{own['test_error']:.4f}",
    }
    return "\n\n".join(
        [
            "# Softmax regression",
            f"{p['rows']:,} images of MNIST x 784, ten classes, C = {p['inverse_penalty']:g}, tolerance {p['tolerance']:g}; medians of "
            f"{p['repeats']}, contestants in turn, a process each.",
            speed_table(
                record["runs"], lambda name, middle: middle[f"scikit-learn {name.split()[1]}"], columns, digits=1
            ),
            in_words(record),
            "Speed and objective are relative to scikit-learn on rows of the same precision; the lower objective is the better fit. "
            "Objectives are NumPy's, in float64, of each one's weights. Iterations of chainrule are those on all rows. Peaks are of the "
            "whole process, with its libraries and the data.",
        ]
    )


if __name__ == "__main__":
    compare(
        __file__,
        __doc__,
        CONTESTANTS,
        measure,
        summarise,
        {"rows": 60_000, "repeats": 3, "threads": 2, "tolerance": 1e-4, "inverse_penalty": 1.0},
        needs_data=True,
    )
