"""What a small run spends outside its loop: imports, reading, the report. And what the small commands take.

    python benchmarks/startup.py [--repeats 3] [--threads 1]

Each row is a process of its own, in turns. CPU seconds (user and system) are of the whole process: of the same command
they differ little from run to run, where the clock waits for whatever else the machine does. Of a training, `loop` are the
CPU seconds inside the task's training, `evaluation` those of the test split, `report` those of the HTML page; `import` are
those until the first line of the command runs, PyTorch's import among them, which is also measured by itself. What is
`outside` is all that is not loop. Writes results/startup.md and .json beside this file.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import tempfile
import time
from typing import Any

from measure import HERE, circumstances, in_words, medians, run_or_exit, table, write_results

# small settings: what stands around them is the point
TRAININGS = {
    "logistic-regression": [],
    "softmax-regression": ["--data", "iris"],
    "k-means": ["--data", "iris"],
    "mlp-regression": ["epochs=20"],
    "lenet-caffe": ["--data", "digits", "epochs=1"],
    "char-lstm": ["--data", "pydoc-topics", "characters=20000", "epochs=1", "hidden_size=48"],
}
COMMANDS = {
    "import torch": [],
    "list": ["list"],
    "show logistic-regression": ["show", "logistic-regression"],
    "show lenet-caffe": ["show", "lenet-caffe"],
}
PACKAGES = ("sklearn", "scipy", "pandas", "matplotlib", "torch._dynamo", "sympy")


def training(recipe: str) -> dict[str, Any]:
    begun = time.process_time()
    importlib.import_module("torch")
    torch_s = time.process_time() - begun
    from chainrule import cli
    from chainrule.reporting import report as page
    from chainrule.run.run import Run

    imported = time.process_time()
    spent = {"loop_s": 0.0, "report_s": 0.0, "evaluation_s": 0.0}

    def timed(name: str, function: Any) -> Any:
        def call(*words: Any, **named: Any) -> Any:
            own = time.process_time()
            try:
                return function(*words, **named)
            finally:
                spent[name] += time.process_time() - own

        return call

    build = Run.task.fget

    def task(run: Run) -> Any:
        first = run._task is None
        built = build(run)
        if first:
            built.train, built.evaluate = timed("loop_s", built.train), timed("evaluation_s", built.evaluate)
        return built

    Run.task = property(task)
    page.write_report = timed("report_s", page.write_report)
    with tempfile.TemporaryDirectory() as place:
        words = ["train", recipe, *TRAININGS[recipe], "--device", "cpu", "--out", f"{place}/run", "--json"]
        out, sys.stdout = sys.stdout, sys.stderr
        try:
            cli.main(words)
        except SystemExit as end:
            assert not end.code, end.code
        finally:
            sys.stdout = out
    whole = time.process_time()
    return {
        "torch_s": torch_s,
        "import_s": imported,
        **spent,
        "rest_s": whole - imported - sum(spent.values()),
        "outside_s": whole - spent["loop_s"],
        "loads": [name for name in PACKAGES if name in sys.modules],
    }


def command(name: str) -> dict[str, Any]:
    if name == "import torch":
        importlib.import_module("torch")
    else:
        from chainrule import cli

        out, sys.stdout = sys.stdout, sys.stderr
        try:
            cli.main(COMMANDS[name])
        except SystemExit as end:
            assert not end.code, end.code
        finally:
            sys.stdout = out
    return {"outside_s": time.process_time(), "loads": [name for name in PACKAGES if name in sys.modules]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=[*TRAININGS, *COMMANDS], default=[*TRAININGS, *COMMANDS])
    parser.add_argument("--name", default="startup", help="of the files in results/")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(training(given.one) if given.one in TRAININGS else command(given.one)))
        return
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in given.only}
    for _ in range(given.repeats):
        for name, results in runs.items():
            results.append(run_or_exit(HERE / "startup.py", name, ["--one", name], threads=given.threads))
    record = {
        **circumstances(__file__, given.threads, ("chainrule", "torch", "scikit-learn", "matplotlib")),
        "runs": runs,
    }
    parts = ("outside_s", "torch_s", "import_s", "rest_s", "evaluation_s", "report_s", "loop_s")
    rows = []
    for name, results in runs.items():
        middle = medians(results)
        rows.append([name, *(f"{middle[part]:.2f}" if part in middle else "-" for part in parts)])
        rows[-1] += [f"{middle['process_s']:.1f}", " ".join(results[0]["loads"]) or "-"]
    header = ["", "outside the loop", "torch", "all imports", "reading and writing", "evaluation", "report", "loop"]
    text = "\n\n".join(
        [
            "# What a small run spends outside its loop",
            f"CPU seconds, medians of {given.repeats}; the first column is all but the loop.",
            table([*header, "seconds of the clock", "loads"], rows),
            in_words(record),
        ]
    )
    write_results(given.name, record, text)
    print(text)


if __name__ == "__main__":
    main()
