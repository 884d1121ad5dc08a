"""Multi-layer perceptrons on images and on tables: into classes, into a number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from chainrule.core.course import Topic
from chainrule.core.recipe import Target, recipe
from chainrule.core.settings import CodeName, Count, Fraction, NonNegative, Positive, Preprocessing, Size

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from chainrule.run.run import Run
    from chainrule.tasks.images.classification import ImageClassifier
    from chainrule.tasks.tables.classification import TableClassifier
    from chainrule.tasks.tables.regression import TableRegressor

    Criterion = Callable[[Tensor, Tensor], Tensor]

Optimizer = Literal["sgd", "nesterov", "adagrad", "adadelta", "rmsprop", "adam", "adamw"]
Hidden = tuple[Count, ...] | None
Normalization = Literal["none", "batch", "layer"]
FORM = ("hidden", "activation", "normalization", "dropout", "input_dropout", "init")  # settings of our network


@recipe(
    "mlp",
    task="image classification",
    data="digits",
    kinds=("images",),
    source="Rumelhart, Hinton, Williams 1986; Simard, Steinkraus, Platt 2003; Srivastava et al. 2014",
    model="mlp",
    target=Target(
        "error",
        0.016,
        "mnist",
        "Simard, Steinkraus, Platt 2003: 2-layer MLP, 800 HU, cross-entropy, no distortions",
        "test error at the end of training",
    ),
    tiny={"epochs": 2, "hidden": (20,), "size": 8, "log_every": 3},
    summary_zh="图像上的 800 个隐藏单元，dropout",
)
def mlp(
    run: Run,
    *,
    epochs: Count = 40,
    batch_size: Count = 128,
    lr: Positive = 0.001,
    optimizer: Optimizer = "adam",
    momentum: Fraction = 0.0,
    weight_decay: NonNegative = 0.0,
    l1: NonNegative = 0.0,
    penalty_from: Size = 0,
    hidden: Hidden = (800,),
    activation: str = "relu",
    normalization: Normalization = "none",
    dropout: Fraction = 0.5,
    input_dropout: Fraction = 0.2,
    init: str = "msra",
    size: Count = 28,
    channels: Size = 0,
    val_fraction: Fraction = 1 / 12,
) -> ImageClassifier:
    """The perceptron with one hidden layer of 800 units (636,010 parameters), dropout, a rate that falls as a cosine."""
    import torch

    from chainrule.data.images.loading import load_images
    from chainrule.loops.penalty import penalize
    from chainrule.optim.by_name import optimizer_of
    from chainrule.optim.schedule import cosine_schedule
    from chainrule.systems.feedforward.mlp import MLP
    from chainrule.tasks.images.classification import ImageClassifier

    data = load_images(run.data, size=size, channels=channels, val_fraction=val_fraction)
    inputs, classes = data.spec.channels * size * size, len(data.spec.classes)
    model = run.place(MLP(inputs, classes, hidden or (), activation, dropout, input_dropout, init, normalization))
    rule = optimizer_of(optimizer, model.parameters(), lr, momentum=momentum, weight_decay=weight_decay)
    penalize(run, rule, l1=l1, penalty_from=penalty_from, epochs=epochs)
    return ImageClassifier(
        run,
        data=data,
        model=model,
        criterion=lambda logits, y: torch.nn.functional.cross_entropy(logits, y, reduction="none"),
        optimizer=rule,
        schedule=cosine_schedule(rule, epochs, data.spec.counts["train"], batch_size),
        epochs=epochs,
        batch_size=batch_size,
    )


@recipe(
    "mlp-table",
    task="table classification",
    data="breast-cancer",
    kinds=("table",),
    source="Rumelhart, Hinton, Williams 1986",
    model="mlp",
    model_setting="network",
    tiny={"data": "iris", "epochs": 5, "hidden": (8,), "log_every": 3},
    summary_zh="表格的行分类，提前停止",
    topics=(Topic("Early stopping", "提前停止", lectures=(3,), command="chainrule train mlp-table patience=5"),),
)
def mlp_table(
    run: Run,
    *,
    network: CodeName | Literal["mlp"] = "mlp",
    epochs: Count = 200,
    patience: Size = 20,
    batch_size: Count = 32,
    lr: Positive = 0.003,
    optimizer: Optimizer = "adam",
    momentum: Fraction = 0.0,
    weight_decay: NonNegative = 1e-4,
    l1: NonNegative = 0.0,
    penalty_from: Size = 0,
    hidden: Hidden = (32,),
    activation: str = "relu",
    normalization: Normalization = "none",
    dropout: Fraction = 0.0,
    input_dropout: Fraction = 0.0,
    init: str = "torch",
    preprocess: Preprocessing = "standardize",
    balance: bool = False,
    missing: Literal["refuse", "fill"] = "refuse",
    loss: CodeName | None = None,
    metrics: CodeName | None = None,
    choose_by: str = "loss",
    val_fraction: Fraction = 0.15,
) -> TableClassifier:
    """Rows of a table into classes, 1 of C; stops after `patience` epochs without a better validation loss (0: never).

    `network=FILE.py:NAME` is a network of your own, from rows (B, D) to logits (B, K); it is given what it names of
    `in_features`, `out_features` and `num_classes`. `loss=FILE.py:NAME` takes logits and classes (B,) and gives a loss per
    sample, or their mean. `metrics=FILE.py:NAME` takes the same of a whole split (probabilities, where it calls them
    `probs`) and gives a number or a dictionary of numbers; `choose_by=max:NAME` keeps the epoch by one of them.
    `balance=yes` weighs the loss of a row by N / (K n_k), so that each of K classes counts alike; a loss of your own weighs
    by itself.
    """
    from functools import partial

    import torch

    from chainrule.core.errors import UserError
    from chainrule.data.preprocess import preprocessed
    from chainrule.data.tables.loading import load_table
    from chainrule.loops.penalty import penalize
    from chainrule.optim.by_name import optimizer_of
    from chainrule.systems.feedforward.mlp import MLP
    from chainrule.tasks.own.building import build_network, parameters_of
    from chainrule.tasks.own.choice import read_choice
    from chainrule.tasks.own.criterion import OwnCriterion
    from chainrule.tasks.own.metrics import own_metrics
    from chainrule.tasks.tables.classification import KNOWN, TableClassifier
    from chainrule.tasks.tables.training import fit_by_sgd, tried_first

    own, own_loss = run.own.get("network"), run.own.get("loss")  # what is wrong in a file is told first
    if balance and own_loss is not None:
        raise UserError("a loss of your own is not weighed", found="balance=yes", cure="weigh the classes in the loss")
    data = load_table(
        run.data,
        task="classification",
        standardize=preprocess == "standardize",
        encode=True,
        missing=missing,
        val_fraction=val_fraction,
    )
    inputs, classes = len(data.spec.mean), len(data.spec.class_names)
    form = {"in_features": inputs, "out_features": classes, "num_classes": classes}
    if own is None:
        network_of_rows: nn.Module = MLP(
            inputs, classes, hidden or (), activation, dropout, input_dropout, init, normalization
        )
    else:
        run.own.expect_defaults("network", FORM, run.recipe.build)
        network_of_rows = build_network(own, form, torch.zeros(2, inputs))
    model = run.place(preprocessed(network_of_rows, preprocess, data.spec))
    own_criterion = None if own_loss is None else OwnCriterion(own_loss, form, run.world.size).to(run.device)
    criterion: Criterion = own_criterion or partial(torch.nn.functional.cross_entropy, reduction="none")
    measured = own_metrics(run.own.get("metrics"), ("accuracy", "error", "loss"), classes)
    names = measured.names if measured else ()
    known = {
        name: lower for name, lower in KNOWN.items() if name not in names
    }  # an f1 of the user's own goes before ours
    rule = optimizer_of(
        optimizer, parameters_of(model, own_criterion), lr, momentum=momentum, weight_decay=weight_decay
    )
    penalize(run, rule, l1=l1, penalty_from=penalty_from, epochs=epochs)
    learn = fit_by_sgd(
        criterion,
        rule,
        epochs=epochs,
        batch_size=batch_size,
        choose_by=read_choice(choose_by, known, names),
        patience=patience,
        balance=balance,
    )
    if own is not None or own_loss is not None:
        learn = tried_first(learn, criterion, classes)
    return TableClassifier(run, data=data, model=model, learn=learn, criterion=own_criterion, metrics=measured)


@recipe(
    "mlp-regression",
    task="table regression",
    data="diabetes",
    kinds=("table",),
    source="Rumelhart, Hinton, Williams 1986",
    model="mlp",
    model_setting="network",
    tiny={"epochs": 5, "hidden": (8,), "log_every": 5},
    summary_zh="表格的行到一个数；用点拟合函数",
)
def mlp_regression(
    run: Run,
    *,
    network: CodeName | Literal["mlp"] = "mlp",
    epochs: Count = 300,
    patience: Size = 30,
    batch_size: Count = 32,
    lr: Positive = 0.003,
    optimizer: Optimizer = "adam",
    momentum: Fraction = 0.0,
    weight_decay: NonNegative = 1e-4,
    l1: NonNegative = 0.0,
    penalty_from: Size = 0,
    hidden: Hidden = (32, 32),
    activation: str = "tanh",
    normalization: Normalization = "none",
    dropout: Fraction = 0.0,
    input_dropout: Fraction = 0.0,
    init: str = "torch",
    loss: CodeName | Literal["squared", "absolute"] = "squared",
    metrics: CodeName | None = None,
    choose_by: str | None = None,
    standardize: bool = True,
    missing: Literal["refuse", "fill"] = "refuse",
    val_fraction: Fraction = 0.15,
) -> TableRegressor:
    """Rows of a table into a number, or a function fitted to points; learnt in deviations of the target, told in its units.

    `network=FILE.py:NAME` is a network of your own, from rows (B, D) to numbers (B,) or (B, 1), in deviations of the target;
    it is given what it names of `in_features` and `out_features`. `loss=FILE.py:NAME` takes answers and targets (B,), in
    the target's units, and gives a loss per sample, or their mean. `metrics=FILE.py:NAME` takes the same of a whole split
    and gives a number or a dictionary of numbers; `choose_by=min:NAME` keeps the epoch by one of them.
    """
    import torch

    from chainrule.data.tables.loading import load_table
    from chainrule.loops.penalty import penalize
    from chainrule.optim.by_name import optimizer_of
    from chainrule.systems.feedforward.mlp import MLP
    from chainrule.systems.feedforward.target_scaler import TargetScaler
    from chainrule.tasks.own.building import build_network, parameters_of
    from chainrule.tasks.own.choice import read_choice
    from chainrule.tasks.own.criterion import OwnCriterion
    from chainrule.tasks.own.metrics import own_metrics
    from chainrule.tasks.tables.regression import KNOWN, TableRegressor
    from chainrule.tasks.tables.training import fit_by_sgd, tried_first

    own, own_loss = run.own.get("network"), run.own.get("loss")  # what is wrong in a file is told first
    data = load_table(
        run.data, task="regression", standardize=standardize, encode=True, missing=missing, val_fraction=val_fraction
    )
    form = {"in_features": len(data.spec.mean), "out_features": 1}
    if own is None:
        network_of_rows: nn.Module = MLP(
            form["in_features"], 1, hidden or (), activation, dropout, input_dropout, init, normalization
        )
    else:
        run.own.expect_defaults("network", FORM, run.recipe.build)
        network_of_rows = build_network(own, form, torch.zeros(2, form["in_features"]))
    scale = data.spec.target_scale
    assert scale is not None
    model = run.place(TargetScaler(network_of_rows, scale["mean"], scale["std"]))
    own_criterion = None if own_loss is None else OwnCriterion(own_loss, form, run.world.size).to(run.device)
    measured = own_metrics(run.own.get("metrics"), (*KNOWN, "loss"), 0)
    rule = optimizer_of(
        optimizer, parameters_of(model, own_criterion), lr, momentum=momentum, weight_decay=weight_decay
    )
    penalize(run, rule, l1=l1, penalty_from=penalty_from, epochs=epochs)

    def in_deviations(answers: Tensor, y: Tensor) -> Tensor:
        """In deviations of the target, so that the rate suits any unit."""
        residual = (answers - y) / (scale["std"] or 1.0)
        return residual.square() if loss == "squared" else residual.abs()

    criterion: Criterion = own_criterion or in_deviations
    usual = {"squared": "rmse", "absolute": "mae"}.get(loss, "loss")
    known = KNOWN | ({"loss": True} if own_criterion is not None else {})
    learn = fit_by_sgd(
        criterion,
        rule,
        epochs=epochs,
        batch_size=batch_size,
        choose_by=read_choice(choose_by or usual, known, measured.names if measured else ()),
        patience=patience,
    )
    if own is not None or own_loss is not None:
        learn = tried_first(learn, criterion, 0, inner=network_of_rows)
    return TableRegressor(run, data=data, model=model, learn=learn, criterion=own_criterion, metrics=measured)
