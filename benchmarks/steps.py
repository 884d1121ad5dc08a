"""Where the time of a training step goes: layout, bfloat16, compiling, evaluation's batch, and what the machine can do.

    python benchmarks/steps.py                    # LeNets, ResNet-20 and the network of cifar-speed, two cores
    python benchmarks/steps.py --threads 1
    python benchmarks/steps.py --networks resnet20 --batch 128 --forms "usual layout" "channels-last, bfloat16"

Each measurement runs in a process of its own. A step is forward, backward and momentum SGD on random images; its time
is the least of many, because anything else on the machine only adds. The share of the peak is that of a large product of
matrices in the same dtype, measured in the same run. Writes results/steps.md and .json beside this file, or steps_1 for
one core.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from measure import HERE, circumstances, in_words, run_or_exit, table, write_results

NETWORKS = ("lenet5", "lenet-caffe", "resnet20", "cifar-net")
OPTIONS = {"cifar-net": {"widths": (32, 128, 128)}}  # the quarter that is for CPUs
FORMS = ("usual layout", "channels-last", "channels-last, bfloat16", "channels-last, compiled")
DTYPES = ("float32", "bfloat16")
EVALUATION_BATCHES = (50, 100, 200, 1000)
HEADER = [
    "network",
    "form",
    "products in",
    "ms a step",
    "times the first form",
    "GFLOP/s",
    "share of the peak",
    "first step s",
    "million multiply-adds forward",
    "length of sums",
]
SIZE = 4096  # of the matrix product that says what the machine can do


def least(function: Any, repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def step_of(network: str, form: str, batch: int, repeats: int) -> dict[str, float]:
    """Milliseconds of a step, seconds until the first one is over, and the multiply-adds of a step."""
    import torch

    from chainrule.models import get_card
    from chainrule.nn.cost import cost

    torch.manual_seed(0)
    card = get_card(network)
    model, (example,) = card.build(**OPTIONS.get(network, {})), card.example(1)
    x, y = torch.randn(batch, *example.shape[1:]), torch.randint(0, 10, (batch,))
    forward = cost(model, (example,))
    multiply_adds = 3 * batch * forward.multiply_adds  # backward is twice forward
    if form != FORMS[0]:
        model, x = model.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    network_called = torch.compile(model) if form.endswith("compiled") else model
    optimizer = torch.optim.SGD(model.parameters(), 1e-3, 0.9)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled="bfloat16" in form):
            loss = torch.nn.functional.cross_entropy(network_called(x).float(), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    start = time.perf_counter()
    step()
    first = time.perf_counter() - start
    seconds = least(step, repeats)
    return {
        "step_ms": 1e3 * seconds,
        "first_s": first,
        "gflops": 2 * multiply_adds / seconds / 1e9,
        "million_forward": batch * forward.multiply_adds / 1e6,
        "length": forward.length,
    }


def evaluation_of(network: str, batch: int, dtype: str, repeats: int) -> dict[str, float]:
    """Microseconds an image of a forward pass without gradients, channels-last."""
    import torch

    from chainrule.models import get_card

    card = get_card(network)
    model, (example,) = card.build(**OPTIONS.get(network, {})).eval(), card.example(1)
    model = model.to(memory_format=torch.channels_last)
    x = torch.randn(batch, *example.shape[1:]).to(memory_format=torch.channels_last)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
        model(x)
        return {"image_us": 1e6 * least(lambda: model(x), max(repeats, 2000 // batch)) / batch}


def product(dtype: str, repeats: int) -> dict[str, float]:
    import torch

    a, b = (torch.randn(SIZE, SIZE).to(getattr(torch, dtype)) for _ in range(2))
    a @ b
    return {"gflops": 2 * SIZE**3 / least(lambda: a @ b, repeats) / 1e9}


def one(words: list[str], batch: int, repeats: int) -> dict[str, float]:
    kind, *rest = words
    if kind == "step":
        return step_of(rest[0], rest[1], batch, repeats)
    return evaluation_of(rest[0], int(rest[1]), rest[2], repeats) if kind == "evaluation" else product(rest[0], repeats)


def dtype_of(form: str) -> str:
    return "bfloat16" if "bfloat16" in form else "float32"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2, help="cores for each")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--batch", type=int, default=128, help="images of a step")
    parser.add_argument("--networks", nargs="+", default=NETWORKS, help="of `chainrule show networks`")
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=FORMS)
    parser.add_argument("--evaluations", nargs="*", type=int, default=EVALUATION_BATCHES, help="batches of evaluation")
    parser.add_argument("--name", help="of the files in results/")
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(options.one, options.batch, options.repeats)))
        return

    def measured(*words: object) -> dict[str, Any]:
        arguments = ["--repeats", str(options.repeats), "--batch", str(options.batch), "--one", *map(str, words)]
        return run_or_exit(HERE / "steps.py", " ".join(map(str, words)), arguments, threads=options.threads)

    peak = {dtype: measured("product", dtype)["gflops"] for dtype in DTYPES}
    steps = {net: {form: measured("step", net, form) for form in options.forms} for net in options.networks}
    evaluations = {
        net: {
            dtype: {size: measured("evaluation", net, size, dtype) for size in options.evaluations} for dtype in DTYPES
        }
        for net in options.networks
    }
    record = {
        **circumstances(__file__, options.threads, ["chainrule", "torch"]),
        "batch": options.batch,
        "matrix product": peak,
        "steps": steps,
        "evaluation": evaluations,
    }
    rows = [
        [
            net,
            form,
            dtype_of(form),
            f"{f['step_ms']:.1f}",
            f"{next(iter(forms.values()))['step_ms'] / f['step_ms']:.2f}",
            f"{f['gflops']:.0f}",
            f"{100 * f['gflops'] / peak[dtype_of(form)]:.0f} %",
            f"{f['first_s']:.1f}",
            f"{f['million_forward']:,.0f}",
            f"{f['length']:.0f}",
        ]
        for net, forms in steps.items()
        for form, f in forms.items()
    ]
    text = [
        f"# A training step, batches of {options.batch}",
        "",
        in_words(record),
        "",
        table(HEADER, rows),
        "",
        f"A product of two matrices of {SIZE} x {SIZE} reaches {peak['float32']:.0f} GFLOP/s in float32 and "
        f"{peak['bfloat16']:.0f} in bfloat16; the share is of that of the same dtype. The last two columns are what "
        "`autocast=auto` decides by.",
        *(["", "## Evaluation, microseconds an image by the batch", ""] if options.evaluations else []),
        *(
            [
                table(
                    ["network", "products in", *map(str, options.evaluations)],
                    [
                        [net, dtype, *(f"{f['image_us']:.0f}" for f in sizes.values())]
                        for net, dtypes in evaluations.items()
                        for dtype, sizes in dtypes.items()
                    ],
                )
            ]
            if options.evaluations
            else []
        ),
    ]
    usual = "steps" if options.threads == 2 else f"steps_{options.threads}"
    write_results(options.name or usual, record, "\n".join(text))
    print("\n".join(text))


if __name__ == "__main__":
    main()
