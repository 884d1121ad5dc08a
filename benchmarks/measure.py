"""What every benchmark needs: the machine in words, contestants in processes of their own, results as files.

A contestant is a script that prints one JSON object as the last line of its standard output. It runs in a fresh
process on a fixed number of cores, so that no contestant inherits another's memory, caches or threads. This module
imports none of the packages that are compared.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

Figures = Mapping[str, Any]  # what one run of a contestant gave, or their medians

HERE = Path(__file__).parent
RESULTS = HERE / "results"


def hardware(threads: int) -> str:
    """Processor, cores used, memory."""
    model, memory = platform.processor() or platform.machine(), ""
    cpuinfo, meminfo = Path("/proc/cpuinfo"), Path("/proc/meminfo")
    if cpuinfo.is_file():
        names = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    if meminfo.is_file():
        memory = f", {int(meminfo.read_text().split()[1]) / 2**20:.0f} GiB memory"
    return f"{model}, {os.cpu_count()} cores of which {threads} used{memory}"


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Installed versions; a package that is not there is left out."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """The commit of the code, marked where files differ from it; `unknown` outside a checkout."""
    try:
        git = ["git", "-C", str(HERE)]
        head = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.stdout.strip() + (" with changes" if changed.stdout.strip() else "")


def run_contestant(
    script: Path, arguments: Sequence[str], *, threads: int, environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Runs a contestant; gives what it printed, `process_s` and `cpu_s` (of its whole life), `peak_mb` (most memory).

    A contestant that fails gives `error`, the end of what it said.
    """
    plain = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    command = [sys.executable, str(script), *arguments]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        start = time.perf_counter()
        process = subprocess.Popen(
            command,
            stdout=out,
            stderr=err,
            env={**os.environ, **plain, **(environment or {})},
            preexec_fn=(lambda: os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads]))
            if hasattr(os, "sched_setaffinity")
            else None,
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0), err.seek(0)
        lines, said = out.read().strip().splitlines(), err.read()
    if process.returncode != 0 or not lines:
        return {"error": f"exit status {process.returncode}: {said.strip()[-2000:]}"}
    unit = 2**20 if sys.platform == "darwin" else 2**10  # ru_maxrss: bytes there, KiB on Linux
    more = {"process_s": seconds, "cpu_s": usage.ru_utime + usage.ru_stime, "peak_mb": usage.ru_maxrss / unit}
    return {**json.loads(lines[-1]), **more}


def in_turn(
    script: Path, contestants: Iterable[str], words: Sequence[str], *, repeats: int, threads: int
) -> dict[str, list[dict[str, Any]]]:
    """Runs `script --one CONTESTANT words` for each contestant in turn, `repeats` times over. A failure ends it all."""
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in contestants}
    for _ in range(repeats):
        for name, results in runs.items():
            result = run_contestant(script, ["--one", name, *words], threads=threads)
            if "error" in result:
                sys.exit(f"{name} failed: {result['error']}")
            results.append(result)
            print(name, result, file=sys.stderr, flush=True)
    return runs


def parser_of(doc: str | None, numbers: Mapping[str, float], contestants: Iterable[str]) -> argparse.ArgumentParser:
    """The arguments of a benchmark: `--NAME` for each number, and `--one CONTESTANT`, by which it calls itself."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in numbers.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    parser.add_argument("--one", choices=list(contestants), help=argparse.SUPPRESS)
    return parser


def compare(
    script: str,
    doc: str | None,
    contestants: Iterable[str],
    measure: Callable[[str, argparse.Namespace], Figures],
    summarise: Callable[[dict[str, Any]], str],
    numbers: Mapping[str, float],
    packages: Sequence[str] = ("chainrule", "torch", "scikit-learn", "numpy", "scipy"),
    *,
    needs_data: bool = False,
) -> None:
    """The main of a benchmark with one problem: measures all contestants in turn, writes results/SCRIPT.json and .md.

    Args:
        script, doc: `__file__` and `__doc__` of the benchmark.
        contestants: their names.
        measure: the figures of one contestant, in a process of its own.
        summarise: the record as Markdown.
        numbers: arguments with their defaults, `repeats` and `threads` among them.
        packages: whose versions are recorded.
        needs_data: whether `--data DIR` names a folder with mnist/, the official files.
    """
    parser = parser_of(doc, numbers, contestants)
    if needs_data:
        parser.add_argument(
            "--data", type=Path, default=os.environ.get("CHAINRULE_DATA"), help="the folder with mnist/"
        )
    given = parser.parse_args()
    if needs_data and not given.data:
        parser.error("--data DIR, or CHAINRULE_DATA, names the folder that holds mnist/")
    if given.one:
        print(json.dumps(measure(given.one, given)))
        return
    values = {name: getattr(given, name) for name in numbers}
    words = [f"--{name.replace('_', '-')}={value}" for name, value in values.items() if name != "repeats"]
    words += [f"--data={given.data.absolute()}"] if needs_data else []
    record = {
        **circumstances(script, given.threads, packages),
        "problem": values,
        "runs": in_turn(Path(script), contestants, words, repeats=given.repeats, threads=given.threads),
    }
    text = summarise(record)
    write_results(Path(script).stem, record, text)
    print(text)


def peak_mib() -> float:
    """The most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "linux" else 1024**2)


def circumstances(script: str, threads: int, packages: Iterable[str]) -> dict[str, Any]:
    """What a record says besides the figures: the command, the machine, the versions, the commit."""
    return {
        "command": " ".join(["python", f"benchmarks/{Path(script).name}", *sys.argv[1:]]),
        "hardware": hardware(threads),
        "versions": versions(packages),
        "commit": commit(),
    }


def in_words(record: Mapping[str, Any]) -> str:
    """The line below a table, of what `circumstances` gave."""
    named = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    return f"{record['hardware']}; {named}; commit {record['commit']}; `{record['command']}`."


def medians(runs: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The median of every number that all of the runs have."""
    names = [name for name, value in runs[0].items() if isinstance(value, (int, float))]
    return {name: statistics.median(run[name] for run in runs) for name in names if all(name in run for run in runs)}


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, aligned to be read as text too.

    >>> print(table(["a", "b"], [["1", "22"]]))
    | a |  b |
    |:--|---:|
    | 1 | 22 |
    """
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    text = [
        "| " + " | ".join(_pad(cell, width, i) for i, (cell, width) in enumerate(zip(line, widths, strict=True))) + " |"
        for line in lines
    ]
    text.insert(
        1, "|" + "|".join(f":{'-' * (w + 1)}" if i == 0 else f"{'-' * (w + 1)}:" for i, w in enumerate(widths)) + "|"
    )
    return "\n".join(text)


def speed_table(
    runs: Mapping[str, Sequence[Figures]],
    reference: Callable[[str, Mapping[str, Figures]], Figures],
    columns: Mapping[str, Callable[[Figures, Figures], str]],
    *,
    digits: int = 2,
    seconds: str = "seconds",
    faster: str = "times as fast",
    faster_digits: int = 1,
) -> str:
    """A contestant a row: median seconds, their range, how many times as fast as its reference, and `columns`.

    Args:
        runs: the runs of each contestant.
        reference: the medians beside which those of a contestant are set, from its name and all medians.
        columns: by header, the cell from a contestant's medians and its reference's.
        digits, faster_digits: after the decimal point, of seconds and of the ratio.
        seconds, faster: the headers of the two.
    """
    middle = {name: medians(of_one) for name, of_one in runs.items()}
    rows = []
    for name, own in middle.items():
        beside, each = reference(name, middle), [run["seconds"] for run in runs[name]]
        rows.append(
            [
                name,
                f"{own['seconds']:.{digits}f}",
                f"{min(each):.{digits}f} to {max(each):.{digits}f}",
                f"{beside['seconds'] / own['seconds']:.{faster_digits}f}",
                *(cell(own, beside) for cell in columns.values()),
            ]
        )
    return table(["", seconds, "least to most", faster, *columns], rows)


def _pad(cell: str, width: int, column: int) -> str:
    return cell.ljust(width) if column == 0 else cell.rjust(width)


def write_results(name: str, record: Mapping[str, Any], text: str) -> None:
    """results/NAME.json, with every single run, and results/NAME.md, for people."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n", "utf-8")
    (RESULTS / f"{name}.md").write_text(text.rstrip() + "\n", "utf-8")
