"""Vanishing gradients: how much of the gradient reaches the first layer, and what that does to learning."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from chainrule.core.course import Topic
from chainrule.core.task import Figure
from chainrule.data.dataset import Dataset
from chainrule.data.tables.loading import TableSplit
from chainrule.data.tables.spec import TableSpec
from chainrule.introspection.watching import saturated_share, slope_of
from chainrule.loops.experiment import Row, descend
from chainrule.reporting.plots import curves
from chainrule.run.run import Run
from chainrule.tasks.study import Study

PROBE = 256  # training rows that the gradient is measured on
CURVE = 30  # points of a learning curve
CLAIM = (
    "Each layer multiplies the gradient by its weights and by the slope of its activation. Where those products are "
    "below 1, what reaches the first layer shrinks geometrically with depth, and a deep network does not learn."
)


def vanishing_gradient_study(
    run: Run,
    *,
    data: Dataset[TableSpec, TableSplit],
    build: Callable[[Mapping[str, Any]], nn.Module],
    points: Sequence[Mapping[str, Any]],
    steps: int,
    batch_size: int,
    lr: float,
    momentum: float,
) -> Study:
    """Networks of each activation, start and depth, all trained alike by momentum SGD.

    Of each: |d loss / d a_1| over |d loss / d a_L|, a_l the input of the activation of hidden layer l, before the first
    step and after the last; the share of saturated units; the accuracy on the test split and the loss on the way.
    """

    def measure(point: Mapping[str, Any]) -> Row:
        assert data.train.y is not None and data.test.y is not None
        network = build(point).to(run.device)
        x, y = data.train.x.to(run.device), data.train.y.to(run.device)
        before = layer_gradients(network, x[:PROBE], y[:PROBE])
        losses: list[Tensor] = []
        optimizer = torch.optim.SGD(network.parameters(), lr, momentum)

        def watch(step: int, loss: Tensor) -> bool:
            losses.append(loss)
            return False

        descend(
            network, x, y, cross_entropy, optimizer, steps=steps, batch_size=min(batch_size, len(x)), each_step=watch
        )
        after = layer_gradients(network, x[:PROBE], y[:PROBE])
        with torch.inference_mode():
            right = network(data.test.x.to(run.device)).argmax(1).cpu() == data.test.y
        curve = torch.stack(losses).double().cpu()
        chunks = curve.tensor_split(min(CURVE, len(curve)))
        return {
            "ratio": before.ratio,
            "ratio_after": after.ratio,
            "saturated": before.saturated,
            "saturated_after": after.saturated,
            "accuracy": float(right.double().mean()),
            "gradients": before.norms,
            "curve": [float(chunk.mean()) for chunk in chunks],
            "curve_steps": [len(curve) * (i + 1) / len(chunks) for i in range(len(chunks))],
        }

    return Study(
        run,
        points=points,
        measure=measure,
        conclude=conclude,
        draw=draw,
        claim=CLAIM,
        how=f"gradients on {PROBE} training rows; accuracy on the test split after {steps} steps of {batch_size}, the same "
        "rate for all",
    )


class LayerGradients:
    """Norms of d loss / d a_l of the hidden layers, from the input on, and the mean share of saturated units."""

    def __init__(self, norms: list[float], saturated: float) -> None:
        self.norms, self.saturated = norms, saturated

    @property
    def ratio(self) -> float:
        """The norm at the first hidden layer over that at the last; 0 where nothing arrives."""
        return self.norms[0] / self.norms[-1] if self.norms[-1] > 0 else 0.0


def layer_gradients(network: nn.Module, x: Tensor, y: Tensor) -> LayerGradients:
    """Measures them on one batch, by autograd, in double precision so that tiny ones are not rounded away."""
    dtype = next(network.parameters()).dtype
    inputs: list[Tensor] = []
    shares: list[Tensor] = []

    def see(layer: nn.Module, args: tuple[Any, ...]) -> None:
        inputs.append(args[0])
        if slope_of(layer) is not None:
            shares.append(saturated_share(layer, args[0].detach()))

    # The input of what follows each linear layer is the net input a_l of hidden layer l.
    following = [layer for before, layer in _pairs(network) if isinstance(before, nn.Linear)]
    hooks = [layer.register_forward_pre_hook(see) for layer in following]
    try:
        loss = cross_entropy(network.double()(x.double()), y)
        gradients = torch.autograd.grad(loss, inputs)
    finally:
        for hook in hooks:
            hook.remove()
        network.to(dtype)
    saturated = float(torch.stack(shares).mean()) if shares else 0.0
    return LayerGradients([float(g.norm()) for g in gradients], saturated)


def _pairs(network: nn.Module) -> list[tuple[nn.Module, nn.Module]]:
    """Neighbouring layers without children, in the order in which they were made."""
    leaves = [layer for layer in network.modules() if not any(True for _ in layer.children())]
    return list(pairwise(leaves))


def conclude(rows: list[Row]) -> dict[str, float]:
    """Of the deepest networks: the share of the gradient that arrives, and the accuracy."""
    deepest = max(row["depth"] for row in rows)
    found: dict[str, float] = {"depth": deepest}
    for row in rows:
        if row["depth"] == deepest:
            name = f"{row['activation']}_{row['init'].replace('-', '_')}"
            found |= {f"{name}_ratio": row["ratio"], f"{name}_accuracy": row["accuracy"]}
    return found


def draw(rows: list[Row]) -> list[Figure]:
    deepest = max(row["depth"] for row in rows)
    deep = {f"{row['activation']}, {row['init']}": row for row in rows if row["depth"] == deepest}
    layers: dict[str, tuple[list[float], list[float]]] = {
        name: (list(range(1, deepest + 1)), row["gradients"]) for name, row in deep.items()
    }
    learning = {name: (row["curve_steps"], row["curve"]) for name, row in deep.items()}
    accuracy: dict[str, tuple[list[float], list[float]]] = {}
    ratio: dict[str, tuple[list[float], list[float]]] = {}
    for row in rows:
        for lines, value in ((accuracy, row["accuracy"]), (ratio, row["ratio"])):
            xs, ys = lines.setdefault(f"{row['activation']}, {row['init']}", ([], []))
            xs.append(row["depth"])
            ys.append(value)
    return [
        _captioned(
            curves(layers, "Gradient of each hidden layer", "hidden layer, from the input"),
            f"Norm of d loss / d input of the activation, {deepest} hidden layers, before the first step.",
        ),
        _captioned(
            curves(ratio, "First over last", "hidden layers"),
            "What is left of the gradient of the last hidden layer in the first.",
        ),
        _captioned(curves(accuracy, "Accuracy against depth", "hidden layers"), "On the test split after training."),
        _captioned(
            curves(learning, "Learning curves", "step"), f"Loss in nats of {deepest} hidden layers while training."
        ),
    ]


def _captioned(figure: Figure, caption: str) -> Figure:
    return Figure(figure.title, caption, svg=figure.svg)


TOPICS = (Topic("Vanishing gradient", code=("layer_gradients",)),)
