"""A residual network without some of its blocks, and with blocks exchanged: it answers as a vote of many paths does.

With its shortcuts, n blocks are 2^n paths from input to output, each through some of the blocks. Without one block half of
them are left, and without k of them 2^(n-k). The same network without shortcuts is one path.

Source: Veit, Wilber, Belongie: Residual networks behave like ensembles of relatively shallow networks, 2016, section 4.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import comb
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from chainrule.core.course import Topic
from chainrule.core.errors import UserError
from chainrule.core.task import Figure
from chainrule.data.dataset import Dataset
from chainrule.data.images.loading import ImageSplit
from chainrule.data.images.spec import ImageSpec
from chainrule.loops.experiment import Row, descend
from chainrule.nn.normalization.normalize import Normalize
from chainrule.optim.schedule import cosine_schedule
from chainrule.reporting.line_plots import Line, lines
from chainrule.run.run import Run
from chainrule.tasks.study import Study

NETS = ("residual", "plain")
EVALUATION = 500  # images of a pass
CLAIM = (
    "A residual network is many paths that vote: without one of its blocks, or with two exchanged, it answers almost as "
    "before. The same network without shortcuts is one path, and broken anywhere it guesses."
)

Place = tuple[nn.Sequential, int]  # a stage, and the number of a block in it


class Bypass(nn.Module):
    """A residual block without what it adds: relu(shortcut(x)); of a block without shortcut what option A would pass on."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        return self.block.shortcut(x).relu()  # type: ignore[operator]


def places_of(network: nn.Module) -> list[Place]:
    """The blocks of a `ResNetCifar`, in the order of a pass."""
    return [(stage, i) for stage in network.children() if isinstance(stage, nn.Sequential) for i in range(len(stage))]


@contextlib.contextmanager
def without_blocks(network: nn.Module, numbers: Iterable[int]) -> Iterator[nn.Module]:
    """The network while these blocks add nothing; afterwards it is as it was.

    >>> from chainrule.models import build
    >>> net, x = build("resnet20").eval(), torch.randn(2, 3, 8, 8)
    >>> whole = net(x)
    >>> with without_blocks(net, [1]) as less:
    ...     same = bool((less(x) == whole).all())
    >>> same, bool((net(x) == whole).all())
    (False, True)
    """
    places = places_of(network)
    kept = [(stage, i, stage[i]) for stage, i in (places[number] for number in numbers)]
    try:
        for stage, i, block in kept:
            stage[i] = Bypass(block)
        yield network
    finally:
        for stage, i, block in kept:
            stage[i] = block


@contextlib.contextmanager
def with_blocks_exchanged(network: nn.Module, pairs: Iterable[tuple[int, int]]) -> Iterator[nn.Module]:
    """The network while the blocks of each pair have changed places, one pair after the other; afterwards it is as it was."""
    places = places_of(network)
    before = [stage[i] for stage, i in places]
    try:
        for one, other in pairs:
            (a, i), (b, j) = places[one], places[other]
            a[i], b[j] = b[j], a[i]
        yield network
    finally:
        for (stage, i), block in zip(places, before, strict=True):
            stage[i] = block


def exchangeable(network: nn.Module) -> list[tuple[int, int]]:
    """The pairs of blocks that take and give images of one shape: those of a stage that change none."""
    places = places_of(network)
    alike = [(number, stage) for number, (stage, i) in enumerate(places) if not stage[i].changes]
    return [(a, b) for a, stage in alike for b, other in alike if a < b and stage is other]


def path_lengths(blocks: int) -> list[float]:
    """Of the 2^n paths through n blocks, the share that is k blocks long, for k = 0 to n: C(n, k) / 2^n.

    >>> path_lengths(3)
    [0.125, 0.375, 0.375, 0.125]
    """
    return [comb(blocks, k) / 2**blocks for k in range(blocks + 1)]


def residual_paths_study(
    run: Run,
    *,
    data: Dataset[ImageSpec, ImageSplit],
    build: Callable[[str], nn.Module],
    steps: int,
    batch_size: int,
    lr: float,
    momentum: float,
    draws: int,
    train_size: int,
) -> Study:
    """Trains the residual network and its plain twin; the recipe `residual-paths` explains the settings."""
    pairs = exchangeable(build("residual"))
    if not pairs:
        raise UserError("no two blocks can be exchanged", expected="two blocks a stage or more", cure="depth=14")

    def measure(point: Mapping[str, Any]) -> Row:
        order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(run.seed))
        chosen = order[: train_size or len(order)]
        x, y = data.train.x[chosen].to(run.device), data.train.y[chosen].to(run.device)
        network = build(point["net"])
        whole = nn.Sequential(Normalize(data.spec.mean, data.spec.std), network).to(run.device)
        size = min(batch_size, len(x))
        optimizer = torch.optim.SGD(whole.parameters(), lr, momentum)
        schedule = cosine_schedule(optimizer, steps, size, size)  # an "epoch" of one step

        def each_step(step: int, loss: Tensor) -> None:
            schedule.step()

        descend(whole, x, y, cross_entropy, optimizer, steps=steps, batch_size=size, each_step=each_step)
        whole.eval()
        test_x, test_y = data.test.x.to(run.device), data.test.y.to(run.device)
        return lesions(network, pairs, draws, lambda: error(whole, test_x, test_y))

    return Study(
        run,
        points=[{"net": net} for net in NETS],
        measure=measure,
        conclude=conclude,
        draw=draw,
        claim=CLAIM,
        how=f"both trained alike for {steps} steps; test error with blocks taken out or exchanged at test time, nothing is "
        f"trained again; the mean over {draws} draws of blocks",
    )


def lesions(network: nn.Module, pairs: Sequence[tuple[int, int]], draws: int, measure: Callable[[], float]) -> Row:
    """What the network measures whole, without each block, without several, and with several exchanged."""
    places = places_of(network)
    n = len(places)
    found: Row = {"blocks": n, "error": measure(), "changes": [bool(stage[i].changes) for stage, i in places]}
    # 1. Without each block by itself.
    found["one_removed"] = []
    for number in range(n):
        with without_blocks(network, [number]):
            found["one_removed"].append(measure())
    # 2. Without 0, 1, 2, ... of them, drawn at random.
    found["removed"] = [found["error"]]
    for count in range(1, n):
        errors = []
        for _ in range(draws):
            with without_blocks(network, torch.randperm(n)[:count].tolist()):
                errors.append(measure())
        found["removed"].append(sum(errors) / draws)
    # 3. With 0, 1, 2, ... different pairs exchanged, drawn at random.
    found["exchanged"] = [found["error"]]
    for count in range(1, min(n // 2, len(pairs)) + 1):
        errors = []
        for _ in range(draws):
            drawn = torch.randperm(len(pairs))[:count].tolist()  # none twice: that would undo it
            with with_blocks_exchanged(network, [pairs[i] for i in drawn]):
                errors.append(measure())
        found["exchanged"].append(sum(errors) / draws)
    return found


@torch.no_grad()
def error(network: nn.Module, x: Tensor, y: Tensor) -> float:
    """The share of wrong answers."""
    parts = zip(x.split(EVALUATION), y.split(EVALUATION), strict=True)
    return sum(int((network(a).argmax(1) != b).sum()) for a, b in parts) / len(y)


def conclude(rows: list[Row]) -> dict[str, float]:
    found: dict[str, float] = {"blocks": rows[0]["blocks"], "paths": 2.0 ** rows[0]["blocks"]}
    for row in rows:
        net, alone = row["net"], row["one_removed"]
        found |= {
            f"{net}_error": row["error"],
            f"{net}_error_one_removed": sum(alone) / len(alone),
            f"{net}_largest_error_one_removed": max(alone),
            f"{net}_error_third_removed": row["removed"][row["blocks"] // 3],
            f"{net}_error_one_exchanged": row["exchanged"][1],
        }
    return found


def draw(rows: list[Row]) -> list[Figure]:
    n = rows[0]["blocks"]
    numbers = list(range(1, n + 1))
    alone = {row["net"]: Line(numbers, row["one_removed"], hue) for hue, row in enumerate(rows)}
    alone |= {f"{row['net']}, whole": Line([1, n], [row["error"]] * 2, hue, ":") for hue, row in enumerate(rows)}
    marks = {f"block {i + 1} halves the image": i + 1.0 for i, changes in enumerate(rows[0]["changes"]) if changes}
    removed = {row["net"]: Line(range(n), row["removed"], hue) for hue, row in enumerate(rows)}
    exchanged = {row["net"]: Line(range(len(row["exchanged"])), row["exchanged"], hue) for hue, row in enumerate(rows)}
    axes: dict[str, Any] = {"ylabel": "error (share of test samples)", "bottom": -0.02, "top": 1}
    return [
        lines(
            alone,
            "Without one block",
            "Each block taken out by itself: of a residual block its shortcut is left.",
            xlabel="block",
            marks=marks,
            **axes,
        ),
        lines(
            removed,
            "Without several blocks",
            "Drawn at random; the mean over the draws.",
            xlabel="blocks taken out",
            **axes,
        ),
        lines(
            exchanged,
            "With blocks exchanged",
            "Pairs of one stage, drawn at random; the mean over the draws.",
            xlabel="pairs exchanged",
            **axes,
        ),
        lines(
            {
                "all blocks": Line(range(n + 1), path_lengths(n), 0),
                "one block less": Line(range(n), [share / 2 for share in path_lengths(n - 1)], 1),
            },
            "Paths by length",
            f"Shares of the 2^{n} paths through {n} blocks: C(n, k) / 2^n. Without a block half of them are left, and their "
            "lengths are almost the same.",
            xlabel="blocks on the path",
            ylabel="share of paths",
            bottom=0,
        ),
    ]


TOPICS = (
    Topic(
        "A residual network as a vote of paths",
        "残差网络：多条路径的投票",
        lectures=(2,),
        code=("without_blocks", "with_blocks_exchanged", "path_lengths"),
        command="chainrule train residual-paths",
    ),
)
