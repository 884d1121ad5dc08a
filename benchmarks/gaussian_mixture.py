"""EM for a mixture of Gaussians: chainrule against scikit-learn, from one start, in one run.

    python benchmarks/gaussian_mixture.py                        # 200,000 x 32, 16 components, both cores
    python benchmarks/gaussian_mixture.py --rows 20000 --repeats 1

Each measurement runs in a process of its own, the contestants in turn, so that times see the same machine and peaks of
memory stay apart. The clock runs over the iterations alone: data and start are made before it, and are the same numbers
for all. Writes results/gaussian_mixture.md and .json beside this file.
"""

from __future__ import annotations

import argparse
import time
import warnings
from typing import Any

from measure import compare, in_words, peak_mib, speed_table

CONTESTANTS = ("scikit-learn", "chainrule float64", "chainrule float32")


def problem(rows: int, columns: int, components: int) -> tuple[Any, ...]:
    """Data from a mixture with overlapping components, and a start that is not its truth: weights, means, precisions."""
    import numpy as np

    random = np.random.default_rng(0)
    centres = random.normal(size=(components, columns)) * 1.5
    shapes = random.normal(size=(components, columns, columns)) / np.sqrt(columns) + np.eye(columns) * 0.5
    component = random.integers(components, size=rows)
    x = random.normal(size=(rows, columns))
    for k in range(components):
        of_k = component == k
        x[of_k] = x[of_k] @ shapes[k] + centres[k]
    means = x[random.choice(rows, components, replace=False)]
    precisions = np.broadcast_to(np.diag(1 / x.var(0)), (components, columns, columns)).copy()
    return x, np.full(components, 1 / components), means, precisions


def measure(name: str, options: argparse.Namespace) -> dict[str, float]:
    """Seconds of the iterations, mean log-likelihood at the end, and the peak of memory, of one contestant."""
    import numpy as np

    x, weights, means, precisions = problem(options.rows, options.columns, options.components)
    if name == "scikit-learn":
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture

        warnings.simplefilter("ignore", ConvergenceWarning)  # ten iterations are what is asked for
        mixture = GaussianMixture(
            options.components,
            tol=0.0,
            reg_covar=1e-6,
            max_iter=options.iterations,
            weights_init=weights,
            means_init=means,
            precisions_init=precisions,
        )
        before = time.perf_counter()
        mixture.fit(x)
        seconds = time.perf_counter() - before
        found = (mixture.weights_, mixture.means_, mixture.covariances_)
    else:
        import torch

        from chainrule.systems.graphical.gaussian_mixture import GaussianMixture as Mixture

        torch.set_num_threads(options.threads)
        ours = Mixture(options.components, options.columns, "full", 1e-6)
        ours.update(torch.from_numpy(weights), torch.from_numpy(means), torch.from_numpy(np.linalg.inv(precisions)))
        before = time.perf_counter()
        samples = torch.from_numpy(x).to(torch.float32 if name.endswith("32") else torch.float64)
        for _ in range(options.iterations):
            ours.maximisation(ours.expectation(samples))
        ours.expectation(samples)  # scikit-learn's fit ends with an E-step too
        seconds = time.perf_counter() - before
        found = (ours.weights.numpy(), ours.means.numpy(), ours.covariances.numpy())
    peak = peak_mib()
    return {"seconds": seconds, "log_likelihood": log_likelihood(x, *found), "peak_mib": peak}


def log_likelihood(x: Any, weights: Any, means: Any, covariances: Any) -> float:
    """Mean log-density by SciPy, the same judge for all; in blocks of rows, and after the clock and the peak are read."""
    import numpy as np
    from scipy.special import logsumexp
    from scipy.stats import multivariate_normal

    parts = [
        np.stack(
            [
                np.log(w) + multivariate_normal(m, c).logpdf(block)
                for w, m, c in zip(weights, means, covariances, strict=True)
            ]
        )
        for block in np.array_split(x, max(1, len(x) // 10_000))
    ]
    return float(np.concatenate([logsumexp(part, axis=0) for part in parts]).mean())


def summarise(record: dict[str, Any]) -> str:
    """The record as Markdown: medians, with the range of the seconds."""
    p = record["problem"]
    columns = {
        "peak MiB": lambda own, _: f"{own['peak_mib']:.0f}",
        "mean log-likelihood": lambda own, _: f"{own['log_likelihood']:.9f}",
        "difference": lambda own, beside: f"{own['log_likelihood'] - beside['log_likelihood']:+.1e}",
    }
    return "\n\n".join(
        [
            "# EM for a mixture of Gaussians",
            f"{p['rows']:,} x {p['columns']}, {p['components']} full covariances, {p['iterations']} iterations from one start; "
            f"medians of {p['repeats']}, contestants in turn, a process each.",
            speed_table(record["runs"], lambda _, middle: middle[CONTESTANTS[0]], columns),
            in_words(record),
            "Log-likelihoods are SciPy's of each one's parameters on the same rows. Peaks are of the whole process, with its "
            "libraries and the data.",
        ]
    )


if __name__ == "__main__":
    compare(
        __file__,
        __doc__,
        CONTESTANTS,
        measure,
        summarise,
        {"rows": 200_000, "columns": 32, "components": 16, "iterations": 10, "repeats": 3, "threads": 2},
    )
