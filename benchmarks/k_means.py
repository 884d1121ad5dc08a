"""k-means: chainrule against scikit-learn's two algorithms, from one start, at one tolerance, in one run.

    python benchmarks/k_means.py --data DIR                      # MNIST in DIR/mnist, and a million points; both cores
    python benchmarks/k_means.py --problems points --rows 100000 --repeats 1

Problems: the 60,000 training images of MNIST (784 columns, 0 to 1) with 10 and with 100 clusters, and 1,000,000 points of
10 columns from 50 overlapping Gaussians with 50 clusters. float32. The start is a random choice of rows, the same for all; each
runs until its own stopping rule, which is the same: labels that no longer change, or centres that move less than 1e-4 of the
mean variance. Each measurement runs in a process of its own, the contestants in turn. The clock runs over `fit` alone.
Writes results/k_means.md and .json beside this file.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import time
from pathlib import Path
from typing import Any

from measure import circumstances, in_turn, in_words, medians, parser_of, peak_mib, speed_table, write_results

CONTESTANTS = ("scikit-learn lloyd", "scikit-learn elkan", "chainrule")
PROBLEMS = {"mnist-10": 10, "mnist-100": 100, "points": 50}


def problem(name: str, options: argparse.Namespace) -> tuple[Any, Any]:
    """Rows (N, D) and centres to start from (K, D), float32."""
    import numpy as np

    random, clusters = np.random.default_rng(0), PROBLEMS[name]
    if name == "points":
        centres = random.normal(size=(clusters, 10)) * 2
        x = centres[random.integers(clusters, size=options.rows)] + random.normal(size=(options.rows, 10))
    else:
        packed = Path(options.data) / "mnist" / "train-images-idx3-ubyte.gz"
        x = np.frombuffer(gzip.decompress(packed.read_bytes()), np.uint8, offset=16).reshape(-1, 784) / np.float32(255)
        x = x[: options.rows]
    x = x.astype(np.float32)
    return x, x[random.choice(len(x), clusters, replace=False)].copy()


def measure(name: str, options: argparse.Namespace) -> dict[str, float]:
    """Seconds of `fit`, iterations, inertia at the end, and the peak of memory, of one contestant on one problem."""
    import numpy as np

    x, start = problem(options.problem, options)
    before_mib = peak_mib()
    settings: dict[str, Any] = {"n_clusters": len(start), "init": start, "n_init": 1, "max_iter": 300, "tol": 1e-4}
    if name == "chainrule":
        import torch

        from chainrule.systems.classical.k_means import KMeans

        torch.set_num_threads(options.threads)
        model: Any = KMeans(**settings)
    else:
        from sklearn.cluster import KMeans as TheirKMeans

        model = TheirKMeans(**settings, algorithm=name.split()[1])
    loaded_mib = peak_mib()
    before = time.perf_counter()
    model.fit(x)
    seconds = time.perf_counter() - before
    peak = peak_mib()
    centres, total = model.cluster_centers_.astype(np.float64), 0.0
    for block, labels in zip(
        np.array_split(x, 100), np.array_split(model.labels_, 100), strict=True
    ):  # one judge for all
        total += float(((block - centres[labels]) ** 2).sum())
    found = {
        "seconds": seconds,
        "iterations": model.n_iter_,
        "inertia": total,
        "peak_mib": peak,
        "data_mib": before_mib,
        "loaded_mib": loaded_mib,
    }
    if name == "chainrule":
        found["measured"] = float(model.measured_.sum() / (len(x) * model.n_iter_))
    elif name.endswith("lloyd"):
        found["measured"] = 1.0
    return found


def main() -> None:
    parser = parser_of(__doc__, {"rows": 1_000_000, "repeats": 3, "threads": 2}, CONTESTANTS)
    parser.add_argument("--data", default=os.environ.get("CHAINRULE_DATA", "."), help="the folder that holds mnist/")
    parser.add_argument("--problems", nargs="+", choices=PROBLEMS, default=list(PROBLEMS))
    parser.add_argument("--problem", choices=PROBLEMS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(given.one, given)))
        return
    shared = [f"--rows={given.rows}", f"--threads={given.threads}", f"--data={given.data}"]
    record = {
        **circumstances(__file__, given.threads, ("chainrule", "torch", "scikit-learn", "numpy")),
        "repeats": given.repeats,
        "rows": given.rows,
        "runs": {
            name: in_turn(
                Path(__file__),
                CONTESTANTS,
                [*shared, f"--problem={name}"],
                repeats=given.repeats,
                threads=given.threads,
            )
            for name in given.problems
        },
    }
    text = summarise(record)
    write_results("k_means", record, text)
    print(text)


COLUMNS = {
    "iterations": lambda own, _: f"{own['iterations']:.0f}",
    "inertia": lambda own, _: f"{own['inertia']:.7g}",
    "peak MiB": lambda own, _: f"{own['peak_mib']:.0f}",
    "of which fit": lambda own, _: f"{own['peak_mib'] - own['loaded_mib']:.0f}",
    "rows measured": lambda own, _: f"{own['measured']:.0%}" if "measured" in own else "",
}


def summarise(record: dict[str, Any]) -> str:
    """The record as Markdown: a table a problem, medians, with the range of the seconds."""
    parts = ["# k-means from one start"]
    for problem_name, runs in record["runs"].items():
        best = min((medians(runs[name]) for name in CONTESTANTS[:2]), key=lambda m: m["seconds"])
        parts += [
            f"## {problem_name}",
            speed_table(
                runs,
                lambda _, middle, best=best: best,
                COLUMNS,
                faster="times as fast as their better",
                faster_digits=2,
            ),
        ]
    parts.append(f"Medians of {record['repeats']}, contestants in turn, a process each. {in_words(record)}")
    parts.append(
        "Inertias are NumPy's of each one's centres and labels, in float64. Peaks are of the whole process; what fit added is what "
        "it rose by after the data and the libraries were there. Rows measured: the share of rows whose distances to all centres "
        "were computed, over all iterations."
    )
    return "\n\n".join(parts)


if __name__ == "__main__":
    main()
