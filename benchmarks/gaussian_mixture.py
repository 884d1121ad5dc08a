"""EM for a mixture of Gaussians: chainrule against scikit-learn, from one start, in one run.

    python benchmarks/gaussian_mixture.py                        # 200,000 x 32, 16 components, both cores
    python benchmarks/gaussian_mixture.py --rows 20000 --repeats 1

Each measurement runs in a process of its own, the contestants in turn, so that times see the same machine and peaks of
memory stay apart. The clock runs over the iterations alone: data and start are made before it, and are the same numbers
for all. Writes results/gaussian_mixture.md and .json beside this file.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

CONTESTANTS = ("scikit-learn", "chainrule float64", "chainrule float32")
RESULTS = Path(__file__).parent / "results"


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
            options.components, tol=0.0, reg_covar=1e-6, max_iter=options.iterations,
            weights_init=weights, means_init=means, precisions_init=precisions,
        )  # fmt: skip
        before = time.perf_counter()
        mixture.fit(x)
        seconds = time.perf_counter() - before
        found = (mixture.weights_, mixture.means_, mixture.covariances_)
    else:
        import torch

        from chainrule.models.graphical.gaussian_mixture import GaussianMixture as Mixture

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
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "linux" else 1024**2)
    return {"seconds": seconds, "log_likelihood": log_likelihood(x, *found), "peak_mib": peak}


def log_likelihood(x: Any, weights: Any, means: Any, covariances: Any) -> float:
    """Mean log-density by SciPy, the same judge for all; in blocks of rows, and after the clock and the peak are read."""
    import numpy as np
    from scipy.special import logsumexp
    from scipy.stats import multivariate_normal

    parts = [
        np.stack([np.log(w) + multivariate_normal(m, c).logpdf(block) for w, m, c in zip(weights, means, covariances, strict=True)])
        for block in np.array_split(x, max(1, len(x) // 10_000))
    ]  # fmt: skip
    return float(np.concatenate([logsumexp(part, axis=0) for part in parts]).mean())


def hardware() -> str:
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        cpu = next(
            (line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line), cpu
        )
    return cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (
        ("rows", 200_000),
        ("columns", 32),
        ("components", 16),
        ("iterations", 10),
        ("repeats", 3),
        ("threads", 2),
    ):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--one", choices=CONTESTANTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, options)))
        return
    import os

    import numpy
    import scipy
    import sklearn
    import torch

    environment = os.environ | {
        name: str(options.threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    }
    numbers = [
        f"--{name}={getattr(options, name)}" for name in ("rows", "columns", "components", "iterations", "threads")
    ]
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in CONTESTANTS}
    for _ in range(options.repeats):
        for name in CONTESTANTS:
            command = [sys.executable, __file__, "--one", name, *numbers]
            reply = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            runs[name].append(json.loads(reply.stdout.splitlines()[-1]))
            print(name, runs[name][-1], file=sys.stderr)
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    record = {
        "problem": {name: getattr(options, name) for name in ("rows", "columns", "components", "iterations", "threads", "repeats")},
        "command": " ".join(["python", "benchmarks/gaussian_mixture.py", *sys.argv[1:]]),
        "hardware": hardware(), "platform": platform.platform(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "scikit-learn": sklearn.__version__,
                     "numpy": numpy.__version__, "scipy": scipy.__version__},
        "commit": subprocess.run(git, capture_output=True, text=True).stdout.strip() or None,
        "runs": runs,
    }  # fmt: skip
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "gaussian_mixture.json").write_text(json.dumps(record, indent=2) + "\n")
    text = table(record)
    (RESULTS / "gaussian_mixture.md").write_text(text)
    print(text)


def table(record: dict[str, Any]) -> str:
    """The record as Markdown: medians, with the range of the seconds."""
    p, runs = record["problem"], record["runs"]
    median = {name: {key: statistics.median(r[key] for r in rs) for key in rs[0]} for name, rs in runs.items()}
    reference = median[CONTESTANTS[0]]
    lines = [
        "# EM for a mixture of Gaussians", "",
        f"{p['rows']:,} x {p['columns']}, {p['components']} full covariances, {p['iterations']} iterations from one start, "
        f"{p['threads']} threads; medians of {p['repeats']}, contestants in turn, a process each.", "",
        "| | seconds | range | times as fast | peak memory (MiB) | mean log-likelihood | difference |",
        "| --- | --: | --: | --: | --: | --: | --: |",
    ]  # fmt: skip
    for name, own in median.items():
        seconds = [r["seconds"] for r in runs[name]]
        lines.append(
            f"| {name} | {own['seconds']:.2f} | {min(seconds):.2f} to {max(seconds):.2f} | "
            f"{reference['seconds'] / own['seconds']:.1f} | {own['peak_mib']:.0f} | {own['log_likelihood']:.9f} | "
            f"{own['log_likelihood'] - reference['log_likelihood']:+.1e} |"
        )
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    return "\n".join([
        *lines, "", f"{record['hardware']}; {record['platform']}; {versions}; commit {record['commit']}.", "",
        f"    {record['command']}", "",
        "Log-likelihoods are SciPy's of each one's parameters on the same rows. Peaks are of the whole process, with its "
        "libraries and the data.", "",
    ])  # fmt: skip


if __name__ == "__main__":
    main()
