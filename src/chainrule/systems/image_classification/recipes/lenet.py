"""LeNet on handwritten digits, or on any images with classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chainrule.core.recipe import Target, recipe
from chainrule.core.settings import Count, Fraction, NonNegative, Positive, Size

if TYPE_CHECKING:
    from torch import Tensor

    from chainrule.run.run import Run
    from chainrule.tasks.images.classification import ImageClassifier


@recipe(
    "lenet-caffe",
    task="image classification",
    data="digits",
    kinds=("images",),
    source="Caffe examples/mnist (Jia et al. 2014)",
    model="lenet-caffe",
    target=Target(
        "error", 0.0090, "mnist", "Caffe, examples/mnist/readme.md: accuracy 0.991", "last of 10,000 iterations of 64"
    ),
    tiny={"epochs": 2, "log_every": 3},
    summary_zh="Caffe 形式的 LeNet",
)
def lenet_caffe(
    run: Run,
    *,
    epochs: Count = 12,
    batch_size: Count = 128,
    lr: Positive = 0.01,
    momentum: Fraction = 0.9,
    weight_decay: NonNegative = 5e-4,
    l1: NonNegative = 0.0,
    penalty_from: Size = 0,
    channels: Size = 0,
    val_fraction: Fraction = 1 / 12,
) -> ImageClassifier:
    """LeNet as Caffe has it (431,080 parameters for ten classes), momentum SGD, a rate that falls to zero as a cosine."""
    import torch

    from chainrule.data.images.loading import load_images
    from chainrule.loops.penalty import penalize
    from chainrule.optim.schedule import cosine_schedule
    from chainrule.systems.image_classification.lenet import LeNetCaffe
    from chainrule.tasks.images.classification import ImageClassifier

    data = load_images(run.data, size=28, channels=channels, val_fraction=val_fraction, may_stay=True)
    model = run.place(LeNetCaffe(len(data.spec.classes), data.spec.channels))
    optimizer = torch.optim.SGD(model.parameters(), lr, momentum, weight_decay=weight_decay)
    penalize(run, optimizer, l1=l1, penalty_from=penalty_from, epochs=epochs)
    return ImageClassifier(
        run,
        data=data,
        model=model,
        criterion=lambda logits, y: torch.nn.functional.cross_entropy(logits, y, reduction="none"),
        optimizer=optimizer,
        schedule=cosine_schedule(optimizer, epochs, data.spec.counts["train"], batch_size),
        epochs=epochs,
        batch_size=batch_size,
    )


@recipe(
    "lenet5",
    task="image classification",
    data="digits",
    kinds=("images",),
    source="LeCun et al. 1998",
    model="lenet5",
    target=Target(
        "error",
        0.0095,
        "mnist",
        "LeCun et al. 1998, section III.B",
        "20 passes over 60,000 images, test error at the end",
    ),
    tiny={"epochs": 2, "log_every": 3},
    summary_zh="1998 年的 LeNet-5：可训练的下采样、部分连接的 C3、径向基输出",
)
def lenet5(
    run: Run,
    *,
    epochs: Count = 20,
    batch_size: Count = 32,
    lr: Positive = 0.001,
    momentum: Fraction = 0.9,
    j: NonNegative = 1.0,
    channels: Size = 0,
    val_fraction: Fraction = 1 / 12,
) -> ImageClassifier:
    """LeNet-5 of 1998 (60,000 parameters): trainable sub-sampling, partial C3, RBF outputs, the MAP criterion.

    The rate is for tens of thousands of images (the tanh units saturate at ten times that).
    Few images in few epochs want `lr=0.005`.
    """
    import torch

    from chainrule.data.images.loading import load_images
    from chainrule.optim.schedule import cosine_schedule
    from chainrule.systems.image_classification.lenet import LeNet5
    from chainrule.tasks.images.classification import ImageClassifier

    def map_criterion(logits: Tensor, y: Tensor) -> Tensor:
        """Equation 9: penalty of the true class + log(exp(-j) + sum of exp(-penalty)), per sample."""
        rest = logits.new_full((len(logits), 1), -j)
        return torch.nn.functional.cross_entropy(torch.cat([logits, rest], 1), y, reduction="none")

    data = load_images(run.data, size=32, channels=channels, val_fraction=val_fraction, may_stay=True)
    model = run.place(LeNet5(len(data.spec.classes), data.spec.channels))
    optimizer = torch.optim.SGD(model.parameters(), lr, momentum)
    return ImageClassifier(
        run,
        data=data,
        model=model,
        criterion=map_criterion,
        optimizer=optimizer,
        schedule=cosine_schedule(optimizer, epochs, data.spec.counts["train"], batch_size),
        epochs=epochs,
        batch_size=batch_size,
    )
