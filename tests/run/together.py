"""Several processes that train together, forked here as torchrun would start them."""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch._dynamo  # these here once, and not anew in every process
import torch.distributed.checkpoint
import torch.distributed.fsdp
import torch.distributed.tensor

from chainrule.core.device import leave_world

can_fork = [
    pytest.mark.skipif(
        os.name != "posix" or torch.cuda.is_available(), reason="forks, as autograd's threads for a GPU cannot"
    ),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]


def together(act: Callable[[int], object], seconds: float = 30, count: int = 2) -> None:
    """Calls `act(rank)` in `count` processes as torchrun would start them; what one of them raises fails the test."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("fork")
    told = Path(f"failure-{port}.txt").absolute()

    def begin(rank: int) -> None:
        os.environ |= {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(count),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
        }
        torch.set_num_threads(1)
        try:
            act(rank)
            leave_world()
        except BaseException as error:
            with told.open("a") as file:
                file.write(f"process {rank}: {type(error).__name__}: {error}\n")
            os._exit(1)

    processes = [context.Process(target=begin, args=(rank,), daemon=True) for rank in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(seconds)
    stuck = [process for process in processes if process.is_alive()]
    for process in stuck:
        process.kill()
        process.join()
    if told.exists():
        pytest.fail(told.read_text())
    assert not stuck, "a process waits for the others"
    assert [process.exitcode for process in processes] == [0] * count
