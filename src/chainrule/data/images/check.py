"""Images, with classes and without: how they are recognised, counted, and what is wrong with them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from chainrule.core.errors import UserError
from chainrule.data.images.csv_images import PATH_COLUMN
from chainrule.data.images.decoding import SUFFIXES, TOO_LARGE, decoding_error, ignore_warnings, is_hidden
from chainrule.data.images.files import read_images
from chainrule.data.images.loading import check_labels, usual_channels
from chainrule.data.images.packed import opened
from chainrule.data.images.raw import RawImageSet
from chainrule.data.images.unlabelled import is_unlabelled, read_unlabelled
from chainrule.data.kind import Kind
from chainrule.data.layout import Layout, subfolders
from chainrule.data.npz import rank_of_inputs
from chainrule.data.splits import held_out_counts
from chainrule.data.tables.table_files import table_ending

_NAMED = 20  # broken images that one message names
# What training holds out where no split is given; a recipe's val_fraction may say otherwise.
_HELD_OUT = {"test": 0.2, "val": 1 / 12}


def _holds_images(layout: Layout, target: str | None) -> bool:
    """Published files; a CSV of paths or pixels; an npz unless it is a table; a folder with no more texts than images."""
    if layout.form == "folder":
        # class folders that are all empty: the reader says so
        return _mostly_images(layout) or (not layout.endings and bool(subfolders(layout.train)))
    if layout.form == "csv":
        return PATH_COLUMN in layout.tables["train"].header or _holds_pixels(layout, target)
    return layout.form in ("idx", "cifar10", "shards") or (
        layout.form == "npz" and rank_of_inputs(layout.train) not in (0, 1, 2)
    )


def _holds_unlabelled(layout: Layout, target: str | None) -> bool:
    return layout.form == "folder" and _mostly_images(layout) and is_unlabelled(layout)


def _mostly_images(layout: Layout) -> bool:
    images = sum(count for ending, count in layout.endings.items() if ending in SUFFIXES)
    return 0 < images >= layout.endings[".txt"]


def _holds_pixels(layout: Layout, target: str | None) -> bool:
    """Whether a CSV has square many columns of whole numbers from 0 to 255 beside a label."""
    table, label = layout.tables["train"], target or "label"
    places = [index for index, name in enumerate(table.header) if name != label]
    side = int(len(places) ** 0.5)
    if label not in table.header or side < 5 or side * side != len(places):
        return False
    return all(row[place].strip().isdecimal() and int(row[place]) <= 255 for row in table.rows[:50] for place in places)


def _check_with_classes(name: str, layout: Layout, target: str | None) -> dict[str, Any]:
    raw = read_images(layout.place, target)
    return _check_images(raw) | _too_deep(layout, raw) | _passed_over(layout, raw)


def _check_images(raw: RawImageSet) -> dict[str, Any]:
    _expect_readable(raw)
    check_labels(raw)
    channels = usual_channels(raw)
    labels = {name: part.labels for name, part in raw.splits.items()}
    found = {
        name: {raw.classes[i]: int(n) for i, n in enumerate(np.bincount(y, minlength=len(raw.classes)))}
        for name, y in labels.items()
    }
    return {
        "kind": "images",
        "where": raw.where,
        "classes": raw.classes,
        "found": {name: len(part) for name, part in labels.items()},
        **{f"{name} by class": counts for name, counts in found.items()},
        **held_out_counts(labels, _HELD_OUT),
        "channels": channels,
        "sizes": _sizes(raw),
    }


def _check_unlabelled(name: str, layout: Layout, target: str | None) -> dict[str, Any]:
    """Images without classes: enough for models that generate, and not for a classifier."""
    raw = read_unlabelled(layout)
    _expect_readable(raw)
    return {
        "kind": "images",
        "where": raw.where,
        "classes": "none: fit for models that generate; a classifier needs one subfolder a class, two at least",
        "found": {name: len(part.files) for name, part in raw.splits.items()},
        "channels": usual_channels(raw),
        "sizes": _sizes(raw),
    }


def _expect_readable(raw: RawImageSet) -> None:
    """Decodes every file: a header may be whole where the rest is cut short."""
    files = [file for part in raw.splits.values() for file in part.files]
    with ignore_warnings():
        broken = [(file, why) for file in files if (why := decoding_error(file)) is not None]
    if broken:
        named = [f"{file}: {why}" for file, why in broken[:_NAMED]]
        named += [f"and {len(broken) - _NAMED} more"] if len(broken) > _NAMED else []
        one, large = len(broken) == 1, any(why.startswith(TOO_LARGE) for _, why in broken)
        raise UserError(
            "an image cannot be read" if one else f"{len(broken)} of {len(files)} images cannot be read",
            where=raw.where,
            found="\n            ".join(named),
            cure=f"repair{', make smaller' if large else ''} or remove {'this file' if one else 'these files'}",
        )


def _too_deep(layout: Layout, raw: RawImageSet) -> dict[str, Any]:
    """A warning where no class folder holds an image itself: then the folder named may lie one too high."""
    files = [file for file in raw.splits["train"].files if isinstance(file, Path)]
    if not files or layout.form != "folder":
        return {}
    top = layout.train
    if any(len(file.relative_to(top).parts) <= 2 for file in files):
        return {}
    inside = sorted({str(Path(*file.relative_to(top).parts[:2])) for file in files})
    more = f" and {len(inside) - 4} more" if len(inside) > 4 else ""
    return {
        "look again": f"all images lie deeper than the class folders, in {', '.join(inside[:4])}{more}; if those are the classes, name the folder that holds them"
    }


def _passed_over(layout: Layout, raw: RawImageSet) -> dict[str, Any]:
    """The files of a folder that training would not look at, counted by ending; nothing where there are none."""
    taken, place = {file for part in raw.splits.values() for file in part.files}, layout.place
    if not taken or not isinstance(place, Path) or not place.is_dir() or layout.form == "shards":
        return {}
    others = Counter(
        f"a {f.suffix.lower()} outside the class folders"
        if f.suffix.lower() in SUFFIXES
        else f.suffix.lower() or f.name
        for f in place.rglob("*")
        if f not in taken and table_ending(f) is None and not is_hidden(f, place) and f.is_file()
    )
    return {"passed over": dict(others.most_common(_NAMED))} if others else {}


def _sizes(raw: RawImageSet) -> str:
    """Width x height of the images: the one there is, or the smallest and the largest."""
    sizes: set[tuple[int, int]] = set()
    with ignore_warnings():
        for part in raw.splits.values():
            if part.arrays is not None:
                sizes.add((part.arrays.shape[2], part.arrays.shape[1]))
            for file in part.files:
                with Image.open(opened(file)) as image:
                    sizes.add(image.size)
    if len(sizes) == 1:
        width, height = next(iter(sizes))
        return f"{width}x{height}"
    low, high = min(sizes, key=lambda s: s[0] * s[1]), max(sizes, key=lambda s: s[0] * s[1])
    return f"{low[0]}x{low[1]} to {high[0]}x{high[1]}, {len(sizes)} different"


IMAGES = Kind("images", _holds_images, _check_with_classes)
UNLABELLED = Kind("images without classes", _holds_unlabelled, _check_unlabelled)
