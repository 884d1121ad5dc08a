"""Which module is being called, and under which name: the scopes that a graph folds along."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from chainrule.introspection.graph.record import Call


class Calls:
    """The calls of modules in the order in which they begin.

    Args:
        root: the module that is looked at, or None for a function.
        names: names of modules that a function refers to, by id.
    """

    def __init__(self, root: nn.Module | None, names: Mapping[int, str]) -> None:
        self.found = [Call(0, "", type(root).__name__ if root is not None else "", 0)]
        self._open = [0]
        self._modules: list[nn.Module | None] = [None]
        self._root, self._names = root, names
        self._times: Counter[str] = Counter()
        self._buffers: dict[int, tuple[Tensor, Tensor]] = {}

    @property
    def current(self) -> int:
        return self._open[-1]

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Follows every call of any module; afterwards buffers are what they were: looking changes no statistics."""
        before = register_module_forward_pre_hook(self._before)
        after = register_module_forward_hook(self._after, always_call=True)
        try:
            yield
        finally:
            before.remove()
            after.remove()
            with torch.no_grad():
                for buffer, kept in self._buffers.values():
                    buffer.copy_(kept)

    def _before(self, module: nn.Module, args: Any) -> None:
        for buffer in module.buffers(recurse=False):
            if id(buffer) not in self._buffers:
                self._buffers[id(buffer)] = buffer, buffer.detach().clone()
        if module is self._root and len(self._open) == 1:
            self._open.append(0)
        else:
            name = self._name(module)
            self._times[name] += 1
            times = self._times[name]
            self.found.append(
                Call(len(self.found), f"{name}#{times}" if times > 1 else name, type(module).__name__, self.current)
            )
            self._open.append(len(self.found) - 1)
        self._modules.append(module)

    def _after(self, module: nn.Module, args: Any, output: Any) -> None:
        self._open.pop()
        self._modules.pop()

    def _name(self, module: nn.Module) -> str:
        if id(module) in self._names:
            return self._names[id(module)]
        for number in range(len(self._modules) - 1, -1, -1):
            around = self._modules[number]
            for name, child in around.named_modules() if around is not None else ():
                if child is module:
                    return self._join(number, name)
        return type(module).__name__

    def name_of(self, tensor: Tensor) -> str:
        """The name of a parameter or buffer of a module that is being called; empty for any other tensor."""
        for number in range(len(self._modules) - 1, -1, -1):
            module = self._modules[number]
            if module is not None:
                for name, found in (*module.named_parameters(), *module.named_buffers()):
                    if found is tensor:
                        return self._join(number, name)
        return ""

    def _join(self, number: int, name: str) -> str:
        around = self.found[self._open[number]].name.partition("#")[0]
        return f"{around}.{name}" if around else name
