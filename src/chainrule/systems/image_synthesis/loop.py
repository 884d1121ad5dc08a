"""Make an image step by step: what is learnt is the image itself, and the network that judges it stands still."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from chainrule.run.protocols import Stateful
from chainrule.run.run import Run


def make_image(
    run: Run,
    *,
    modules: Mapping[str, nn.Module],
    step: Callable[[int], Mapping[str, Tensor]],
    steps: int,
    look: Callable[[], object],
    keep: Mapping[str, Stateful] | None = None,
    after_step: Callable[[int], None] | None = None,
) -> None:
    """Improves the image `steps` times, a line of metrics each.

    Args:
        run: minds everything around the loop.
        modules: by name: what holds the image, and the network, which a run that is opened answers with.
        step: changes the image; given the number of the step, and from that, the modules and `keep` alone decides what to
            do. It gives metrics from before the change, `loss` or `objective` first.
        steps: how many.
        look: shows the image to the network once more, to find the layer where a metric became no number.
        keep: further state from step to step, such as an optimiser.
        after_step: called after each step with the number of steps made.
    """
    run.keep(**modules, **(keep or {}))
    for number in run.steps(steps):
        values = step(number)
        run.guard(next(iter(values.values())), modules, rerun=look)
        run.track(**values)
        run.flush()
        if after_step is not None:
            after_step(number + 1)
