"""What makes descent fast or slow, measured: ravines, saddles, the activation, batch normalisation, depth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from chainrule.core.course import Topic
from chainrule.core.recipe import Headline, recipe
from chainrule.core.settings import Count, Fraction, NonNegative, Positive, Repeats, Size

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from torch import nn

    from chainrule.run.run import Run
    from chainrule.tasks.study import Study


@recipe(
    "ravine",
    task="update rules on a surface",
    data="synthetic",
    source="Polyak 1964; Lessard, Recht and Packard 2016",
    headline=Headline(
        (
            "ravine_sgd_steps",
            "ravine_momentum_steps",
            "ravine_adam_steps",
            "ravine_speedup_of_momentum",
            "ravine_speedup_predicted",
        )
    ),
    tiny={"rates": 4, "momenta": (0.9,), "max_steps": 40, "contraction_steps": 40},
    summary_zh="沟谷里的下降步数：动量和自适应规则",
    topics=(
        Topic(
            "Momentum in a ravine, saddles, Newton's step",
            "沟谷里的动量、鞍点、牛顿步",
            lectures=(2, 3),
            command="chainrule train ravine condition=1000",
        ),
    ),
)
def ravine(
    run: Run,
    *,
    condition: Positive = 100.0,
    angle: float = 30.0,
    rates: Count = 20,
    momenta: tuple[Positive, ...] = (0.5, 0.7, 0.9, 0.95),
    tolerance: Positive = 1e-3,
    max_steps: Count = 15_000,
    contraction_steps: Count = 1000,
) -> Study:
    """Steps to the bottom of a ravine with and without momentum and with adaptive rules, beside the closed form.

    Every rule walks down a quadratic of the given condition number, turned by `angle` degrees, and Rosenbrock's valley,
    at `rates` learning rates from 3e-4 to 3. On the quadratic, the contraction a step at the best tuning is measured
    against (k - 1) / (k + 1), (sqrt k - 1) / (sqrt k + 1) and 1 - 2 / sqrt(3 k + 1). On a parabola, rates under, at, over
    and beyond twice the inverse second derivative.
    """
    from chainrule.systems.studies.optimization.ravine import ravine_study

    return ravine_study(
        run,
        condition=condition,
        angle=angle,
        rates=rates,
        momenta=momenta,
        tolerance=tolerance,
        max_steps=max_steps,
        contraction_steps=contraction_steps,
    )


@recipe(
    "saddle-escape",
    task="update rules on a surface",
    data="synthetic",
    source="Dauphin et al. 2014; Lee et al. 2016",
    headline=Headline(
        (
            "saddle_sgd_steps_per_decade",
            "saddle_sgd_steps_per_decade_predicted",
            "saddle_momentum_steps_per_decade",
            "saddle_adam_steps_per_decade",
            "saddle_newton_last_distance",
        )
    ),
    tiny={"distances": (0.1, 0.01), "repeats": 3, "max_steps": 100},
    summary_zh="离开鞍点的步数",
    topics=(Topic("Momentum in a ravine, saddles, Newton's step", command="chainrule train saddle-escape"),),
)
def saddle_escape(
    run: Run,
    *,
    distances: tuple[Positive, ...] = (0.1, 0.03, 0.01, 1e-3, 1e-4, 1e-6, 1e-8),
    lr: Positive = 0.05,
    momentum: Positive = 0.9,
    noise: Positive = 0.01,
    repeats: Repeats = 11,
    max_steps: Count = 5000,
) -> Study:
    """Steps to leave a saddle against how near the walk begins: descent, momentum, noise, adaptive rules, Newton.

    On x^2 - y^2 gradient descent needs log(1 / distance) / log(1 + lr curvature) steps, measured beside it. On the
    monkey saddle, whose curvatures are 0, it needs as many as 1 / distance. Newton's step leads into either; with
    damping it leads out. On the plateau of s(w2 s(w1 x)) descent needs e times more steps a unit of depth with the squared
    error, and only as many more each time with the cross entropy.
    """
    from chainrule.systems.studies.optimization.saddle import saddle_study

    return saddle_study(
        run, distances=distances, lr=lr, momentum=momentum, noise=noise, repeats=repeats, max_steps=max_steps
    )


@recipe(
    "tanh-relu",
    task="image classification",
    data="digits",
    kinds=("images",),
    source="Krizhevsky, Sutskever and Hinton 2012, figure 1",
    tiny={"rates": (0.03, 0.1), "repeats": 1, "epochs": 2, "width": 8, "train_size": 300, "measure_every": 1},
    summary_zh="ReLU、tanh 与 sigmoid 达到某错误率的轮数",
    topics=(Topic("Tanh against ReLU", "tanh 与 ReLU 的比较", lectures=(1, 2, 3, 4)),),
)
def tanh_relu(
    run: Run,
    *,
    error: Positive = 0.02,
    rates: tuple[Positive, ...] = (0.01, 0.03, 0.1, 0.3),
    repeats: Repeats = 3,
    epochs: Count = 30,
    batch_size: Count = 128,
    momentum: NonNegative = 0.9,
    width: Count = 16,
    init: Literal["matched", "torch"] = "matched",
    size: Count = 8,
    channels: Size = 0,
    train_size: Size = 0,
    measure_every: Count = 2,
    val_fraction: Positive = 1 / 12,
) -> Study:
    """Epochs that a four-layer convolutional net needs to a training error with ReLU, tanh and the logistic function.

    Learning rates are chosen for each of the three by the speed of training, and nothing regularises, as in figure 1 of
    the paper, which reports six times fewer epochs to an error of 0.25 on CIFAR-10. At that scale:
    `chainrule train tanh-relu --data cifar10 size=32 width=32 error=0.25 measure_every=39 init=torch`, and `train_size`
    takes a part of the images. `init` is He's for ReLU and Glorot's for the others, or PyTorch's own for all.
    """
    from chainrule.data.images.loading import load_images
    from chainrule.systems.studies.optimization.tanh_relu import tanh_relu_study

    data = load_images(run.data, size=size, channels=channels, val_fraction=val_fraction)
    return tanh_relu_study(
        run,
        data=data,
        goal=error,
        rates=rates,
        repeats=repeats,
        epochs=epochs,
        batch_size=batch_size,
        momentum=momentum,
        width=width,
        init=init,
        train_size=train_size,
        measure_every=measure_every,
    )


@recipe(
    "batch-size",
    task="learning curves of networks",
    data="digits",
    kinds=("images",),
    source="Bottou, Curtis and Nocedal 2018; Goyal et al. 2017 for rates that grow with the batch",
    headline=Headline(
        (
            "batch_8_epochs",
            "batch_128_epochs",
            "batch_8_updates",
            "batch_128_updates",
            "largest_relative_gap_of_variance",
        )
    ),
    tiny={"sizes": (20, 0), "target_loss": 2.0, "hidden": 8, "epochs": 2, "repeats": 1, "samples": 200},
    summary_zh="批量大小：损失随更新和随轮数的下降",
    topics=(
        Topic("Batch size: the loss per update and per epoch", "批量大小：每次更新与每轮的损失", lectures=(3,)),
        Topic("Mini-batch stochastic gradient descent, momentum", command="chainrule train batch-size"),
    ),
)
def batch_size(
    run: Run,
    *,
    sizes: tuple[Size, ...] = (8, 32, 128, 0),
    target_loss: Positive = 0.5,
    lr: Positive = 0.05,
    hidden: Count = 32,
    epochs: Count = 20,
    repeats: Repeats = 3,
    size: Count = 8,
    samples: Size = 0,
) -> Study:
    """The loss per update and per epoch for several batch sizes, at one learning rate and at rates that grow with the batch.

    The variance of a batch's gradient is measured beside its closed form. On MNIST:
    `chainrule train batch-size --data mnist size=28 sizes=1,16,64,256 lr=0.01 epochs=3`.
    """
    from chainrule.systems.studies.optimization.batch_size import batch_size_study

    return batch_size_study(
        run,
        sizes=sizes,
        target_loss=target_loss,
        lr=lr,
        hidden=hidden,
        epochs=epochs,
        repeats=repeats,
        size=size,
        samples=samples,
    )


@recipe(
    "batch-norm-speed",
    task="steps to an accuracy",
    data="digits",
    kinds=("images",),
    source="Ioffe and Szegedy 2015, section 4.1",
    headline=Headline(
        ("val_accuracy_to_reach", "depth_3_steps_without", "depth_3_steps_with", "depth_3_ratio_of_steps")
    ),
    tiny={"depths": (2,), "rates": (1.0,), "hidden": 20, "steps": 40},
    summary_zh="有无批量归一化时达到某准确率的步数",
    topics=(Topic("Batch normalisation"),),
)
def batch_norm_speed(
    run: Run,
    *,
    depths: tuple[int, ...] = (1, 3, 5),
    rates: tuple[float, ...] = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0),
    hidden: Count = 100,
    accuracy: Fraction = 0.95,
    steps: Count = 3000,
    every: Count = 10,
    batch_size: Count = 60,
    size: Count = 8,
    samples: Size = 0,
) -> Study:
    """Steps to a validation accuracy with and without batch normalisation, over depths and learning rates.

    Section 4.1 of the paper trains three sigmoid layers of 100 on MNIST; its factor of 14 is of Inception on ImageNet.
    As there: `chainrule train batch-norm-speed --data mnist size=28 depths=3 accuracy=0.97 steps=20000 every=50`.
    """
    from chainrule.systems.studies.optimization.batch_norm_speed import batch_norm_study

    return batch_norm_study(
        run,
        depths=depths,
        rates=rates,
        hidden=hidden,
        accuracy=accuracy,
        steps=steps,
        every=every,
        batch_size=batch_size,
        size=size,
        samples=samples,
    )


@recipe(
    "vanishing-gradient",
    task="gradients through depth",
    data="digits",
    kinds=("table",),
    source="Bengio, Simard, Frasconi 1994; Glorot and Bengio 2010; He et al. 2015",
    headline=Headline(("sigmoid_xavier_ratio", "sigmoid_xavier_accuracy", "relu_msra_ratio", "relu_msra_accuracy")),
    tiny={"depths": (1, 3), "activations": ("sigmoid", "relu"), "inits": ("xavier",), "steps": 10, "width": 16},
    summary_zh="首层梯度随深度、激活函数、初始化的变化",
    topics=(Topic("Vanishing gradient", "梯度消失", lectures=(2, 3, 4)),),
)
def vanishing_gradient(
    run: Run,
    *,
    depths: tuple[Count, ...] = (1, 2, 4, 8, 16),
    activations: tuple[str, ...] = ("sigmoid", "tanh", "relu"),
    inits: tuple[str, ...] = ("small-random", "xavier", "msra"),
    width: Count = 32,
    steps: Count = 300,
    batch_size: Count = 64,
    lr: Positive = 0.02,
    momentum: Fraction = 0.9,
    val_fraction: Fraction = 0.1,
) -> Study:
    """Gradient of the first hidden layer against that of the last, before and after training, over depth, activation, start."""
    from chainrule.data.tables.loading import load_table
    from chainrule.systems.feedforward.mlp import MLP
    from chainrule.systems.studies.optimization.vanishing_gradient import vanishing_gradient_study

    data = load_table(run.data, task="classification", val_fraction=val_fraction)
    inputs, classes = len(data.spec.mean), len(data.spec.class_names)

    def build(point: Mapping[str, Any]) -> nn.Module:
        return MLP(inputs, classes, (width,) * point["depth"], point["activation"], init=point["init"])

    points = [
        {"activation": activation, "init": init, "depth": depth}
        for activation in activations
        for init in inits
        for depth in depths
    ]
    for point in points[:: len(depths)]:
        build(point)  # an unknown activation or initialisation fails now, not after minutes
    return vanishing_gradient_study(
        run, data=data, build=build, points=points, steps=steps, batch_size=batch_size, lr=lr, momentum=momentum
    )
