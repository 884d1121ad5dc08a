"""What the user's own file imports from beside it, as `python FILE.py` would find it: in its folder first.

The folder is searched for what the files in it import, while they run and later, in a forward pass; for nobody else, and
without a place in `sys.path`. A folder with an `__init__.py` is a package, so `from .blocks import Block` works too.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import FrameType, ModuleType

_folders: dict[str, tuple[str, ...]] = {}  # of own files, and where what they import is searched
found: set[str] = set()  # names of modules that were found so


class _Beside:
    """Finds modules for whoever lies in one of these folders; a finder of `sys.meta_path`."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        asking = _asking_file() if path is None else None  # a part of a package is found by the package
        if asking is None:
            return None
        # The innermost of the folders that the asking file lies in.
        around = [folder for folder in _folders if _is_inside(asking, folder)]
        spec = PathFinder.find_spec(name, _folders[max(around, key=len)]) if around else None
        if spec is not None:
            found.add(name)
        return spec


def _asking_file() -> str | None:
    """The file whose line imports something: the first on the stack that is no part of Python's import."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and str(frame.f_globals.get("__name__")).partition(".")[0] == "importlib":
        frame = frame.f_back
    return frame.f_code.co_filename if frame is not None else None


def _is_inside(file: str, folder: str) -> bool:
    return file.startswith(folder + os.sep) and "site-packages" not in Path(file).parts


def package_of(file: Path) -> tuple[str, Path]:
    """The dotted name of the package that a file lies in, empty for none, and the folder that it is searched in."""
    names, folder = [], file.parent
    while (folder / "__init__.py").is_file() and folder.name.isidentifier():
        names.append(folder.name)
        folder = folder.parent
    return ".".join(reversed(names)), folder


def beside(file: Path) -> set[str]:
    """The names of the modules that lie in the file's folder, or are of its package, among those that are imported."""
    roots = {str(file.parent), str(package_of(file)[1])} if package_of(file)[0] else {str(file.parent)}
    return {
        name
        for name, module in list(sys.modules.items())
        if (place := getattr(module, "__file__", None)) and any(_is_inside(str(place), root) for root in roots)
    }


@contextlib.contextmanager
def searched_first(file: Path) -> Iterator[None]:
    """While the file runs, its folder is the first to be searched; afterwards for the files in it alone.

    A module of the same name that was imported from elsewhere, from the user's other project, steps aside meanwhile.
    """
    package, root = package_of(file)
    _folders[str(file.parent)] = (str(file.parent), str(root)) if package else (str(file.parent),)
    if _Beside not in sys.meta_path:
        sys.meta_path.insert(0, _Beside)
    aside = {name: sys.modules.pop(name) for name in _of_another_folder(file.parent)}
    sys.path.insert(0, str(file.parent))
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(str(file.parent))
        sys.modules.update(aside)


def _of_another_folder(folder: Path) -> list[str]:
    """Imported modules of the user's whose names are those of files here; what is installed stays what it is."""
    here = {entry.stem for entry in folder.iterdir() if entry.suffix == ".py" or (entry / "__init__.py").is_file()}
    names = []
    for name, module in list(sys.modules.items()):
        place, top = str(getattr(module, "__file__", None) or ""), name.partition(".")[0]
        if top in here and place and not place.startswith((str(folder) + os.sep, *_INSTALLED)) and top != "__main__":
            names.append(name)
    return names


_INSTALLED = tuple(
    {
        str(Path(path)) + os.sep
        for path in (sys.prefix, sys.base_prefix, Path(__file__).parents[3], Path(os.__file__).parent)
    }
)
