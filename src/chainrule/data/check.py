"""`chainrule data check`: what the user's own data are recognised as, counted, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from chainrule.core.errors import UserError
from chainrule.data.catalog.sources import SOURCES, resolve
from chainrule.data.images.check import IMAGES, UNLABELLED
from chainrule.data.images.decoding import SUFFIXES
from chainrule.data.kind import Kind
from chainrule.data.layout import Layout, layout_of
from chainrule.data.tables.check import SERIES, TABLE
from chainrule.data.text.check import SENTENCES, TEXT

# The first that matches is it. A new kind stands beside its reader, and here.
KINDS = (UNLABELLED, IMAGES, SENTENCES, TABLE, SERIES, TEXT)


def check(path: str, target: str | None) -> dict[str, Any]:
    """What `path` (or a known data set's name) is, as plain JSON.

    Keys: `kind` (images, table, series, sentences or text), `where`, counts of each split as found, `made` (what
    training would hold out), and by kind `classes`, `channels`, `sizes`, `columns`, `characters`.

    Args:
        path: a file, a folder, or a name that `chainrule data list` shows.
        target: the column of labels, for tables.

    Raises:
        UserError: names what is wrong; of images that cannot be read, up to twenty together.
    """
    layout = layout_of(resolve(path))
    known = SOURCES[path].kind if path in SOURCES and layout.place != Path(path) else None
    return recognise(layout, target, known).check(path, layout, target)


def recognise(layout: Layout, target: str | None, known: str | None = None) -> Kind:
    """The kind of data at a place, or that of the name `known`; UserError where it is none of KINDS."""
    for kind in KINDS:
        if kind.name == known if known is not None else kind.matches(layout, target):
            return kind
    if layout.form == "folder":
        raise UserError(
            "the folder holds no data of a kind that is known",
            where=layout.place,
            expected="one subfolder of images a class, or train.csv, or .txt files",
            found=", ".join(f"{n} {e or 'without ending'}" for e, n in layout.endings.most_common(5)) or "nothing",
        )
    suffix = layout.train.suffix.lower()
    if suffix in SUFFIXES:
        raise UserError(
            "one image is no data set",
            where=layout.place,
            expected="a folder with one subfolder a class",
            cure=f"chainrule data check {layout.train.parent}, or chainrule predict RUN {layout.place}",
        )
    raise UserError(
        "the data are of no kind that is known",
        where=layout.place,
        expected="a folder of class folders, a folder of images, .csv, .npz, .txt, or a name of chainrule data list",
        found=f"a file ending in {suffix}",
    )
