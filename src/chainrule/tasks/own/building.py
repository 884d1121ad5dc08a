"""What the user's own code gives, built: a class or a function is called with what it asks for by name, and nothing else."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from chainrule.core.errors import UserError
from chainrule.core.own_code.loading import place_of, said

KINDS = "a torch.nn.Module: its class, a function that returns one, or one that is built"


def built(found: Any, offered: Mapping[str, Any]) -> Any:
    """The thing itself, or what its class or function gives for those of the `offered` values that it names.

    >>> built(lambda num_classes, width=4: (num_classes, width), {"num_classes": 10, "in_channels": 3})
    (10, 4)

    Raises:
        UserError: it fails, or needs what is not offered.
    """
    name = getattr(found, "__name__", type(found).__name__)
    takes = [p for p in inspect.signature(found).parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    lacking = [p.name for p in takes if p.default is p.empty and (p.name not in offered or p.kind is p.POSITIONAL_ONLY)]
    if lacking:
        raise UserError(
            f"{name} needs what nobody gives it",
            expected=f"parameters with defaults, or any of {', '.join(offered)}",
            found=", ".join(lacking),
            cure=f"{lacking[0]}=... as a default, or a function that returns {name}({lacking[0]}=...)",
        )
    try:
        return found(**{p.name: offered[p.name] for p in takes if p.name in offered})
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        raise UserError(f"{name} cannot be built: {said(error)}", where=place_of(error)) from error


def build_network(found: Any, offered: Mapping[str, Any], example: Tensor) -> nn.Module:
    """The user's own network.

    Args:
        found: a class of modules, a function that returns one, or a module.
        offered: what it may ask for by name: `num_classes`, `in_channels`, `image_size`, `in_features`, `out_features`.
        example: a batch as it will be given, on the CPU: layers that are lazy take their sizes from it.

    Raises:
        UserError: it is something else, or cannot be built.
    """
    network = found
    if not isinstance(found, nn.Module):
        if not callable(found):
            raise UserError("this is no network", expected=KINDS, found=type(found).__name__)
        network = built(found, offered)
    if not isinstance(network, nn.Module):
        raise UserError(
            f"{getattr(found, '__name__', 'it')} gives no network", expected=KINDS, found=type(network).__name__
        )
    if not any(p.requires_grad for p in network.parameters()):
        count = sum(1 for _ in network.parameters())
        raise UserError(
            "the network has nothing to learn",
            expected="parameters (nn.Parameter, or layers set as attributes) with requires_grad",
            found=f"{count} parameters, all frozen" if count else "no parameter",
        )
    if any(p.is_meta for p in (*network.parameters(), *network.buffers())):
        raise UserError(
            "the parameters of the network have no values, on the device meta",
            expected="parameters on the CPU or a GPU",
            cure="network.to_empty(device='cpu'), and then its first weights; or build it outside torch.device('meta')",
        )
    if any(isinstance(p, nn.UninitializedParameter) for p in network.parameters()):
        with torch.no_grad():
            called(network.eval(), example.to(next(network.buffers(), example).device))
    return network


def learnt_modules(model: nn.Module, criterion: object) -> dict[str, nn.Module]:
    """The modules of a task by name: its network, and its loss where that has numbers of its own."""
    loss = {"loss": criterion} if isinstance(criterion, nn.Module) and criterion.state_dict() else {}
    return {"model": model, **loss}


def parameters_of(model: nn.Module, criterion: nn.Module | None) -> list[nn.Parameter]:
    """What an optimiser moves: the parameters of the network, and of a loss that has some."""
    return [p for module in (model, criterion) if module is not None for p in module.parameters()]


def called(network: nn.Module, x: Tensor) -> Any:
    """What the user's network gives for a batch; UserError, with the line of their file, where it fails."""
    try:
        return network(x)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"the network fails: {said(error)}",
            where=place_of(error),
            expected=f"it takes {described(x)}",
            cure=f"layers for samples of {tuple(x.shape[1:])}; a network may name the sizes that it needs, "
            "such as in_features",
        ) from error


def described(value: object) -> str:
    """A value by its type and shape.

    >>> described(torch.zeros(2, 3)), described((torch.zeros(1), 2))
    ('float32 (2, 3)', 'a tuple of float32 (1,), int')
    """
    if isinstance(value, Tensor):
        layout = "" if value.layout is torch.strided else f", {str(value.layout).removeprefix('torch.')}"
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}{layout}"
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {', '.join(described(part) for part in value)}"
    return type(value).__name__


def memory_format_of(network: nn.Module, example: Tensor) -> torch.memory_format:
    """Channels-last, where convolutions are fastest, if the network takes it; else as its author laid it out.

    A network that calls `view` on what a convolution gives cannot. The network is left in the format that is told.
    """
    network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    tried = torch.empty(example.shape, memory_format=torch.channels_last).copy_(example)  # so strided also with C of 1
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        try:
            called(network, tried)
        except UserError as error:
            if "view size is not compatible" not in str(error):
                raise
            network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
            return torch.contiguous_format
    return torch.channels_last
