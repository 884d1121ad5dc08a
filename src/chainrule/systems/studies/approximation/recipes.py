"""What networks can represent, measured: sigmoid bumps, depth against width, hidden layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from chainrule.core.course import Topic
from chainrule.core.recipe import Headline, recipe
from chainrule.core.settings import Count, NonNegative, Positive, Repeats

if TYPE_CHECKING:
    from torch import nn

    from chainrule.run.run import Run
    from chainrule.tasks.study import Study


@recipe(
    "sigmoid-bumps",
    task="approximation",
    data="synthetic",
    source="Cybenko 1989; Hornik, Stinchcombe and White 1989",
    headline=Headline(("bumps", "sup_error", "sup_error_bound", "order", "sup_error_trained_from_random")),
    tiny={"counts": (4, 16), "cells": (2, 4), "trained": (4,), "steps": 50},
    summary_zh="用 sigmoid 逼近给定的函数",
    topics=(Topic("Universal approximation by sigmoid bumps"),),
)
def sigmoid_bumps(
    run: Run,
    *,
    function: str = "sin",
    function_2d: str = "sin(pi*x)*cos(pi*y)",
    counts: tuple[Count, ...] = (2, 4, 8, 16, 32, 64, 128, 256),
    sharpness: tuple[Positive, ...] = (4.0, 10.0, 40.0),
    cells: tuple[Count, ...] = (2, 4, 8, 16, 32),
    trained: tuple[Count, ...] = (4, 16, 64),
    steps: Count = 3000,
    lr: Positive = 0.01,
) -> Study:
    """The largest error of sigmoid nets whose weights are written down to approximate a function, against its bound.

    `function` is sin, step, hat, runge or a formula of x on [-1, 1]; `function_2d` is a formula of x and y on the
    square. A net of n bumps has one hidden layer of 2 n sigmoids; a net of n x n towers has two hidden layers. The same
    nets are trained, from random weights and from the bumps. Regions of the plane are written down too: a convex polygon
    as an AND of half planes in one hidden layer, any other one as a union of convex pieces in two.
    """
    from chainrule.systems.studies.approximation.sigmoid_bumps import sigmoid_bumps_study

    return sigmoid_bumps_study(
        run,
        function=function,
        function_2d=function_2d,
        counts=counts,
        sharpness=sharpness,
        cells=cells,
        trained=trained,
        steps=steps,
        lr=lr,
    )


@recipe(
    "depth-width",
    task="approximation",
    data="synthetic",
    source="Telgarsky 2015; Montufar et al. 2014",
    headline=Headline(
        (
            "pieces_built",
            "parameters_deep",
            "parameters_shallow",
            "least_error_of_a_shallow_net_as_large",
            "nets_below_the_least_error",
        )
    ),
    tiny={"built": 4, "folds": 2, "widths": (4, 8), "depths": (1, 2), "parameters": 40, "repeats": 1, "steps": 50},
    summary_zh="线性段数和误差随深度、宽度的变化",
    topics=(Topic("Depth against width"),),
)
def depth_width(
    run: Run,
    *,
    built: Count = 10,
    folds: Count = 4,
    widths: tuple[Count, ...] = (8, 16, 32, 64),
    depths: tuple[Count, ...] = (1, 2, 3, 4),
    parameters: Count = 200,
    repeats: Repeats = 3,
    steps: Count = 3000,
    lr: Positive = 0.003,
) -> Study:
    """The straight pieces and the error of nets of rectified units, against width and, at equal size, against depth.

    By construction: the sawtooth of 2^k pieces, for k to `built`, as a net of k layers of two units and as one of a
    single layer, their pieces counted exactly. By training: nets of one layer of each of `widths`, and nets of each of
    `depths` with `parameters` at most, on the sawtooth of 2^folds pieces.
    """
    from chainrule.systems.studies.approximation.depth_width import depth_width_study

    return depth_width_study(
        run,
        built=built,
        folds=folds,
        widths=widths,
        depths=depths,
        parameters=parameters,
        repeats=repeats,
        steps=steps,
        lr=lr,
    )


@recipe(
    "hidden-layers",
    task="learning curves of networks",
    data="synthetic",
    source="Minsky and Papert 1969; Rumelhart, Hinton, Williams 1986",
    headline=Headline(("xor_error_without", "xor_error_with", "spiral_error_without", "spiral_error_with")),
    tiny={"problems": ("xor",), "hidden": (2,), "steps": 40, "count": 80},
    summary_zh="异或、圆、螺旋：没有和有隐藏层",
    topics=(Topic("McCulloch-Pitts neuron, threshold units, XOR"),),
)
def hidden_layers(
    run: Run,
    *,
    problems: tuple[Literal["xor", "circle", "spiral", "moons", "blobs"], ...] = (
        "xor",
        "circle",
        "moons",
        "spiral",
        "blobs",
    ),
    hidden: tuple[Count, ...] = (2, 4, 16),
    activation: str = "tanh",
    steps: Count = 1000,
    lr: Positive = 0.02,
    count: Count = 400,
    noise: NonNegative = 0.05,
) -> Study:
    """Learning curves in the plane without a hidden layer, with one, and with two: what a straight line cannot do.

    Each problem is learnt by a linear model, and for each number of units by one hidden layer and by two of them; also
    by a linear model over polynomials of the second and third degree. Test points are drawn with another seed.
    """
    from chainrule.systems.feedforward.mlp import MLP
    from chainrule.systems.studies.approximation.hidden_layers import hidden_layers_study

    def build(inputs: int, sizes: tuple[int, ...]) -> nn.Module:
        return MLP(inputs, 2, sizes, activation)

    return hidden_layers_study(
        run, build=build, problems=problems, hidden=hidden, steps=steps, lr=lr, count=count, noise=noise
    )
