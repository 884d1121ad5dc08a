"""Images a second of ResNet-50 at 224 x 224: training steps and answers, beside timm's module and torchvision's.

    python benchmarks/resnet50.py                                    # two cores, batches of 16
    python benchmarks/resnet50.py --device cuda --batch 256 --peak 989   # the peak of the chip, TFLOP/s in bfloat16

timm and torchvision: `pip install --no-deps timm huggingface_hub torchvision`, beside any build of PyTorch. A plain loop
is what tutorials write: the module as it is built, floats in PyTorch's usual layout, torch.optim.SGD. On a GPU all
contestants compute in bfloat16 by autocast, and Chainrule's is compiled; one more shows what the plain loop then does.
Each contestant in a process of its own; the time of a step is the least of `--repeats`. Writes results/resnet50.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

from measure import HERE, circumstances, in_words, run_or_exit, table, write_results

CONTESTANTS = (
    "Chainrule",
    "timm, plain loop",
    "timm, channels-last",
    "torchvision, plain loop",
    "timm, channels-last, compiled",
)
MULTIPLY_ADDS = 4.089e9  # of a forward pass of one image; backward is twice that
SIZE, CLASSES = 224, 1000


def network_of(contestant: str) -> Any:
    if contestant == "Chainrule":
        from chainrule.models import build

        return build("resnet50")
    sys.path.insert(0, str(HERE.parent / "tests"))
    from torchvision_oracle import torchvision

    package = torchvision()  # timm imports it too
    if contestant.startswith("torchvision"):
        return package.models.resnet50()
    import timm

    return timm.create_model("resnet50")


def one(contestant: str, device: str, batch: int, repeats: int) -> dict[str, float]:
    """Seconds of a training step and of an answer, the least of `repeats`."""
    import torch

    torch.manual_seed(0)
    model, plain = network_of(contestant).to(device), contestant.endswith("plain loop")
    images = torch.randint(0, 256, (batch, 3, SIZE, SIZE), dtype=torch.uint8, device=device)
    y = torch.randint(0, CLASSES, (batch,), device=device)
    if not plain:
        model, images = (part.to(memory_format=torch.channels_last) for part in (model, images))
    if contestant == "Chainrule":
        from chainrule.nn.normalization.normalize import Normalize

        normalize: Any = Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]).to(device)
    else:
        mean, std = (
            torch.tensor(v, device=device).view(3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
        )

        def normalize(x: torch.Tensor) -> torch.Tensor:
            return (x / 255 - mean) / std

    fast = device == "cuda"
    called = torch.compile(model) if contestant.endswith("compiled") or (fast and contestant == "Chainrule") else model
    optimizer = torch.optim.SGD(
        model.parameters(), 0.1, 0.9, weight_decay=1e-4, fused=True if contestant == "Chainrule" else None
    )

    def train() -> None:
        with torch.autocast(device, torch.bfloat16, enabled=fast):
            loss = torch.nn.functional.cross_entropy(called(normalize(images)), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def answer() -> None:
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=fast):
            called(normalize(images))

    def least(step: Any) -> float:
        times = []
        for number in range(repeats + 2):  # two to warm up
            start = time.perf_counter()
            step()
            if fast:
                torch.cuda.synchronize()
            times.append(time.perf_counter() - start)
            if number < 2:
                times.clear()
        return min(times)

    model.train()
    train_s = least(train)
    model.eval()
    return {"train_s": train_s, "answer_s": least(answer)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peak", type=float, help="TFLOP/s that the chip is said to reach, for the share of it")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(options.one, options.device, options.batch, options.repeats)))
        return
    contestants = CONTESTANTS if options.device == "cuda" else CONTESTANTS[:-1]
    words = ["--device", options.device, "--batch", str(options.batch), "--repeats", str(options.repeats)]
    runs = {}
    for name in contestants:
        runs[name] = run_or_exit(HERE / "resnet50.py", name, [*words, "--one", name], threads=options.threads)
    record = {**circumstances(__file__, options.threads, ["chainrule", "torch", "timm", "torchvision"]), "runs": runs}
    if options.device == "cuda":
        import torch

        record["hardware"] = torch.cuda.get_device_name()
    flops = 6 * MULTIPLY_ADDS * options.batch  # a multiply-add is two, forward and twice that backward
    rows = [
        [
            name,
            f"{options.batch / r['train_s']:.1f}",
            f"{flops / r['train_s'] / 1e9:.0f}",
            f"{options.batch / r['answer_s']:.1f}",
            *([f"{100 * flops / r['train_s'] / 1e12 / options.peak:.0f} %"] if options.peak else []),
        ]
        for name, r in runs.items()
    ]
    header = ["contestant", "trained, images a second", "GFLOP/s", "answered, images a second"]
    text = "\n".join(
        [
            f"# ResNet-50, {SIZE} x {SIZE}, batches of {options.batch}",
            "",
            in_words(record),
            "",
            table([*header, *(["share of the peak"] if options.peak else [])], rows),
        ]
    )
    write_results("resnet50" if options.device == "cpu" else "resnet50_gpu", record, text)
    print(text)


if __name__ == "__main__":
    main()
