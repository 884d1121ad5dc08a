"""Designed features, features learnt without labels, and features learnt with the classifier, on the same images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from chainrule.core.course import Topic
from chainrule.core.errors import UserError
from chainrule.data.dataset import Dataset
from chainrule.data.images.loading import ImageSplit
from chainrule.data.images.spec import ImageSpec
from chainrule.loops.experiment import descend
from chainrule.nn.fitted import Fitted
from chainrule.nn.normalization.normalize import Normalize
from chainrule.optim import optimizer_of
from chainrule.run.run import Run
from chainrule.systems.image_classification.features.feature_svm import FeatureSVM
from chainrule.systems.image_classification.features.figures import stages_figure
from chainrule.tasks.study import Study


def stages_study(
    run: Run,
    *,
    data: Dataset[ImageSpec, ImageSplit],
    methods: tuple[str, ...],
    sizes: tuple[int, ...],
    features: Callable[[str], nn.Module],
    machine: Callable[[], Fitted],
    network: Callable[[], nn.Module],
    c: Sequence[float],
    samples: int,
    steps: int,
    batch_size: int,
    lr: float,
    momentum: float,
) -> Study:
    """Each method at each number of training images; the recipe `feature-stages` explains the settings.

    Args:
        features: the module of a method's features by its name.
        machine: makes a linear support vector machine.
        network: makes a convolutional network of normalised images.
    """
    if not sizes or not methods:
        raise UserError("there is nothing to measure", where="methods, sizes", expected="one or more of each")
    most = data.spec.counts["train"]
    counts = sorted({min(size or most, most) for size in sizes})
    points = [{"method": method, "images": count} for count in counts for method in dict.fromkeys(methods)]

    def measure(point: Mapping[str, Any]) -> dict[str, Any]:
        spec, device = data.spec, run.device
        order = torch.randperm(most, generator=torch.Generator().manual_seed(run.seed))[: point["images"]]
        train = ImageSplit(data.train.x[order], data.train.y[order].to(device))
        if point["method"] == "network":
            whole = nn.Sequential(Normalize(spec.mean, spec.std), network()).to(device)
            train_network(whole, train, steps=steps, batch_size=batch_size, lr=lr, momentum=momentum)
            return {"error": _error(whole, data.test)}
        shape = (1, spec.channels, spec.size, spec.size)
        model = FeatureSVM(features(point["method"]), torch.zeros(shape), machine(), len(spec.classes)).to(device)
        return fit_machine(model, train, data.val, data.test, c=c, samples=samples)

    return Study(
        run,
        points=points,
        measure=measure,
        conclude=conclude,
        draw=lambda rows: [stages_figure(rows)],
        claim="Designed features beat pixels, and few images do for them; features that are learnt with the classifier need more "
        "images, and overtake.",
        how=f"errors on the test split after training on {', '.join(map(str, counts))} images, the same for all methods; the "
        f"validation split chose C of each machine; the network's last of {steps} updates",
    )


def fit_machine(
    model: FeatureSVM, train: ImageSplit, val: ImageSplit, test: ImageSplit, *, c: Sequence[float], samples: int
) -> dict[str, Any]:
    """The test error of the machine whose C has the least validation error, of equals the smallest; and that C."""
    device = model.scale.device
    pixels = Normalize([0.0] * train.x.shape[1], [1.0] * train.x.shape[1]).to(device)
    generator = torch.Generator().manual_seed(int(torch.randint(2**31, ())))
    rows = model.fit_features(train.x, pixels, samples=samples, generator=generator)
    held_out, asked = model.rows(val.x, pixels), model.rows(test.x, pixels)
    found = []
    for one in sorted(c):
        model.svm.fit(rows, train.y, C=one)
        errors = [
            float((model.scores(part).argmax(1) != y.to(device)).double().mean())
            for part, y in ((held_out, val.y), (asked, test.y))
        ]
        found.append((errors[0], one, errors[1]))
    _, best, error = min(found)
    return {"error": error, "features": rows.shape[1], "c": best}


def train_network(
    network: nn.Module, train: ImageSplit, *, steps: int, batch_size: int, lr: float, momentum: float
) -> None:
    """Descends on the cross entropy with a rate that falls to 0 as a straight line."""
    optimizer = optimizer_of("sgd", network.parameters(), lr, momentum=momentum)

    def slower(step: int, loss: Tensor) -> None:
        for group in optimizer.param_groups:
            group["lr"] = lr * (1 - (step + 1) / steps)

    network.train()
    x = train.x.to(train.y.device)
    descend(
        network,
        x,
        train.y,
        nn.functional.cross_entropy,
        optimizer,
        steps=steps,
        batch_size=min(batch_size, len(x)),
        each_step=slower,
    )


@torch.no_grad()
def _error(network: nn.Module, split: ImageSplit) -> float:
    network.eval()
    device = next(network.parameters()).device
    answers = torch.cat([network(part.to(device)).argmax(1).cpu() for part in split.x.split(200)])
    return float((answers != split.y).double().mean())


def conclude(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The error of each method on the most images and on the fewest."""
    counts = [row["images"] for row in rows]
    found: dict[str, float] = {}
    for end, count in (("", max(counts)), ("_fewest", min(counts))):
        found |= {f"{row['method']}{end}_error": row["error"] for row in rows if row["images"] == count}
    return {**found, "most_images": max(counts), "fewest_images": min(counts)}


TOPICS = (Topic("Features made by hand: HOG, LBP, patch dictionaries, before networks", code=("stages_study",)),)
