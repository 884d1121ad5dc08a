"""Texts with classes: sentences, reviews, documents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chainrule.core.data.kind import Kind, Match, Miss, Row
from chainrule.data.formats.content import texts_among
from chainrule.data.given.inputs import texts_given
from chainrule.data.layout import Layout
from chainrule.data.splits import held_out_counts
from chainrule.data.tables.names import text_among
from chainrule.data.text.sentence_files import is_movie_reviews, read_sentences, text_folders
from chainrule.data.text.sentences import SentenceSpec, class_names, class_numbers

_HELD_OUT = {"test": 0.1, "val": 0.1}  # where no split is given; a recipe may say otherwise


def recognise(layout: Layout, target: str | None) -> Match | Miss:
    """A table with a column `text`; class folders of texts."""
    if layout.form == "csv":
        text = None if layout.head is None else layout.options.get("text") or text_among(layout.head)
        return Match(f"a table with a column `{text}`") if text else Miss("a column named `text`", 0.1, readable=True)
    if layout.form != "folder":
        return Miss()
    if is_movie_reviews(layout.place):
        return Match("published film reviews")
    if text_folders(layout):
        return Match("class folders of texts")
    texts = texts_among(layout.endings)
    return Miss(f"{texts} texts, but no class folders: one subfolder a class, two at least", 0.5) if texts else Miss()


def check(layout: Layout, target: str | None) -> dict[str, Any]:
    """Every text read; counts by class, lengths, repeated ones."""
    raw = read_sentences(layout, target)
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
        **held_out_counts(labels, _HELD_OUT),
        "characters a text": f"{lengths[0]} to {lengths[-1]}, half of them up to {lengths[len(lengths) // 2]}",
        "repeated texts": len(every) - len(set(every)),
        "first text": raw.splits["train"].texts[0].strip()[:80],
        **({"notes": raw.notes} if raw.notes else {}),
    }


def example(folder: Path) -> str:
    """Forty short reviews."""
    folder.mkdir(parents=True, exist_ok=True)
    words = {"good": ("fine", "lovely", "splendid", "warm"), "bad": ("dull", "poor", "cold", "awful")}
    rows = [f"a {words[label][i % 4]} film number {i},{label}" for label in words for i in range(20)]
    (folder / "reviews.csv").write_text("\n".join(["text,label", *rows]) + "\n", "utf-8")
    return str(folder / "reviews.csv")


def ask(spec: Mapping[str, Any], folder: Path) -> str:
    """A sentence."""
    return "The operands are compared, and the result is a tuple of strings."


SENTENCES = Kind(
    name="sentences",
    noun="a set of labelled texts",
    spec=SentenceSpec,
    recognise=recognise,
    read=read_sentences,
    check=check,
    example=example,
    ask=ask,
    given=texts_given,
    describe=(
        Row(
            "texts with classes",
            "a table with a column `text` and one of labels, or a folder with a subfolder of .txt files a class",
            "分好类的文本",
            "含 `text` 列和标签列的表格，或每类一个子文件夹、里面是 .txt 文件",
        ),
    ),
    before=("table", "text"),
)
