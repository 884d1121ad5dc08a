"""What a trained network can lose, measured: weights and units, and whole residual blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chainrule.core.course import Topic
from chainrule.core.recipe import Headline, recipe
from chainrule.core.settings import Count, Fraction, Positive, Repeats, Size

if TYPE_CHECKING:
    from torch import nn

    from chainrule.run.run import Run
    from chainrule.tasks.study import Study


@recipe(
    "pruning",
    task="image classification",
    data="digits",
    kinds=("images",),
    source="LeCun, Denker, Solla 1990; Mozer, Smolensky 1989; Han et al. 2015",
    headline=Headline(
        ("error", "magnitude_share_before", "obd_share_before", "magnitude_share_after", "obd_share_after")
    ),
    tiny={"shares": (0.5, 0.9), "hidden": 16, "samples": 200, "steps": 20, "retrain": 5, "repeats": 1},
    summary_zh="剪去权重或神经元的份额与错误率，重新训练前后",
    topics=(Topic("Pruning: magnitude, optimal brain damage, units"),),
)
def pruning(
    run: Run,
    *,
    shares: tuple[Fraction, ...] = (0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98),
    hidden: Count = 64,
    size: Count = 8,
    samples: Size = 0,
    steps: Count = 1000,
    retrain: Count = 500,
    batch_size: Count = 64,
    lr: Positive = 2e-3,
    repeats: Repeats = 5,
) -> Study:
    """Test error against the share pruned at random, by magnitude, by optimal brain damage, and by units; and retrained.

    `magnitude` takes the smallest |w| of all layers together, `obd` the smallest h w^2 / 2 with the second derivative h of
    the training loss, `units` the hidden units without which that loss rises least. A share may go as long as the mean
    error is at most 0.01 above that of the whole network: `obd_share_before` as pruned, `obd_share_after` when what is
    left has been trained again.
    """
    from chainrule.systems.studies.redundancy.pruning_study import pruning_study

    return pruning_study(
        run,
        shares=shares,
        hidden=hidden,
        size=size,
        samples=samples,
        steps=steps,
        retrain=retrain,
        batch_size=batch_size,
        lr=lr,
        repeats=repeats,
    )


@recipe(
    "residual-paths",
    task="image classification",
    data="digits",
    kinds=("images",),
    source="Veit, Wilber, Belongie 2016, section 4",
    headline=Headline(
        (
            "residual_error",
            "residual_error_one_removed",
            "plain_error",
            "plain_error_one_removed",
            "residual_error_one_exchanged",
        )
    ),
    tiny={"depth": 14, "size": 4, "steps": 2, "draws": 1, "train_size": 64, "batch_size": 16},
    summary_zh="测试时去掉或交换残差块：残差网络像多条路径投票，普通网络则失灵",
    topics=(Topic("A residual network as a vote of paths"),),
)
def residual_paths(
    run: Run,
    *,
    depth: Count = 32,
    size: Count = 8,
    channels: Size = 0,
    steps: Count = 400,
    batch_size: Count = 64,
    lr: Positive = 0.1,
    momentum: Fraction = 0.9,
    draws: Count = 10,
    train_size: Size = 0,
    val_fraction: Fraction = 1 / 12,
) -> Study:
    """Test error of a residual network and its plain twin with blocks taken out, or exchanged, after training.

    Both are those of He et al. for small images, `depth` layers of 6n+2, n blocks a stage. As in the paper, with 110 layers
    on CIFAR-10, on a GPU: `chainrule train residual-paths --data cifar10 size=32 depth=110 steps=64000 batch_size=128`.
    """
    from chainrule.data.images.loading import load_images
    from chainrule.systems.image_classification.resnet_cifar import ResNetCifar
    from chainrule.systems.studies.redundancy.residual_paths import residual_paths_study

    data = load_images(run.data, size=size, channels=channels, val_fraction=val_fraction)

    def build(net: str) -> nn.Module:
        K, C = len(data.spec.classes), data.spec.channels
        return ResNetCifar(depth, K, C, "A" if net == "residual" else "none")

    return residual_paths_study(
        run,
        data=data,
        build=build,
        steps=steps,
        batch_size=batch_size,
        lr=lr,
        momentum=momentum,
        draws=draws,
        train_size=train_size,
    )
