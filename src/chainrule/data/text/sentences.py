"""Labelled texts with their splits: sentences, reviews, whole documents, and the class of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chainrule.core.data.request import DataRequest
from chainrule.core.errors import UserError
from chainrule.data.dataset import Dataset, dataset_of
from chainrule.data.inputs import Asked
from chainrule.data.layout import SPLITS, Place, sort_labels
from chainrule.data.spec import MAY_LACK, Spec
from chainrule.data.splits import fingerprint, hold_out
from chainrule.data.text.inputs import AS_IN_TRAINING, asked_texts
from chainrule.data.text.sentence_files import RawSentences, read_sentences

MIN_A_CLASS = 4  # texts of a class that can be split into train, val and test


@dataclass(frozen=True)
class SentenceSplit:
    """Texts (N), and the number of each one's class, y (N,) int64."""

    texts: list[str]
    y: Tensor

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, index: Tensor) -> SentenceSplit:
        """The texts at these places."""
        return SentenceSplit([self.texts[i] for i in index.tolist()], self.y[index])


@dataclass(frozen=True, kw_only=True)
class SentenceSpec(Spec):
    """Labelled texts: where they are, what their label is called, the classes, and where a text comes from.

    `commonest` is the class with most texts of the training split, of equals the first; runs of old have it not.
    """

    where: str
    target: str
    classes: list[str]
    text: str = "labelled texts"
    commonest: str | None = field(default=None, metadata=MAY_LACK)


def load_sentences(
    request: DataRequest, *, val_fraction: float = 0.1, test_fraction: float = 0.1, folds: int = 0, fold: int = 1
) -> Dataset[SentenceSpec, SentenceSplit]:
    """The run's labelled texts; test and validation splits are held out by the seed where none is given.

    Spec: where, target, classes, text (where a text comes from), counts, how the splits were made, fingerprint.

    Args:
        request: what is read, and where the spec is kept.
        val_fraction, test_fraction: what is held out where no split is given.
        folds: with K folds the test split is the fold-th of K parts, for cross-validation by K runs; 0 is none.
        fold: which of them, from 1.
    """

    def read() -> tuple[SentenceSpec, dict[str, SentenceSplit]]:
        return read_sentence_splits(
            request,
            target=request.target,
            val_fraction=request.share("val", val_fraction),
            test_fraction=request.share("test", test_fraction),
            folds=folds,
            fold=fold,
            seed=request.seed,
        )

    return dataset_of(request, SentenceSpec, read)


def read_sentence_splits(
    source: Place, *, target: str | None, val_fraction: float, test_fraction: float, folds: int, fold: int, seed: int
) -> tuple[SentenceSpec, dict[str, SentenceSplit]]:
    """Reads, checks and splits; what `load_sentences` gives a run."""
    raw = read_sentences(source, target)
    if isinstance(source, DataRequest):
        source.note(*raw.notes)
    classes = class_names(raw)
    splits = {name: SentenceSplit(part.texts, class_numbers(raw, name, classes)) for name, part in raw.splits.items()}
    made = dict.fromkeys(splits, "as published")
    train = splits["train"]
    given, rest = set(splits), torch.arange(len(train))
    if folds:
        if "test" in given:
            raise UserError("these texts have a test split, so there are no folds", where=raw.where, cure="folds=0")
        held = fold_of(train.y, folds, fold, seed)
        rest = torch.ones(len(train), dtype=torch.bool).index_fill(0, held, False).nonzero()[:, 0]
        splits["test"] = train.take(held)
        made["test"] = f"fold {fold} of {folds}, stratified, seed {seed}, indices {fingerprint(held)}"
    indices, how = hold_out(
        train.y[rest], set(splits), test_fraction=test_fraction, val_fraction=val_fraction, seed=seed
    )
    splits |= {name: train.take(rest[index]) for name, index in indices.items()}
    made = {**how, **({"test": made["test"], "train": "the rest"} if folds else {})}
    for name in ("train", "test"):
        if not len(splits[name]):
            raise UserError(
                f"there are too few texts for a {name} split",
                where=raw.where,
                expected="5 or more a class, or a split given",
                found=f"{len(train)} texts",
                cure=f"more texts, --{name} 0.2, or --{name} PATH" if name == "test" else "more texts",
            )
    spec = SentenceSpec(
        where=raw.where,
        target=raw.target,
        classes=classes,
        commonest=classes[int(splits["train"].y.bincount().argmax())],
        counts={name: len(splits[name]) for name in SPLITS},
        splits=made,
        fingerprint=fingerprint(*(t for name in SPLITS for t in (splits[name].y, _bytes(splits[name].texts)))),
    )
    return spec, splits


def class_names(raw: RawSentences) -> list[str]:
    """The labels of the training texts in order, whole numbers by size; UserError where there are too few of them."""
    counts: dict[str, int] = {}
    for label in raw.splits["train"].labels:
        counts[label] = counts.get(label, 0) + 1
    if len(counts) < 2:
        raise UserError(
            "there is only one class",
            where=raw.where,
            expected="two at least",
            found=", ".join(counts) or "none",
            cure="--target COLUMN",
        )
    least = min(counts, key=lambda label: counts[label])
    if len(raw.splits) == 1 and counts[least] < MIN_A_CLASS:
        raise UserError(
            "a class has too few texts to be split",
            where=raw.where,
            expected=f"{MIN_A_CLASS} or more a class",
            found=f"{counts[least]} of {least[:60]}",
            cure="remove it, or name another column with --target",
        )
    return sort_labels(set(counts))


def fold_of(y: Tensor, folds: int, fold: int, seed: int) -> Tensor:
    """Sorted indices of the fold-th of `folds` parts, each with its share of every class; together they are all.

    Errors: a UserError for fewer than 2 folds, a fold that is none of them, more folds than samples of a class.

    >>> y = torch.tensor([0, 0, 0, 1, 1, 1])
    >>> sorted(i for fold in (1, 2, 3) for i in fold_of(y, 3, fold, seed=0).tolist()), y[fold_of(y, 3, 1, seed=0)].tolist()
    ([0, 1, 2, 3, 4, 5], [0, 1])
    """
    if folds < 2 or not 1 <= fold <= folds:
        raise UserError(
            "there is no such fold",
            expected="folds=2 or more, and a fold from 1 to folds",
            found=f"folds={folds} fold={fold}",
        )
    if int(y.bincount().min()) < folds:
        raise UserError(
            "a class has fewer texts than there are folds",
            expected=f"{folds} or more of each class",
            found=int(y.bincount().min()),
            cure="fewer folds",
        )
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
    ranked = torch.cat([order[y[order] == label] for label in y.unique()])
    return ranked[fold - 1 :: folds].sort().values


def class_numbers(raw: RawSentences, split: str, classes: list[str]) -> Tensor:
    """The number of each text's class in a split (N,); UserError names the first that is not among `classes`."""
    number = {name: index for index, name in enumerate(classes)}
    part = raw.splits[split]
    strange = next((i for i, label in enumerate(part.labels) if label not in number), None)
    if strange is not None:
        raise UserError(
            "a label is none of those that are known",
            where=part.places[strange],
            expected=f"one of {', '.join(classes[:20])}",
            found=part.labels[strange][:60],
        )
    return torch.tensor([number[label] for label in part.labels])


def _bytes(texts: list[str]) -> Tensor:
    joined = "\0".join(texts).encode("utf-8", "surrogatepass")
    return torch.from_numpy(np.frombuffer(joined, dtype=np.uint8).copy())


def read_labelled_sentences(source: Place, target: str | None, classes: list[str]) -> SentenceSplit:
    """Other texts with the same classes: their own test split, else all of them."""
    raw = read_sentences(source, target)
    name = "test" if "test" in raw.splits else "train"
    return SentenceSplit(raw.splits[name].texts, class_numbers(raw, name, classes))


def asked_sentences(inputs: Iterable[str], options: Mapping[str, Any] = AS_IN_TRAINING) -> Iterator[Asked[str]]:
    """The user's own texts, as `asked_texts` has them; UserError for one without words."""
    for asked in asked_texts(inputs, options):
        if not asked.value.strip():
            raise UserError("a text is empty", where=repr(asked.name), expected="words")
        yield asked


def read_inputs(inputs: Iterable[str]) -> tuple[list[str], list[str]]:
    """All of `asked_sentences`: what to call each text, and the texts."""
    found = list(asked_sentences(inputs))
    return [asked.name for asked in found], [asked.value for asked in found]
