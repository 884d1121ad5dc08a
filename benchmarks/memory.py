"""Whether memory stays flat: a run on decoded images of four times what a limit leaves.

    python benchmarks/memory.py                   # 256 MB above what the process has before it reads, 1 GB of images
    python benchmarks/memory.py --limit 64 --by group

The run is a process of its own: `image-classifier` with a small network on images of 64 x 64, an epoch with validation
and test. The limit is RLIMIT_DATA, which counts what is the process's own and not what is mapped from files; or that of a
memory control group of version 1, where cached files count too, and give way as fast as the disk takes them. Every tenth of
a second the resident memory is looked at: RssAnon, the process's own, and RssFile, mapped from files, which the system takes
back when it wants. Writes results/memory.json and .md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from measure import circumstances, in_words, table, write_results

SIDE = 64
NETWORK = """
from torch import nn
def network(num_classes):
    layers = nn.Conv2d(3, 16, 8, 8), nn.ReLU(), nn.Conv2d(16, 32, 4, 4), nn.ReLU(), nn.Flatten(), nn.Linear(128, num_classes)
    return nn.Sequential(*layers)
"""
RUN = """
import json, os, resource, sys, time
from pathlib import Path
import torch
import chainrule.api
from chainrule.data.streams.memory import _table
limit, folder, group, threads, side = int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
torch.set_num_threads(threads)

def train(data, out, **more):
    return chainrule.api.train(
        "image-classifier", data=data, out=f"{folder}/{out}", network=f"{folder}/network.py:network", size=side, channels=3,
        epochs=1, batch_size=128, crop="none", flip=False, colour=0.0, cutout=0.0, log_every=10, **more,
    )

train("digits", "small")  # so that what is loaded once is loaded
status, start = _table(Path("/proc/self/status")), time.monotonic()
if group:
    (Path(group) / "cgroup.procs").write_text(str(os.getpid()))
    (Path(group) / "memory.limit_in_bytes").write_text(str(limit))  # of what comes from now on
else:
    resource.setrlimit(resource.RLIMIT_DATA, (status["VmData"] * 1024 + limit, resource.RLIM_INFINITY))
run = train(f"{folder}/images", "run")
print(json.dumps({"in_memory": run.record["data"]["in_memory"], "steps": run.step, "before_mb": status["RssAnon"] / 1024, "start": start}))
"""


def make(folder: Path, count: int) -> None:
    """Small files that decode to images of SIDE x SIDE: what is decoded is what takes memory."""
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(0)
    for number in range(count):
        place, first = (folder / str(number % 2) / f"{n:06d}.png" for n in (number, number % 2))
        place.parent.mkdir(parents=True, exist_ok=True)
        if number < 2:
            Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(place)
        else:
            os.link(first, place)  # of a class all are one file, which the run does not know


def control_group() -> Path | None:
    """A new memory control group of version 1, or None where none can be made."""
    own = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    paths = [path for _, controllers, path in own if "memory" in controllers.split(",")]
    for path in [*paths, "/"]:
        group = Path("/sys/fs/cgroup/memory") / path.lstrip("/") / f"chainrule-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        return group
    return None


def watch(process: subprocess.Popen[str]) -> list[dict[str, float]]:
    """Resident memory of the process, in MB, every tenth of a second until it ends."""
    seen = []
    while process.poll() is None:
        try:
            lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        except OSError:
            break
        found = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines if line.startswith("Rss")}
        if found:
            seen.append({"s": round(time.monotonic(), 1), "anon": found["RssAnon"], "file": found["RssFile"]})
        time.sleep(0.1)
    return seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, default=256, help="MB that the limit leaves")
    parser.add_argument("--by", choices=["group", "rlimit"], default="rlimit", help="what sets the limit")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    limit = given.limit * 10**6
    count = -(-4 * limit // (SIDE * SIDE * 3))
    record: dict[str, Any] = {**circumstances(__file__, given.threads, ("chainrule", "torch", "numpy"))}
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder) / "images", count)
        (Path(folder) / "network.py").write_text(NETWORK)
        group = control_group() if given.by == "group" else None
        words = [str(limit), folder, str(group or ""), str(given.threads), str(SIDE)]
        process = subprocess.Popen(
            [sys.executable, "-c", RUN, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "CHAINRULE_CACHE": f"{folder}/cache"},
        )
        seen = watch(process)
        out, err = process.communicate()
        if group is not None:
            group.rmdir()
    if process.returncode:
        sys.exit(f"the run failed: {err[-3000:]}")
    answer = json.loads(out.strip().splitlines()[-1])
    seen = [row for row in seen if row["s"] >= answer["start"]]
    record |= {"limit_mb": given.limit, "images": count, "decoded_mb": count * SIDE * SIDE * 3 / 1e6}
    record |= {"by": "control group" if group else "RLIMIT_DATA", **answer, "seen": seen}
    peak = max(row["anon"] for row in seen)
    rows = [
        ["decoded images", f"{record['decoded_mb']:,.0f}"],
        [f"the limit of what comes beside what the process had, by {record['by']}", f"{given.limit:,}"],
        ["own memory before", f"{answer['before_mb']:,.0f}"],
        ["own memory at most, while they are decoded and learnt from", f"{peak:,.0f}"],
        ["mapped from files at most, taken back when it is wanted", f"{max(row['file'] for row in seen):,.0f}"],
    ]
    text = f"# Images of four times the memory\n\n{table(['MB', ''], rows)}\n\n{answer['in_memory']['reason']}.\n\n{in_words(record)}\n"
    write_results("memory", record, text)
    print(text)


if __name__ == "__main__":
    main()
