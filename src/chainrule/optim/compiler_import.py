"""torch's optimisers without torch's compiler, which the first of them would load: 1.5 seconds, for nothing where nothing
is compiled.

The methods of torch's optimisers tell the compiler to leave them alone, and load it for that. As long as nobody else has
loaded it, there is nobody to tell: then what they wrap is called by itself, with the same arithmetic. The command does so
in its own process; `import chainrule` leaves torch as it is.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer


@functools.cache
def spare_compiler() -> None:
    """From here on no optimiser of torch's loads the compiler; where a version has other wrappers, nothing changes.

    >>> spare_compiler()
    >>> weight = torch.nn.Parameter(torch.tensor(1.0))
    >>> optimizer = torch.optim.SGD([weight], lr=0.5)
    >>> weight.backward()
    >>> optimizer.step()
    >>> weight.item()
    0.5
    """
    of_torch = [kind for kind in vars(torch.optim).values() if isinstance(kind, type) and issubclass(kind, Optimizer)]
    for kind in {Optimizer, *of_torch}:
        for name, method in list(vars(kind).items()):
            wrapper = getattr(getattr(method, "__code__", None), "co_name", None)
            if hasattr(method, "__wrapped__") and wrapper in ("inner", "_use_grad"):
                setattr(kind, name, _direct(method, sets_grad=wrapper == "_use_grad"))


def _direct(method: Any, *, sets_grad: bool) -> Callable[..., Any]:
    """The method that `method` wraps, until somebody loads the compiler; then `method` as it was."""
    wrapped = method.__wrapped__

    @functools.wraps(wrapped)
    def direct(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        if "torch._dynamo" in sys.modules:
            return method(self, *args, **kwargs)
        if not sets_grad:
            return wrapped(self, *args, **kwargs)
        with torch.set_grad_enabled(self.defaults["differentiable"]):
            return wrapped(self, *args, **kwargs)

    return direct
