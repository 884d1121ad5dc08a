"""How much memory there is, and words where something asks for more, before it is allocated."""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Iterator
from pathlib import Path

from chainrule.core.errors import ChainruleError, RunFailed, UserError

CURE = "a smaller network, fewer or smaller samples, or a smaller batch_size"
_SIGNS = (  # in what PyTorch says where it finds no memory
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "calculation overflowed",
    "Trying to create tensor with negative dimension",
)
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


def expect_memory(
    need: int, what: str, *, where: object = None, cure: str | None = None, there: int | None = None
) -> None:
    """UserError where `what` needs more bytes than there can be: in this process, or `there` on another device.

    >>> expect_memory(10**18, "the parameters", cure="a smaller hidden_size")
    Traceback (most recent call last):
        ...
    chainrule.core.errors.UserError: there is not enough memory for the parameters
      expected: ... at most
      found:    a need of 1.0e+18 bytes (1,000,000,000.0 GB)
      cure:     a smaller hidden_size
    """
    there = memory_bytes() if there is None else there
    if there is not None and need > there:
        raise UserError(
            f"there is not enough memory for {what}",
            where=where,
            expected=f"{there:.1e} bytes ({size_in_words(there)}) at most",
            found=f"a need of {need:.1e} bytes ({size_in_words(need)})",
            cure=cure,
        )


def size_in_words(count: int) -> str:
    """A number of bytes for people.

    >>> size_in_words(110_000_000), size_in_words(2_500_000_000)
    ('110 MB', '2.5 GB')
    """
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.3g} MB"


def said_of_memory(error: BaseException) -> str | None:
    """The words for an error that says that memory is lacking, with the bytes asked for; None of another.

    >>> print(said_of_memory(RuntimeError("can't allocate memory: you tried to allocate 4000 bytes. Error code 12")))
    there is not enough memory
      found:    4000 bytes are asked for at once
      cure:     a smaller network, fewer or smaller samples, or a smaller batch_size
    """
    text = str(error)
    if not isinstance(error, MemoryError) and not any(sign in text for sign in _SIGNS):
        return None
    need = re.search(r"[Aa]llocate ([\d.]+ ?[A-Za-z]+)", text) or re.search(
        r"(sizes=\[[\d, ]+\]|shape \([\d, ]+\))", text
    )
    found = [f"  found:    {need[1]} are asked for at once"] if need else []
    return "\n".join(["there is not enough memory", *found, f"  cure:     {CURE}"])


@contextlib.contextmanager
def memory_told(error_class: type[ChainruleError] = RunFailed) -> Iterator[None]:
    """Tells an error of lacking memory in words: a RunFailed, or a UserError where nothing was learnt yet."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        told = said_of_memory(error)
        if told is None:
            raise
        raise error_class(told) from error
