"""U-Net on one's own images with masks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from chainrule.core.recipe import Headline, Target, recipe
from chainrule.core.settings import Count, Fraction, NonNegative, Positive, Size

if TYPE_CHECKING:
    from chainrule.run.run import Run
    from chainrule.systems.segmentation.task import Segmenter


@recipe(
    "unet",
    task="segmentation",
    data="camvid",
    kinds=("masks",),
    source="Ronneberger, Fischer, Brox 2015",
    model="unet",
    target=Target(
        "miou",
        0.498,
        "camvid",
        "a public PyTorch U-Net from scratch on CamVid",
        "official split, 11 classes, void left out; from a random start",
    ),
    headline=Headline(("miou", "pixel_accuracy", "mean_accuracy", "fw_iou", "boundary_f1", "dice")),
    tiny={"data": "shape-masks", "width": 0.0625, "epochs": 1, "batch_size": 16, "log_every": 2},
    summary_zh="U-Net：给自己的图像逐像素分类，默认的分割网络",
)
def unet(
    run: Run,
    *,
    width: Positive = 0.25,
    form: Literal["padded", "paper"] = "padded",
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
    """U-Net: the segmenter for one's own images with masks.

    A quarter of the published maps (`width=1` has all, 31 million weights). Training takes random parts of `size` pixels, or
    whole images where they are smaller; an epoch has as many parts as the images have room for. `form=paper` has no padding:
    images are mirrored at their border. The paper deforms images (`elastic=10`) and weighs borders (`border_weight=10`).

    Rare classes: `balance=median` or `dice=1`. Answers: `chainrule predict RUN FILE...` writes a mask and an overlay for each.
    """
    from chainrule.systems.segmentation.building import build_segmenter
    from chainrule.systems.segmentation.networks.unet import Mirrored, UNet

    return build_segmenter(
        run,
        lambda classes, channels: (
            UNet(classes, channels, width) if form == "padded" else Mirrored(UNet(classes, channels, width, form))
        ),
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
