"""What dropout and batch normalisation do to a net, each measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chainrule.recipes import recipe
from chainrule.settings import Count, Fraction, Positive, Size

if TYPE_CHECKING:
    from chainrule.run.run import Run
    from chainrule.systems.demonstration import Demonstration


@recipe(
    "dropout-averaging",
    family="demonstration",
    task="averaging over masks",
    data="digits",
    source="Srivastava et al. 2014; Gal and Ghahramani 2016",
    tiny={"rates": (0.5,), "hidden": 32, "enumerated": 6, "draws": 5, "steps": 40},
)
def dropout_averaging(
    run: Run, *, rates: tuple[float, ...] = (0.2, 0.5, 0.8), hidden: Count = 256, enumerated: Count = 12, draws: Count = 200,
    size: Count = 8, samples: Size = 0, steps: Count = 1500, batch_size: Count = 64, lr: Positive = 1e-3,
) -> Demonstration:  # fmt: skip
    """One pass with scaled weights against the mean over sampled masks, and over all masks of small nets."""
    from chainrule.systems.demonstrations.dropout_averaging import dropout_demonstration

    return dropout_demonstration(
        run, rates=rates, hidden=hidden, enumerated=enumerated, draws=draws, size=size, samples=samples, steps=steps,
        batch_size=batch_size, lr=lr,
    )  # fmt: skip


@recipe(
    "batch-norm-speed",
    family="demonstration",
    task="steps to an accuracy",
    data="digits",
    source="Ioffe and Szegedy 2015, section 4.1",
    tiny={"depths": (2,), "rates": (1.0,), "hidden": 20, "steps": 40},
)
def batch_norm_speed(
    run: Run, *, depths: tuple[int, ...] = (1, 3, 5), rates: tuple[float, ...] = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0),
    hidden: Count = 100, accuracy: Fraction = 0.95, steps: Count = 3000, every: Count = 10, batch_size: Count = 60,
    size: Count = 8, samples: Size = 0,
) -> Demonstration:  # fmt: skip
    """Steps to a validation accuracy with and without batch normalisation, over depths and learning rates.

    Section 4.1 of the paper trains three sigmoid layers of 100 on MNIST; its factor of 14 is of Inception on ImageNet.
    As there: `chainrule train batch-norm-speed --data mnist size=28 depths=3 accuracy=0.97 steps=20000 every=50`.
    """
    from chainrule.systems.demonstrations.batch_norm_speed import batch_norm_demonstration

    return batch_norm_demonstration(
        run, depths=depths, rates=rates, hidden=hidden, accuracy=accuracy, steps=steps, every=every,
        batch_size=batch_size, size=size, samples=samples,
    )  # fmt: skip
