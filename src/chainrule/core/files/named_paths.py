"""Paths that the user names: one that no file can have, or that cannot be read, is the user's error, told in words."""

from __future__ import annotations

import contextlib
import errno
import functools
import inspect
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

from chainrule.core.errors import UserError

LONGEST_NAME, LONGEST_PATH = 255, 4095  # bytes, of the usual file systems and of Linux
# What a system says of a file that is not as the user takes it to be; a disk that is full is not among them.
OF_A_NAME = (errno.ENAMETOOLONG, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EACCES, errno.EPERM)
Function = TypeVar("Function", bound=Callable[..., Any])


def expect_path(what: str, named: object) -> None:
    """UserError for a path that no file can have: too long, with a byte 0 in it, not UTF-8.

    Of a list or a dictionary each is looked at; of what is neither text nor a path, nothing.

    >>> expect_path("out", "a" * 300)
    Traceback (most recent call last):
        ...
    chainrule.core.errors.UserError: a name in a path is too long
      where:    out=aaa...
      expected: 255 bytes a name, 4,095 in all
      found:    300 bytes
    """
    if isinstance(named, Mapping):
        named = list(named.values())
    if isinstance(named, (list, tuple)):
        for each in named:
            expect_path(what, each)
        return
    if isinstance(named, os.PathLike):
        named = os.fspath(named)
    if type(named) is not str:  # of a text that carries data given in Python too
        return
    expect_text(what, named)
    content = named.encode()
    longest = max(map(len, content.split(os.sep.encode())))
    if longest > LONGEST_NAME or len(content) > LONGEST_PATH:
        raise UserError(
            f"a {'name in a ' if longest > LONGEST_NAME else ''}path is too long",
            where=f"{what}={named[:200]}...",
            expected=f"{LONGEST_NAME} bytes a name, {LONGEST_PATH:,} in all",
            found=f"{longest if longest > LONGEST_NAME else len(content):,} bytes",
        )


def expect_text(what: str, named: object) -> None:
    """UserError for a text that cannot be written down, and names no file: with a byte 0 in it, not UTF-8."""
    if not isinstance(named, str):
        return
    if "\0" in named:
        raise UserError(f"{what} holds a byte 0", found=ascii(named)[:200])
    try:
        named.encode()
    except UnicodeEncodeError:
        raise UserError(
            f"{what} is no UTF-8",
            expected="texts, and names of files and folders, in UTF-8",
            found=ascii(named)[:200],
            cure="rename the file or the folder",
        ) from None


@contextlib.contextmanager
def names_told() -> Iterator[None]:
    """Tells an error of the system about the name of a file in words: not there, no folder, not to be read, too long."""
    try:
        yield
    except OSError as error:
        if error.filename is None or error.errno not in OF_A_NAME:
            raise
        raise UserError(f"the system refuses: {error.strerror or error}", where=str(error.filename)[:300]) from error


def takes_paths(*names: str) -> Callable[[Function], Function]:
    """Has a function refuse, in the parameters `names`, paths that no file can have, and tell in words what the system
    refuses of others.

    >>> @takes_paths("out")
    ... def write(*, out): return open(out)
    >>> write(out="nowhere/a")
    Traceback (most recent call last):
        ...
    chainrule.core.errors.UserError: the system refuses: No such file or directory
      where:    nowhere/a
    """

    def wrap(function: Function) -> Function:
        signature = inspect.signature(function)

        def check(args: Any, kwargs: Any) -> None:
            given = signature.bind(*args, **kwargs).arguments
            for name in names:
                expect_path(name, given.get(name))

        @functools.wraps(function)
        def checked(*args: Any, **kwargs: Any) -> Any:
            check(args, kwargs)
            with names_told():
                return function(*args, **kwargs)

        @functools.wraps(function)
        def each(*args: Any, **kwargs: Any) -> Any:
            check(args, kwargs)
            with names_told():
                yield from function(*args, **kwargs)

        return cast(Function, each if inspect.isgeneratorfunction(function) else checked)

    return wrap


def is_there(name: str) -> bool:
    """Whether something lies at a path; a text that is too long for one is none.

    >>> is_there("."), is_there("x" * 5000), is_there("")
    (True, False, False)
    """
    try:
        return bool(name) and Path(name).exists()
    except (OSError, ValueError):
        return False
