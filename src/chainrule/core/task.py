"""What a recipe builds: a model with its data, criterion and optimisation, that can be trained and asked.

A class is one kind of task: classify images, model text, act in an environment. Each has what `Task` names; what else it
has (`predict`, `generate`, `deployable`) the commands of those names use. Tasks inherit nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from torch import Tensor, nn
    from torch.optim import Optimizer


class Task(Protocol):
    """What every command can ask of every task."""

    def modules(self) -> dict[str, nn.Module]:
        """The networks by name: their weights are what training changes and what answers need."""
        ...

    def train(self, run: Any) -> None:
        """Runs the loop, from wherever the `chainrule.run.run.Run` stands."""
        ...

    def evaluate(self, data: Any = None) -> dict[str, float]:
        """Metrics on the test split, or on other data of the same kind: a path, a name, or a layout of several sources."""
        ...

    def protocol(self) -> str:
        """Which data chose, which measured, and how: for result.json and the ledger."""
        ...

    def example(self) -> dict[str, tuple[Tensor, ...]]:
        """Inputs for one sample, for each of `modules`: what `explain` runs."""
        ...

    def figures(self) -> list[Figure]:
        """Images and tables for the report, beside the curves."""
        ...


@dataclass(frozen=True)
class Figure:
    """A figure of the report: an image (PNG bytes or SVG text) or a table, with a title and a sentence below."""

    title: str
    caption: str = ""
    png: bytes | None = None
    svg: str | None = None
    table: list[list[str]] = field(default_factory=list)


COMPARED = 16  # of the data's own images or texts that an exported file is compared on


@dataclass(frozen=True)
class Deployable:
    """What `export` writes: a module that takes raw inputs, an example, and names for both ends.

    `inputs(batch_size)` makes random inputs; the first axis of each is the batch. Further axes that are free, such as the
    height and width of images, stand in `free_axes`; then their sizes should differ by batch size. `own` gives the data's own, as `predict`
    reads them, with which the file is compared too; UserError where the data are not here any more. By `tolerance` the file
    may differ, relative to an output's largest absolute value: float32 sums in another order stay well below 1e-4, unless a
    module decides by them, as a pooling whose switches are kept.
    """

    module: nn.Module
    inputs: Any
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    notes: dict[str, Any] = field(default_factory=dict)
    own: Callable[[], tuple[Tensor, ...]] | None = None
    free_axes: tuple[int, ...] = ()
    tolerance: float = 1e-4


@runtime_checkable
class Predicts(Protocol):
    """Answers for the user's own inputs, a dictionary each, as they are found; images go to `out`.

    `inputs` are names of files and folders, rows, texts, or `-` for stdin, as `chainrule.data.inputs` reads them. What
    has keyword-only parameters beside these has options: see `chainrule.core.verbs`.
    """

    def predict(self, inputs: Iterable[str], out: Path | None) -> Iterator[dict[str, Any]]: ...


@runtime_checkable
class Generates(Protocol):
    """Draws samples: text as lines, images into `out`. Gives one dictionary a sample. Options as `predict` has them."""

    def generate(self, count: int, out: Path) -> list[dict[str, Any]]: ...


@runtime_checkable
class Exports(Protocol):
    def deployable(self) -> Deployable: ...


@runtime_checkable
class Prepares(Protocol):
    """Turns the user's own inputs into what each of `modules` is called with: what `explain` traces."""

    def prepare(self, inputs: list[str]) -> dict[str, tuple[Tensor, ...]]: ...


@runtime_checkable
class Illustrates(Protocol):
    """Has figures of its own for what it does with an input, beside those that `explain` makes of any network."""

    def illustrations(self, inputs: list[str]) -> list[Figure]: ...


@runtime_checkable
class HasPretrained(Protocol):
    """Begins with a network that others have trained: those that --weights fill, where they are not `modules` as they are."""

    def pretrained_modules(self) -> dict[str, nn.Module]: ...


@dataclass(frozen=True)
class TrainingBatch:
    """One real batch of the training data and what is learnt from it: `loss(module(*inputs), target)`, a scalar."""

    module: nn.Module
    inputs: tuple[Tensor, ...]
    target: Tensor
    loss: Callable[[Any, Tensor], Tensor]
    optimizer: Optimizer


@runtime_checkable
class HasTrainingBatch(Protocol):
    """Shows a batch of its training, as the first epoch gives it: what `explain` follows and diagnoses."""

    def training_batch(self) -> TrainingBatch: ...


@runtime_checkable
class HasClasses(Protocol):
    """Answers with one of these classes, in the order of its logits: `explain` can be asked about any of them."""

    classes: list[str]


@runtime_checkable
class HasData(Protocol):
    """Has the data of its run, a `chainrule.data.dataset.Dataset`: what it keeps of them is `data.spec`."""

    data: Any


@runtime_checkable
class HasMeasured(Protocol):
    """Keeps the split that the last `evaluate` measured: how many samples, and which were trained on, is told beside."""

    data: Any
    measured: Any


class Normalization(Protocol):
    """From bytes (B, C, H, W) to what a network takes: x * scale + shift, scale and shift (C, 1, 1)."""

    scale: Tensor
    shift: Tensor

    def __call__(self, x: Tensor, /) -> Tensor: ...


@runtime_checkable
class HasImages(Protocol):
    """Its network takes normalised images: attribution shows them as they were, and looks for more in the test split."""

    normalize: Normalization

    def test_images(self) -> Tensor:
        """The images of the test split, bytes (N, C, H, W); UserError where they are not here any more."""
        ...


@runtime_checkable
class HasNumParameters(Protocol):
    """A module whose numbers are estimated in closed form or by a solver, so that none of them is trainable."""

    @property
    def num_parameters(self) -> int: ...
