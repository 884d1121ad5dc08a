"""A perceptron in the plane to play with, and what hidden layers and depth do: measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from chainrule.core.course import Topic
from chainrule.core.recipe import recipe
from chainrule.core.settings import Count, Fraction, NonNegative, Positive, Size

if TYPE_CHECKING:
    from chainrule.run.run import Run
    from chainrule.tasks.tables.classification import TableClassifier


@recipe(
    "playground",
    task="table classification",
    data="spiral",
    kinds=("table",),
    source="Smilkov et al. 2017 (TensorFlow Playground); Rumelhart, Hinton, Williams 1986",
    model="mlp",
    tiny={"data": "xor", "epochs": 4, "hidden": (4,), "log_every": 10},
    summary_zh="平面上的点、手工特征、决策面",
    topics=(
        Topic(
            "Decision surfaces, features made by hand",
            "决策面、手工特征",
            lectures=(3,),
            command="chainrule train playground features=x1,x2,x1x2 hidden=none",
        ),
    ),
)
def playground(
    run: Run,
    *,
    features: tuple[str, ...] = ("all",),
    degree: Count = 1,
    hidden: tuple[Count, ...] | None = (16, 16),
    activation: str = "tanh",
    normalization: Literal["none", "batch", "layer"] = "none",
    epochs: Count = 200,
    patience: Size = 0,
    batch_size: Count = 20,
    lr: Positive = 0.01,
    optimizer: Literal["sgd", "nesterov", "adagrad", "adadelta", "rmsprop", "adam", "adamw"] = "adam",
    momentum: Fraction = 0.0,
    weight_decay: NonNegative = 0.0,
    l1: NonNegative = 0.0,
    penalty_from: Size = 0,
    dropout: Fraction = 0.0,
    init: str = "torch",
    balance: bool = False,
    val_fraction: Fraction = 0.1,
) -> TableClassifier:
    """Points of the plane into classes: features by hand or a polynomial basis, layers, activation; and the surface they make.

    `features=x1,x2,x1x2,x1^2,sin(x1)` names the inputs, products and functions of the standardised columns; `degree=3`
    takes all monomials up to the third degree instead. `hidden=none` is a linear model over them. While it learns, the
    gradient of each layer and its share of saturated units are logged. Data: xor, circle, spiral, moons, blobs, or any
    table with classes.
    """
    import torch

    from chainrule.data.tables.loading import load_table
    from chainrule.data.tables.spec import kept_features
    from chainrule.loops.penalty import penalize
    from chainrule.nn.features import BasisExpansion, features_of
    from chainrule.optim.by_name import optimizer_of
    from chainrule.systems.feedforward.mlp import MLP
    from chainrule.tasks.tables.classification import TableClassifier
    from chainrule.tasks.tables.training import fit_by_sgd

    data = load_table(run.data, task="classification", encode=True, val_fraction=val_fraction)
    chosen = features_of(features, degree, len(kept_features(data.spec)))
    network = MLP(
        len(chosen),
        len(data.spec.class_names),
        hidden or (),
        activation,
        dropout,
        init=init,
        normalization=normalization,
    )
    model = run.place(BasisExpansion(chosen, network))
    rule = optimizer_of(optimizer, model.parameters(), lr, momentum=momentum, weight_decay=weight_decay)
    penalize(run, rule, l1=l1, penalty_from=penalty_from, epochs=epochs)
    learn = fit_by_sgd(
        lambda logits, y: torch.nn.functional.cross_entropy(logits, y, reduction="none"),
        rule,
        epochs=epochs,
        batch_size=batch_size,
        choose_by=("loss", True),
        patience=patience,
        watch=True,
        balance=balance,
    )
    return TableClassifier(run, data=data, model=model, learn=learn)
