"""Images into classes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from chainrule.core.course import Topic
from chainrule.core.errors import UserError
from chainrule.core.settings import Count
from chainrule.core.task import Deployable, Figure, TrainingBatch
from chainrule.data.batches import Batch, Batches
from chainrule.data.dataset import Dataset
from chainrule.data.images.augment import Change, Growing, Moment
from chainrule.data.images.decoding import SUFFIXES
from chainrule.data.images.loading import ImageSplit, decode_files, read_other_images
from chainrule.data.images.spec import ImageSpec
from chainrule.data.inputs import answer_to, asked_files, read_in_chunks
from chainrule.data.layout import Place
from chainrule.functional.metrics.calibration import expected_calibration_error
from chainrule.loops.supervised import fit
from chainrule.nn.normalization.batch_norm import single_value_layer
from chainrule.nn.normalization.normalize import Normalize
from chainrule.run.autocast import choose_autocast, in_float32
from chainrule.run.compiling import compiled
from chainrule.run.input_normalization import pixel_normalization
from chainrule.run.run import Run
from chainrule.run.weights.learnt import fingerprint
from chainrule.tasks.images import figures as class_figures
from chainrule.tasks.images.deployment import deployable_classifier
from chainrule.tasks.images.objectives import Criterion, MeanLoss, Objective
from chainrule.tasks.own.building import learnt_modules
from chainrule.tasks.own.checks import check_on_batch
from chainrule.tasks.own.choice import Choice
from chainrule.tasks.own.metrics import OwnMetrics
from chainrule.tasks.ranking import best_classes

EVALUATION_BATCH = {"cpu": 100}  # what stays in a CPU's cache; elsewhere 1000
CHUNK = 256  # files that are in memory at a time, in predict
KNOWN = {"accuracy": False, "error": True, "loss": True}  # metrics of validation, and whether lower is better
ALL_KNOWN = (*KNOWN, "balanced_accuracy", "top5_error", "calibration_error")  # those of an evaluation
EXPLAINED = 64  # samples of the training batch that `explain` looks into

Learn = Callable[["ImageClassifier", Batches], None]  # from the batches of the training split


class ImageClassifier:
    """A network that gives logits (B, K) for normalised images (B, C, H, W), learnt by gradient descent.

    Args:
        run: the run it belongs to.
        data: what `load_images` gave.
        model: the network.
        criterion: (logits, classes) to a loss per sample (B,).
        optimizer, schedule, epochs, batch_size: the optimisation; the first two are for what learns by gradient descent.
        changes: to the images of a training batch, in turn (`chainrule.data.images.augment`): bytes (B, C, H, W) to pixels.
        objective: what is minimised, composed (`chainrule.tasks.images.objectives`); by default the mean of the criterion.
        answering: the network that answers: the model, or its logits averaged over changed copies of an image (test-time
            augmentation). It serves the test split, predictions and exports, not validation.
        normalize: brings bytes to what the network takes; by default by mean and deviation of the training images.
        learn: how it learns from the batches: by `descend`, or by hand.
        metrics: of the user's own, beside those that it has.
        choose_by: the validation metric that chooses, and whether lower is better.
        chosen: what it chooses, for the protocol.
        figures_of: more figures of the report, of images of the test split, bytes (N, C, H, W).
    """

    def __init__(
        self,
        run: Run,
        *,
        data: Dataset[ImageSpec, ImageSplit],
        model: nn.Module,
        criterion: Criterion,
        optimizer: torch.optim.Optimizer | None = None,
        schedule: torch.optim.lr_scheduler.LRScheduler | None = None,
        epochs: int = 1,
        batch_size: int = EXPLAINED,
        changes: Sequence[Change] = (),
        objective: Objective | None = None,
        answering: nn.Module | None = None,
        normalize: Normalize | None = None,
        learn: Learn | None = None,
        metrics: OwnMetrics | None = None,
        choose_by: Choice = ("error", True),
        chosen: str = "the epoch",
        figures_of: Callable[[Tensor], list[Figure]] | None = None,
    ) -> None:
        self.run, self.data, self.model, self.criterion = run, data, model, criterion
        self.optimizer, self.schedule, self.epochs, self.batch_size = optimizer, schedule, epochs, batch_size
        self.changes, self.learn = list(changes), learn or descend
        self.objective: Objective = objective or MeanLoss(criterion)
        self.answering = answering or model
        self.metrics, self.choose_by, self.chosen, self.figures_of = metrics, choose_by, chosen, figures_of
        self.classes: list[str] = data.spec.classes
        self.normalize = normalize or pixel_normalization(run, (data.spec.mean, data.spec.std))

    def modules(self) -> dict[str, nn.Module]:
        return learnt_modules(self.model, self.criterion)

    def pretrained_modules(self) -> dict[str, nn.Module]:
        return {"model": self.model}

    def train(self, run: Run) -> None:
        x, y = self.data.train.x.to(run.device, memory_format=torch.channels_last), self.data.train.y.to(run.device)
        self.learn(self, Batches(x, y, self.batch_size, seed=run.seed, world=run.world))

    def expect_statistics(self, batches: Batches) -> None:
        """UserError where the last batch, or a process's part of one, is a single image, and batch normalisation sees
        a single number of it."""
        if batches.smallest > 1:
            return
        sides = [side for change in self.changes if isinstance(change, Growing) for side in change.sizes]
        (x,) = self.example()["model"]
        layer = single_value_layer(self.model.eval(), x[:, :, : min(sides), : min(sides)] if sides else x)
        if layer is not None:
            raise UserError(
                "a batch of one image cannot be normalised: the images are so small that one number of each is left",
                where=layer,
                expected="two images or more in every batch, the last one too",
                found=f"{len(batches.x)} images in batches of {self.batch_size}, by {self.run.world.size} processes",
                cure=f"batch_size={self.batch_size + 1}, or larger images",
            )

    def inputs(self, batch: Batch) -> Tensor:
        """What the network is given of a training batch: changed and normalised, (B, C, H, W)."""
        x, moment = batch.x, Moment(batch.y, batch.index, self.run.epoch, self.epochs)
        for change in self.changes:
            x = change(x, moment)
        return self.normalize(x)

    def evaluate(self, data: Place | None = None) -> dict[str, float]:
        if data is not None:
            self.measured = other = read_other_images(data, self.run.data.target, self.data.spec)
            return self._all_scores(self.logits(other.x), other.y)
        self.measured = self.data.test
        self._test_logits = self.logits(self.data.test.x)  # kept for the figures
        return self._all_scores(self._test_logits, self.data.test.y)

    def protocol(self) -> str:
        made = self.data.spec.splits
        return (
            f"validation split ({made['val']}) chose {self.chosen} by its {self.choose_by[0]}; "
            f"test split ({made['test']}) measured once, at the end"
        )

    def example(self) -> dict[str, tuple[Tensor, ...]]:
        spec = self.data.spec
        return {"model": (torch.zeros(1, spec.channels, spec.size, spec.size, device=self.run.device),)}

    def measure(self, split: ImageSplit) -> dict[str, float]:
        """Accuracy, error and mean loss on a split, of the network itself, without test-time augmentation."""
        logits = self.logits(split.x, self.model)
        return self._scores(logits, split.y) | self._own_scores(logits, split.y)

    @torch.no_grad()
    def _own_scores(self, logits: Tensor, y: Tensor) -> dict[str, float]:
        return self.metrics(logits, y) if self.metrics is not None else {}

    @torch.no_grad()
    def _scores(self, logits: Tensor, y: Tensor) -> dict[str, float]:
        y = y.to(self.run.device)
        accuracy = float((logits.argmax(1) == y).double().mean())
        return {"accuracy": accuracy, "error": 1.0 - accuracy, "loss": float(self.criterion(logits, y).double().mean())}

    def _all_scores(self, logits: Tensor, y: Tensor) -> dict[str, float]:
        """What an evaluation tells beside them: the mean recall of the classes, errors among the best 5, calibration."""
        scores, y, K = self._scores(logits, y), y.to(self.run.device), len(self.classes)
        right, counts = (logits.argmax(1) == y).double(), torch.bincount(y, minlength=K)
        there = counts > 0
        scores["balanced_accuracy"] = float((torch.bincount(y, right, minlength=K)[there] / counts[there]).mean())
        if K > 5:
            scores["top5_error"] = 1.0 - float((logits.topk(5, dim=1).indices == y[:, None]).any(1).double().mean())
        scores["calibration_error"] = float(expected_calibration_error(logits.double().softmax(1), y))
        return scores | self._own_scores(logits, y)

    @torch.inference_mode()
    def logits(self, x: Tensor, network: nn.Module | None = None) -> Tensor:
        """Logits (N, K) in eval mode, for any number of byte images (N, C, H, W); with test-time augmentation unless `network` is given."""
        self.model.eval()
        answering = self.answering if network is None else network

        def logits(x: Tensor) -> Tensor:
            parts = []
            for chunk in x.split(EVALUATION_BATCH.get(self.run.device.type, 1000)):
                with self.run.autocast():
                    parts.append(answering(self.normalize(chunk.to(self.run.device))).float())
            return torch.cat(parts)

        return self.run.world.map_rows(logits, x)

    def predict(self, inputs: Iterable[str], out: Path | None, *, top: Count = 3) -> Iterator[dict[str, Any]]:
        """The class of each image, and the `top` likeliest classes with their probabilities."""
        files = asked_files(inputs, SUFFIXES, "image")
        for part, x in read_in_chunks(files, CHUNK, lambda part: decode_files(part, self.data.spec)):
            answers = best_classes(self.logits(x).softmax(1).cpu(), self.classes, top, "probability")
            yield from map(answer_to, part, answers)

    def prepare(self, inputs: list[str]) -> dict[str, tuple[Tensor, ...]]:
        x = decode_files([asked.value for asked in asked_files(inputs, SUFFIXES, "image")], self.data.spec)
        return {"model": (self.normalize(x.to(self.run.device)),)}

    def test_images(self) -> Tensor:
        return self.data.test.x

    def training_batch(self) -> TrainingBatch:
        """The beginning of the first batch, at most 64 samples; UserError where the network is not learnt by autograd."""
        if self.optimizer is None:
            raise UserError("nothing here is learnt by gradient descent")
        if self.learn not in (descend, try_and_descend):
            raise UserError("autograd has no graph of this network: its backward pass is written out")
        x, y = self.data.train.x.to(self.run.device), self.data.train.y.to(self.run.device)
        batch = next(Batches(x, y, min(self.batch_size, EXPLAINED, len(x)), seed=self.run.seed).epoch(0))
        return TrainingBatch(
            self.model,
            (self.inputs(batch),),
            batch.y,
            lambda logits, y: self.criterion(logits, y).mean(),
            self.optimizer,
        )

    def deployable(self) -> Deployable:
        spec = self.data.spec
        shape = (spec.channels, spec.size, spec.size)
        return deployable_classifier(self.normalize, self.answering, shape, self.classes, self.test_images)

    def figures(self) -> list[Figure]:
        logits, y = self._test_logits.cpu(), self.data.test.y
        probs = logits.softmax(1)
        found = class_figures.of_images(self.data.test.x, y, probs, self.classes)
        return found + (self.figures_of(self.data.test.x) if self.figures_of is not None else [])

    @cached_property
    def _test_logits(self) -> Tensor:
        return self.logits(self.data.test.x)


def descend(task: ImageClassifier, batches: Batches) -> None:
    """Gradient descent on the task's objective, by autograd: `chainrule.loops.supervised.fit`."""
    run = task.run
    assert task.optimizer is not None and task.schedule is not None
    task.expect_statistics(batches)
    choose_autocast(run, task.modules(), task.example(), task.batch_size)
    network = compiled(run, run.wrap_distributed(task.model, rests=task.objective.rests), batch_size=task.batch_size)

    def forward(x: Tensor) -> Any:
        """Answers in float32 also under autocast: losses are differences of numbers that are close."""
        return in_float32(network(x))

    fit(
        run,
        modules=task.modules(),
        objective=lambda batch: task.objective(forward, replace(batch, x=task.inputs(batch))),
        optimizer=task.optimizer,
        schedule=task.schedule,
        train=batches,
        epochs=task.epochs,
        validate=lambda: task.measure(task.data.val),
        choose_by=task.choose_by,
    )


def try_and_descend(task: ImageClassifier, batches: Batches) -> None:
    """The same where network or loss are the user's own: first they are tried on a batch."""
    if not any(hasattr(p, "full_tensor") for p in task.model.parameters()):  # a sharded one cannot be copied
        batch = task.training_batch()
        (x,), classes, autocast = batch.inputs, len(task.classes), task.run.autocast()
        notes = check_on_batch(task.model, task.criterion, x, batch.target, classes, autocast)
        for note in notes:
            task.run.progress.line(note)
    descend(task, batches)


def classifier_of_run(folder: str, device: str, by: Run | None = None) -> ImageClassifier:
    """The image classifier that a run has trained; UserError where it trained something else.

    `by` is the run that works with it, and notes its weights: resumed, it finds the same ones, or says that they are others.
    Random numbers stay as they are, though it is built of its own: what is drawn next may not depend on when it is opened.
    """
    with torch.random.fork_rng(devices=[]):
        task = Run.load(folder, device).open_task()
    if by is not None:
        by.expect_same("of", fingerprint(Path(folder)))
    if not isinstance(task, ImageClassifier):
        raise UserError(
            "this run has no image classifier",
            where=folder,
            expected="a run of image-classifier, lenet5, resnet20, ...",
        )
    return task


TOPICS = (
    Topic(
        "Model, criterion, optimisation",
        "模型、学习准则、优化",
        lectures=(3,),
        code=("ImageClassifier",),
        command="chainrule train lenet-caffe",
    ),
)
