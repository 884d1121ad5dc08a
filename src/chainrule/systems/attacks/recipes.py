"""Adversarial examples: what they do to a trained classifier, and training against them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chainrule.core.course import Topic
from chainrule.core.recipe import recipe
from chainrule.core.settings import Count, Fraction, NonNegative, PathName, Positive, Size

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from chainrule.data.images.augment import Moment
    from chainrule.run.run import Run
    from chainrule.tasks.images.classification import ImageClassifier
    from chainrule.tasks.study import Study


@recipe(
    "attack",
    task="adversarial examples",
    data="digits",
    kinds=("images",),
    source="Goodfellow, Shlens and Szegedy 2015; Kurakin, Goodfellow and Bengio 2017; Moosavi-Dezfooli et al. 2017",
    tiny={"epsilons": (16.0,), "samples": 40, "epochs": 1, "steps": 2},
    summary_zh="有意改动图像时分类器（`of=RUN`）还有多准",
)
def attack(
    run: Run,
    *,
    of: PathName | None = None,
    epsilons: tuple[Positive, ...] = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0),
    steps: Count = 10,
    samples: Count = 500,
    epochs: Count = 5,
) -> Study:
    """Robust accuracy of an image classifier, by epsilon: FGSM, its iterative form (BIM), targeted, and universal attacks.

    `of=RUN` attacks the network of that run on its own test images, for example after `adversarial-training`; without
    it LeNet is trained first, on --data, for `epochs`. `epsilons` are the largest change of a pixel, in levels of 0 to
    255; `steps` are those of the iterative attacks; the first `samples` test images are attacked.
    """
    from functools import partial

    from chainrule.systems.attacks.robust_accuracy import attack_study
    from chainrule.tasks.images.classification import classifier_of_run

    trained = partial(classifier_of_run, of, str(run.device), run) if of else _lenet(run, epochs)
    return attack_study(run, trained=trained, epsilons=epsilons, steps=steps, samples=samples)


@recipe(
    "adversarial-training",
    task="image classification",
    data="digits",
    kinds=("images",),
    source="Madry et al. 2018, section 5",
    model="lenet-caffe",
    tiny={"epochs": 2, "steps": 1, "log_every": 3},
    summary_zh="用限度内最坏的改动来训练 LeNet（对抗训练）",
    topics=(Topic("Adversarial examples and training against them", command="chainrule train adversarial-training"),),
)
def adversarial_training(
    run: Run,
    *,
    epsilon: NonNegative = 32.0,
    steps: Count = 7,
    epochs: Count = 12,
    batch_size: Count = 128,
    lr: Positive = 0.01,
    momentum: Fraction = 0.9,
    weight_decay: NonNegative = 5e-4,
    size: Count = 28,
    channels: Size = 0,
    val_fraction: Fraction = 1 / 12,
) -> ImageClassifier:
    """Adversarial training of LeNet (Caffe's form): on PGD's examples within `epsilon` levels of 255, in `steps` steps.

    Then `chainrule train attack of=RUN` measures its robust accuracy. For CIFAR-10 the paper takes 8 levels.
    """
    import torch

    from chainrule.data.images.loading import load_images
    from chainrule.optim.schedule import cosine_schedule
    from chainrule.systems.attacks.perturbations import pgd
    from chainrule.systems.image_classification.lenet import LeNetCaffe
    from chainrule.tasks.images.classification import ImageClassifier

    data = load_images(run.data, size=size, channels=channels, val_fraction=val_fraction)
    model = run.place(LeNetCaffe(len(data.spec.classes), data.spec.channels))
    optimizer = torch.optim.SGD(model.parameters(), lr, momentum, weight_decay=weight_decay)

    def criterion(logits: Tensor, y: Tensor) -> Tensor:
        return torch.nn.functional.cross_entropy(logits, y, reduction="none")

    def adversarial(x: Tensor, moment: Moment) -> Tensor:
        """Adversarial examples of a batch for the network as it is now, in levels of 0 to 255: the inner maximisation."""
        return pgd(
            lambda z: criterion(model(task.normalize(z)), moment.y),
            x.float(),
            epsilon,
            steps=steps,
            low=0.0,
            high=255.0,
            random_start=True,
        )

    task = ImageClassifier(
        run,
        data=data,
        model=model,
        criterion=criterion,
        optimizer=optimizer,
        schedule=cosine_schedule(optimizer, epochs, data.spec.counts["train"], batch_size),
        epochs=epochs,
        batch_size=batch_size,
        changes=[adversarial],
    )
    return task


def _lenet(run: Run, epochs: int) -> Callable[[], ImageClassifier]:
    """Reads the run's images; what it gives trains LeNet on them, the same whenever it is called."""
    import torch

    from chainrule.data.images.loading import load_images
    from chainrule.loops.experiment import descend
    from chainrule.optim.schedule import total_steps
    from chainrule.systems.image_classification.lenet import LeNetCaffe
    from chainrule.tasks.images.classification import ImageClassifier

    data = load_images(run.data, size=28)

    def trained() -> ImageClassifier:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(run.seed)
            model = LeNetCaffe(len(data.spec.classes), data.spec.channels).to(run.device)
            optimizer = torch.optim.SGD(model.parameters(), 0.02, 0.9, weight_decay=5e-4)
            task = ImageClassifier(
                run,
                data=data,
                model=model,
                criterion=lambda logits, y: torch.nn.functional.cross_entropy(logits, y, reduction="none"),
                optimizer=optimizer,
                schedule=torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0),
                epochs=epochs,
                batch_size=64,
            )
            x, y = task.normalize(data.train.x.to(run.device)), data.train.y.to(run.device)
            steps = total_steps(epochs, len(y), 64)
            descend(model, x, y, torch.nn.functional.cross_entropy, optimizer, steps=steps, batch_size=64)
        return task

    return trained
