"""Networks learnt by back-propagation written out by hand: a perceptron, LeNet, a recurrent net."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from chainrule.core.course import Topic
from chainrule.core.recipe import Target, recipe
from chainrule.core.settings import Count, Fraction, NonNegative, Positive, Size

if TYPE_CHECKING:
    from collections.abc import Callable

    from chainrule.data.batches import Batches
    from chainrule.data.dataset import Dataset
    from chainrule.data.images.loading import ImageSplit
    from chainrule.data.images.spec import ImageSpec
    from chainrule.run.run import Run
    from chainrule.systems.backprop.chain import Chain
    from chainrule.systems.backprop.layers.criteria import CrossEntropy
    from chainrule.tasks.images.classification import ImageClassifier


@recipe(
    "mlp-backprop",
    task="image classification",
    data="digits",
    kinds=("images",),
    source="LeCun et al. 1998",
    model="mlp-backprop",
    target=Target(
        "error",
        0.0305,
        "mnist",
        "LeCun et al. 1998, section III.C.4: 28 x 28-300-100-10",
        "test error at the end of training",
    ),
    tiny={"epochs": 2, "hidden_sizes": (20, 10), "log_every": 3},
    summary_zh="两个隐藏层，每个 delta 都写出来",
    topics=(Topic("Back-propagation by hand, delta rule"),),
)
def mlp_backprop(
    run: Run,
    *,
    epochs: Count = 20,
    batch_size: Count = 32,
    lr: Positive = 0.05,
    momentum: Fraction = 0.9,
    weight_decay: NonNegative = 0.0,
    hidden_sizes: tuple[Count, ...] = (300, 100),
    activation: Literal["scaled_tanh", "tanh", "sigmoid", "relu"] = "scaled_tanh",
    size: Count = 28,
    channels: Size = 0,
    val_fraction: Fraction = 1 / 12,
) -> ImageClassifier:
    """A perceptron with two hidden layers (266,610 parameters), every backward pass written out, no autograd."""
    from chainrule.data.images.loading import load_images
    from chainrule.systems.backprop.networks import mlp

    data = load_images(run.data, size=size, channels=channels, val_fraction=val_fraction)
    network = mlp(len(data.spec.classes), data.spec.channels, size, hidden_sizes, activation)
    return _by_hand(run, data, network, epochs, batch_size, lr, momentum, weight_decay)


@recipe(
    "lenet-backprop",
    task="image classification",
    data="digits",
    kinds=("images",),
    source="Caffe examples/mnist (Jia et al. 2014)",
    model="lenet-backprop",
    target=Target(
        "error", 0.0090, "mnist", "Caffe, examples/mnist/readme.md: accuracy 0.991", "last of 10,000 iterations of 64"
    ),
    tiny={"epochs": 2, "log_every": 3},
    summary_zh="手工求导的卷积和池化",
    topics=(Topic("Convolution, pooling, sub-sampling"),),
)
def lenet_backprop(
    run: Run,
    *,
    epochs: Count = 12,
    batch_size: Count = 128,
    lr: Positive = 0.01,
    momentum: Fraction = 0.9,
    weight_decay: NonNegative = 5e-4,
    channels: Size = 0,
    val_fraction: Fraction = 1 / 12,
) -> ImageClassifier:
    """Caffe's LeNet (431,080 parameters) with convolution and pooling differentiated by hand; settings of lenet-caffe."""
    from chainrule.data.images.loading import load_images
    from chainrule.systems.backprop.networks import lenet

    data = load_images(run.data, size=28, channels=channels, val_fraction=val_fraction)
    network = lenet(len(data.spec.classes), data.spec.channels)
    return _by_hand(run, data, network, epochs, batch_size, lr, momentum, weight_decay)


@recipe(
    "rnn-backprop",
    task="image classification",
    data="digits",
    kinds=("images",),
    source="Rumelhart, Hinton, Williams 1986; Werbos 1990",
    model="rnn-backprop",
    tiny={"epochs": 2, "size": 8, "hidden_size": 12, "log_every": 3},
    summary_zh="随时间反向传播：简单、LSTM 或 GRU 单元",
    topics=(Topic("Simple recurrent network, GRU, by hand"),),
)
def rnn_backprop(
    run: Run,
    *,
    epochs: Count = 30,
    batch_size: Count = 16,
    lr: Positive = 0.02,
    momentum: Fraction = 0.9,
    weight_decay: NonNegative = 0.0,
    clip: Positive = 1.0,
    hidden_size: Count = 128,
    cell: Literal["rnn", "lstm", "gru"] = "rnn",
    truncation: Size = 0,
    size: Count = 28,
    channels: Size = 0,
    val_fraction: Fraction = 1 / 12,
) -> ImageClassifier:
    """Reads an image row by row and answers at the end; back-propagation through time, `truncation` rows at most (0: all)."""
    from chainrule.data.images.loading import load_images
    from chainrule.systems.backprop.networks import row_reader

    data = load_images(run.data, size=size, channels=channels, val_fraction=val_fraction)
    classes, channels = len(data.spec.classes), data.spec.channels
    network = row_reader(classes, channels, size, hidden_size, cell, truncation or None)
    return _by_hand(run, data, network, epochs, batch_size, lr, momentum, weight_decay, clip)


def _by_hand(
    run: Run,
    data: Dataset[ImageSpec, ImageSplit],
    network: Chain,
    epochs: int,
    batch_size: int,
    lr: float,
    momentum: float,
    weight_decay: float,
    clip: float | None = None,
) -> ImageClassifier:
    """The classifier of any of these networks: momentum SGD, a cosine schedule, gradients by hand."""
    import torch

    from chainrule.optim.schedule import cosine_schedule
    from chainrule.systems.backprop.layers.criteria import CrossEntropy
    from chainrule.tasks.images.classification import ImageClassifier

    model, criterion = run.place(network), CrossEntropy()
    optimizer = torch.optim.SGD(model.parameters(), lr, momentum, weight_decay=weight_decay)
    return ImageClassifier(
        run,
        data=data,
        model=model,
        criterion=criterion,
        optimizer=optimizer,
        schedule=cosine_schedule(optimizer, epochs, data.spec.counts["train"], batch_size),
        epochs=epochs,
        batch_size=batch_size,
        learn=_learner(model, criterion, clip),
    )


def _learner(network: Chain, criterion: CrossEntropy, clip: float | None) -> Callable[[ImageClassifier, Batches], None]:
    """Back-propagation by hand, in place of the loop by autograd that the task would run."""
    from chainrule.systems.backprop.loop import back_propagate

    def learn(task: ImageClassifier, batches: Batches) -> None:
        assert task.optimizer is not None and task.schedule is not None
        back_propagate(
            task.run,
            network=network,
            criterion=criterion,
            inputs=task.inputs,
            optimizer=task.optimizer,
            schedule=task.schedule,
            train=batches,
            epochs=task.epochs,
            validate=lambda: task.measure(task.data.val),
            choose_by=("error", True),
            clip_norm=clip,
        )

    return learn
