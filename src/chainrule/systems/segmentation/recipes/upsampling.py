"""The study of up-sampling: what each way back to the image's size does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chainrule.core.recipe import Headline, recipe
from chainrule.core.settings import Count, Fraction, Positive

if TYPE_CHECKING:
    from chainrule.run.run import Run
    from chainrule.tasks.study import Study


@recipe(
    "upsampling",
    task="segmentation",
    data="shape-masks",
    kinds=("masks",),
    source="the course's comparison of up-sampling; Long et al. 2015, Noh et al. 2015",
    headline=Headline(
        tuple(
            f"{way}_{how}_miou"
            for way in ("nearest", "bilinear", "deconvolution", "unpooling")
            for how in ("at_once", "step_by_step")
        )
    ),
    tiny={"ways": ("bilinear", "unpooling"), "maps": 4, "steps": 3, "log_every": 2},
    summary_zh="上采样的比较：最近邻、双线性、反卷积、反池化，逐级或一次，有无批规范化",
)
def upsampling(
    run: Run,
    *,
    ways: tuple[str, ...] = ("nearest", "bilinear", "deconvolution", "unpooling"),
    maps: Count = 16,
    steps: Count = 400,
    batch_size: Count = 8,
    lr: Positive = 0.003,
    val_fraction: Fraction = 0.15,
) -> Study:
    """One encoder, one budget: maps enlarged by nearest neighbours, bilinearly, by deconvolution or by unpooling.

    Each way step by step and at once, with batch normalisation and without: mIoU and boundary F1. Of one's own data the images
    must be of one size.
    """
    from chainrule.systems.segmentation.upsampling_study import upsampling_study

    return upsampling_study(
        run, ways=ways, maps=maps, steps=steps, batch_size=batch_size, lr=lr, val_fraction=val_fraction
    )
