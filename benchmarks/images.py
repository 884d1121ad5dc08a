"""Seconds to train LeNet on MNIST and ResNet-20 on CIFAR-10: Chainrule beside what people use now.

    python benchmarks/images.py --data /path/to/folder/with/mnist/and/cifar10

Every contestant reads the official files, trains the same network on the same number of images for the same number of
epochs in batches of 128 by momentum SGD, measures the held-out images after every epoch and the test images at the end.
Each runs in a fresh process; they take turns, `--repeats` rounds of them. Augmentation is off for all.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from measure import HERE, commit, hardware, medians, run_contestant, table, versions, write_results

sys.path.insert(0, str(HERE / "contestants"))
from image_task import TASKS, shorten

CONTESTANTS: dict[str, tuple[str, dict[str, str]]] = {  # the first is what the others are set against
    "chainrule-float32": ("chainrule_train.py", {"CHAINRULE_AUTOCAST": "no"}),
    "chainrule-bfloat16": ("chainrule_train.py", {"CHAINRULE_AUTOCAST": "yes"}),
    "pytorch": ("pytorch_loop.py", {}),
    "lightning": ("lightning_fit.py", {}),
    "keras-jax": ("keras_fit.py", {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}),
    "keras-torch": ("keras_fit.py", {"KERAS_BACKEND": "torch"}),
}
TITLES = {"lenet": "LeNet (Caffe's form) on MNIST", "resnet20": "ResNet-20 on CIFAR-10"}
PACKAGES = ("chainrule", "torch", "keras", "jax", "lightning", "numpy")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("CHAINRULE_DATA"), help="default: CHAINRULE_DATA")
    parser.add_argument("--only", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--contestants", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS))
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--limit-train", type=int, help="use that many of the training images, for all alike")
    parser.add_argument("--limit-test", type=int, help="and of the test images")
    parser.add_argument("--name", default="images", help="of the files in results/")
    given = parser.parse_args()
    if given.data is None:
        parser.error("say where the official files are: --data DIR, or set CHAINRULE_DATA")
    return given


def measure(name: str, given: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """All runs of one task, by contestant, in turn."""
    task = TASKS[name]
    folder = (given.data / task.data).resolve()
    runs: dict[str, list[dict[str, Any]]] = {contestant: [] for contestant in given.contestants}
    with tempfile.TemporaryDirectory() as place:
        if given.limit_train or given.limit_test:
            shorten(folder, Path(place), task, given.limit_train, given.limit_test)
            folder = Path(place)
        for repeat in range(given.repeats):
            for contestant in given.contestants:
                script, environment = CONTESTANTS[contestant]
                result = run_contestant(
                    HERE / "contestants" / script,
                    [name, str(folder), str(given.epochs)],
                    threads=given.threads,
                    environment={"CHAINRULE_DATA": str(given.data), **environment},
                )
                runs[contestant].append(result)
                said = result.get("error") or f"{result['train_s']:.1f} s, accuracy {result['accuracy']:.4f}"
                print(f"{name} {repeat + 1}/{given.repeats} {contestant}: {said}", file=sys.stderr, flush=True)
    return runs


def summarise(runs: dict[str, list[dict[str, Any]]]) -> str:
    """Medians of the runs that went well, as a table."""
    good = {name: [run for run in results if "error" not in run] for name, results in runs.items()}
    middle = {name: medians(results) for name, results in good.items() if results}
    if not middle:
        return "No contestant finished."
    first = next(iter(middle))
    rows = []
    for name, value in middle.items():
        times = sorted(run["train_s"] for run in good[name])
        rows.append(
            [
                name,
                f"{value['train_s']:.1f}",
                f"{times[0]:.1f} to {times[-1]:.1f}",
                f"{value['train_s'] / middle[first]['train_s']:.2f}",
                f"{value['import_s']:.1f}",
                f"{value['cpu_s']:.1f}",
                f"{value['accuracy']:.4f}",
                f"{value['peak_mb']:.0f}",
                f"{value['parameters']:,.0f}",
            ]
        )
    header = [
        "",
        "seconds",
        "least to most",
        f"times {first}",
        "import s",
        "CPU s",
        "test accuracy",
        "peak MB",
        "parameters",
    ]
    text = table(header, rows)
    reports = [f"{value['report_s']:.1f} of {name}" for name, value in middle.items() if "report_s" in value]
    if reports:
        text += f"\n\nSeconds of these that are the HTML report: {', '.join(reports)}. {_faster(middle)}"
    failed = [f"- {name}: {run['error']}" for name, results in runs.items() for run in results if "error" in run]
    return "\n".join([text, *(["", "Failed:", *failed] if failed else [])])


def _faster(middle: dict[str, dict[str, float]]) -> str:
    """How many times as fast as the fastest of the others each of ours is."""
    ours = {name: value["train_s"] for name, value in middle.items() if name.startswith("chainrule")}
    others = {name: value["train_s"] for name, value in middle.items() if name not in ours}
    if not others:
        return ""
    peer = min(others, key=others.__getitem__)
    said = ", ".join(f"{name} {others[peer] / seconds:.2f}" for name, seconds in ours.items())
    return f"Times as fast as {peer}, the fastest of the others: {said}."


def command(given: argparse.Namespace) -> str:
    """What to type to measure this again, without the place of the data."""
    words = ["python benchmarks/images.py --only", *given.only, "--contestants", *given.contestants]
    for name in ("epochs", "repeats", "threads", "limit_train", "limit_test"):
        if getattr(given, name) is not None:
            words += [f"--{name.replace('_', '-')}", str(getattr(given, name))]
    return " ".join(words)


def main() -> None:
    given = parse()
    machine, packages, code = hardware(given.threads), versions(PACKAGES), commit()
    limits = [
        f"the first {n:,} {what} images"
        for n, what in ((given.limit_train, "training"), (given.limit_test, "test"))
        if n
    ]
    parts = [
        "# Training images",
        f"{machine}. {', '.join(f'{k} {v}' for k, v in packages.items())}. Commit {code}.",
        f"{given.epochs} epoch(s), batches of 128, {given.repeats} run(s) each, in turn; medians"
        + (f"; {' and '.join(limits)}" if limits else "")
        + ". Seconds are for all after the import: reading the files, training, evaluation after each epoch and at the end. "
        "CPU seconds are those of the whole process, over all cores.",
        f"`{command(given)}`",
    ]
    results = {}
    for name in given.only:
        results[name] = measure(name, given)
        parts += [f"## {TITLES[name]}", summarise(results[name])]
        record = {"hardware": machine, "versions": packages, "commit": code, "command": command(given), "runs": results}
        write_results(given.name, record, "\n\n".join(parts))
    print("\n\n".join(parts))


if __name__ == "__main__":
    main()
