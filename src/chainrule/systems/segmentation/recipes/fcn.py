"""Fully convolutional networks: a classifier slid over the image, at stride 32, 16 or 8."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from chainrule.core.recipe import Headline, Target, recipe
from chainrule.core.settings import Count, Fraction, NonNegative, Positive, Size

if TYPE_CHECKING:
    from chainrule.run.run import Run
    from chainrule.systems.segmentation.task import Segmenter


@recipe(
    "fcn32s",
    task="segmentation",
    data="camvid",
    kinds=("masks",),
    source="Long, Shelhamer, Darrell 2015",
    model="fcn32s",
    headline=Headline(("miou", "pixel_accuracy", "mean_accuracy", "fw_iou", "boundary_f1", "dice")),
    tiny={"data": "shape-masks", "width": 0.0625, "epochs": 1, "batch_size": 16, "log_every": 2},
    summary_zh="FCN-32s：把分类网络变成全卷积网络，得分图放大 32 倍",
)
def fcn32s(
    run: Run,
    *,
    width: Positive = 0.25,
    border: Literal["same", "pad100"] = "same",
    epochs: Count = 60,
    batch_size: Count = 8,
    optimizer: Literal["sgd", "nesterov", "adam", "adamw"] = "adamw",
    lr: Positive = 0.001,
    momentum: Fraction = 0.9,
    weight_decay: NonNegative = 0.0001,
    loss: Literal["mean", "sum"] = "mean",
    balance: Literal["none", "frequency", "median"] = "none",
    dice: NonNegative = 0.0,
    flips: Literal["no", "horizontal", "both"] = "horizontal",
    jitter: NonNegative = 0.25,
    colour: Fraction = 0.2,
    elastic: NonNegative = 0.0,
    border_weight: NonNegative = 0.0,
    size: Count = 256,
    scale: Fraction = 0.0,
    channels: Size = 0,
    val_fraction: Fraction = 0.15,
) -> Segmenter:
    """FCN-32s: scores at stride 32, enlarged 32 times at once.

    The encoder is VGG16 with a quarter of its maps (`width`). `border=pad100` pads the first convolution by 100 pixels as the
    authors do, at 3.8 times the arithmetic on images of 240 x 180. The stages pass their weights on: `train
    fcn16s --weights RUN` begins from it.

    The paper's own settings are `optimizer=sgd loss=sum batch_size=1 lr=1e-10 momentum=0.99 weight_decay=5e-4`, for weights
    that were published for ImageNet, and 1e-12 and 1e-14 for the stages after. For the mean over 500 x 500 pixels 1e-10 is
    2.5e-5.
    """
    from chainrule.systems.segmentation.building import build_segmenter
    from chainrule.systems.segmentation.networks.fcn import FCN

    return build_segmenter(
        run,
        lambda classes, channels: FCN(32, classes, channels, width, border),
        size=size,
        scale=scale,
        channels=channels,
        epochs=epochs,
        batch_size=batch_size,
        optimizer=optimizer,
        lr=lr,
        momentum=momentum,
        weight_decay=weight_decay,
        loss=loss,
        balance=balance,
        dice=dice,
        flips=flips,
        jitter=jitter,
        colour=colour,
        elastic=elastic,
        border_weight=border_weight,
        val_fraction=val_fraction,
    )


@recipe(
    "fcn16s",
    task="segmentation",
    data="camvid",
    kinds=("masks",),
    source="Long, Shelhamer, Darrell 2015",
    model="fcn16s",
    headline=Headline(("miou", "pixel_accuracy", "mean_accuracy", "fw_iou", "boundary_f1", "dice")),
    tiny={"data": "shape-masks", "width": 0.0625, "epochs": 1, "batch_size": 16, "log_every": 2},
    summary_zh="FCN-16s：加上第四个池化层的得分，放大 16 倍",
)
def fcn16s(
    run: Run,
    *,
    width: Positive = 0.25,
    border: Literal["same", "pad100"] = "same",
    epochs: Count = 60,
    batch_size: Count = 8,
    optimizer: Literal["sgd", "nesterov", "adam", "adamw"] = "adamw",
    lr: Positive = 0.001,
    momentum: Fraction = 0.9,
    weight_decay: NonNegative = 0.0001,
    loss: Literal["mean", "sum"] = "mean",
    balance: Literal["none", "frequency", "median"] = "none",
    dice: NonNegative = 0.0,
    flips: Literal["no", "horizontal", "both"] = "horizontal",
    jitter: NonNegative = 0.25,
    colour: Fraction = 0.2,
    elastic: NonNegative = 0.0,
    border_weight: NonNegative = 0.0,
    size: Count = 256,
    scale: Fraction = 0.0,
    channels: Size = 0,
    val_fraction: Fraction = 0.15,
) -> Segmenter:
    """FCN-16s: the scores of the fourth pooling added at stride 16.

    The encoder is VGG16 with a quarter of its maps (`width`). `border=pad100` pads the first convolution by 100 pixels as the
    authors do, at 3.8 times the arithmetic on images of 240 x 180. The stages pass their weights on: begin from a
    run of fcn32s by `--weights RUN`, and `train fcn8s --weights RUN` begins from this one.

    The paper's own settings are `optimizer=sgd loss=sum batch_size=1 lr=1e-10 momentum=0.99 weight_decay=5e-4`, for weights
    that were published for ImageNet, and 1e-12 and 1e-14 for the stages after. For the mean over 500 x 500 pixels 1e-10 is
    2.5e-5.
    """
    from chainrule.systems.segmentation.building import build_segmenter
    from chainrule.systems.segmentation.networks.fcn import FCN

    return build_segmenter(
        run,
        lambda classes, channels: FCN(16, classes, channels, width, border),
        size=size,
        scale=scale,
        channels=channels,
        epochs=epochs,
        batch_size=batch_size,
        optimizer=optimizer,
        lr=lr,
        momentum=momentum,
        weight_decay=weight_decay,
        loss=loss,
        balance=balance,
        dice=dice,
        flips=flips,
        jitter=jitter,
        colour=colour,
        elastic=elastic,
        border_weight=border_weight,
        val_fraction=val_fraction,
    )


@recipe(
    "fcn8s",
    task="segmentation",
    data="camvid",
    kinds=("masks",),
    source="Long, Shelhamer, Darrell 2015",
    model="fcn8s",
    target=Target(
        "miou",
        0.57,
        "camvid",
        "public figure for FCN-8s from ImageNet at 480 x 360",
        "official split, 11 classes, void left out; from a random start",
    ),
    headline=Headline(("miou", "pixel_accuracy", "mean_accuracy", "fw_iou", "boundary_f1", "dice")),
    tiny={"data": "shape-masks", "width": 0.0625, "epochs": 1, "batch_size": 16, "log_every": 2},
    summary_zh="FCN-8s：再加上第三个池化层的得分，放大 8 倍",
)
def fcn8s(
    run: Run,
    *,
    width: Positive = 0.25,
    border: Literal["same", "pad100"] = "same",
    epochs: Count = 60,
    batch_size: Count = 8,
    optimizer: Literal["sgd", "nesterov", "adam", "adamw"] = "adamw",
    lr: Positive = 0.001,
    momentum: Fraction = 0.9,
    weight_decay: NonNegative = 0.0001,
    loss: Literal["mean", "sum"] = "mean",
    balance: Literal["none", "frequency", "median"] = "none",
    dice: NonNegative = 0.0,
    flips: Literal["no", "horizontal", "both"] = "horizontal",
    jitter: NonNegative = 0.25,
    colour: Fraction = 0.2,
    elastic: NonNegative = 0.0,
    border_weight: NonNegative = 0.0,
    size: Count = 256,
    scale: Fraction = 0.0,
    channels: Size = 0,
    val_fraction: Fraction = 0.15,
) -> Segmenter:
    """FCN-8s: the scores of the fourth and the third pooling added, at stride 8.

    The encoder is VGG16 with a quarter of its maps (`width`). `border=pad100` pads the first convolution by 100 pixels as the
    authors do, at 3.8 times the arithmetic on images of 240 x 180. The stages pass their weights on: begin
    from a run of fcn16s by `--weights RUN`.

    The paper's own settings are `optimizer=sgd loss=sum batch_size=1 lr=1e-10 momentum=0.99 weight_decay=5e-4`, for weights
    that were published for ImageNet, and 1e-12 and 1e-14 for the stages after. For the mean over 500 x 500 pixels 1e-10 is
    2.5e-5.
    """
    from chainrule.systems.segmentation.building import build_segmenter
    from chainrule.systems.segmentation.networks.fcn import FCN

    return build_segmenter(
        run,
        lambda classes, channels: FCN(8, classes, channels, width, border),
        size=size,
        scale=scale,
        channels=channels,
        epochs=epochs,
        batch_size=batch_size,
        optimizer=optimizer,
        lr=lr,
        momentum=momentum,
        weight_decay=weight_decay,
        loss=loss,
        balance=balance,
        dice=dice,
        flips=flips,
        jitter=jitter,
        colour=colour,
        elastic=elastic,
        border_weight=border_weight,
        val_fraction=val_fraction,
    )


@recipe(
    "fcn8s-at-once",
    task="segmentation",
    data="camvid",
    kinds=("masks",),
    source="Shelhamer, Long, Darrell 2017, section 4.3",
    model="fcn8s-at-once",
    headline=Headline(("miou", "pixel_accuracy", "mean_accuracy", "fw_iou", "boundary_f1", "dice")),
    tiny={"data": "shape-masks", "width": 0.0625, "epochs": 1, "batch_size": 16, "log_every": 2},
    summary_zh="FCN-8s 一次训练：池化层乘以固定系数",
)
def fcn8s_at_once(
    run: Run,
    *,
    width: Positive = 0.25,
    border: Literal["same", "pad100"] = "same",
    epochs: Count = 60,
    batch_size: Count = 8,
    optimizer: Literal["sgd", "nesterov", "adam", "adamw"] = "adamw",
    lr: Positive = 0.001,
    momentum: Fraction = 0.9,
    weight_decay: NonNegative = 0.0001,
    loss: Literal["mean", "sum"] = "mean",
    balance: Literal["none", "frequency", "median"] = "none",
    dice: NonNegative = 0.0,
    flips: Literal["no", "horizontal", "both"] = "horizontal",
    jitter: NonNegative = 0.25,
    colour: Fraction = 0.2,
    elastic: NonNegative = 0.0,
    border_weight: NonNegative = 0.0,
    size: Count = 256,
    scale: Fraction = 0.0,
    channels: Size = 0,
    val_fraction: Fraction = 0.15,
) -> Segmenter:
    """FCN-8s in one stage: pool4 counts 0.01 and pool3 0.0001 before their score layers, so that all learn together.

    The encoder is VGG16 with a quarter of its maps (`width`). `border=pad100` pads the first convolution by 100 pixels as the
    authors do, at 3.8 times the arithmetic on images of 240 x 180. The stages pass their weights on: this
    one needs none.

    The paper's own settings are `optimizer=sgd loss=sum batch_size=1 lr=1e-10 momentum=0.99 weight_decay=5e-4`, for weights
    that were published for ImageNet, and 1e-12 and 1e-14 for the stages after. For the mean over 500 x 500 pixels 1e-10 is
    2.5e-5.
    """
    from chainrule.systems.segmentation.building import build_segmenter
    from chainrule.systems.segmentation.networks.fcn import FCN

    return build_segmenter(
        run,
        lambda classes, channels: FCN(8, classes, channels, width, border, (0.01, 0.0001)),
        size=size,
        scale=scale,
        channels=channels,
        epochs=epochs,
        batch_size=batch_size,
        optimizer=optimizer,
        lr=lr,
        momentum=momentum,
        weight_decay=weight_decay,
        loss=loss,
        balance=balance,
        dice=dice,
        flips=flips,
        jitter=jitter,
        colour=colour,
        elastic=elastic,
        border_weight=border_weight,
        val_fraction=val_fraction,
    )
