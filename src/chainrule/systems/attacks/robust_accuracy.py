"""Robust accuracy: that of an image classifier on adversarial examples, attack by attack and epsilon by epsilon."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from chainrule.core.errors import UserError
from chainrule.core.task import Figure
from chainrule.data.images.loading import ImageSplit
from chainrule.loops.experiment import Row
from chainrule.reporting.line_plots import Line, lines
from chainrule.reporting.plots import gallery
from chainrule.run.run import Run
from chainrule.systems.attacks.perturbations import fgsm, pgd, universal_perturbation
from chainrule.tasks.images.classification import ImageClassifier
from chainrule.tasks.study import Study

ATTACKS = ("fast gradient sign", "iterative", "targeted", "universal")  # FGSM, BIM, BIM towards a class; in metrics
CHUNK = 100
PASSES = 10  # over the training images that the universal perturbation is made on
SHOWN = 6
CLAIM = (
    "Put to the test: how far does accuracy fall, by epsilon, under one step along the sign of the gradient (FGSM); what do "
    "several steps add (BIM); can the answer be chosen (targeted); does one universal perturbation do for all images?"
)


class Victim:
    """The classifier that is attacked: pixels from 0 to 1 (B, C, H, W) to logits (B, K).

    Args:
        run: whose device.
        trained: gives the classifier and its data; called when it is first needed.
        samples: at most so many of the test images are attacked, the first; and as many training images make the
            universal perturbation.
    """

    def __init__(self, run: Run, trained: Callable[[], ImageClassifier], samples: int) -> None:
        self.run, self._trained, self.samples = run, trained, samples

    @cached_property
    def task(self) -> ImageClassifier:
        task = self._trained()
        task.answering.eval()
        return task

    def logits(self, x: Tensor) -> Tensor:
        return self.task.answering(self.task.normalize(x * 255))

    def images(self, split: ImageSplit) -> tuple[Tensor, Tensor]:
        x, y = split.x[: self.samples], split.y[: self.samples]
        return x.to(self.run.device).float() / 255, y.to(self.run.device)

    def adversarial_examples(self, attack: str, epsilon: float, steps: int, x: Tensor, y: Tensor) -> Tensor:
        """x with perturbations in the l-infinity ball of radius epsilon; the target class is the one after the true one."""
        if attack == "universal":
            return (x + self._universal(epsilon)).clamp(0, 1)
        target = (y + 1) % len(self.task.classes)
        parts = []
        for part, true, wanted in zip(x.split(CHUNK), y.split(CHUNK), target.split(CHUNK), strict=True):

            def untargeted(z: Tensor, true: Tensor = true) -> Tensor:
                return nn.functional.cross_entropy(self.logits(z), true, reduction="none")

            def targeted(z: Tensor, wanted: Tensor = wanted) -> Tensor:
                return -nn.functional.cross_entropy(self.logits(z), wanted, reduction="none")

            if attack == "fast gradient sign":
                parts.append(fgsm(untargeted, part, epsilon))
            else:
                parts.append(pgd(targeted if attack == "targeted" else untargeted, part, epsilon, steps=steps))
        return torch.cat(parts)

    def _universal(self, epsilon: float) -> Tensor:
        """Made on training images, so that it is measured on others."""
        x, y = self.images(self.task.data.train)
        batches = [part for _ in range(PASSES) for part in torch.randperm(len(x)).to(x.device).split(CHUNK)]

        def loss(z: Tensor, index: Tensor) -> Tensor:
            return nn.functional.cross_entropy(self.logits(z), y[index], reduction="none")

        return universal_perturbation(loss, x, batches, epsilon, step=epsilon / 10)


def attack_study(
    run: Run, *, trained: Callable[[], ImageClassifier], epsilons: Sequence[float], steps: int, samples: int
) -> Study:
    """Accuracy under each attack at each epsilon, in pixel levels of 0 to 255, on the first test images."""
    if not epsilons or min(epsilons) <= 0 or max(epsilons) > 255:
        raise UserError(
            "an epsilon is out of range",
            expected="above 0 and at most 255, in pixel levels",
            found=f"epsilons={','.join(f'{e:g}' for e in epsilons)}",
        )
    victim = Victim(run, trained, samples)

    def measure(point: Mapping[str, Any]) -> Row:
        x, y = victim.images(victim.task.data.test)
        target = (y + 1) % len(victim.task.classes)
        if point["attack"] != "none":
            x = victim.adversarial_examples(point["attack"], point["epsilon"] / 255, steps, x, y)
        with torch.no_grad():
            answer = torch.cat([victim.logits(part) for part in x.split(CHUNK)]).argmax(1)
        return {
            "accuracy": float((answer == y).double().mean()),
            "answers_class_after": float((answer == target).double().mean()),
        }

    points: list[dict[str, Any]] = [{"attack": "none", "epsilon": 0.0}]
    points += [{"attack": attack, "epsilon": float(epsilon)} for attack in ATTACKS for epsilon in epsilons]
    return Study(
        run,
        points=points,
        measure=measure,
        conclude=conclude,
        draw=lambda rows: draw(rows, victim, steps),
        claim=CLAIM,
        how=f"the first {samples} test images, {steps} steps of the iterative attacks; the universal perturbation was made "
        "on as many training images; the target is the class after the true one",
    )


def conclude(rows: list[Row]) -> dict[str, float]:
    found = {"accuracy_clean": rows[0]["accuracy"]}
    for row in rows[1:]:
        name = row["attack"].replace(" ", "_")
        found[f"accuracy_{name}_{row['epsilon']:g}"] = row["accuracy"]
        if row["attack"] == "targeted":
            found[f"target_hit_{row['epsilon']:g}"] = row["answers_class_after"]
    return found


def draw(rows: list[Row], victim: Victim, steps: int) -> list[Figure]:
    series = {}
    for hue, attack in enumerate(ATTACKS):
        own = [rows[0], *(row for row in rows if row["attack"] == attack)]
        series[attack] = Line([row["epsilon"] for row in own], [row["accuracy"] for row in own], hue)
    figures = [
        lines(
            series,
            "Accuracy under attack",
            CLAIM,
            xlabel="largest change of a pixel, of 255",
            ylabel="accuracy",
            bottom=0.0,
            top=1.0,
        )
    ]
    epsilons = sorted({row["epsilon"] for row in rows[1:]})
    x, y = victim.images(victim.task.data.test)
    x, y = x[:SHOWN], y[:SHOWN]
    classes, epsilon = victim.task.classes, epsilons[len(epsilons) // 2]
    images, titles = [], []
    for attack in ("none", *ATTACKS):
        shown = x if attack == "none" else victim.adversarial_examples(attack, epsilon / 255, steps, x, y)
        with torch.no_grad():
            answers = victim.logits(shown).argmax(1)
        images.append((shown * 255).round().to(torch.uint8).cpu())
        titles += [f"{attack.split()[0]}: {classes[int(k)]}" for k in answers]
    caption = (
        f"A row an attack, and what the network answers; changes of at most {epsilon:g} of 255. True: "
        + ", ".join(classes[int(k)] for k in y)
    )
    return [*figures, gallery(torch.cat(images), titles, "Images under attack", caption, columns=len(x))]
