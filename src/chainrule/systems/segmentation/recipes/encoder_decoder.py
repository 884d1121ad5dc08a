"""Encoder and decoder: DeconvNet, and the same with bilinear enlargement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from chainrule.core.recipe import Headline, recipe
from chainrule.core.settings import Count, Fraction, NonNegative, Positive, Size

if TYPE_CHECKING:
    from chainrule.run.run import Run
    from chainrule.systems.segmentation.task import Segmenter


@recipe(
    "deconvnet",
    task="segmentation",
    data="camvid",
    kinds=("masks",),
    source="Noh, Hong, Han 2015",
    model="deconvnet",
    headline=Headline(("miou", "pixel_accuracy", "mean_accuracy", "fw_iou", "boundary_f1", "dice")),
    tiny={"data": "shape-masks", "width": 0.0625, "epochs": 1, "batch_size": 16, "log_every": 2, "inside": 32},
    summary_zh="DeconvNet：带开关的反池化与转置卷积",
)
def deconvnet(
    run: Run,
    *,
    width: Positive = 0.25,
    inside: Count = 224,
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
    """DeconvNet: VGG16 with batch normalisation, and its mirror image of unpoolings with switches and transposed convolutions.

    Images are resized to `inside` x `inside` pixels and the scores back, as the dense layer in the middle wants it.
    """
    from chainrule.systems.segmentation.building import build_segmenter
    from chainrule.systems.segmentation.networks.deconvnet import DeconvNet

    return build_segmenter(
        run,
        lambda classes, channels: DeconvNet(classes, channels, width, inside),
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
    "bilinear-net",
    task="segmentation",
    data="camvid",
    kinds=("masks",),
    source="the course's last form of encoder and decoder; maps as Noh, Hong, Han 2015",
    model="bilinear-net",
    headline=Headline(("miou", "pixel_accuracy", "mean_accuracy", "fw_iou", "boundary_f1", "dice")),
    tiny={"data": "shape-masks", "width": 0.0625, "epochs": 1, "batch_size": 16, "log_every": 2},
    summary_zh="双线性上采样的编码器与解码器：上采样不学习",
)
def bilinear_net(
    run: Run,
    *,
    width: Positive = 0.25,
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
    """DeconvNet's encoder, and a decoder that enlarges bilinearly and convolves: nothing is learnt in the up-sampling."""
    from chainrule.systems.segmentation.building import build_segmenter
    from chainrule.systems.segmentation.networks.bilinear_net import BilinearNet

    return build_segmenter(
        run,
        lambda classes, channels: BilinearNet(classes, channels, width),
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
