"""Texts as characters, and texts with classes: how they are recognised, counted, and what is wrong with them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from chainrule.core.errors import UserError
from chainrule.data.kind import Kind
from chainrule.data.layout import Layout
from chainrule.data.splits import held_out_counts
from chainrule.data.text.characters import read_texts
from chainrule.data.text.sentence_files import TEXT_COLUMN, read_sentences, text_folders
from chainrule.data.text.sentences import class_names, class_numbers

_HELD_OUT = {"test": 0.1, "val": 0.1}  # where no split is given; a recipe may say otherwise


def _holds_sentences(layout: Layout, target: str | None) -> bool:
    if layout.form == "csv":
        return TEXT_COLUMN in layout.tables["train"].header
    if layout.form != "folder":
        return False
    assert isinstance(layout.place, Path)
    return bool(text_folders(layout.place))


def _holds_text(layout: Layout, target: str | None) -> bool:
    if layout.form == "folder":
        return layout.endings[".txt"] > 0
    return layout.form == "file" and layout.train.suffix.lower() in (".txt", ".text", ".md", "")


def _check_sentences(source: str, layout: Layout, target: str | None) -> dict[str, Any]:
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
        **held_out_counts(labels, _HELD_OUT),
        "characters a text": f"{lengths[0]} to {lengths[-1]}, half of them up to {lengths[len(lengths) // 2]}",
        "repeated texts": len(every) - len(set(every)),
        "first text": raw.splits["train"].texts[0].strip()[:80],
    }


def _check_text(source: str, layout: Layout, target: str | None) -> dict[str, Any]:
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


SENTENCES = Kind("sentences", _holds_sentences, _check_sentences)
TEXT = Kind("text", _holds_text, _check_text)
