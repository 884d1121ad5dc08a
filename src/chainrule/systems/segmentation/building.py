"""What the recipes share: data, network, optimiser and augmentation put together as a `Segmenter`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import nn

from chainrule.data.images.masks.loading import load_masks
from chainrule.optim.by_name import optimizer_of
from chainrule.optim.policies import cosine, warmup
from chainrule.optim.schedule import as_schedule, total_steps
from chainrule.run.run import Run
from chainrule.systems.segmentation.augment import Augmentation
from chainrule.systems.segmentation.losses import PixelLoss, class_weights
from chainrule.systems.segmentation.parts import part_size, parts_of
from chainrule.systems.segmentation.task import Segmenter


def build_segmenter(
    run: Run,
    network: Callable[[int, int], nn.Module],
    *,
    size: int,
    scale: float,
    channels: int,
    epochs: int,
    batch_size: int,
    optimizer: Literal["sgd", "nesterov", "adam", "adamw"],
    lr: float,
    momentum: float,
    weight_decay: float,
    loss: Literal["mean", "sum"],
    balance: Literal["none", "frequency", "median"],
    dice: float,
    flips: Literal["no", "horizontal", "both"],
    jitter: float,
    colour: float,
    elastic: float,
    border_weight: float,
    val_fraction: float,
) -> Segmenter:
    """The run's images with masks, and a network of them, which `network` builds for numbers of classes and of channels.

    The rate rises over the first twentieth of the steps, and falls to 0 as half a cosine. Of `sgd` biases learn at twice the
    rate and are not decayed, as FCN has it.
    """
    data = load_masks(run.data, channels=channels, scale=scale, val_fraction=val_fraction)
    spec = data.spec
    model = run.place(network(len(spec.classes), spec.channels))
    params = list(model.parameters())
    if optimizer == "sgd":
        biases = [p for name, p in model.named_parameters() if name.endswith("bias")]
        groups = [
            {"params": [p for name, p in model.named_parameters() if not name.endswith("bias")], "lr_mult": 1.0},
            {"params": biases, "lr_mult": 2.0, "weight_decay": 0.0},
        ]
        rule: torch.optim.Optimizer = torch.optim.SGD(groups, lr, momentum, weight_decay=weight_decay)
    else:
        rule = optimizer_of(
            optimizer, params, lr, momentum=momentum if optimizer == "nesterov" else 0.0, weight_decay=weight_decay
        )
    shape = part_size(size, spec.shapes)
    parts = sum(count * parts_of(height, width, shape) for height, width, count in spec.shapes)
    steps = total_steps(epochs, parts, batch_size)
    rise = steps // 20
    return Segmenter(
        run,
        data=data,
        model=model,
        loss=PixelLoss(
            loss, class_weights(balance, torch.tensor(spec.class_pixels), torch.tensor(spec.class_room)), dice
        ),
        optimizer=rule,
        schedule=as_schedule(rule, warmup(rise, cosine(lr, max(steps - rise, 1)))),
        epochs=epochs,
        batch_size=batch_size,
        size=shape,
        augmentation=Augmentation(flips, jitter, elastic, colour),
        border_weight=border_weight,
    )
