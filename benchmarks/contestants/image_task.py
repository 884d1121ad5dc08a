"""What the contestants share: the task in numbers, and the official files as arrays. No framework is imported."""

from __future__ import annotations

import argparse
import gzip
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Task:
    """Mean and deviation of a pixel as usually published; the optimisation, momentum SGD; what is held out."""

    data: str
    shape: tuple[int, int, int]  # height, width, channels
    mean: tuple[float, ...]
    std: tuple[float, ...]
    lr: float
    cosine: bool  # the rate falls to zero as a cosine; constant otherwise
    weight_decay: float
    held_out: float
    momentum: float = 0.9
    batch_size: int = 128


TASKS = {
    "lenet": Task("mnist", (28, 28, 1), (0.1307,), (0.3081,), 0.01, True, 5e-4, 1 / 12),
    "resnet20": Task(
        "cifar10", (32, 32, 3), (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616), 0.1, False, 1e-4, 1 / 10
    ),
}


@dataclass
class Arguments:
    name: str
    task: Task
    folder: Path
    epochs: int


def arguments() -> Arguments:
    parser = argparse.ArgumentParser()
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("folder", type=Path, help="the official files")
    parser.add_argument("epochs", type=int)
    given = parser.parse_args()
    return Arguments(given.task, TASKS[given.task], given.folder, given.epochs)


def read(folder: Path, task: Task) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Splits train, val (the last images of the training files), test: bytes (N, H, W, C) and classes (N,)."""
    if task.data == "mnist":
        x, y = _idx(folder / "train-images-idx3-ubyte.gz"), _idx(folder / "train-labels-idx1-ubyte.gz")
        test = _idx(folder / "t10k-images-idx3-ubyte.gz")[..., None], _idx(folder / "t10k-labels-idx1-ubyte.gz")
        x = x[..., None]
    else:
        batches = folder / "cifar-10-batches-bin"
        parts = [_records(batches / f"data_batch_{i}.bin") for i in range(1, 6)]
        x, y = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        test = _records(batches / "test_batch.bin")
    kept = len(x) - round(len(x) * task.held_out)
    return {"train": (x[:kept], y[:kept]), "val": (x[kept:], y[kept:]), "test": test}


def shorten(source: Path, target: Path, task: Task, train: int | None, test: int | None) -> None:
    """Copies the official files with the first `train` and `test` images alone."""
    if task.data == "mnist":
        for prefix, count in (("train", train), ("t10k", test)):
            for part, head, size in (("images-idx3", 16, 784), ("labels-idx1", 8, 1)):
                name = f"{prefix}-{part}-ubyte.gz"
                content = gzip.decompress((source / name).read_bytes())
                number = min(count or 10**9, (len(content) - head) // size)
                short = content[:4] + number.to_bytes(4, "big") + content[8 : head + number * size]
                (target / name).write_bytes(gzip.compress(short, 6, mtime=0))
        return
    (target / "cifar-10-batches-bin").mkdir()
    for file in (source / "cifar-10-batches-bin").iterdir():
        content = file.read_bytes()
        if file.suffix == ".bin":
            count = test if file.stem == "test_batch" else train and train // 5
            content = content[: 3073 * count] if count else content
        (target / "cifar-10-batches-bin" / file.name).write_bytes(content)


def report(import_s: float, train_s: float, correct: float, parameters: int, **more: float) -> None:
    """Prints what measure.run_contestant reads."""
    values = {"import_s": import_s, "train_s": train_s, "accuracy": correct, "parameters": parameters, **more}
    print(json.dumps(values), flush=True)


class Clock:
    """Seconds since the last call of `lap`."""

    def __init__(self) -> None:
        self.start = time.perf_counter()

    def lap(self) -> float:
        now = time.perf_counter()
        self.start, seconds = now, now - self.start
        return seconds


def _idx(file: Path) -> np.ndarray:
    content = gzip.decompress(file.read_bytes())
    shape = [int.from_bytes(content[4 + 4 * i : 8 + 4 * i], "big") for i in range(content[3])]
    return np.frombuffer(content, np.uint8, offset=4 + 4 * content[3]).reshape(shape)


def _records(file: Path) -> tuple[np.ndarray, np.ndarray]:
    records = np.fromfile(file, np.uint8).reshape(-1, 3073)
    return records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), records[:, 0]
