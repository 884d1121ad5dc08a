"""What a module multiplies: products of matrices, convolutions and attention, counted while it runs once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class MultiplyAdds(TorchDispatchMode):
    """Counts while it is entered, by PyTorch's own formulas for its core operators.

    `FlopCounterMode` has the same formulas and takes a second to load: it brings in the compiler.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0
        self.values = 0  # that the products gave

    @property
    def total(self) -> int:
        return self.flops // 2  # a multiplication and an addition are two operations

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """What is True by default, and loads the compiler to be kept out of what it compiles; here nothing is."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        with self:  # an operator that is made of others counts by these
            result = func.decompose(*args, **kwargs)
        if result is NotImplemented:
            result = func(*args, **kwargs)
            formula: Any = flop_registry.get(func.overloadpacket)
            if formula is not None:
                self.flops += formula(*args, **kwargs, out_val=result)
                self.values += (result if isinstance(result, Tensor) else result[0]).numel()
        return result


def recurrent_cost(layer: nn.RNNBase, source: Any) -> int:
    """Multiply-adds: a step of a direction takes gates x hidden x (input + state), and hidden x projection if any."""
    gates = _gates(layer)
    directions = 2 if layer.bidirectional else 1
    state = layer.proj_size or layer.hidden_size
    total = 0
    for depth in range(layer.num_layers):
        inputs = layer.input_size if depth == 0 else state * directions
        total += directions * (gates * layer.hidden_size * (inputs + state) + layer.hidden_size * layer.proj_size)
    return total * _steps(source)


def _steps(source: Any) -> int:
    """Of all sequences of a batch."""
    return len(source.data) if isinstance(source, PackedSequence) else source.numel() // source.shape[-1]


def _gates(layer: nn.RNNBase) -> int:
    return {"LSTM": 4, "GRU": 3}.get(layer.mode, 1)


@dataclass(frozen=True)
class Cost:
    """Multiply-adds of a forward pass, and how many values its products gave."""

    multiply_adds: int = 0
    values: int = 0

    @property
    def length(self) -> float:
        """Multiply-adds to a value: how long the sums are on average."""
        return self.multiply_adds / max(self.values, 1)


def cost(module: nn.Module, inputs: tuple[Any, ...]) -> Cost:
    """What one forward pass costs, in eval mode: no state and no random number changes.

    nn.RNN, GRU and LSTM count by their equations: one kernel does the whole sequence, and no counter looks into it.

    >>> cost(nn.Conv2d(1, 6, 5), (torch.zeros(1, 1, 28, 28),))  # 6 maps of 24 x 24, 25 products to a number
    Cost(multiply_adds=86400, values=3456)
    """
    counter = MultiplyAdds()
    before: list[tuple[int, int]] = []

    def begin(layer: nn.Module, args: object) -> None:
        before.append((counter.flops, counter.values))

    def end(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: object) -> None:
        assert isinstance(layer, nn.RNNBase)
        source = args[0] if args else kwargs["input"]
        values = _steps(source) * layer.num_layers * (2 if layer.bidirectional else 1) * _gates(layer)
        flops_before, values_before = before.pop()  # what was counted since is part of the equations
        counter.flops = flops_before + 2 * recurrent_cost(layer, source)
        counter.values = values_before + values * layer.hidden_size

    modes = {child: child.training for child in module.modules()}
    recurrent = [child for child in module.modules() if isinstance(child, nn.RNNBase)]
    handles = [layer.register_forward_pre_hook(begin) for layer in recurrent]
    handles += [layer.register_forward_hook(end, with_kwargs=True) for layer in recurrent]
    module.eval()
    try:
        # with gradients PyTorch's fused Transformer layer, which no counter looks into, stays off
        with torch.enable_grad(), counter:
            module(*inputs)
    finally:
        for handle in handles:
            handle.remove()
        for child, training in modes.items():
            child.training = training
    return Cost(counter.total, counter.values)
