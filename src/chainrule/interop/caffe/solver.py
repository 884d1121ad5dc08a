"""Solvers: the optimisation that a file describes, in this package's update rules and policies."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from chainrule.core.course import Topic
from chainrule.core.errors import UserError, unknown
from chainrule.interop.caffe.description.fields import HARMLESS, Fields
from chainrule.interop.caffe.description.files import inner_text, parse_text, read_text
from chainrule.interop.caffe.description.graph import CaffeGraph, Multiplier
from chainrule.interop.caffe.description.schema import ENUMS
from chainrule.optim import policies
from chainrule.optim.adaptive import AdaDelta, AdaGrad, Adam, RMSProp
from chainrule.optim.clipping import clip_norm
from chainrule.optim.policies import Policy
from chainrule.optim.rule import UpdateRule
from chainrule.optim.schedule import PolicySchedule, as_schedule
from chainrule.optim.sgd import SGD

TYPES = ("SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam")
POLICIES: dict[str, tuple[Callable[..., Policy], tuple[str, ...]]] = {
    "fixed": (policies.fixed, ()),
    "step": (policies.step, ("gamma", "stepsize")),
    "exp": (policies.exp, ("gamma",)),
    "inv": (policies.inv, ("gamma", "power")),
    "multistep": (policies.multistep, ("gamma", "stepvalue")),
    "poly": (policies.poly, ("power", "max_iter")),
    "sigmoid": (policies.sigmoid, ("gamma", "stepsize")),
}


INSIDE = ("net_param", "train_net_param")  # fields that hold the network itself
OF_TESTS = frozenset({"test_net", "test_net_param", "test_state"})


@dataclass(frozen=True)
class Solver:
    """What a solver file says of the optimisation. The names and defaults are Caffe's.

    Args:
        net: the file of the network, or nothing.
        type: the update rule, of `TYPES`.
        base_lr, lr_policy, gamma, power, stepsize, stepvalue: the rate over time, see `chainrule.optim.policies`.
        max_iter: updates in all.
        momentum: of SGD and Nesterov; Adam's first and AdaDelta's only decay.
        momentum2: Adam's second decay.
        rms_decay: RMSProp's.
        delta: added to roots by the rules that divide by them.
        weight_decay, regularization_type: the weight of the penalty, and L2 or L1.
        clip_gradients: bound of the norm over all gradients; below 0 is none.
        iter_size: batches whose gradients are averaged for an update.
        test_interval, test_iter: after how many updates a test, and of how many batches.
        random_seed: of the weights, or -1.
        weights: files of weights to start from.
        level, stages: of the network in training, beside its phase.
        notes: what of the file is not read, and why, a line each.
    """

    net: str = ""
    type: str = "SGD"
    base_lr: float = 0.0
    lr_policy: str = ""
    gamma: float = 0.0
    power: float = 0.0
    stepsize: int = 0
    stepvalue: tuple[int, ...] = ()
    max_iter: int = 0
    momentum: float = 0.0
    momentum2: float = 0.999
    rms_decay: float = 0.99
    delta: float = 1e-8
    weight_decay: float = 0.0
    regularization_type: str = "L2"
    clip_gradients: float = -1.0
    iter_size: int = 1
    test_interval: int = 0
    test_iter: tuple[int, ...] = ()
    random_seed: int = -1
    weights: tuple[str, ...] = ()
    level: int = 0
    stages: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=(), compare=False)

    def policy(self) -> Policy:
        """The rate by the number of the update, from 0.

        Raises:
            UserError: an unknown policy, or settings of it that are missing or out of range.
        """
        if self.lr_policy not in POLICIES:
            raise unknown("the solver has no such lr_policy:", self.lr_policy, POLICIES)
        make, names = POLICIES[self.lr_policy]
        return make(self.base_lr, **{name: getattr(self, name) for name in names})

    def optimizer(self, module: nn.Module) -> UpdateRule:
        """The update rule over the parameters of a module, in Caffe's form.

        Where the module is a `CaffeGraph`, or holds one, each parameter has the lr_mult and decay_mult of its layer.
        Before each update, the gradients are clipped and L1 is added, where the solver says so.

        Raises:
            UserError: settings out of range, or that this rule does not have.

        Source: Caffe, sgd_solver.cpp, ApplyUpdate, and the file of each rule.
        """
        multipliers = multipliers_of(module)
        groups: dict[Multiplier, list[nn.Parameter]] = {}
        for name, parameter in module.named_parameters():
            if parameter.requires_grad:
                groups.setdefault(multipliers.get(name, Multiplier()), []).append(parameter)
        l1 = self.regularization_type == "L1"
        described = [
            {"params": params, "lr_mult": by.lr, "weight_decay": 0.0 if l1 else self.weight_decay * by.decay}
            for by, params in groups.items()
        ]
        optimizer = self._rule(described)
        for group in optimizer.param_groups:  # before the first step of a schedule, too
            group["lr"] = self.policy()(0) * group["lr_mult"]

        def prepare(rule: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
            if self.clip_gradients >= 0:
                # The bound is on the sum over iter_size batches; the gradients here are their mean.
                clip_norm([p for params in groups.values() for p in params], self.clip_gradients / self.iter_size)
            if l1 and self.weight_decay:
                for by, params in groups.items():
                    _add_sign(params, self.weight_decay * by.decay)

        if self.clip_gradients >= 0 or l1:
            optimizer.register_step_pre_hook(prepare)
        return optimizer

    def schedule(self, optimizer: torch.optim.Optimizer) -> PolicySchedule:
        """The rate of the optimizer over time; its `step` comes after each of the optimizer's."""
        return as_schedule(optimizer, self.policy())

    def _rule(self, groups: list[dict[str, Any]]) -> UpdateRule:
        lr, momentum = self.base_lr, self.momentum
        match self.type:
            case "SGD" | "Nesterov":
                return SGD(groups, lr, momentum, nesterov=self.type == "Nesterov" and momentum > 0, form="caffe")
            case "Adam":
                return Adam(groups, lr, (momentum, self.momentum2), self.delta, form="caffe")
            case "AdaDelta":
                return AdaDelta(groups, lr, momentum, self.delta)
        if momentum:
            raise UserError(f"{self.type} has no momentum", expected="momentum: 0", found=f"momentum: {momentum}")
        if self.type == "RMSProp":
            return RMSProp(groups, lr, self.rms_decay, self.delta)
        return AdaGrad(groups, lr, self.delta)


def read_solver(file: str | Path) -> Solver:
    """The solver that a file describes.

    Raises:
        UserError: no such file, no solver, an unknown rule, policy or penalty, settings that are missing.

    Source: Caffe, solver.cpp.
    """
    return _record(read_text(file, "Solver")[0], file)


def parse_solver(text: str, where: object = None) -> Solver:
    """`read_solver` of a text; `where` is what errors name as its place.

    >>> solver = parse_solver('base_lr: 0.01 lr_policy: "inv" gamma: 1e-4 power: 0.75 max_iter: 10000')
    >>> solver.policy()(10_000).__round__(6)
    0.005946
    """
    return _record(parse_text(text, "Solver", where), where)


def multipliers_of(module: nn.Module) -> dict[str, Multiplier]:
    """The multipliers of each parameter of a `CaffeGraph`, or of those that a module holds, by the parameter's name."""
    found: dict[str, Multiplier] = {}
    for name, part in module.named_modules():
        if isinstance(part, CaffeGraph):
            found |= {f"{name}.{key}" if name else key: value for key, value in part.multipliers.items()}
    return found


def net_of(file: str | Path) -> tuple[str, str] | None:
    """The text of the description that a solver holds or names, and the place that errors name; None where it has none.

    A file is sought as Caffe seeks it, from the working folder, and then beside the solver. What stands in the solver
    itself keeps its lines.

    Raises:
        UserError: no such file, no solver, or no description.
    """
    described, text = read_text(file, "Solver")
    named = _record(described, file).net
    for name in INSIDE:
        if described.HasField(name):
            return inner_text(text, name) or "", str(file)
    if not named:
        return None
    place = str(beside(named, file))
    return read_text(place, "Net")[1], place


def beside(named: str, file: str | Path) -> Path:
    """The place of a file that another names: from the working folder, else from the folder of that one."""
    near = Path(file).parent / named
    return near if near.is_file() and not Path(named).is_file() else Path(named)


def _record(message: Any, where: object) -> Solver:
    described = Fields(message)
    nets = [name for name in (*INSIDE, "net", "train_net") if described.HasField(name)]
    if len(nets) > 1:
        raise UserError(
            "the solver has more than one network",
            where=where,
            expected="one of net, train_net, net_param, train_net_param",
            found=", ".join(nets),
        )
    values: dict[str, Any] = {}
    for own in dataclasses.fields(Solver):
        if own.name in ("level", "stages", "notes"):
            continue
        value = getattr(described, own.name)
        # Few digits stand in the file, and in the message the nearest float32: they are meant.
        value = float(str(np.float32(value))) if isinstance(value, float) else value
        values[own.name] = value if isinstance(value, (str, int, float)) else tuple(value)
    values["net"] = values["net"] or described.train_net
    values["weights"] = tuple(name.strip() for names in values["weights"] for name in names.split(",") if name.strip())
    values["level"], values["stages"] = described.train_state.level, tuple(described.train_state.stage)
    if described.HasField("solver_type"):
        old = [entry.split()[0] for entry in ENUMS["SolverType"].split(",")][described.solver_type]
        values["type"] = next(name for name in TYPES if name.upper() == old)
    solver = Solver(**values, notes=_notes(described, where))
    place = {"where": where}
    if not described.HasField("base_lr"):
        raise UserError("the solver has no base_lr", **place, expected="base_lr: 0.01")
    if solver.type not in TYPES:
        raise unknown(
            f"the solver{f' of {where}' if where is not None else ''} has an unknown type", solver.type, TYPES
        )
    if solver.regularization_type not in ("L1", "L2"):
        raise UserError("the penalty is unknown", **place, expected="L2 or L1", found=solver.regularization_type)
    if solver.max_iter < 1 or solver.iter_size < 1:
        raise UserError(
            "max_iter and iter_size must be 1 or more",
            **place,
            found=f"{solver.max_iter} and {solver.iter_size}",
            cure="max_iter: 10000",
        )
    if solver.clip_gradients == 0:
        raise UserError("clip_gradients of 0 leaves no gradient", **place, expected="above 0, or -1 for none")
    try:
        solver.policy()
    except UserError as error:
        raise UserError(f"the solver{f' of {where}' if where is not None else ''}: {error}") from None
    return solver


def _notes(described: Fields, where: object) -> tuple[str, ...]:
    """What of a solver is not read; UserError where Caffe's training would differ by it, or a number is NaN."""
    for name in described.nans():
        raise UserError(f"{name} is NaN", where=where, expected="a number")
    unread = [name for name, _ in described.unread(frozenset({*INSIDE, "train_state"}))]
    of_tests = [name for name in unread if name in OF_TESTS]
    strange = [name for name in unread if name not in HARMLESS and name not in of_tests]
    if strange:
        raise UserError(f"{strange[0]} is not read here, and Caffe reads it", where=where, cure="leave it out")
    told = {
        "results do not depend on it": [name for name in unread if name in HARMLESS],
        "what is tested is the network that is trained": of_tests,
        "validation comes after each epoch": [
            name for name in ("test_iter", "test_interval") if getattr(described, name)
        ],
        "the seed is the run's, --seed": ["random_seed"] if described.random_seed >= 0 else [],
    }
    return tuple(f"{', '.join(names)}: not read; {why}" for why, names in told.items() if names)


def _add_sign(params: list[nn.Parameter], weight: float) -> None:
    """Adds the gradient of weight |w|_1."""
    with torch.no_grad():
        for p in params:
            if p.grad is not None and weight:
                p.grad.add_(p.sign(), alpha=weight)


TOPICS = (Topic("Nets, weights and solvers in Caffe's files", code=("read_solver",)),)
