"""How much memory there is, and words where something asks for more, before it is allocated."""

from __future__ import annotations

import contextlib
import functools
from pathlib import Path

from chainrule.core.errors import UserError

_CONTROL_GROUP = Path("/sys/fs/cgroup/memory.max")


@functools.cache
def memory_bytes() -> int | None:
    """The memory that this process may use at most: the machine's, its control group's, its own limit."""
    found: list[int] = []
    with contextlib.suppress(ImportError, ValueError, OSError, AttributeError):
        import os

        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    with contextlib.suppress(ValueError, OSError):  # "max" where there is no limit
        found.append(int(_CONTROL_GROUP.read_text()))
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            found.append(limit)
    return min(found) if found else None


def expect_memory(need: int, what: str, *, where: object = None, cure: str | None = None) -> None:
    """UserError where `what` needs more bytes than there can be.

    >>> expect_memory(10**18, "the parameters", cure="a smaller hidden_size")
    Traceback (most recent call last):
        ...
    chainrule.core.errors.UserError: there is not enough memory for the parameters
      expected: ... at most
      found:    a need of 1.0e+18 bytes (1,000,000,000.0 GB)
      cure:     a smaller hidden_size
    """
    there = memory_bytes()
    if there is not None and need > there:
        raise UserError(
            f"there is not enough memory for {what}",
            where=where,
            expected=f"{there:.1e} bytes ({there / 1e9:,.1f} GB) at most",
            found=f"a need of {need:.1e} bytes ({need / 1e9:,.1f} GB)",
            cure=cure,
        )
