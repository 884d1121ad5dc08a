"""`chainrule data check`: what the user's own data are recognised as, counted, and what is wrong with them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from chainrule.core.errors import UserError
from chainrule.data.catalog.sources import SOURCES, Source, resolve
from chainrule.data.images.decoding import SUFFIXES, TOO_LARGE, image_files, is_hidden, why_broken, without_warnings
from chainrule.data.images.files import RawImages, RawImageSet, read_images
from chainrule.data.images.loading import check_labels, usual_channels
from chainrule.data.images.unlabelled import is_unlabelled
from chainrule.data.splits import stratified
from chainrule.data.tables.files import RawTable, read_csv, read_table
from chainrule.data.tables.series import read_values
from chainrule.data.text.characters import read_texts
from chainrule.data.text.sentence_files import TEXT_COLUMN, read_sentences, split_folders
from chainrule.data.text.sentences import class_names, class_numbers

_NAMED = 20  # broken images that one message names
# What training holds out where no split is given; a recipe's val_fraction may say otherwise.
_HELD_OUT = {"test": 0.2, "val": 1 / 12}
_HELD_OUT_ROWS = {"test": 0.2, "val": 0.1}
_HELD_OUT_TEXTS = {"test": 0.1, "val": 0.1}


def check(path: str, target: str | None) -> dict[str, Any]:
    """What `path` (or a known data set's name) is, as plain JSON.

    Keys: `kind` (images, table, series, sentences or text), `where`, counts of each split as found, `made` (what training would hold out),
    and by kind `classes`, `channels`, `sizes`, `columns`, `characters`.

    Args:
        path: a file, a folder, or a name that `chainrule data list` shows.
        target: the column of labels, for tables.

    Raises:
        UserError: names what is wrong; of images that cannot be read, up to twenty together.
    """
    place = resolve(path)
    if path in SOURCES and SOURCES[path].kind == "series":
        return _check_series(path, target)
    published = path in SOURCES and SOURCES[path].kind == "sentences"
    kind = "sentences" if published else recognise(place, target)
    if kind == "sentences":
        return _check_sentences(path, target)
    if kind == "images":
        raw = read_images(place, target)
        return _check_images(raw) | _too_deep(place, raw) | _passed_over(place, raw)
    if kind == "pictures":
        assert isinstance(place, Path)
        return _check_unlabelled(place)
    if kind == "table":
        return _check_table(read_table(place, target, needs_target=False, encode=True, fill=True))
    return _check_text(path)


def recognise(place: Source | Path, target: str | None) -> str:
    """images, images (without classes), table, sentences (with classes) or text; UserError where it is none of them."""
    if isinstance(place, Source):
        return place.kind
    if place.is_dir():
        return _recognise_folder(place, target)
    suffix = place.suffix.lower()
    if suffix == ".csv":
        return _recognise_csv(place, target)
    if suffix == ".npz":
        return _recognise_npz(place)
    if suffix in SUFFIXES:
        raise UserError(
            "one image is no data set",
            where=place,
            expected="a folder with one subfolder a class",
            cure=f"chainrule data check {place.parent}, or chainrule predict RUN {place}",
        )
    if suffix in (".txt", ".text", ".md", ""):
        return "text"
    raise UserError(
        "the data are of no kind that is known",
        where=place,
        expected="a folder of class folders, a folder of images, .csv, .npz, .txt, or a name of chainrule data list",
        found=f"a file ending in {suffix}",
    )


def _recognise_folder(folder: Path, target: str | None) -> str:
    published = ("train-images-idx3-ubyte.gz", "train-images-idx3-ubyte", "cifar-10-batches-bin")
    if any((folder / name).exists() for name in published):
        return "images"
    if (folder / "train.csv").is_file():
        return _recognise_csv(folder / "train.csv", target)
    endings = Counter(f.suffix.lower() for f in folder.rglob("*") if f.is_file() and not f.name.startswith("."))
    some_images = sum(count for ending, count in endings.items() if ending in SUFFIXES)
    if some_images and some_images >= endings[".txt"]:
        return "pictures" if is_unlabelled(folder) else "images"
    if endings[".txt"]:
        return "sentences" if split_folders(folder) else "text"
    train = folder / "train" if (folder / "train").is_dir() else folder
    if not endings and any(d.is_dir() for d in train.iterdir()):
        return "images"  # class folders that are all empty: the reader says so
    raise UserError(
        "the folder holds no data of a kind that is known",
        where=folder,
        expected="one subfolder of images a class, or train.csv, or .txt files",
        found=", ".join(f"{n} {e or 'without ending'}" for e, n in endings.most_common(5)) or "nothing",
    )


def _recognise_csv(file: Path, target: str | None) -> str:
    """A column `path`: images. A column `text`: sentences. Square many columns of whole numbers 0 to 255 beside a label: their pixels."""
    header, rows, _ = read_csv(file)
    if "path" in header:
        return "images"
    if TEXT_COLUMN in header:
        return "sentences"
    label = target or ("label" if "label" in header else None)
    places = [index for index, name in enumerate(header) if name != label]
    side = int(len(places) ** 0.5)
    if label is None or label not in header or side < 5 or side * side != len(places):
        return "table"
    pixels = all(
        rows[r][c].strip().isdigit() and int(rows[r][c]) <= 255 for r in range(min(len(rows), 50)) for c in places
    )
    return "images" if pixels else "table"


def _recognise_npz(file: Path) -> str:
    try:
        with np.load(file, allow_pickle=False) as content:
            name = next((n for n in ("x", "x_train") if n in content.files), None)
            return "table" if name is not None and content[name].ndim <= 2 else "images"
    except (OSError, ValueError, EOFError):
        return "images"  # the reader says what is wrong with it


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
        **_held_out(labels, _HELD_OUT),
        "channels": channels,
        "sizes": _sizes(raw),
    }


def _check_unlabelled(folder: Path) -> dict[str, Any]:
    """Images without classes: enough for models that generate, and not for a classifier."""
    parts = {name: folder / name for name in ("train", "val", "test") if (folder / name).is_dir()}
    splits = {}
    for name, place in (parts if "train" in parts else {"train": folder}).items():
        files = image_files(place)
        splits[name] = RawImages(np.zeros(len(files), dtype=np.int64), files=files)
    raw = RawImageSet(splits, [], str(folder))
    _expect_readable(raw)
    return {
        "kind": "images",
        "where": raw.where,
        "classes": "none: fit for models that generate; a classifier needs one subfolder a class, two at least",
        "found": {name: len(part.files) for name, part in splits.items()},
        "channels": usual_channels(raw),
        "sizes": _sizes(raw),
    }


def _check_table(raw: RawTable) -> dict[str, Any]:
    train = raw.splits["train"]
    constant = [raw.columns[i] for i in np.flatnonzero((train.x == train.x[:1]).all(0))] if len(train.x) > 1 else []
    answer: dict[str, Any] = {
        "kind": "table",
        "where": raw.where,
        "columns": raw.columns,
        "target": raw.target or "none",
        "found": {name: len(rows.x) for name, rows in raw.splits.items()},
    }
    labels: dict[str, np.ndarray] = {}
    if train.labels is not None:
        names, numbers = np.unique(train.labels.astype(str), return_inverse=True)
        counts = np.bincount(numbers)
        if len(names) <= max(20, len(numbers) // 10):
            answer["classes"] = names.tolist()
            answer["train by class"] = {str(name): int(n) for name, n in zip(names, counts, strict=True)}
            labels = {"train": numbers}
        else:
            answer["classes"] = f"none: {len(names)} distinct values, a target of regression"
    plain = {name: labels.get(name, np.zeros(len(rows.x), dtype=np.int64)) for name, rows in raw.splits.items()}
    answer |= _held_out(plain, _HELD_OUT_ROWS, by_class=bool(labels))
    if constant:
        answer["constant columns"] = constant
    if raw.categories:
        _refuse_stray_text(raw)
        answer["categories"] = {name: len(values) for name, values in raw.categories.items()}
    missing = sum(np.isnan(rows.x).sum(0) for rows in raw.splits.values())
    if missing.any():
        answer["missing values"] = {raw.columns[i]: int(missing[i]) for i in np.flatnonzero(missing)}
    return answer


def _refuse_stray_text(raw: RawTable) -> None:
    """UserError for text in a column that is mostly numbers: more likely a mistake than a category."""
    for name, values in raw.categories.items():
        numeric = np.array([_is_number(value) for value in values])
        for rows in raw.splits.values():
            cells = rows.x[:, raw.columns.index(name)]
            known = ~np.isnan(cells)
            text = known & ~numeric[np.where(known, cells, 0).astype(int)]
            if text.any() and 2 * text.sum() <= known.sum():
                row = int(np.flatnonzero(text)[0])
                raise UserError(
                    "a cell is no number",
                    where=f"{rows.where(row)}, column {name!r}",
                    expected="a number, as in most rows of the column",
                    found=values[int(cells[row])],
                )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _check_series(source: str, target: str | None) -> dict[str, Any]:
    name, values, where = read_values(source, target)
    return {
        "kind": "series",
        "where": where,
        "target": name,
        "found": {"values": len(values)},
        "lowest": float(values.min()),
        "highest": float(values.max()),
        "made": "the last values are held out",
    }


def _check_sentences(source: str, target: str | None) -> dict[str, Any]:
    raw = read_sentences(source, target)
    classes = class_names(raw)
    labels = {name: class_numbers(raw, name, classes).numpy() for name in raw.splits}
    every = [text for part in raw.splits.values() for text in part.texts]
    lengths = sorted(map(len, every))
    return {
        "kind": "sentences",
        "where": raw.where,
        "target": raw.target,
        "classes": classes,
        "found": {name: len(part.texts) for name, part in raw.splits.items()},
        **{f"{name} by class": dict(sorted(Counter(part.labels).items())) for name, part in raw.splits.items()},
        **_held_out(labels, _HELD_OUT_TEXTS),
        "characters a text": f"{lengths[0]} to {lengths[-1]}, half of them up to {lengths[len(lengths) // 2]}",
        "repeated texts": len(every) - len(set(every)),
        "first text": raw.splits["train"].texts[0].strip()[:80],
    }


def _check_text(source: str) -> dict[str, Any]:
    where, texts = read_texts(source)
    distinct = sorted(set().union(*texts.values()))
    if len(distinct) < 2:
        raise UserError("the text has only one distinct character", where=where, found=repr(distinct[0]))
    made = {} if "test" in texts else {"test": "the last 10 %"}
    made |= {} if "val" in texts else {"val": "the 5 % before the test split"}
    return {
        "kind": "text",
        "where": where,
        "found": {name: len(text) for name, text in texts.items()},
        "made": made or "none",
        "characters": len(distinct),
        "lines": sum(text.count("\n") for text in texts.values()),
        "first line": texts["train"].strip().partition("\n")[0][:80],
    }


def _held_out(labels: dict[str, np.ndarray], fractions: dict[str, float], by_class: bool = True) -> dict[str, Any]:
    """What training would hold out of `train` where val or test are not given, and the counts that result."""
    left = torch.from_numpy(labels["train"]).long()
    counts = {name: len(part) for name, part in labels.items()}
    made = {}
    for name, fraction in fractions.items():
        if name not in labels:
            kept, held = stratified(left, fraction, 0)
            left, counts[name] = left[kept], len(held)
            made[name] = f"{fraction:.3g} of train{', stratified' if by_class else ''}, by the seed"
    counts["train"] = len(left)
    after = {name: counts[name] for name in ("train", "val", "test")}
    empty = [name for name in made if not after[name]]
    warning = {
        "warning": f"too few samples: {' and '.join(empty)} would be empty; give more, or a folder for each split"
    }
    return {"made": made or "none", "after": after, **(warning if empty else {})}


def _expect_readable(raw: RawImageSet) -> None:
    """Decodes every file: a header may be whole where the rest is cut short."""
    files = [file for part in raw.splits.values() for file in part.files]
    with without_warnings():
        broken = [(file, why) for file in files if (why := why_broken(file)) is not None]
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


def _too_deep(place: Source | Path, raw: RawImageSet) -> dict[str, Any]:
    """A warning where no class folder holds an image itself: then the folder named may lie one too high."""
    files = raw.splits["train"].files
    if not files or not isinstance(place, Path) or not place.is_dir() or (place / "train.csv").is_file():
        return {}
    top = place / "train" if (place / "train").is_dir() else place
    if any(len(file.relative_to(top).parts) <= 2 for file in files):
        return {}
    inside = sorted({str(Path(*file.relative_to(top).parts[:2])) for file in files})
    more = f" and {len(inside) - 4} more" if len(inside) > 4 else ""
    return {
        "look again": f"all images lie deeper than the class folders, in {', '.join(inside[:4])}{more}; if those are the classes, name the folder that holds them"
    }


def _passed_over(place: Source | Path, raw: RawImageSet) -> dict[str, Any]:
    """The files of a folder that training would not look at, counted by ending; nothing where there are none."""
    taken = {file for part in raw.splits.values() for file in part.files}
    if not taken or not isinstance(place, Path) or not place.is_dir():
        return {}
    others = Counter(
        f"a {f.suffix.lower()} outside the class folders"
        if f.suffix.lower() in SUFFIXES
        else f.suffix.lower() or f.name
        for f in place.rglob("*")
        if f not in taken and f.suffix.lower() != ".csv" and not is_hidden(f, place) and f.is_file()
    )
    return {"passed over": dict(others.most_common(_NAMED))} if others else {}


def _sizes(raw: RawImageSet) -> str:
    """Width x height of the images: the one there is, or the smallest and the largest."""
    sizes: set[tuple[int, int]] = set()
    with without_warnings():
        for part in raw.splits.values():
            if part.arrays is not None:
                sizes.add((part.arrays.shape[2], part.arrays.shape[1]))
            for file in part.files:
                with Image.open(file) as image:
                    sizes.add(image.size)
    if len(sizes) == 1:
        width, height = next(iter(sizes))
        return f"{width}x{height}"
    low, high = min(sizes, key=lambda s: s[0] * s[1]), max(sizes, key=lambda s: s[0] * s[1])
    return f"{low[0]}x{low[1]} to {high[0]}x{high[1]}, {len(sizes)} different"
