"""`classes.txt`: the number, the name and the colour of each class."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from chainrule.core.errors import UserError
from chainrule.data.formats.encoding import decode

FILE = "classes.txt"
LARGEST = 65535  # number that a class may have: masks have 16 bits at most
VOID_NAMES = ("void", "unlabelled", "unlabeled", "ignore", "ignored")
_LINE = re.compile(r"(?P<index>\d+)[\s,;:]+(?P<name>.*?)(?:[\s,;]+(?P<colour>\d+[\s,;]+\d+[\s,;]+\d+))?\s*")


@dataclass
class ClassList:
    """What a list of classes says.

    Attributes:
        file: where it stands.
        names: by number, in the order of the file.
        colours: by number, of those that have one.
    """

    file: Path
    names: dict[int, str] = field(default_factory=dict)
    colours: dict[int, tuple[int, int, int]] = field(default_factory=dict)

    @property
    def has_colours(self) -> bool:
        return bool(self.colours)

    @property
    def void(self) -> set[int]:
        """The numbers whose name says that they are no class."""
        return {index for index, name in self.names.items() if name.casefold() in VOID_NAMES}


def find_class_list(folders: Iterable[Path], encoding: str | None = None) -> ClassList | None:
    """The classes.txt of the first of these folders that has one."""
    file = next((folder / FILE for folder in folders if (folder / FILE).is_file()), None)
    return None if file is None else read_class_list(file, encoding)


def read_class_list(file: Path, encoding: str | None = None) -> ClassList:
    """Lines `index name R,G,B`, the colour may be left out.

    Raises:
        UserError: it is no text; a line is none of this form; a number, a name or a colour is there twice.
    """
    found = ClassList(file)
    for number, line in enumerate(decode(file.read_bytes(), file, encoding).splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        where = f"{file}, line {number}"
        match = _LINE.fullmatch(line.strip())
        if match is None or not match["name"]:
            raise UserError(
                "a line of the list of classes is not understood", where=where, expected="1 road 128,64,128", found=line
            )
        index, name = int(match["index"]), match["name"].strip()
        if index > LARGEST:
            raise UserError("a class has too large a number", where=where, expected=f"0 to {LARGEST}", found=line)
        if index in found.names or name in found.names.values():
            raise UserError("a class is in the list twice", where=where, found=line)
        found.names[index] = name
        if match["colour"]:
            r, g, b = map(int, re.findall(r"\d+", match["colour"]))
            if max(r, g, b) > 255:
                raise UserError("a colour is out of range", where=where, expected="0 to 255 each", found=line)
            if (r, g, b) in found.colours.values():
                raise UserError("two classes have one colour", where=where, found=line)
            found.colours[index] = (r, g, b)
    if not found.names:
        raise UserError("the list of classes is empty", where=file, expected="lines such as 1 road 128,64,128")
    return found
