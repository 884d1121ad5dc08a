"""Where the time of a training step goes: memory layout, compiling, evaluation's batch, and what the machine can do.

    python benchmarks/steps.py                    # LeNet (Caffe's form) and ResNet-20, batches of 128, two cores
    python benchmarks/steps.py --threads 1

Each measurement runs in a process of its own. A step is forward, backward and momentum SGD on random images; its time
is the least of many, because anything else on the machine only adds. Writes results/steps.md and .json beside this file,
or steps_1 for one core.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

from measure import HERE, circumstances, in_words, run_contestant, table, write_results

NETWORKS = ("lenet-caffe", "resnet20")
FORMS = ("usual layout", "channels-last", "channels-last, compiled")
EVALUATION_BATCHES = (50, 100, 200, 1000)
SIZE = 4096  # of the matrix product that says what the machine can do


def least(function: Any, repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def step_of(network: str, form: str, repeats: int) -> dict[str, float]:
    """Milliseconds of a step, seconds until the first one is over, and the multiply-adds of a step."""
    import torch

    from chainrule.introspection.layers import layers
    from chainrule.models import get_card

    torch.manual_seed(0)
    card = get_card(network)
    model, (example,) = card.build(), card.example(1)
    x, y = torch.randn(128, *example.shape[1:]), torch.randint(0, 10, (128,))
    cost = 3 * 128 * sum(layer.multiply_adds for layer in layers(model, (example,)))  # backward is twice forward
    if form != FORMS[0]:
        model, x = model.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    network_called = torch.compile(model) if form == FORMS[2] else model
    optimizer = torch.optim.SGD(model.parameters(), 1e-3, 0.9)

    def step() -> None:
        loss = torch.nn.functional.cross_entropy(network_called(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    start = time.perf_counter()
    step()
    first = time.perf_counter() - start
    seconds = least(step, repeats)
    return {"step_ms": 1e3 * seconds, "first_s": first, "gflops": 2 * cost / seconds / 1e9}


def evaluation_of(network: str, batch: int, repeats: int) -> dict[str, float]:
    """Microseconds an image of a forward pass without gradients, channels-last."""
    import torch

    from chainrule.models import get_card

    card = get_card(network)
    model, (example,) = card.build().eval().to(memory_format=torch.channels_last), card.example(1)
    x = torch.randn(batch, *example.shape[1:]).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        model(x)
        return {"image_us": 1e6 * least(lambda: model(x), max(repeats, 2000 // batch)) / batch}


def product(repeats: int) -> dict[str, float]:
    import torch

    a, b = torch.randn(SIZE, SIZE), torch.randn(SIZE, SIZE)
    a @ b
    return {"gflops": 2 * SIZE**3 / least(lambda: a @ b, repeats) / 1e9}


def one(words: list[str], repeats: int) -> dict[str, float]:
    kind, *rest = words
    if kind == "step":
        return step_of(rest[0], rest[1], repeats)
    return evaluation_of(rest[0], int(rest[1]), repeats) if kind == "evaluation" else product(repeats)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2, help="cores for each")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(options.one, options.repeats)))
        return

    def measured(*words: object) -> dict[str, Any]:
        arguments = ["--repeats", str(options.repeats), "--one", *map(str, words)]
        found = run_contestant(HERE / "steps.py", arguments, threads=options.threads)
        if "error" in found:
            sys.exit(f"{words} failed: {found['error']}")
        print(*words, found, file=sys.stderr, flush=True)
        return found

    steps = {net: {form: measured("step", net, form) for form in FORMS} for net in NETWORKS}
    evaluations = {net: {size: measured("evaluation", net, size) for size in EVALUATION_BATCHES} for net in NETWORKS}
    record = {
        **circumstances(__file__, options.threads, ["chainrule", "torch"]),
        "matrix product": measured("product"),
        "steps": steps,
        "evaluation": evaluations,
    }
    rows = [
        [net, form, f"{f['step_ms']:.1f}", f"{f['gflops']:.0f}", f"{f['first_s']:.1f}"]
        for net, forms in steps.items()
        for form, f in forms.items()
    ]
    text = [
        "# A training step, batches of 128",
        "",
        in_words(record),
        "",
        table(["network", "form", "ms a step", "GFLOP/s", "first step s"], rows),
        "",
        f"A product of two matrices of {SIZE} x {SIZE} reaches {record['matrix product']['gflops']:.0f} GFLOP/s.",
        "",
        "## Evaluation, microseconds an image by the batch",
        "",
        table(
            ["network", *map(str, EVALUATION_BATCHES)],
            [[net, *(f"{f['image_us']:.0f}" for f in sizes.values())] for net, sizes in evaluations.items()],
        ),
    ]
    write_results("steps" if options.threads == 2 else f"steps_{options.threads}", record, "\n".join(text))
    print("\n".join(text))


if __name__ == "__main__":
    main()
