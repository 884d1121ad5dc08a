"""Functions of `torch.autograd.Function`: what decides about their gradient is their own backward, so each is one node."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.autograd.function import _SingleLevelFunction

_APPLY = "apply"


@contextlib.contextmanager
def intercepted(apply: Callable[[type, Callable[..., Any], Any, Any], Any]) -> Iterator[None]:
    """Within it, `SomeFunction.apply(*args)` in this thread becomes `apply(SomeFunction, its own apply, args, kwargs)`.

    `Function.apply` is often kept under another name (`swish = Swish.apply`), so it is not replaced; the class below it,
    which it calls in turn, is given a method for as long as this lasts.
    """
    thread = threading.get_ident()

    def intercepting(cls: type, *args: Any, **kwargs: Any) -> Any:
        original = super(_SingleLevelFunction, cls).apply  # type: ignore[misc]
        if threading.get_ident() != thread:  # the backward pass of another computation
            return original(*args, **kwargs)
        return apply(cls, original, args, kwargs)

    before = _SingleLevelFunction.__dict__.get(_APPLY)  # a trace within a trace finds that of the outer one
    setattr(_SingleLevelFunction, _APPLY, classmethod(intercepting))
    try:
        yield
    finally:
        if before is None:
            delattr(_SingleLevelFunction, _APPLY)
        else:
            setattr(_SingleLevelFunction, _APPLY, before)


def unseen(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with no torch function mode looking in: what its forward does inside is its own affair."""

    def call(*args: Any, **kwargs: Any) -> Any:
        with torch._C.DisableTorchFunction():
            return function(*args, **kwargs)

    return call
