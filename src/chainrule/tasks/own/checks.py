"""A network and a loss, tried on a real batch before the first step: what they take and give, and that they can learn."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from chainrule.core.errors import ChainruleError, UserError
from chainrule.core.own_code.loading import place_of, said
from chainrule.tasks.own.building import called, described

TOLERANCE = 1e-3  # of an answer's size: other batch sizes take other kernels, whose sums differ in rounding


def check_on_batch(
    network: nn.Module,
    criterion: Callable[[Any, Tensor], Tensor],
    x: Tensor,
    y: Tensor,
    num_outputs: int,
    autocast: AbstractContextManager[object] | None = None,
    inner: nn.Module | None = None,
) -> list[str]:
    """Tries a copy of the network, and the loss, on a batch; random numbers and the network stay as they are.

    Args:
        network: to be tried.
        criterion: (answers, targets) to a loss per sample (B,).
        x, y: inputs (B, ...) and targets (B,) of the training data, as training gives them.
        num_outputs: K, the classes; 0 where a number a sample is wanted.
        autocast: under which training computes.
        inner: the user's part of the network, where something of ours is around it that hides the shape of its answers.

    Returns:
        What must be told though it is no mistake, a line each.

    Raises:
        UserError: answers of the wrong shape, or that depend on the other samples of the batch or on chance; a loss of the
            wrong shape, or NaN; nothing that learns.
    """
    devices = [x.device] if x.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), torch.enable_grad():
        tried = _copied(network)
        _check_answers(tried.eval() if inner is None else _copied(inner).eval(), x, num_outputs)
        with autocast or nullcontext():
            return _check_learning(tried.train(), copy.deepcopy(criterion), x, y)


def _copied(network: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(network)
    except Exception as error:
        raise UserError(
            f"the network cannot be copied: {said(error)}",
            expected="parameters that are leaves, and attributes that copy.deepcopy takes",
        ) from error


@torch.no_grad()
def _check_answers(network: nn.Module, x: Tensor, num_outputs: int) -> None:
    count = len(x)
    whole = called(network, x)
    _check_shape(whole, count, num_outputs)
    if not torch.equal(whole.nan_to_num(), called(network, x).nan_to_num()):
        raise UserError(
            "the network answers the same batch otherwise the second time",
            expected="in evaluation mode the same answer for the same input",
            found="chance, or a state that each call changes",
            cure="F.dropout(x, p, self.training), or nn.Dropout; statistics in buffers that change in training only",
        )
    alone = [called(network, x[i : i + 1]) for i in range(min(count, 3))]
    for answer in alone:
        _check_shape(answer, 1, num_outputs)
    parts = torch.cat([answer.flatten(1) if answer.dim() > 1 else answer[:, None] for answer in alone])  # (b, K)
    together = whole[: len(parts)].reshape(len(parts), -1)  # (b, K)
    scale = float(together.abs().max()) or 1.0
    apart = float((parts - together).abs().max())
    if apart > TOLERANCE * scale:
        raise UserError(
            "the network's answer for a sample depends on the other samples of the batch",
            expected="in evaluation mode an answer of its own for each sample",
            found=f"answers that differ by {apart:.3g} where they are {scale:.3g} at most",
            cure="no mean or softmax over the first axis, which is the batch; batch normalisation with track_running_stats",
        )


def _check_shape(answer: Any, count: int, num_outputs: int) -> None:
    wanted = [(count, num_outputs)] if num_outputs else [(count,), (count, 1)]
    dense = isinstance(answer, Tensor) and answer.layout is torch.strided
    if dense and tuple(answer.shape) in wanted and answer.is_floating_point():
        return
    meaning = f"{num_outputs} logits a sample, one a class" if num_outputs else "a number a sample"
    wrong = answer.shape[-1] if isinstance(answer, Tensor) and answer.dim() == 2 else None
    raise UserError(
        f"the network gives {described(answer)} for a batch of {count}",
        expected=f"{' or '.join(str(shape) for shape in wanted)}, {meaning}",
        found=described(answer),
        cure=f"{num_outputs} outputs instead of {wrong}; a network that names num_classes is given it"
        if num_outputs and wrong not in (None, num_outputs)
        else "flatten(1) before the last layer, and a last layer that gives as many numbers",
    )


def _check_learning(network: nn.Module, criterion: Callable[[Any, Tensor], Tensor], x: Tensor, y: Tensor) -> list[str]:
    learning = {name: p for name, p in network.named_parameters() if p.requires_grad}
    losses = tried_loss(criterion, called(network, x), y)
    if not bool(losses.isfinite().all()):
        where = int((~losses.isfinite()).nonzero()[0, 0])
        raise UserError(
            "the loss of the first batch is not finite",
            expected="finite numbers before the first step",
            found=f"{float(losses[where].detach())} for sample {where} of the batch",
            cure="look for a logarithm or a square root of 0, or a division by 0; an added epsilon avoids it",
        )
    if losses.grad_fn is None:
        raise _detached(len(learning))
    losses.mean().backward()
    reached = {name for name, p in learning.items() if p.grad is not None}
    if not reached:
        raise _detached(len(learning))
    frozen = sum(not p.requires_grad for p in network.parameters())
    unreached = [name for name in learning if name not in reached]
    return [
        *([f"{frozen} parameters of the network are frozen: they do not learn"] if frozen else []),
        *(
            [f"no gradient reaches {', '.join(unreached[:5])}{' and others' if unreached[5:] else ''}"]
            if unreached
            else []
        ),
    ]


def tried_loss(criterion: Callable[[Any, Tensor], Tensor], answers: Any, y: Tensor) -> Tensor:
    """The losses of a batch; UserError, with the line of the user's file, where the loss fails."""
    try:
        return criterion(answers, y)
    except ChainruleError:
        raise
    except Exception as error:
        raise UserError(
            f"the loss fails: {said(error)}",
            where=place_of(error),
            expected=f"it takes {described(answers)} and {described(y)}",
        ) from error


def _detached(count: int) -> UserError:
    return UserError(
        "no gradient reaches the network",
        expected="a loss that depends on the parameters through differentiable functions",
        found=f"{count} parameters, none with a gradient",
        cure="no detach(), no argmax, no torch.no_grad() and no numpy between the parameters and the loss",
    )
