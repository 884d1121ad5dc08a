"""Seeds: which there are, and numbers made of them that PyTorch's generators take."""

from __future__ import annotations

from chainrule.core.errors import UserError

LARGEST = 2**63 - 1  # a date and a time in microseconds is far below


def check_seed(seed: int) -> None:
    """UserError unless the seed is from 0 to 2^63 - 1. (PyTorch draws on the CPU from its last 32 bits alone.)"""
    if not 0 <= seed <= LARGEST:
        raise UserError("the seed is out of range", expected=f"a whole number, 0 to {LARGEST}", found=seed)


def in_64_bits(number: int) -> int:
    """A number made of a seed and counters as a generator takes it: modulo 2^64, so that small ones stay what they are.

    >>> in_64_bits(1_000_003), in_64_bits(2**64 + 7)
    (1000003, 7)
    """
    return number % 2**64
