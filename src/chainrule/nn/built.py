"""Networks are built within the memory: what their parameters need is added up as they are registered, before a number
is drawn for them."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator

from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from chainrule.core.errors import UserError
from chainrule.core.memory import CURE, expect_memory, memory_bytes, memory_told

MOST_PARAMETERS = 20_000  # tensors of a network: beyond them it is its number of layers that is wrong


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
