"""Networks are built within the memory: what their parameters need is added up as they are registered, before a number
is drawn for them."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.overrides import TorchFunctionMode

from chainrule.core.errors import UserError
from chainrule.core.memory import CURE, expect_memory, memory_bytes, memory_told

MOST_PARAMETERS = 20_000  # tensors of a network: beyond them it is its number of layers that is wrong


class _OnMeta(TorchFunctionMode):
    """Tensors of zeros, of ones, of random numbers have a shape and no content, on whatever device they are asked for."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **{**(kwargs or {}), **({"device": "meta"} if func in _MADE else {})})


_MADE = {torch.zeros, torch.ones, torch.empty, torch.full, torch.rand, torch.randn, torch.randint}


def without_content() -> contextlib.AbstractContextManager[object]:
    """While it lasts new tensors have shapes alone: what is too large can be described, and takes no memory.

    >>> with without_content():
    ...     example = torch.zeros(1, 3, 10**6, 10**6)
    >>> example.shape[-1], example.is_meta
    (1000000, True)
    """
    return _OnMeta()


@contextlib.contextmanager
def within_memory() -> Iterator[None]:
    """While it lasts a network is built; UserError where its parameters need more memory than there is."""
    made: list[weakref.ref[nn.Parameter]] = []
    need = 0

    def count(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal need
        if parameter is None or parameter.is_meta:
            return
        made.append(weakref.ref(parameter))
        need += parameter.nbytes
        if need > (memory_bytes() or need) or len(made) > MOST_PARAMETERS:
            living = {id(p): p.nbytes for ref in made if (p := ref()) is not None}  # networks come and go
            expect_memory(sum(living.values()), "the parameters of the network", cure=CURE)
            if len(living) > MOST_PARAMETERS:
                raise UserError("the network has too many layers", found=f"more than {MOST_PARAMETERS:,} parameters")

    hook = register_module_parameter_registration_hook(count)
    try:
        with memory_told(UserError):
            yield
    finally:
        hook.remove()
