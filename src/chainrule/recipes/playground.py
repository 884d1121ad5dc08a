"""A perceptron in the plane to play with, and what hidden layers and depth do: measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from chainrule.recipes import recipe
from chainrule.settings import Count, Fraction, NonNegative, Positive, Size

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from torch import nn

    from chainrule.run.run import Run
    from chainrule.systems.demonstration import Demonstration
    from chainrule.systems.table_classifier import TableClassifier


@recipe(
    "playground",
    family="feedforward",
    task="table classification",
    data="spiral",
    source="Smilkov et al. 2017 (TensorFlow Playground); Rumelhart, Hinton, Williams 1986",
    model="mlp",
    tiny={"data": "xor", "epochs": 4, "hidden": (4,), "log_every": 10},
)
def playground(
    run: Run, *, features: tuple[str, ...] = ("all",), degree: Count = 1, hidden: tuple[Count, ...] | None = (16, 16),
    activation: str = "tanh", epochs: Count = 200, patience: Size = 0, batch_size: Count = 20, lr: Positive = 0.01,
    optimizer: Literal["sgd", "nesterov", "adagrad", "adadelta", "rmsprop", "adam", "adamw"] = "adam",
    momentum: Fraction = 0.0, weight_decay: NonNegative = 0.0, dropout: Fraction = 0.0, init: str = "torch",
    val_fraction: Fraction = 0.1,
) -> TableClassifier:  # fmt: skip
    """Points of the plane into classes: features by hand or a polynomial basis, layers, activation; and the surface they make.

    `features=x1,x2,x1x2,x1^2,sin(x1)` names the inputs, products and functions of the standardised columns; `degree=3`
    takes all monomials up to the third degree instead. `hidden=none` is a linear model over them. While it learns, the
    gradient of each layer and its share of saturated units are logged. Data: xor, circle, spiral, moons, blobs, or any
    table with classes.
    """
    import torch

    from chainrule.data.tables import kept_features, load_table
    from chainrule.models.feedforward.mlp import MLP
    from chainrule.nn.features import OverFeatures, features_of
    from chainrule.optim import as_schedule, fixed
    from chainrule.optim.by_name import optimizer_of
    from chainrule.systems.learning import by_gradient
    from chainrule.systems.table_classifier import TableClassifier

    data = load_table(run, task="classification", encode=True, val_fraction=val_fraction)
    chosen = features_of(features, degree, len(kept_features(data.spec)))
    network = MLP(len(chosen), len(data.spec["classes"]), hidden or (), activation, dropout, init=init)
    model = run.place(OverFeatures(chosen, network))
    rule = optimizer_of(optimizer, model.parameters(), lr, momentum=momentum, weight_decay=weight_decay)
    learn = by_gradient(
        lambda logits, y: torch.nn.functional.cross_entropy(logits, y, reduction="none"), rule, as_schedule(rule, fixed(lr)),
        epochs=epochs, batch_size=batch_size, choose_by=("loss", True), patience=patience, watch=True,
    )  # fmt: skip
    return TableClassifier(run, data=data, model=model, learn=learn)


@recipe(
    "hidden-layers",
    family="demonstration",
    task="learning curves of networks",
    data="synthetic",
    source="Minsky and Papert 1969; Rumelhart, Hinton, Williams 1986",
    tiny={"problems": ("xor",), "hidden": (2,), "steps": 40, "count": 80},
)
def hidden_layers(
    run: Run, *, problems: tuple[Literal["xor", "circle", "spiral", "moons", "blobs"], ...] = ("xor", "circle", "moons", "spiral", "blobs"),
    hidden: tuple[Count, ...] = (2, 4, 16), activation: str = "tanh", steps: Count = 1000, lr: Positive = 0.02,
    count: Count = 400, noise: NonNegative = 0.05,
) -> Demonstration:  # fmt: skip
    """Learning curves in the plane without a hidden layer, with one, and with two: what a straight line cannot do.

    Each problem is learnt by a linear model, and for each number of units by one hidden layer and by two of them; also
    by a linear model over polynomials of the second and third degree. Test points are drawn with another seed.
    """
    from chainrule.models.feedforward.mlp import MLP
    from chainrule.systems.demonstrations.hidden_layers import hidden_layers_demonstration

    def build(inputs: int, sizes: tuple[int, ...]) -> nn.Module:
        return MLP(inputs, 2, sizes, activation)

    return hidden_layers_demonstration(
        run, build=build, problems=problems, hidden=hidden, steps=steps, lr=lr, count=count, noise=noise
    )


@recipe(
    "vanishing-gradient",
    family="demonstration",
    task="gradients through depth",
    data="digits",
    source="Bengio, Simard, Frasconi 1994; Glorot and Bengio 2010; He et al. 2015",
    tiny={"depths": (1, 3), "activations": ("sigmoid", "relu"), "inits": ("xavier",), "steps": 10, "width": 16},
)
def vanishing_gradient(
    run: Run, *, depths: tuple[Count, ...] = (1, 2, 4, 8, 16), activations: tuple[str, ...] = ("sigmoid", "tanh", "relu"),
    inits: tuple[str, ...] = ("small-random", "xavier", "msra"), width: Count = 32, steps: Count = 300,
    batch_size: Count = 64, lr: Positive = 0.02, momentum: Fraction = 0.9, val_fraction: Fraction = 0.1,
) -> Demonstration:  # fmt: skip
    """Gradient of the first hidden layer against that of the last, before and after training, over depth, activation, start."""
    from chainrule.data.tables import load_table
    from chainrule.models.feedforward.mlp import MLP
    from chainrule.systems.demonstrations.vanishing_gradient import vanishing_gradient_demonstration

    data = load_table(run, task="classification", val_fraction=val_fraction)
    inputs, classes = len(data.spec["mean"]), len(data.spec["classes"])

    def build(point: Mapping[str, Any]) -> nn.Module:
        return MLP(inputs, classes, (width,) * point["depth"], point["activation"], init=point["init"])

    points = [
        {"activation": activation, "init": init, "depth": depth}
        for activation in activations for init in inits for depth in depths
    ]  # fmt: skip
    for point in points[:: len(depths)]:
        build(point)  # what is unknown is told now, not after minutes
    return vanishing_gradient_demonstration(
        run, data=data, build=build, points=points, steps=steps, batch_size=batch_size, lr=lr, momentum=momentum
    )
