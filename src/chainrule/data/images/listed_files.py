"""The image files that a list names: below its folder, or in one of the folders beside it, with or without their ending."""

from __future__ import annotations

from pathlib import Path

from chainrule.core.errors import UserError
from chainrule.data.formats.content import IMAGE_ENDINGS, is_image
from chainrule.data.layout import subfolders
from chainrule.data.split_names import split_called


class ListedFiles:
    """Finds what the cells of a list name.

    A cell is a path below the folder of the list; else below one of the folders in it, `images/`; else the name of a file
    there without its ending. Of two folders that have it, that of the row's split goes first.

    Args:
        folder: in which the list lies.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._folders = subfolders(folder) if folder.is_dir() else []
        self._stems: dict[Path, dict[str, Path]] = {}

    def find(self, cell: str, split: str = "") -> Path | None:
        """The file that a cell names; None where there is none.

        Raises:
            UserError: two folders have it, and neither is called as the split.
        """
        cell = cell.strip()
        if not cell:
            return None
        for name in dict.fromkeys([cell, cell.replace("\\", "/")]):
            if _is_file(self.folder / name):
                return self.folder / name
        name = cell.replace("\\", "/")
        found = [file for folder in self._folders if _is_file(file := folder / name)]
        if not found and Path(name).suffix.lower() not in IMAGE_ENDINGS:
            places = [self.folder, *self._folders]
            found = [known for folder in places if (known := self._by_stem(folder, name)) is not None]
        own = [file for file in found if split_called(file.relative_to(self.folder).parts[0]) == split]
        if len(found) > 1 and len(own) != 1:
            raise UserError(
                "two images have the name in a list",
                where=self.folder,
                found=" and ".join(str(file) for file in found[:3]),
                expected="one; or the folder in the list: images/NAME",
            )
        return (own if len(found) > 1 else [*found, None])[0]

    def _by_stem(self, folder: Path, name: str) -> Path | None:
        place = (folder / name).parent
        if place not in self._stems:
            files = sorted(place.iterdir()) if place.is_dir() else []
            self._stems[place] = {file.stem: file for file in files if is_image(file) and file.is_file()}
        return self._stems[place].get(Path(name).name)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long, or a zero in it
        return False
