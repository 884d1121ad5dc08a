"""Pointers of git-lfs: small texts that stand in a checkout where the large files were not fetched."""

from __future__ import annotations

from pathlib import Path

from chainrule.core.errors import UserError

POINTER = b"version https://git-lfs.github.com/spec/"


def expect_no_pointer(head: bytes, where: str | Path) -> None:
    """UserError where a file begins as a pointer does, and so is not the file itself.

    >>> expect_no_pointer(b"PK", "weights.pth")
    """
    if head.startswith(POINTER):
        raise UserError(
            "this is a pointer of git-lfs, which says where the file is, and not the file",
            where=where,
            expected="the file itself",
            cure="git lfs install, then git lfs pull, in the checkout that it is from; or fetch the file by its address",
        )
