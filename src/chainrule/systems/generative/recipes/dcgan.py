"""DCGAN on handwritten digits, or on any folder of images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from chainrule.core.course import Topic
from chainrule.core.recipe import recipe
from chainrule.core.settings import Count, Fraction, Positive, Size

if TYPE_CHECKING:
    from chainrule.run.run import Run
    from chainrule.systems.generative.task import ImageGan


@recipe(
    "dcgan",
    task="image generation",
    data="digits",
    kinds=("images without classes", "images"),
    source="Radford et al. 2016",
    model="dcgan-generator",
    tiny={"steps": 12, "width": 4, "batch_size": 32, "sample_every": 6, "log_every": 3},
    summary_zh="图像的生成网络和判别网络",
    topics=(Topic("Adam"), Topic("DCGAN", "DCGAN", lectures=(3,))),
)
def dcgan(
    run: Run,
    *,
    size: Literal[28, 32, 64] = 28,
    channels: Size = 0,
    width: Count = 32,
    kernel_size: Literal[4, 5] = 4,
    noise: Literal["uniform", "normal"] = "uniform",
    noise_size: Count = 100,
    steps: Count = 2000,
    batch_size: Count = 64,
    discriminator_steps: Count = 1,
    lr: Positive = 5e-4,
    beta1: Fraction = 0.5,
    ema: Fraction = 0.0,
    sample_every: Size = 250,
) -> ImageGan:
    """Two players, two optimisers. As published: `size=64 width=128 kernel_size=5 batch_size=128 lr=2e-4`."""
    import copy

    import torch

    from chainrule.data.images.unlabelled import load_unlabelled
    from chainrule.systems.generative.dcgan import Discriminator, Generator
    from chainrule.systems.generative.score_net import DigitScorer
    from chainrule.systems.generative.task import ImageGan

    data = load_unlabelled(run.data, size=size, channels=channels)
    colours = data.spec.channels
    generator = run.place(Generator(size, colours, width, noise_size, kernel_size))
    discriminator = run.place(Discriminator(size, colours, width, kernel_size))
    # No published figure exists with these features, so the recipe has no target.
    scorer = DigitScorer().to(run.device) if colours == 1 else None
    return ImageGan(
        run,
        data=data,
        generator=generator,
        discriminator=discriminator,
        average=copy.deepcopy(generator).eval().requires_grad_(False) if ema else None,
        generator_optimizer=torch.optim.Adam(generator.parameters(), lr, (beta1, 0.999)),
        discriminator_optimizer=torch.optim.Adam(discriminator.parameters(), lr, (beta1, 0.999)),
        scorer=scorer,
        scorer_name="" if scorer is None else scorer.name,
        steps=steps,
        batch_size=batch_size,
        discriminator_steps=discriminator_steps,
        noise=noise,
        noise_size=noise_size,
        ema=ema,
        sample_every=sample_every,
    )
