"""Training of the character model against the loop that tutorials write: same network, same sizes, same arithmetic.

    python benchmarks/char_lstm.py [--steps 200] [--threads 2] [--repeats 3]

Each contestant runs in a process of its own, in turns, and trains on the first characters of tiny-shakespeare: two
layers of 256, batches of 32 windows of 64 characters, Adam, a bound on the gradient's norm, then a validation of 20,000
characters. The tutorial's loop holds the text as int64, cuts windows in a Dataset, batches them with a DataLoader, embeds
nothing (one-hot, as ours), begins each window from zeros, and reads the loss with `.item()` each step. Ours is
`chainrule train char-lstm` as it is: with the run folder, metrics, checkpoints, the guard against nan, a picture of a
sample, and the state carried. Writes results/char_lstm.md and .json beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BATCH, LENGTH, HIDDEN, LAYERS, LR, CLIP, DROPOUT = 32, 64, 256, 2, 5e-3, 1.0, 0.2
HELD_OUT = 20_000
RESULTS = Path(__file__).parent / "results"


def ours(text: str, steps: int, threads: int) -> dict[str, float]:
    import torch

    from chainrule import api

    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        data.mkdir()
        split = steps * BATCH * LENGTH + 1
        for name, part in {"train": text[:split], "val": text[split : split + HELD_OUT], "test": text[-1000:]}.items():
            (data / f"{name}.txt").write_text(part, encoding="utf-8", newline="")
        start = time.perf_counter()
        run = api.train(
            "char-lstm", data=str(data), out=Path(folder) / "run", device="cpu", threads=threads, epochs=1, batch_size=BATCH,
            length=LENGTH, hidden_size=HIDDEN, num_layers=LAYERS, lr=LR, clip=CLIP, dropout=DROPOUT,
        )  # fmt: skip
        whole = time.perf_counter() - start
        assert run.step == steps and torch.get_num_threads() == threads
        return {
            "seconds": run.seconds,
            "whole_seconds": whole,
            "val_loss": run.best["value"] if run.best else float("nan"),
        }


def tutorial(text: str, steps: int, threads: int) -> dict[str, float]:
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, Dataset

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    split = steps * BATCH * LENGTH + 1
    vocabulary = sorted(set(text))
    numbers = {character: number for number, character in enumerate(vocabulary)}
    codes = torch.tensor([numbers[character] for character in text])

    class Windows(Dataset):
        def __init__(self, codes: torch.Tensor) -> None:
            self.codes = codes

        def __len__(self) -> int:
            return (len(self.codes) - 1) // LENGTH

        def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
            begin = index * LENGTH
            return self.codes[begin : begin + LENGTH], self.codes[begin + 1 : begin + LENGTH + 1]

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(len(vocabulary), HIDDEN, LAYERS, dropout=DROPOUT, batch_first=True)
            self.dropout = nn.Dropout(DROPOUT)
            self.output = nn.Linear(HIDDEN, len(vocabulary))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h, _ = self.lstm(nn.functional.one_hot(x, len(vocabulary)).float())
            return self.output(self.dropout(h))

    start = time.perf_counter()
    train = DataLoader(Windows(codes[:split]), BATCH, shuffle=True)
    val = DataLoader(Windows(codes[split : split + HELD_OUT]), BATCH)
    model, criterion = Model(), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=LR)
    model.train()
    for x, y in train:
        optimizer.zero_grad()
        loss = criterion(model(x).reshape(-1, len(vocabulary)), y.reshape(-1))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        loss.item()
    model.eval()
    total, count = 0.0, 0
    with torch.no_grad():
        for x, y in val:
            total += criterion(model(x).reshape(-1, len(vocabulary)), y.reshape(-1)).item() * y.numel()
            count += y.numel()
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "whole_seconds": seconds, "val_loss": total / count}


def contestant(name: str, steps: int, threads: int) -> None:
    """Runs one contestant here and prints its figures as the last line."""
    from chainrule.data.text import read_texts

    text = read_texts("tiny-shakespeare")[1]["train"]
    result = {"ours": ours, "tutorial": tutorial}[name](text, steps, threads)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)
    print(json.dumps({**result, "peak_mib": round(peak, 1)}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        contestant(options.only, options.steps, options.threads)
        return
    import torch

    from chainrule.run.device import hardware
    from chainrule.run.run import _commit

    torch.set_num_threads(options.threads)
    runs: dict[str, list[dict[str, float]]] = {"ours": [], "tutorial": []}
    for _ in range(options.repeats):
        for name in runs:
            words = [
                sys.executable,
                __file__,
                "--only",
                name,
                "--steps",
                str(options.steps),
                "--threads",
                str(options.threads),
            ]
            environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
            done = subprocess.run(words, capture_output=True, text=True, check=True, env=environment)
            runs[name].append(json.loads(done.stdout.splitlines()[-1]))
            print(name, runs[name][-1], file=sys.stderr)
    characters = options.steps * BATCH * LENGTH
    medians = {
        name: {key: statistics.median(run[key] for run in each) for key in each[0]} for name, each in runs.items()
    }
    ratio = medians["tutorial"]["seconds"] / medians["ours"]["seconds"]
    record = {
        "what": "seconds for one epoch with its validation", "characters": characters, "steps": options.steps,
        "runs": runs, "medians": medians, "ratio": ratio, "hardware": hardware(torch.device("cpu")),
        "versions": {"python": platform.python_version(), "torch": torch.__version__}, "commit": _commit(),
        "command": f"python benchmarks/char_lstm.py --steps {options.steps} --threads {options.threads} --repeats {options.repeats}",
    }  # fmt: skip
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "char_lstm.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    rows = [
        f"| {name} | {m['seconds']:.2f} | {characters / m['seconds']:,.0f} | {m['whole_seconds']:.2f} | {m['peak_mib']:,.0f} | {m['val_loss']:.3f} |"
        for name, m in medians.items()
    ]
    text = "\n".join(
        [
            "# The character model against a plain PyTorch loop", "",
            f"{characters:,} characters of tiny-shakespeare in {options.steps} batches of {BATCH} x {LENGTH}, {LAYERS} layers of {HIDDEN}, then a "
            f"validation of {HELD_OUT:,}; medians of {options.repeats}, each in a process of its own.", "",
            "| contestant | seconds | characters/s | with evaluation and report, s | peak memory, MiB | val loss after it |", "| --- | --: | --: | --: | --: | --: |",
            *rows, "", f"The plain loop takes {ratio:.2f} times as long as ours.", "",
            f"{record['hardware']}; PyTorch {torch.__version__}, Python {platform.python_version()}; commit {record['commit']}.", "",
            f"    {record['command']}", "",
        ]
    )  # fmt: skip
    (RESULTS / "char_lstm.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
