"""What networks can approximate, measured: sigmoid bumps, depth against width."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chainrule.recipes import recipe
from chainrule.settings import Count, Positive

if TYPE_CHECKING:
    from chainrule.run.run import Run
    from chainrule.systems.demonstration import Demonstration


@recipe(
    "sigmoid-bumps",
    family="demonstration",
    task="approximation",
    data="synthetic",
    source="Cybenko 1989; Hornik, Stinchcombe and White 1989",
    tiny={"counts": (4, 16), "cells": (2, 4), "trained": (4,), "steps": 50},
)
def sigmoid_bumps(
    run: Run, *, function: str = "sin", function_2d: str = "sin(pi*x)*cos(pi*y)",
    counts: tuple[Count, ...] = (2, 4, 8, 16, 32, 64, 128, 256), sharpness: tuple[Positive, ...] = (4.0, 10.0, 40.0),
    cells: tuple[Count, ...] = (2, 4, 8, 16, 32), trained: tuple[Count, ...] = (4, 16, 64), steps: Count = 3000,
    lr: Positive = 0.01,
) -> Demonstration:  # fmt: skip
    """The largest error of sigmoid nets whose weights are written down to approximate a function, against its bound.

    `function` is sin, step, hat, runge or a formula of x on [-1, 1]; `function_2d` is a formula of x and y on the
    square. A net of n bumps has one hidden layer of 2 n sigmoids; a net of n x n towers has two hidden layers. The same
    nets are trained, from random weights and from the bumps.
    """
    from chainrule.systems.demonstrations.sigmoid_bumps import sigmoid_bumps_demonstration

    return sigmoid_bumps_demonstration(
        run, function=function, function_2d=function_2d, counts=counts, sharpness=sharpness, cells=cells, trained=trained,
        steps=steps, lr=lr,
    )  # fmt: skip


@recipe(
    "depth-width",
    family="demonstration",
    task="approximation",
    data="synthetic",
    source="Telgarsky 2015; Montufar et al. 2014",
    tiny={"built": 4, "folds": 2, "widths": (4, 8), "depths": (1, 2), "parameters": 40, "repeats": 1, "steps": 50},
)
def depth_width(
    run: Run, *, built: Count = 10, folds: Count = 4, widths: tuple[Count, ...] = (8, 16, 32, 64),
    depths: tuple[Count, ...] = (1, 2, 3, 4), parameters: Count = 200, repeats: Count = 3, steps: Count = 3000,
    lr: Positive = 0.003,
) -> Demonstration:  # fmt: skip
    """The straight pieces and the error of nets of rectified units, against width and, at equal size, against depth.

    By construction: the sawtooth of 2^k pieces, for k to `built`, as a net of k layers of two units and as one of a
    single layer, their pieces counted exactly. By training: nets of one layer of each of `widths`, and nets of each of
    `depths` with `parameters` at most, on the sawtooth of 2^folds pieces.
    """
    from chainrule.systems.demonstrations.depth_width import depth_width_demonstration

    return depth_width_demonstration(
        run, built=built, folds=folds, widths=widths, depths=depths, parameters=parameters, repeats=repeats, steps=steps, lr=lr
    )  # fmt: skip
