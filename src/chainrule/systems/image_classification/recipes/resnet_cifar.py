"""The residual networks of He et al. on CIFAR-10, or on any small images with classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from chainrule.core.course import Topic
from chainrule.core.recipe import Target, recipe
from chainrule.core.settings import Count, Fraction, NonNegative, Positive, Size

if TYPE_CHECKING:
    from chainrule.run.run import Run
    from chainrule.tasks.images.classification import ImageClassifier


@recipe(
    "resnet20",
    task="image classification",
    data="cifar10",
    kinds=("images",),
    source="He et al. 2016, section 4.2",
    model="resnet20",
    target=Target(
        "error", 0.0875, "cifar10", "He et al. 2016, table 6", "64,000 iterations of 128; test error at the end"
    ),
    tiny={"data": "digits", "depth": 8, "epochs": 1, "log_every": 3},
    summary_zh="用于小图像的残差网络，20 到 110 层",
    topics=(
        Topic(
            "Learning rate that falls: cosine, steps",
            "学习率衰减：余弦、阶梯",
            lectures=(2, 3),
            command="chainrule train resnet20 lr_drops=0.5,0.75",
        ),
        Topic("Weight decay", "权重衰减", lectures=(2, 3, 4), command="chainrule train resnet20 weight_decay=0"),
    ),
)
def resnet20(
    run: Run,
    *,
    depth: Count = 20,
    epochs: Count = 182,
    batch_size: Count = 128,
    lr: Positive = 0.1,
    lr_drops: tuple[Fraction, ...] = (0.5, 0.75),
    momentum: Fraction = 0.9,
    weight_decay: NonNegative = 1e-4,
    l1: NonNegative = 0.0,
    penalty_from: Size = 0,
    schedule: Literal["steps", "linear"] = "steps",
    augment: bool = True,
    grow: tuple[Count, ...] | None = None,
    channels: Size = 0,
    val_fraction: Fraction = 0.1,
) -> ImageClassifier:
    """ResNet for small images (269,722 parameters), momentum SGD, a rate that falls to a tenth at 1/2 and 3/4.

    The paper's 64,000 iterations are 182 passes over 45,000 images, the rate falls after 32,000 and 48,000. Its
    networks of 32, 44 and 56 layers have the same settings (`depth`); that of 110 began with lr=0.01 for 400 iterations.

    On two CPU cores that is five hours. `epochs=24 schedule=linear grow=16,24,32 weight_decay=5e-4` is an hour of one core:
    a rate that falls in a straight line loses least where epochs are few (Li et al. 2020), and small images come first.
    """
    import torch
    from torch.optim.lr_scheduler import LinearLR, LRScheduler, MultiStepLR

    from chainrule.data.images.augment import Growing, flip, of_images, shift
    from chainrule.data.images.loading import load_images
    from chainrule.loops.penalty import penalize
    from chainrule.optim.by_name import has_fused
    from chainrule.optim.schedule import total_steps
    from chainrule.systems.image_classification.resnet_cifar import ResNetCifar
    from chainrule.tasks.images.classification import ImageClassifier

    data = load_images(run.data, size=32, channels=channels, val_fraction=val_fraction, may_stay=True)
    model = run.place(ResNetCifar(depth, len(data.spec.classes), data.spec.channels))
    parameters = list(model.parameters())
    optimizer = torch.optim.SGD(parameters, lr, momentum, weight_decay=weight_decay, fused=has_fused("sgd", parameters))
    penalize(run, optimizer, l1=l1, penalty_from=penalty_from, epochs=epochs)
    steps = total_steps(epochs, data.spec.counts["train"], batch_size)
    if schedule == "linear":
        falling: LRScheduler = LinearLR(optimizer, 1.0, 0.0, steps)
    else:
        falling = MultiStepLR(optimizer, [round(steps * drop) for drop in lr_drops], gamma=0.1)
    return ImageClassifier(
        run,
        data=data,
        model=model,
        criterion=lambda logits, y: torch.nn.functional.cross_entropy(logits, y, reduction="none"),
        optimizer=optimizer,
        schedule=falling,
        epochs=epochs,
        batch_size=batch_size,
        changes=[*([of_images(shift), of_images(flip)] if augment else []), *([Growing(grow, 32)] if grow else [])],
    )
