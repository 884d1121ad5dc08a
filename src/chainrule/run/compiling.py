"""torch.compile where it is asked for; by itself a run compiles nothing, because where it was measured it did not pay.

On CPUs convolutions and matrix products are the same library calls, compiled or not; what compiling could save is
traffic through memory. Measured (`benchmarks/steps.py`), the compiled LeNets gain nothing, and ResNet-20 on one CPU of two.
On a GPU it has not been measured.
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
from torch import Tensor

from chainrule.core.errors import UserError

if TYPE_CHECKING:
    from chainrule.run.run import Run


def missing_compiler() -> str | None:
    """What torch.compile lacks on the CPU of this machine, in words; None where nothing."""
    usual = {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
    name = os.environ.get("CXX") or usual
    if shutil.which(name) is None:
        return f"the C++ compiler {name} is not found"
    header = Path(sysconfig.get_paths()["include"]) / "Python.h"
    return None if header.is_file() else f"Python's header {header} is not found"


def choose(setting: str, device: torch.device) -> tuple[bool, str]:
    """Whether to compile, and the reason in words.

    Args:
        setting: auto, yes or no.
        device: that trains.

    Raises:
        UserError: `yes` where there is no compiler.

    >>> choose("no", torch.device("cpu"))
    (False, 'compile=no')
    """
    if setting == "yes":
        if device.type == "cpu" and (lacking := missing_compiler()):
            raise UserError(
                "compile=yes is not possible here",
                found=lacking,
                cure="install a C++ compiler and Python's headers, or compile=auto",
            )
        return True, "compile=yes"
    if setting == "no":
        return False, "compile=no"
    known = "seldom faster, where it was measured" if device.type == "cpu" else "not measured yet"
    return False, f"on a {device.type} compiling is {known}; compile=yes asks for it"


def compiled(run: Run, network: Any, *, batch_size: int) -> Any:
    """The network to call in training: compiled where `compile` asks for it. A resumed run repeats the choice.

    Args:
        run: whose setting `compile` counts, and whose record keeps the choice.
        network: what `Run.wrap_distributed` gave, called with one tensor of samples.
        batch_size: over all processes.
    """
    if "compile" not in run.record:
        wanted, reason = choose(run.common["compile"], run.device)
        run.record["compile"] = {"chosen": wanted, "reason": reason}
        run.write_record()
        if run.common["compile"] == "yes":
            run.progress.line(f"compiled: {reason}")
    if not run.record["compile"]["chosen"]:
        return network
    if run.device.type == "cpu" and (lacking := missing_compiler()):
        raise UserError("this run was compiled and cannot resume without", found=lacking, where=run.folder)
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
