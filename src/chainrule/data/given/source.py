"""Data given in Python, in the place of a path: what every reader is handed, and what run.json says of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from chainrule.core.errors import UserError
from chainrule.data.catalog.record import Source

if TYPE_CHECKING:  # `list` looks into the catalogue of data, and loads no NumPy
    import numpy as np

    from chainrule.data.tables.formats.cells import Cells

MARK = "given in Python: "


@dataclass(frozen=True)
class GivenSource(Source):
    """Arrays, or tables, that were given in Python. Readers take them as they take those of a file.

    Attributes:
        arrays: by the names that an npz file has them under (`chainrule.data.formats.npz.split_arrays`); images are bytes
            (N, H, W, C), labels of images whole numbers.
        tables: the table of each split; where there are any, `arrays` is empty.
        classes: the names of the classes of images, where they have names.
    """

    arrays: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False)
    tables: Mapping[str, Cells] = field(default_factory=dict, repr=False)
    classes: list[str] | None = None


class Given(str):
    """What run.json says of data given in Python, as text; here it carries them, from a file it does not.

    So a run names its data by a string, wherever they come from, and `resolve` finds them behind it.
    """

    source: GivenSource

    def __new__(cls, source: GivenSource) -> Given:
        given = super().__new__(cls, source.name)
        given.source = source
        return given

    def __copy__(self) -> Given:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Given:
        return self  # the data are the user's: they are not copied with a record that names them


def not_here(name: str) -> UserError:
    """The error where data are needed that an earlier session was given in Python."""
    return UserError(
        "the data of this run were given in Python, and are not here",
        expected=name,
        cure='give them again: chainrule.resume("RUN", data=...) or chainrule.evaluate("RUN", data=...) in Python; '
        "or other data of the same kind: chainrule evaluate RUN --data PATH",
    )
