"""CIFAR-10 as fast as can be: a small network, few epochs, and everything that lets it learn in so few."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chainrule.core.recipe import Target, recipe
from chainrule.core.settings import Count, Fraction, NonNegative, Positive, Size

if TYPE_CHECKING:
    from chainrule.run.run import Run
    from chainrule.tasks.images.classification import ImageClassifier

WHITENED = 5000  # images that the first layer is set by


@recipe(
    "cifar-speed",
    task="image classification",
    data="cifar10",
    kinds=("images",),
    source="Jordan 2024 (arXiv 2404.00498); Jordan et al.: Muon, 2024",
    model="cifar-net",
    target=Target(
        "accuracy",
        0.94,
        "cifar10",
        "Jordan et al. 2024: mean of 200 runs, 2.59 s on an A100",
        "8 epochs of 2,000; no validation split there, accuracy of the last weights",
    ),
    tiny={"data": "digits", "epochs": 2, "batch_size": 100, "widths": (16, 24, 24), "size": 16, "log_every": 3},
    summary_zh="小网络训练 8 轮，汇集各项速度纪录用到的办法；CPU 上用 `widths=32,128,128 batch_size=500 lr=0.15`",
)
def cifar_speed(
    run: Run,
    *,
    epochs: Count = 8,
    batch_size: Count = 2000,
    widths: tuple[Count, Count, Count] = (64, 256, 256),
    lr: Positive = 0.24,
    momentum: Fraction = 0.6,
    bias_lr: Positive = 0.053,
    head_lr: Positive = 0.67,
    plain_momentum: Fraction = 0.85,
    weight_decay: NonNegative = 2e-6,
    whitening: Fraction = 0.375,
    label_smoothing: Fraction = 0.2,
    pad: Count = 2,
    flip: bool = True,
    size: Size = 32,
    channels: Size = 0,
    val_fraction: Fraction = 0.1,
) -> ImageClassifier:
    """A small net without shortcuts in 8 epochs: whitened patches, Muon for its convolutions, test-time augmentation.

    Made for a GPU. For a CPU `widths=32,128,128 batch_size=500 lr=0.15` is a quarter of the work, and where it has AMX or
    AVX512-BF16 `widths=48,192,192 epochs=10` instead of these widths is a little over half. Smaller batches want smaller
    rates, about as the root of their size. The rates `bias_lr`, `head_lr` and `weight_decay` are a sample's: of the sum
    over a batch. The bias of the first layer learns in the first `whitening` of the epochs.
    """
    from functools import partial

    import torch

    from chainrule.data.images.augment import AlternatingFlip, of_images, shift
    from chainrule.data.images.loading import load_images
    from chainrule.optim.muon import Muon
    from chainrule.optim.schedule import total_steps
    from chainrule.systems.image_classification.cifar_net import CifarNet
    from chainrule.systems.image_classification.test_time_augmentation import FlipShiftAverage
    from chainrule.tasks.images.classification import ImageClassifier

    run.require_whole_weights()
    data = load_images(run.data, size=size, channels=channels, val_fraction=val_fraction, may_stay=True)
    count = data.spec.counts["train"]
    model = run.place(CifarNet(len(data.spec.classes), data.spec.channels, widths))
    learning = {name: p for name, p in model.named_parameters() if p.requires_grad}
    first, head = learning.pop("patches.bias"), learning.pop("head.weight")

    def plain(parameters: list[torch.nn.Parameter], rate: float) -> dict[str, object]:
        """A group that follows the gradient, at the rate of a sample."""
        return {
            "params": parameters,
            "lr": rate * batch_size,
            "momentum": plain_momentum,
            "weight_decay": weight_decay / rate,
            "orthogonalise": False,
        }

    optimizer = Muon(
        [
            {"params": [p for p in learning.values() if p.dim() == 4]},
            plain([p for p in learning.values() if p.dim() == 1], bias_lr),
            plain([head], head_lr),
            plain([first], bias_lr),
        ],
        lr,
        momentum,
        keep_norm=True,
        steps=3,
    )
    steps = total_steps(epochs, count, batch_size)
    falling, ended = (partial(_fall, steps=share * steps) for share in (1.0, whitening))
    task = ImageClassifier(
        run,
        data=data,
        model=model,
        optimizer=optimizer,
        epochs=epochs,
        batch_size=batch_size,
        criterion=lambda logits, y: torch.nn.functional.cross_entropy(
            logits, y, label_smoothing=label_smoothing, reduction="none"
        ),
        schedule=torch.optim.lr_scheduler.LambdaLR(optimizer, [falling, falling, falling, ended]),
        changes=[
            of_images(partial(shift, pad=pad, border="reflect")),
            *([AlternatingFlip(count, run.seed)] if flip else []),
        ],
        answering=FlipShiftAverage(model) if flip else None,
    )
    if run.fresh:
        model.whiten(task.normalize(data.train.x[:WHITENED].to(run.device)))
    return task


def _fall(step: int, steps: float) -> float:
    """What a rate is multiplied by: from 1 to 0 in a straight line over `steps`, and 0 from there on."""
    return max(1.0 - step / steps, 0.0) if steps else 0.0
