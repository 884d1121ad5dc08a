"""Readers of labelled texts: a CSV with a column `text`, class folders of .txt files, and known sets. Each gives lists."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from chainrule.core.errors import UserError
from chainrule.data.catalog.sources import Source
from chainrule.data.given.source import GivenSource
from chainrule.data.layout import Layout, Place, joined, layout_of, subfolders
from chainrule.data.tables.names import label_among, text_column
from chainrule.data.text.characters import read_file

_SST5 = ("very negative", "negative", "neutral", "positive", "very positive")
# Topics of Python's reference manual with enough paragraphs of their own.
_TOPICS = (
    "assignment",
    "comparisons",
    "compound",
    "debugger",
    "formatstrings",
    "import",
    "specialnames",
    "string-methods",
    "strings",
    "types",
    "typesmapping",
    "typesseq",
)
_SHORTEST = 60  # characters of a paragraph of the manual; what is shorter is a heading or a line of an example


@dataclass
class RawTexts:
    """Texts, the label of each, and where each stands."""

    texts: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    places: list[str] = field(default_factory=list)

    def add(self, text: str, label: str, place: str) -> None:
        """One more; UserError where there is nothing in it."""
        if not text.strip():
            raise UserError("a text is empty", where=place, expected="words", cure="fill it in, or remove it")
        self.texts.append(text)
        self.labels.append(label)
        self.places.append(place)


@dataclass
class RawSentences:
    """Splits as the publisher or the user made them (`train` always)."""

    splits: dict[str, RawTexts]
    where: str
    target: str = "class"


def read_sentences(source: Place, target: str | None) -> RawSentences:
    """Reads the labelled texts at `source`: a known set, a CSV, a folder with train.csv, or a folder of class folders.

    Args:
        source: a path, or a name that `chainrule data list` shows.
        target: the column of labels of a CSV; `label` by default, else the last that is not `text`.

    Raises:
        UserError: none of these is there; a file is not UTF-8, a text is empty, a column is missing: file and line named.
    """
    layout = layout_of(source)
    place = layout.place
    if layout.form == "splits":
        targets: list[str] = []

        def read(part: Layout) -> dict[str, RawTexts]:
            raw = read_sentences(part, target)
            targets.append(raw.target)
            return raw.splits

        return RawSentences(joined(layout, read), str(layout), targets[0])
    if isinstance(place, GivenSource) and place.tables:
        return _csv_sentences(layout, target)
    if isinstance(place, Source):
        if place.kind != "sentences":
            raise UserError(
                f"{place.name} holds no labelled texts",
                expected="sentences",
                found=place.kind,
                cure="chainrule data list",
            )
        return RawSentences({"train": _manual()}, place.name)
    if layout.known in _PUBLISHED and not layout.sources:
        return RawSentences(_PUBLISHED[layout.known](place), str(place))
    if layout.form == "csv" or place.is_file():
        return _csv_sentences(layout, target)
    if is_movie_reviews(place) and not layout.sources:
        return RawSentences(_movie_reviews(place), str(place))
    parts = text_folders(layout)
    if parts:
        return RawSentences({name: _class_folders(part) for name, part in parts.items()}, str(layout))
    raise UserError(
        "the folder holds no labelled texts",
        where=place,
        expected="one subfolder of .txt files a class, or train/ (and val/, test/) with such, or train.csv with a column text",
        found=", ".join(sorted(p.name for p in place.iterdir())[:5]) or "nothing",
    )


def text_folders(layout: Layout) -> dict[str, Path]:
    """The folders of class folders of texts at a place: those of train, val, test, or itself as train; none where it is not so.

    A folder that has .txt files beside its subfolders is one text in parts, not classes.
    """
    parts = layout.splits
    return parts if len(_classes(parts["train"])) > 1 and not any(parts["train"].glob("*.txt")) else {}


def _classes(folder: Path) -> list[Path]:
    return [child for child in subfolders(folder) if any(child.glob("*.txt"))]


def _class_folders(folder: Path) -> RawTexts:
    """Each file one text, the name of its folder its label."""
    found = RawTexts()
    for part in _classes(folder):
        for file in sorted(part.glob("*.txt")):
            found.add(read_file(file), part.name, str(file))
    return found


def _csv_sentences(layout: Layout, target: str | None) -> RawSentences:
    splits, label = {}, ""
    for name, cells in layout.tables.items():
        column = text_column(cells, layout.options.get("text"))
        label = _label_column(cells.header, column, target, cells.origin)
        text, of = cells.header.index(column), cells.header.index(label)
        splits[name] = RawTexts()
        for index, row in enumerate(cells.rows):
            place = cells.where(index)
            if not row[of].strip():
                raise UserError("a label is missing", where=f"{place}, column {label!r}", expected="a class")
            splits[name].add(row[text], row[of].strip(), place)
    return RawSentences(splits, str(layout), label)


def _label_column(header: list[str], text: str, target: str | None, origin: str) -> str:
    others = [name for name in header if name and name != text]
    if target is not None and target not in others:
        raise UserError(
            f"the table has no column {target!r} of labels",
            where=origin,
            expected="one of " + ", ".join(others[:20]),
            cure="--target COLUMN",
        )
    if not others:
        raise UserError("the table has no column of labels beside its texts", where=origin, found=text)
    return target or label_among(others) or others[-1]


# -- known sets -------------------------------------------------------------------------------------------------


def _lines(file: Path) -> list[str]:
    """The lines of a published file: UTF-8, or the Latin-1 that some were published in."""
    content = file.read_bytes()
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    return [line.strip() for line in text.split("\n") if line.strip()]


def _two_files(positive: Path, negative: Path) -> dict[str, RawTexts]:
    found = RawTexts()
    for file, label in ((negative, "negative"), (positive, "positive")):
        for number, line in enumerate(_lines(file), 1):
            found.add(line, label, f"{file}, line {number}")
    return {"train": found}


def is_movie_reviews(folder: object) -> bool:
    """Whether the files of the data set `mr` lie there."""
    return isinstance(folder, Path) and all((folder / f"rt-polarity.{end}").is_file() for end in ("pos", "neg"))


def _movie_reviews(folder: Path) -> dict[str, RawTexts]:
    return _two_files(folder / "rt-polarity.pos", folder / "rt-polarity.neg")


def _chinese_reviews(folder: Path) -> dict[str, RawTexts]:
    return _two_files(folder / "pos.unique.txt", folder / "neg.unique.txt")


def _treebank(folder: Path, kind: str, names: tuple[str, ...]) -> dict[str, RawTexts]:
    splits = {}
    for split, ending in (("train", "train"), ("val", "dev"), ("test", "test")):
        file, splits[split] = folder / f"stsa.{kind}.{ending}", RawTexts()
        for number, line in enumerate(_lines(file), 1):
            label, _, text = line.partition(" ")
            splits[split].add(text, names[int(label)], f"{file}, line {number}")
    return splits


_PUBLISHED: dict[str, Callable[[Path], dict[str, RawTexts]]] = {
    "mr": _movie_reviews,
    "chinese-reviews": _chinese_reviews,
    "sst2": lambda folder: _treebank(folder, "binary", ("negative", "positive")),
    "sst5": lambda folder: _treebank(folder, "fine", _SST5),
}


def _manual() -> RawTexts:
    """Paragraphs of Python's reference manual and their topics, those in one topic alone; code examples are among them."""
    from collections import Counter
    from pydoc_data.topics import topics

    paragraphs = {
        name: dict.fromkeys(" ".join(part.split()) for part in text.split("\n\n")) for name, text in topics.items()
    }
    count = Counter(part for parts in paragraphs.values() for part in parts)
    found = RawTexts()
    for name in _TOPICS:
        own = [part for part in paragraphs.get(name, {}) if count[part] == 1 and len(part) >= _SHORTEST]
        for number, part in enumerate(own, 1):
            found.add(part, name, f"topic {name}, paragraph {number}")
    return found
