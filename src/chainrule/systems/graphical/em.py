"""Expectation and maximisation: the one loop of all models that are estimated by EM."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

from torch import Tensor, nn

from chainrule.core.course import Topic
from chainrule.core.device import World
from chainrule.core.errors import RunFailed
from chainrule.run.run import Run


class HasLogLikelihood(Protocol):
    """The statistics of an E-step, with the mean log-likelihood a sample that they were found under."""

    @property
    def log_likelihood(self) -> Tensor: ...


Found = TypeVar("Found", bound=HasLogLikelihood)


class Estimated(Protocol[Found]):
    """A model with an E-step, whose sums over rows the processes of a world add up, and an M-step."""

    def expectation(self, x: Tensor, world: World = ...) -> Found: ...

    def maximisation(self, statistics: Found) -> None: ...


class Bound:
    """The log-likelihood that the last E-step found, and whether it had settled."""

    def __init__(self) -> None:
        self.value, self.settled = -math.inf, False

    def state_dict(self) -> dict[str, Any]:
        return {"value": self.value, "settled": self.settled}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.value, self.settled = state["value"], state["settled"]


def em(
    run: Run,
    *,
    model: Estimated[Any],
    modules: Mapping[str, nn.Module],
    x: Tensor,
    starts: int,
    start: Callable[[int], None],
    max_iterations: int,
    tolerance: float,
    measure: Callable[[], dict[str, float]],
    choose_by: tuple[str, bool],
) -> None:
    """Maximises the likelihood of x by E-steps and M-steps, from each of several starts, and keeps the best.

    Several processes share the rows: each has a part in the E-step, whose statistics are sums, and all make the same
    M-step. So `start` must give the same parameters in all of them.

    Args:
        run: checkpoints, metrics, signals.
        model: what is estimated.
        modules: the modules by name that hold its parameters.
        x: the training samples (N, ...), all of them in every process.
        starts: how many times EM is begun; an epoch of the run each.
        start: sets the parameters for start number 0, 1, ..., from nothing but that number.
        max_iterations: iterations at most from each start.
        tolerance: EM has settled when the mean log-likelihood, in nats a sample, changes by less.
        measure: metrics of the estimate, after each start.
        choose_by: the metric that chooses the start to keep, and whether lower is better.
    """
    bound = Bound()
    run.keep(**modules, bound=bound)
    mine = x[run.world.share(len(x))]
    shared = {"world": run.world} if run.world.size > 1 else {}
    for number in run.epochs(starts):
        if run.position == 0:
            start(number)
            bound.value, bound.settled = -math.inf, False
        for _ in run.steps(max_iterations):
            statistics = model.expectation(mine, **shared)
            log_likelihood = float(statistics.log_likelihood)
            if not math.isfinite(log_likelihood):
                raise RunFailed(
                    f"the log-likelihood became {log_likelihood} at iteration {run.position + 1} of start {number + 1}: "
                    "the data are out of the range of floating point"
                )
            model.maximisation(statistics)
            run.track(log_likelihood=log_likelihood)
            run.flush()
            bound.settled = abs(log_likelihood - bound.value) < tolerance
            bound.value = log_likelihood
            if bound.settled:
                run.stop()
        metrics = measure()
        run.log(candidate=number, iterations=run.position, settled=bound.settled, **metrics)
        run.keep_best(modules, choose_by[0], metrics[choose_by[0]], lower_is_better=choose_by[1])


TOPICS = (
    Topic(
        "Expectation and maximisation",
        "期望最大化",
        lectures=(3,),
        code=("em",),
        command="chainrule train gaussian-mixture max_iterations=50",
    ),
)
