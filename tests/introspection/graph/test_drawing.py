"""The computational graph folded, laid out, drawn and written as a page; a ResNet-50 in time."""

from __future__ import annotations

import json
import re
import resource
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from chainrule.core.errors import UserError
from chainrule.inspect import graph, to_svg, to_text, write_page
from chainrule.introspection.graph.drawing.fold import View, view
from chainrule.introspection.graph.drawing.layout import GAP, arrange
from chainrule.introspection.graph.record import Graph

# -- folding and figures -----------------------------------------------------------------------------------------------


class Bottleneck(nn.Module):
    def __init__(self, inputs: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
        self.relu, self.shortcut = nn.ReLU(inplace=True), nn.Sequential()
        if inputs != 4 * width:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        return self.relu(self.bn3(self.conv3(y)) + self.shortcut(x))


def resnet50(stages: tuple[int, ...] = (3, 4, 6, 3), width: int = 64, classes: int = 1000) -> nn.Sequential:
    net = nn.Sequential()
    for name, layer in (
        ("conv1", nn.Conv2d(3, width, 7, 2, 3, bias=False)),
        ("bn1", nn.BatchNorm2d(width)),
        ("relu", nn.ReLU(inplace=True)),
        ("pool", nn.MaxPool2d(3, 2, 1)),
    ):
        net.add_module(name, layer)
    inputs = width
    for stage, count in enumerate(stages):
        blocks = nn.Sequential()
        for number in range(count):
            blocks.append(Bottleneck(inputs, width * 2**stage, 2 if stage and not number else 1))
            inputs = 4 * width * 2**stage
        net.add_module(f"layer{stage + 1}", blocks)
    for name, layer in (
        ("average", nn.AdaptiveAvgPool2d(1)),
        ("flatten", nn.Flatten()),
        ("fc", nn.Linear(inputs, classes)),
    ):
        net.add_module(name, layer)
    return net


class Unrolled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        state = None
        for t in range(x.shape[1]):
            state = self.cell(x[:, t], state)
        assert state is not None
        return state[0]


def inner(shown: View) -> Iterator[View]:
    yield shown
    for box in shown.boxes:
        if box.inside is not None:
            yield from inner(box.inside)


def test_repeats_fold_and_unfold() -> None:
    torch.manual_seed(0)
    g = graph(resnet50((1, 4), 4, 5), torch.randn(2, 3, 32, 32))
    titles = [box.title for box in view(g).boxes]
    assert "Bottleneck × 3" in titles and "Bottleneck × 3" in to_svg(g) and "Bottleneck × 3" in to_text(g)
    folded = next(box for box in view(g).boxes if box.kind == "repeat")
    assert folded.inside is not None and folded.subtitle == "layer2.1…layer2.3"
    assert len(view(g, [folded.subtitle]).boxes) > len(titles)
    everything = view(g, True)
    assert not any(box.inside for box in everything.boxes)
    assert len(everything.boxes) == 1 + sum(n.kind == "operation" for n in g.nodes)
    covered = {n for box in everything.boxes for n in box.nodes}
    assert covered == {n.index for n in g.nodes}
    with pytest.raises(UserError, match=r"did you mean layer2.1…layer2.3"):
        to_svg(g, unfold=["layer2.1...layer2.3"])
    names = [v.name for v in inner(view(g))]
    assert len(names) == len(set(names)), "the page finds figures by name"


@pytest.mark.parametrize("times", [2, 5])
def test_patterns_fold(times: int) -> None:
    layers = [layer for _ in range(times) for layer in (nn.Linear(4, 4), nn.Tanh(), nn.Dropout(0.1))]
    g = graph(nn.Sequential(*layers, nn.Linear(4, 1)), torch.randn(3, 4))
    assert [b.title for b in view(g).boxes] == ["input", f"(Linear, Tanh, Dropout) × {times}", str(3 * times)]
    # Two layers that happen to be alike are no repeat.
    small = graph(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), torch.randn(3, 4))
    assert [b.title for b in view(small).boxes] == ["input", "0", "1"]


def test_a_scan_over_time_folds() -> None:
    g = graph(Unrolled(), torch.randn(2, 9, 3))
    assert any("× 8" in box.title for box in view(g).boxes), [b.title for b in view(g).boxes]


def by_hand(x: list[Tensor], w: Tensor) -> Tensor:
    """A recurrent net of one unit, as one writes it without a module."""
    h = torch.zeros(())
    for t in x:
        h = torch.tanh(w * h + t * torch.tensor(0.5))
    return h


def test_a_loop_of_two_hundred_steps_folds_and_unfolds(tmp_path: Path) -> None:
    g = graph(by_hand, [torch.tensor(0.01 * t) for t in range(200)], torch.tensor(0.5))
    assert len(g.nodes) == 1202
    titles = [box.title for box in view(g).boxes]
    assert titles == ["input × 200", "w", "constant × 201", "(mul, mul, add, tanh) × 200"]
    assert len(to_svg(g)) < 10_000 and "(mul, mul, add, tanh) × 200" in to_text(g)
    opened = view(g, titles_of(g, "repeat"))
    assert len(opened.boxes) == 602 and all(box.inside is not None for box in opened.boxes[402:])
    # A page shows the first and the last, not two hundred figures.
    inside = view(g).boxes[-1].inside
    assert inside is not None and [b.title for b in inside.boxes if b.kind == "repeat"] == ["… × 190"]
    assert write_page(g, tmp_path / "p.html").stat().st_size < 400_000
    everything = view(g, True)
    assert {n for box in everything.boxes for n in box.nodes} == {n.index for n in g.nodes}
    # As many invisible boxes as layers for w, which each step uses, and none for what stands beside its step.
    laid = arrange([10.0] * 1202, [10.0] * 1202, [(a.source, a.target) for a in everything.arrows], 10)
    passed = {point for route in laid.routes for point in route[1:-1]}
    assert len(passed) < 2 * max(laid.layers)
    assert len(to_svg(g, unfold=True)) < 1_000_000


def titles_of(g: Graph, kind: str) -> list[str]:
    return [box.subtitle for box in view(g).boxes if box.kind == kind]


def test_a_short_function_is_shown_whole() -> None:
    g = graph(lambda x: x.sin().sin().sin().sin().sin().sin().sin().sin(), 1.0)
    assert len(view(g).boxes) == 9 and not any(box.inside for box in view(g).boxes)


def test_resnet50_is_drawn_in_time_and_in_bounds(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = resnet50()
    assert sum(p.numel() for p in net.parameters()) == 25_557_032
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    g = graph(net, torch.randn(1, 3, 224, 224))
    page = write_page(g, tmp_path / "r.html")
    assert time.process_time() - start < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1.5e6  # kB
    kept = sum(n.value.numel() for n in g.nodes if n.value is not None)
    assert kept < 64 * len(g.nodes) and page.stat().st_size < 2_000_000
    assert [b.title for b in view(g).boxes if b.kind == "repeat"] == [f"Bottleneck × {k}" for k in (2, 3, 5, 2)]
    torch.manual_seed(1)
    assert sum(n.kind == "operation" for n in g.nodes) == 175


def test_boxes_do_not_overlap_and_arrows_go_on() -> None:
    arrows = [(0, 3), (1, 3), (1, 4), (2, 4), (3, 5), (4, 5), (0, 5), (0, 6), (5, 6)]
    lengths, breadths = [30.0, 40, 50, 60, 30, 20, 10], [20.0, 30, 20, 50, 20, 20, 30]
    laid = arrange(lengths, breadths, arrows, 25)
    for a, b in combinations(range(7), 2):
        (ax, ay), (bx, by) = laid.centres[a], laid.centres[b]
        apart = abs(ax - bx) >= (lengths[a] + lengths[b]) / 2 or abs(ay - by) >= (breadths[a] + breadths[b]) / 2
        assert apart, (a, b)
        if laid.layers[a] == laid.layers[b]:
            assert abs(ay - by) >= (breadths[a] + breadths[b]) / 2 + GAP - 1e-9
    assert all(laid.centres[s][0] < laid.centres[t][0] for s, t in arrows)
    inside = all(0 <= x <= laid.size[0] and 0 <= y <= laid.size[1] for x, y in laid.centres)
    assert inside and all(
        len(r) == laid.layers[t] - laid.layers[s] + 1 for r, (s, t) in zip(laid.routes, arrows, strict=True)
    )
    # The crossing of two parallel wires is undone.
    crossed = arrange([10.0] * 4, [10.0] * 4, [(0, 3), (1, 2)], 10)
    assert (crossed.centres[0][1] < crossed.centres[1][1]) == (crossed.centres[3][1] < crossed.centres[2][1])


def test_the_page(tmp_path: Path) -> None:
    g = graph(lambda x, y, z: (x + y) * (y - z), -1, 3, 2)
    page = write_page(g, tmp_path)
    text = page.read_text("utf-8")
    assert page.name == "graph-f.html" and "http" not in text.replace("http://www.w3.org", "")
    (found,) = re.findall(r'<script type="application/json" class="steps">(.*?)</script>', text)
    (steps,) = json.loads(found)
    assert [s["title"] for s in steps["forward"]] == ["x", "y", "z", "h1 = x + y", "h2 = y - z", "f = h1 * h2"]
    assert [s["title"] for s in steps["backward"]] == ["f = h1 * h2", "h2 = y - z", "h1 = x + y", "z", "y", "x"]
    assert "to h2: 1 × (∂f/∂h2 = h1 = 2) = 2" in steps["backward"][0]["lines"]
    assert ET.fromstring(to_svg(g)).attrib["aria-label"] == "computational graph of f"


def test_hostile_names_are_escaped(tmp_path: Path) -> None:
    net = nn.Sequential()
    net.add_module("<script>alert(1)</script>", nn.Linear(2, 2))
    g = graph(net, torch.randn(1, 2))
    assert (
        "<script>alert" not in write_page(g, tmp_path / "p.html").read_text("utf-8")
        and ET.fromstring(to_svg(g)) is not None
    )
