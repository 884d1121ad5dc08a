"""Runs a Python file of the user's own and takes one thing out of it: `FILE.py:NAME`.

A file that the user names is theirs to run. Whether a file may run that a run folder names is decided in `chainrule.core.own_code.given`.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import importlib.util
import linecache
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.machinery import PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from chainrule.core.errors import ChainruleError, RunFailed, UserError, unknown
from chainrule.core.own_code import neighbours
from chainrule.core.own_code.neighbours import beside, package_of, searched_first

_ran: set[str] = set()  # the files that ran here: errors that pass through them are told by their lines
_neighbours: set[str] = set()  # names of modules that the last file imported from its own folder


@dataclass(frozen=True)
class OwnFile:
    """A file and a name in it, with what it held when it ran.

    Attributes:
        file: its whole path.
        name: of a class, a function, an instance in it.
        sha256: of its content.
        imports: the same of the files that it imported from its own folder, by their paths below that folder.
    """

    file: str
    name: str
    sha256: str
    imports: dict[str, str] = field(default_factory=dict)

    def changed(self) -> list[str]:
        """The files that are not as they were, or not there any more."""
        folder = Path(self.file).parent
        held = {self.file: self.sha256, **{str(folder / part): digest for part, digest in self.imports.items()}}
        return [file for file, digest in held.items() if digest_of(Path(file)) != digest]


def names_own_code(text: object) -> bool:
    """Whether a setting names code of the user's own.

    >>> [names_own_code(text) for text in ("net.py:Net", "resnet18", "net.py", "net.py:")]
    [True, False, False, False]
    """
    file, colon, name = str(text).rpartition(":")
    return bool(colon) and file.endswith(".py") and name.isidentifier()


def split_name(text: str) -> tuple[Path, str]:
    """`FILE.py:NAME` as the whole path of the file and the name.

    >>> split_name("/home/me/net.py:Net")[1]
    'Net'
    """
    file, _, name = text.rpartition(":")
    return Path(file).expanduser().resolve(), name


@dataclass(frozen=True)
class RanFile:
    """A file that ran: its module, what it held, and what the files that it imported from its folder held."""

    file: Path
    module: ModuleType
    sha256: str
    imports: dict[str, str]

    def take(self, name: str) -> tuple[Any, OwnFile]:
        """What it calls `name`; UserError where there is nothing."""
        held = vars(self.module)
        if name not in held:
            own = [n for n, thing in held.items() if getattr(thing, "__module__", None) == self.module.__name__]
            raise unknown(f"{self.file.name} has nothing called", name, own or [n for n in held if n[:1] != "_"])
        return held[name], OwnFile(str(self.file), name, self.sha256, self.imports)


def run_file(file: Path) -> RanFile:
    """Runs the file. Modules beside it can be imported by it; no cache of compiled code is read or written for it.

    Raises:
        UserError: no such file, or an error in it, told by its line.
    """
    try:
        content = _content(file)
    except OSError as error:
        raise UserError(
            "there is no such file" if isinstance(error, FileNotFoundError) else "the file cannot be read",
            where=file,
            expected="FILE.py:NAME, a Python file of your own and a name in it",
            found=None if isinstance(error, FileNotFoundError) else error.strerror,
        ) from None
    sha256 = hashlib.sha256(content).hexdigest()
    package, _ = package_of(file)
    module = _run(file, content, f"{package}{'.' if package else ''}own_{file.stem}_{sha256[:12]}")
    imports = {
        Path(os.path.relpath(path, file.parent)).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (Path(str(sys.modules[n].__file__)) for n in sorted(_neighbours))
    }
    return RanFile(file, module, sha256, imports)


def load(file: Path, name: str) -> tuple[Any, OwnFile]:
    """Runs the file and takes `name` out of it, with the record of what ran."""
    return run_file(file).take(name)


class _Loader(SourceFileLoader):
    """Runs exactly the bytes that were read: neither a newer file nor a compiled one that lies beside it."""

    def __init__(self, name: str, path: str, content: bytes) -> None:
        super().__init__(name, path)
        self.content = content

    def get_code(self, fullname: str) -> CodeType | None:
        return self.source_to_code(self.content, self.path)


def _run(file: Path, content: bytes, name: str) -> ModuleType:
    """The module of the file; those that it imports from its folder are read anew, whatever was read before."""
    for other in list(sys.modules):
        if other in _neighbours or other.partition(".")[0] in neighbours.found:
            del sys.modules[other]
    _neighbours.clear()
    neighbours.found.clear()
    linecache.checkcache(str(file))
    before = set(sys.modules)
    spec = importlib.util.spec_from_file_location(name, file, loader=_Loader(name, str(file), content))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses and torch look for it
    _ran.add(str(file))
    with searched_first(file):
        try:
            spec.loader.exec_module(module)
        except ChainruleError:
            raise
        except (Exception, SystemExit) as error:
            sys.modules.pop(name)
            raise UserError(
                f"the file fails: {said(error)}", where=place_of(error) or file, cure=_cure(error, file)
            ) from error
        finally:
            _neighbours.update(beside(file) - before - {name})
            _ran.update(str(sys.modules[n].__file__) for n in _neighbours)
    return module


def _cure(error: BaseException, file: Path) -> str | None:
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"pip install what has {error.name}, or put {error.name.partition('.')[0]}.py beside {file.name}"
    if isinstance(error, ImportError) and "relative import" in str(error):
        return f"an __init__.py in {file.parent.name}, which makes it a package; or the import without its leading dot"
    return None


def module_file(module: str) -> OwnFile:
    """The file that `import module` would run, found without running anything; of the packages above it the same.

    >>> module_file("json.decoder").name
    'json.decoder'
    """
    names, files = module.split("."), list[str]()
    places: Sequence[str] | None = None
    for count in range(1, len(names) + 1):
        spec = PathFinder.find_spec(".".join(names[:count]), places)
        if spec is None or ((places := spec.submodule_search_locations) is None and count < len(names)):
            break
        files.append(spec.origin or "")
    above = {file: digest_of(Path(file)) or "" for file in files[:-1]}
    found = files[-1] if len(files) == len(names) else module
    return OwnFile(found, module, digest_of(Path(found)) or "", above)


def digest_of(file: Path) -> str | None:
    """The SHA-256 of a file's content; None where it cannot be read."""
    try:
        return hashlib.sha256(_content(file)).hexdigest()
    except OSError:
        return None


def _content(file: Path) -> bytes:
    """OSError for a pipe or a device too, which might never end."""
    if file.exists() and not file.is_file():
        raise OSError(errno.EINVAL, "it is no file")
    return file.read_bytes()


def said(error: BaseException) -> str:
    """An error in a line: its kind, and what it says.

    >>> said(ValueError("no such layer"))
    'ValueError: no such layer'
    """
    text = (error.msg if isinstance(error, SyntaxError) else str(error)).strip()
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def place_of(error: BaseException) -> str | None:
    """The line of the user's own files that an error comes from; None where it comes from elsewhere."""
    if isinstance(error, SyntaxError) and error.filename in _ran:
        return f"{error.filename}, line {error.lineno}: {(error.text or '').strip()}"
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in _ran]
    if not own:
        return None
    last = own[-1]
    inside = "" if last.name == "<module>" else f", in {last.name}"
    return f"{last.filename}, line {last.lineno}{inside}: {last.line}"


@contextlib.contextmanager
def told_by_line() -> Iterator[None]:
    """Turns an error in the user's own code, after it was tried, into a RunFailed that says the line of their file."""
    try:
        yield
    except ChainruleError:
        raise
    except Exception as error:
        place = place_of(error)
        if place is None:
            raise
        raise RunFailed(f"your own code fails: {said(error)}\n  where:    {place}") from error
