"""The support vector machine with an RBF kernel: chainrule's SMO against LIBSVM in scikit-learn, in one run.

    python benchmarks/svm.py --data DIR                          # DIR holds mnist/: 10,000 x 784, both cores
    python benchmarks/svm.py --data DIR --rows 2000 --repeats 1

Two problems on the first images of MNIST, scaled to [0, 1]: `digits`, ten classes one against one; `parity`, odd
against even, one machine on all rows. C = 1, gamma = 1 / (D Var[X]), violation below 1e-3 and float64 rows for all;
LIBSVM may keep 2,000 MB of kernel rows, chainrule 200 MB a machine (its default).

Each measurement runs in a process of its own, the contestants in turn. The clock runs over `fit` alone; `answer s` is
`predict` on the test images. Dual values are computed after the clock, from each one's coefficients, by one judge.
Writes results/svm.md and .json beside this file.
"""

from __future__ import annotations

import argparse
import gzip
import time
from pathlib import Path
from typing import Any

from measure import compare, in_words, peak_mib, speed_table

PROBLEMS = ("digits", "parity")
LIBRARIES = ("scikit-learn", "chainrule", "chainrule float32")
CONTESTANTS = tuple(f"{problem}: {library}" for problem in PROBLEMS for library in LIBRARIES)


def images(folder: Path, name: str, count: int) -> tuple[Any, Any]:
    """The first `count` images (N, 784) in [0, 1] and their digits (N,)."""
    import numpy as np

    with gzip.open(folder / "mnist" / f"{name}-images-idx3-ubyte.gz") as file:
        x = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 784)[:count] / 255.0
    with gzip.open(folder / "mnist" / f"{name}-labels-idx1-ubyte.gz") as file:
        y = np.frombuffer(file.read(), np.uint8, offset=8)[:count].astype(np.int64)
    return x, y


def measure(name: str, options: argparse.Namespace) -> dict[str, float]:
    """Seconds of fit and of predict, the dual's value summed over machines, test error, peak memory, of one contestant."""
    import numpy as np

    problem, _, library = name.partition(": ")
    dtype = np.float32 if library.endswith("float32") else np.float64
    (x, y), (test_x, test_y) = (
        images(options.data, *which) for which in (("train", options.rows), ("t10k", options.tests))
    )
    x, test_x = x.astype(dtype), test_x.astype(dtype)
    if problem == "parity":
        y, test_y = y % 2, test_y % 2
    model = estimator(library, options)
    before = time.perf_counter()
    model.fit(x, y)
    seconds = time.perf_counter() - before
    peak = peak_mib()
    before = time.perf_counter()
    error = float((model.predict(test_x) != test_y).mean())
    answer = time.perf_counter() - before
    return {
        "seconds": seconds,
        "answer_s": answer,
        "dual": dual_value(model, x),
        "test_error": error,
        "peak_mib": peak,
        "vectors": float(len(model.support_)),
        "steps": float(np.sum(model.n_iter_)),
    }


def estimator(library: str, options: argparse.Namespace) -> Any:
    if library == "scikit-learn":
        from sklearn.svm import SVC

        return SVC(C=1.0, kernel="rbf", gamma="scale", tol=1e-3, cache_size=options.cache)
    import torch

    from chainrule.systems.classical.kernel_svm import KernelSVM

    torch.set_num_threads(options.threads)
    return KernelSVM(C=1.0, kernel="rbf", gamma="scale", tol=1e-3)


def dual_value(model: Any, x: Any) -> float:
    """sum alpha - 1/2 sum alpha alpha y y k over all two-class machines, in float64, by NumPy alone."""
    import numpy as np

    vectors = x[model.support_].astype(np.float64)
    norms = (vectors**2).sum(1)
    gamma = model.gamma_ if hasattr(model, "gamma_") else model._gamma
    kernel = np.exp(-gamma * np.maximum(norms[:, None] + norms - 2 * vectors @ vectors.T, 0))
    return float(sum(np.abs(b).sum() - 0.5 * b @ kernel @ b for b in machines(model)))


def machines(model: Any) -> Any:
    """The coefficients y_i alpha_i (S,) of each two-class machine; scikit-learn packs those of pairs."""
    import numpy as np

    classes, packed = len(model.classes_), model.dual_coef_
    if hasattr(model, "gamma_") or classes == 2:
        return packed
    starts = np.concatenate([[0], np.cumsum(model.n_support_)])  # its vectors lie class by class
    found = []
    for i in range(classes):
        for j in range(i + 1, classes):
            b = np.zeros(packed.shape[1])
            b[starts[i] : starts[i + 1]] = packed[j - 1, starts[i] : starts[i + 1]]
            b[starts[j] : starts[j + 1]] = packed[i, starts[j] : starts[j + 1]]
            found.append(b)
    return found


def summarise(record: dict[str, Any]) -> str:
    """The record as Markdown: medians, with the range of the seconds."""
    p = record["problem"]
    columns = {
        "CPU s": lambda own, _: f"{own['cpu_s']:.1f}",
        "answer s": lambda own, _: f"{own['answer_s']:.2f}",
        "peak MiB": lambda own, _: f"{own['peak_mib']:.0f}",
        "dual value": lambda own, _: f"{own['dual']:.4f}",
        "difference": lambda own, beside: f"{own['dual'] / beside['dual'] - 1:+.1e}",
        "test error %": lambda own, _: f"{100 * own['test_error']:.2f}",
        "vectors": lambda own, _: f"{own['vectors']:.0f}",
        "pairs moved": lambda own, _: f"{own['steps']:.0f}",
    }
    return "\n\n".join(
        [
            "# Support vector machine, RBF kernel",
            f"The first {p['rows']:,} training images of MNIST x 784, C = 1, gamma = 1 / (D Var[X]), violation below 1e-3; "
            f"{p['tests']:,} test images; medians of {p['repeats']}, contestants in turn, a process each.",
            speed_table(
                record["runs"],
                lambda name, middle: middle[f"{name.partition(': ')[0]}: {LIBRARIES[0]}"],
                columns,
                seconds="fit s",
            ),
            in_words(record),
            "`digits`: 45 machines, a pair of classes each; `parity`: one machine, odd against even. CPU s are of the whole "
            "process, with imports, data and answers. Peaks are read after the fit and count libraries and data; "
            f"scikit-learn may keep {p['cache']} MB of kernel rows, chainrule 200.",
        ]
    )


if __name__ == "__main__":
    compare(
        __file__,
        __doc__,
        CONTESTANTS,
        measure,
        summarise,
        {"rows": 10_000, "tests": 10_000, "cache": 2000, "repeats": 3, "threads": 2},
        ("chainrule", "torch", "scikit-learn", "numpy"),
        needs_data=True,
    )
