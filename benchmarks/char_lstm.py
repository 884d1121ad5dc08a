"""Training of the character model against the loop that tutorials write: same network, same sizes, same arithmetic.

    python benchmarks/char_lstm.py [--steps 400] [--threads 2] [--repeats 3]

Each contestant runs in a process of its own, in turns, and trains on the first characters of tiny-shakespeare: two
layers of 256, batches of 32 windows of 64 characters, Adam, a bound on the gradient's norm, then a validation of 20,000
characters. The tutorial's loop holds the text as int64, cuts windows in a Dataset, batches them with a DataLoader, embeds
nothing (one-hot, as ours), begins each window from zeros, and reads the loss with `.item()` each step. Ours is
`chainrule train char-lstm` as it is: with the run folder, metrics, checkpoints, the guard against NaN, an image of a
sample, and the state carried. It runs in float32 and in bfloat16; the plain loop, as tutorials have it, in float32, and
with autocast to bfloat16 around its forward pass. Writes results/char_lstm.md and .json beside this file.

`layers` measures a layer by itself, forward and backward, by the number of its inputs: what the one-hot product costs
(65 inputs against 2), and what an odd number costs in bfloat16 (65 against 66).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from measure import compare, in_words, medians, table

BATCH, LENGTH, HIDDEN, LAYERS, LR, CLIP, DROPOUT = 32, 64, 256, 2, 5e-3, 1.0, 0.2
HELD_OUT = 20_000


def ours(text: str, steps: int, threads: int, autocast: str) -> dict[str, float]:
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
            "char-lstm",
            data=str(data),
            out=Path(folder) / "run",
            device="cpu",
            threads=threads,
            epochs=1,
            batch_size=BATCH,
            length=LENGTH,
            hidden_size=HIDDEN,
            num_layers=LAYERS,
            lr=LR,
            clip=CLIP,
            dropout=DROPOUT,
            autocast=autocast,
        )
        whole = time.perf_counter() - start
        assert run.step == steps and torch.get_num_threads() == threads
        return {
            "seconds": run.seconds,
            "whole_seconds": whole,
            "val_loss": run.best["value"] if run.best else float("nan"),
        }


def tutorial(text: str, steps: int, threads: int, autocast: str) -> dict[str, float]:
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
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast == "yes"):
            loss = criterion(model(x).reshape(-1, len(vocabulary)), y.reshape(-1))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        loss.item()
    model.eval()
    total, count = 0.0, 0
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=autocast == "yes"):
        for x, y in val:
            total += criterion(model(x).reshape(-1, len(vocabulary)), y.reshape(-1)).item() * y.numel()
            count += y.numel()
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "whole_seconds": seconds, "val_loss": total / count}


def layers(text: str, steps: int, threads: int, autocast: str) -> dict[str, float]:
    """Milliseconds of a layer by its inputs, the least of several, forward and backward."""
    import torch
    from torch import nn

    torch.set_num_threads(threads)
    found, repeats = {"seconds": 0.0}, max(3, min(20, steps // 20))
    for inputs in LAYER_INPUTS:
        lstm, x = nn.LSTM(inputs, HIDDEN, batch_first=True), torch.randn(BATCH, LENGTH, inputs)
        for dtype in ("float32", "bfloat16"):
            times = []
            for _ in range(repeats):
                start = time.perf_counter()
                with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
                    y, _state = lstm(x)
                y.float().sum().backward()
                times.append(time.perf_counter() - start)
            found[f"{dtype} {inputs}"] = 1e3 * min(times)
    return found


def contestant(name: str, given: argparse.Namespace) -> dict[str, float]:
    from chainrule.data.text.characters import read_texts

    text = read_texts("tiny-shakespeare")[1]["train"]
    function, autocast = CONTESTANTS[name]
    return function(text, given.steps, given.threads, autocast)


LAYER_INPUTS = (2, 65, 66, HIDDEN)
CONTESTANTS = {
    "chainrule, float32": (ours, "no"),
    "chainrule, bfloat16": (ours, "yes"),
    "plain loop, float32": (tutorial, "no"),
    "plain loop, bfloat16": (tutorial, "yes"),
    "layers": (layers, "no"),
}


def summarise(record: dict[str, Any]) -> str:
    """The record as Markdown: medians."""
    problem = record["problem"]
    characters = problem["steps"] * BATCH * LENGTH
    middle = {name: medians(of_one) for name, of_one in record["runs"].items()}
    layer = middle.pop("layers", {})
    plain = middle.get("plain loop, float32") or next(iter(middle.values()))
    rows = [
        [
            name,
            f"{m['seconds']:.2f}",
            f"{plain['seconds'] / m['seconds']:.2f}",
            f"{characters / m['seconds']:,.0f}",
            f"{m['whole_seconds']:.2f}",
            f"{m['peak_mb']:.0f}",
            f"{m['val_loss']:.3f}",
        ]
        for name, m in middle.items()
    ]
    header = [
        "",
        "seconds",
        "times the plain loop in float32",
        "characters/s",
        "with test and report, s",
        "peak MB",
        "val loss",
    ]
    return "\n\n".join(
        [
            "# The character model against a plain PyTorch loop",
            f"{characters:,} characters of tiny-shakespeare in {problem['steps']} batches of {BATCH} x {LENGTH}, {LAYERS} layers "
            f"of {HIDDEN}, then a validation of {HELD_OUT:,}; medians of {problem['repeats']}, in turn, each in a process of its own.",
            table(header, rows),
            *_layer_lines(layer),
            in_words(record),
        ]
    )


def _layer_lines(layer: dict[str, float]) -> list[str]:
    if not layer:
        return []
    rows = [
        [str(inputs), *(f"{layer[f'{dtype} {inputs}']:.1f}" for dtype in ("float32", "bfloat16"))]
        for inputs in LAYER_INPUTS
    ]
    return [
        f"A layer of {HIDDEN} by itself, forward and backward, milliseconds:",
        table(["inputs", "float32", "bfloat16"], rows),
    ]


if __name__ == "__main__":
    compare(
        __file__,
        __doc__,
        CONTESTANTS,
        contestant,
        summarise,
        {"steps": 400, "threads": 2, "repeats": 3},
        ("chainrule", "torch", "numpy"),
    )
