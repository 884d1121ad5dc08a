"""Multi-layer perceptrons on images and on tables: into classes, into a number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from chainrule.core.course import Topic
from chainrule.core.recipe import Target, recipe
from chainrule.core.settings import Count, Fraction, NonNegative, Positive, Preprocessing, Size

if TYPE_CHECKING:
    from torch import Tensor

    from chainrule.run.run import Run
    from chainrule.tasks.images.classification import ImageClassifier
    from chainrule.tasks.tables.classification import TableClassifier
    from chainrule.tasks.tables.regression import TableRegressor

Optimizer = Literal["sgd", "nesterov", "adagrad", "adadelta", "rmsprop", "adam", "adamw"]
Hidden = tuple[Count, ...] | None


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
    hidden: Hidden = (800,),
    activation: str = "relu",
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
    from chainrule.optim.by_name import optimizer_of
    from chainrule.optim.schedule import cosine_schedule
    from chainrule.systems.feedforward.mlp import MLP
    from chainrule.tasks.images.classification import ImageClassifier

    data = load_images(run.data, size=size, channels=channels, val_fraction=val_fraction)
    inputs, classes = data.spec.channels * size * size, len(data.spec.classes)
    model = run.place(MLP(inputs, classes, hidden or (), activation, dropout, input_dropout, init))
    rule = optimizer_of(optimizer, model.parameters(), lr, momentum=momentum, weight_decay=weight_decay)
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
    tiny={"data": "iris", "epochs": 5, "hidden": (8,), "log_every": 3},
    summary_zh="表格的行分类，提前停止",
    topics=(Topic("Early stopping", "提前停止", lectures=(3,), command="chainrule train mlp-table patience=5"),),
)
def mlp_table(
    run: Run,
    *,
    epochs: Count = 200,
    patience: Size = 20,
    batch_size: Count = 32,
    lr: Positive = 0.003,
    optimizer: Optimizer = "adam",
    momentum: Fraction = 0.0,
    weight_decay: NonNegative = 1e-4,
    hidden: Hidden = (32,),
    activation: str = "relu",
    dropout: Fraction = 0.0,
    input_dropout: Fraction = 0.0,
    init: str = "torch",
    preprocess: Preprocessing = "standardize",
    missing: Literal["refuse", "fill"] = "refuse",
    val_fraction: Fraction = 0.15,
) -> TableClassifier:
    """Rows of a table into classes, 1 of C; stops after `patience` epochs without a better validation loss (0: never)."""
    import torch

    from chainrule.data.preprocess import preprocessed
    from chainrule.data.tables.loading import load_table
    from chainrule.optim.by_name import optimizer_of
    from chainrule.systems.feedforward.mlp import MLP
    from chainrule.tasks.tables.classification import TableClassifier
    from chainrule.tasks.tables.training import fit_by_sgd

    data = load_table(
        run.data,
        task="classification",
        standardize=preprocess == "standardize",
        encode=True,
        missing=missing,
        val_fraction=val_fraction,
    )
    inputs, classes = len(data.spec.mean), len(data.spec.class_names)
    network = MLP(inputs, classes, hidden or (), activation, dropout, input_dropout, init)
    model = run.place(preprocessed(network, preprocess, data.spec))
    rule = optimizer_of(optimizer, model.parameters(), lr, momentum=momentum, weight_decay=weight_decay)
    learn = fit_by_sgd(
        lambda logits, y: torch.nn.functional.cross_entropy(logits, y, reduction="none"),
        rule,
        epochs=epochs,
        batch_size=batch_size,
        choose_by=("loss", True),
        patience=patience,
    )
    return TableClassifier(run, data=data, model=model, learn=learn)


@recipe(
    "mlp-regression",
    task="table regression",
    data="diabetes",
    kinds=("table",),
    source="Rumelhart, Hinton, Williams 1986",
    model="mlp",
    tiny={"epochs": 5, "hidden": (8,), "log_every": 5},
    summary_zh="表格的行到一个数；用点拟合函数",
)
def mlp_regression(
    run: Run,
    *,
    epochs: Count = 300,
    patience: Size = 30,
    batch_size: Count = 32,
    lr: Positive = 0.003,
    optimizer: Optimizer = "adam",
    momentum: Fraction = 0.0,
    weight_decay: NonNegative = 1e-4,
    hidden: Hidden = (32, 32),
    activation: str = "tanh",
    dropout: Fraction = 0.0,
    input_dropout: Fraction = 0.0,
    init: str = "torch",
    loss: Literal["squared", "absolute"] = "squared",
    standardize: bool = True,
    missing: Literal["refuse", "fill"] = "refuse",
    val_fraction: Fraction = 0.15,
) -> TableRegressor:
    """Rows of a table into a number, or a function fitted to points; learnt in deviations of the target, told in its units."""
    from chainrule.data.tables.loading import load_table
    from chainrule.optim.by_name import optimizer_of
    from chainrule.systems.feedforward.mlp import MLP
    from chainrule.systems.feedforward.target_scaler import TargetScaler
    from chainrule.tasks.tables.regression import TableRegressor
    from chainrule.tasks.tables.training import fit_by_sgd

    data = load_table(
        run.data, task="regression", standardize=standardize, encode=True, missing=missing, val_fraction=val_fraction
    )
    network = MLP(len(data.spec.mean), 1, hidden or (), activation, dropout, input_dropout, init)
    scale = data.spec.target_scale
    assert scale is not None
    model = run.place(TargetScaler(network, scale["mean"], scale["std"]))
    rule = optimizer_of(optimizer, model.parameters(), lr, momentum=momentum, weight_decay=weight_decay)

    def criterion(answers: Tensor, y: Tensor) -> Tensor:
        """In deviations of the target, so that the rate suits any unit."""
        residual = (answers - y) / (scale["std"] or 1.0)
        return residual.square() if loss == "squared" else residual.abs()

    learn = fit_by_sgd(
        criterion,
        rule,
        epochs=epochs,
        batch_size=batch_size,
        choose_by=("rmse" if loss == "squared" else "mae", True),
        patience=patience,
    )
    return TableRegressor(run, data=data, model=model, learn=learn)
