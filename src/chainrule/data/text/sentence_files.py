"""Readers of labelled texts: a CSV with a column `text`, class folders of .txt files, and known sets. Each gives lists."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from chainrule.core.errors import UserError
from chainrule.data.catalog.sources import Source
from chainrule.data.column_names import LABELS, column_called
from chainrule.data.formats.content import is_hidden_name, is_text, told_as_passed_over
from chainrule.data.given.source import GivenSource
from chainrule.data.labels import read_labels
from chainrule.data.layout import Layout, Place, class_folders, folders_left_out, joined, layout_of
from chainrule.data.tables.formats.cells import Cells
from chainrule.data.tables.names import TEXT_COLUMN, text_column
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
MOST_LOOSE = 100  # times as many texts stand in class folders as beside them, where those beside them are none
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
    notes: list[str] = field(default_factory=list)  # what the user is to know of the reading, a line each


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
        each: list[RawSentences] = []

        def read(part: Layout) -> dict[str, RawTexts]:
            each.append(read_sentences(part, target))
            return each[-1].splits

        splits = joined(layout, read)
        return RawSentences(splits, str(layout), each[0].target, [note for part in each for note in part.notes])
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
        encoding, notes = layout.options.get("encoding"), folders_left_out(layout)
        found = {name: _class_folders(part, encoding, notes) for name, part in parts.items()}
        return RawSentences(found, str(layout), notes=notes)
    raise UserError(
        "the folder holds no labelled texts",
        where=place,
        expected="one subfolder of .txt files a class, or train/ (and val/, test/) with such, or train.csv with a column text",
        found=", ".join(sorted(p.name for p in place.iterdir())[:5]) or "nothing",
    )


def text_folders(layout: Layout) -> dict[str, Path]:
    """The folders of class folders of texts at a place: those of train, val, test, or itself as train; none where it is not so.

    A folder that has texts beside its subfolders is one text in parts, not classes; a README or a few lists are none.
    """
    train = layout.splits["train"]
    classes = _classes(train)
    loose = [file for file in _texts_in(train) if not file.name.casefold().startswith(("readme", "license", "licence"))]
    few = len(classes) > 1 and MOST_LOOSE * len(loose) <= sum(len(_texts_in(folder)) for folder in classes)
    return layout.splits if few else {}


def _classes(folder: Path) -> list[Path]:
    return [child for child in class_folders(folder) if any(is_text(file) for file in child.iterdir())]


def _texts_in(folder: Path) -> list[Path]:
    files = (file for file in folder.iterdir() if not is_hidden_name(file.name) and is_text(file))
    return sorted(file for file in files if file.is_file())


def _class_folders(folder: Path, encoding: str | None, notes: list[str]) -> RawTexts:
    """Each file one text, the name of its folder its label; what is not read is noted."""
    found, passed_over = RawTexts(), Counter[str]()
    for part in _classes(folder):
        for file in _texts_in(part):
            found.add(read_file(file, encoding), part.name, str(file))
        passed_over += Counter(
            "folders in the class folders" if child.is_dir() else child.suffix.lower() or child.name
            for child in part.iterdir()
            if not is_hidden_name(child.name) and not (is_text(child) and child.is_file())
        )
    notes += told_as_passed_over(passed_over, folder)
    return found


def _csv_sentences(layout: Layout, target: str | None) -> RawSentences:
    splits, label, column = {}, "", ""
    for name, cells in layout.tables.items():
        column = text_column(cells, layout.options.get("text"))
        label = _label_column(cells, column, target)
        text, of = cells.header.index(column), cells.header.index(label)
        splits[name] = RawTexts()
        labels = read_labels((row[of] for row in cells.rows), cells.where, label)
        for index, row in enumerate(cells.rows):
            splits[name].add(row[text], labels[index], cells.where(index))
    unusual = [f"{name} as {what}" for what, name in (("text", column), ("label", label)) if name != what]
    notes = [f"columns of {layout}: {', '.join(unusual)}"] if column != TEXT_COLUMN else []
    return RawSentences(splits, str(layout), label, notes)


def _label_column(cells: Cells, text: str, target: str | None) -> str:
    header, origin = cells.header, cells.origin
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
    return target or column_called(LABELS, others) or others[-1]


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
