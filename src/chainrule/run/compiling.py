"""torch.compile where it pays back, decided by counting and never by the clock: equal runs choose alike.

What compiling saves on a CPU is traffic through memory. Activations, additions and normalisations each read and write
a whole tensor; compiled, several of them pass over it once. Convolutions and matrix products stay the same library
calls. So what can be saved is counted in elements that such operations produce, for one sample, and set against the
time that compiling takes. The constants were measured on ResNet-20, batches of 128, on one core of an AMD EPYC with
AVX2: `benchmarks/steps.py`. LeNet, where convolution and pooling are nearly all, got slower, and on two cores so did
ResNet-20: there the plain network is not compiled.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from chainrule.errors import UserError

if TYPE_CHECKING:
    from chainrule.run.protocols import Loader
    from chainrule.run.run import Run

SAVED_S_PER_ELEMENT = 1e-9  # forward and backward together
COMPILE_S = 15.0  # for any network
COMPILE_S_PER_OPERATION = 0.4
MARGIN = 2.0  # what is saved must be this many times what compiling costs: both are estimates


class FusibleCount(TorchDispatchMode):
    """Counts, while it is active, the operations that compiling can fuse and the elements that they produce."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        first = out[0] if isinstance(out, (tuple, list)) and out else out
        name = func.overloadpacket.__name__
        if isinstance(first, Tensor) and (torch.Tag.pointwise in func.tags or "norm" in name or "softmax" in name):
            self.elements += first.numel()
            self.operations += 1
        return out


def count_fusible(module: nn.Module, example: tuple[Tensor, ...]) -> tuple[int, int]:
    """(elements, operations) of one forward pass in eval mode.

    >>> count_fusible(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Tanh()), (torch.zeros(1, 3),))
    (8, 2)
    """
    was_training = module.training
    module.eval()
    try:
        with torch.no_grad(), FusibleCount() as count:
            module(*example)
    finally:
        module.train(was_training)
    return count.elements, count.operations


def missing_compiler() -> str | None:
    """What torch.compile lacks on the CPU of this machine, in words; None where nothing."""
    usual = {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
    name = os.environ.get("CXX") or usual
    if shutil.which(name) is None:
        return f"the C++ compiler {name} is not found"
    header = Path(sysconfig.get_paths()["include"]) / "Python.h"
    return None if header.is_file() else f"Python's header {header} is not found"


def choose(
    setting: str, module: nn.Module, example: tuple[Tensor, ...], *, batch_size: int, steps: int, processes: int, threads: int
) -> tuple[bool, str]:  # fmt: skip
    """Whether to compile, and the reason in words.

    Args:
        setting: auto, yes or no.
        module, example: the network and its inputs for one sample, on the run's device.
        batch_size, steps: samples a step, steps that are left.
        processes, threads: how many train together, and how many threads each has.

    Raises:
        UserError: `yes` where there is no compiler.
    """
    device = next((p.device.type for p in module.parameters()), "cpu")
    if setting == "no":
        return False, "compile=no"
    lacking = missing_compiler() if device == "cpu" else None
    if setting == "yes":
        if lacking:
            raise UserError("compile=yes is not possible here", found=lacking,
                            cure="install a C++ compiler and Python's headers, or compile=auto")  # fmt: skip
        return True, "compile=yes"
    if device != "cpu" or processes > 1 or threads > 1:
        return False, "auto compiles on one CPU core only: elsewhere no gain has been measured"
    elements, operations = count_fusible(module, example)
    saved_s = elements * batch_size * steps * SAVED_S_PER_ELEMENT
    cost_s = COMPILE_S + operations * COMPILE_S_PER_OPERATION
    estimate = f"about {saved_s:.0f} s saved over {steps} steps, about {cost_s:.0f} s to compile"
    if saved_s <= MARGIN * cost_s:
        return False, estimate
    return (False, f"{estimate}, but {lacking}") if lacking else (True, estimate)


def compiled(
    run: Run, network: Any, example: tuple[Tensor, ...], *, batch_size: int, loader: Loader, epochs: int
) -> Any:
    """The network to call in training: compiled where that pays or `compile` asks for it. A resumed run repeats it.

    Args:
        run: whose setting `compile` counts, and whose record keeps the choice.
        network: what `Run.share_model` gave, called with one tensor of samples.
        example: its inputs for one sample.
        batch_size: over all processes.
        loader, epochs: what is to be run over.
    """
    if "compile" not in run.record:
        wanted, reason = choose(
            run.common["compile"], network, example,
            batch_size=batch_size, steps=len(loader) * (epochs - run.epoch) - run.position, processes=run.world.size,
            threads=torch.get_num_threads(),
        )  # fmt: skip
        run.record["compile"] = {"chosen": wanted, "reason": reason}
        run.write_record()
        if run.common["compile"] != "no":
            run.progress.line(f"{'compiled' if wanted else 'not compiled'}: {reason}")
    if not run.record["compile"]["chosen"]:
        return network
    if run.device.type == "cpu" and (lacking := missing_compiler()):
        raise UserError("this run was compiled and cannot go on without", found=lacking, where=run.folder)
    return Compiled(network, len(range(run.world.rank, batch_size, run.world.size)))


class Compiled:
    """The compiled network for full batches in training, the plain one for all else.

    A last batch that is shorter, and the search for a layer that gave nan (without gradients, with hooks), would each
    be compiled anew.
    """

    def __init__(self, network: Callable[..., Any], batch_size: int) -> None:
        self.network, self.batch_size = network, batch_size
        self.fast = torch.compile(network, dynamic=False)

    def __call__(self, x: Tensor) -> Any:
        full = len(x) == self.batch_size and torch.is_grad_enabled()
        return (self.fast if full else self.network)(x)
