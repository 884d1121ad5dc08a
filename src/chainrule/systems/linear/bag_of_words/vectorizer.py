"""Texts as bags of words: which words count is fitted on the training split; a text is a sparse row of their weights.

Shapes: N texts, V words (or runs of words, or of characters) of the vocabulary.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import scipy.sparse
import torch
from numpy.typing import NDArray
from sklearn.feature_extraction.text import CountVectorizer
from torch import Tensor, nn

from chainrule.core.course import Topic
from chainrule.core.errors import UserError
from chainrule.systems.linear.bag_of_words.feature_selection import chi_square, contingency, mutual_information

Unit = Literal["auto", "word", "character"]
Weighting = Literal["tfidf", "counts", "binary"]
SelectBy = Literal["frequency", "mutual-information", "chi-square"]

# A word with its apostrophes, or a sign by itself: in reviews an exclamation mark says something.
_TOKEN = r"(?u)\w+(?:'\w+)*|[^\w\s]"
# Letters of scripts that put no space between words: kana, Chinese characters, Thai.
_UNSPACED = re.compile("[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f]")
_CUT = re.compile(rf"(?<={_UNSPACED.pattern})\s+(?={_UNSPACED.pattern})")  # a space between two such letters
_LETTER = re.compile(r"[^\W\d_]")
LONGEST_WORD = 3  # Chinese characters or kana of a word, at most, on average


class BagOfWords(nn.Module):
    """Counts of words, and what they weigh.

        counts: c_ij, how often word j is in text i        binary: 1 where c_ij > 0
        tfidf:  c_ij idf_j, each row divided by its length, idf_j = ln((1 + N) / (1 + N_j)) + 1, N_j texts having j

    As a module it takes counts (B, V) and gives weights (B, V). Its state holds the vocabulary, so that a saved run
    answers without its data.

    Args:
        unit: what is counted: words, characters, or whichever suits the script of the training texts (`auto`).
        ngrams: runs of up to so many of them.
        weighting: as above.
        stop_words: `english` leaves out scikit-learn's list of English words that say little.
        min_df: a word must be in so many training texts.
        max_features: keep only so many words, the best by `select_by`; none keeps all.
        select_by: in how many training texts a word is, or what it says of the class there.

    >>> bag = BagOfWords(ngrams=1, min_df=1, weighting="counts").fit(["good good film", "bad film"], torch.tensor([1, 0]))
    >>> bag.vocabulary, bag.counts(["a good film, good"]).toarray().tolist()
    (['bad', 'film', 'good'], [[0.0, 1.0, 2.0]])
    """

    idf: Tensor

    def __init__(
        self,
        *,
        unit: Unit = "auto",
        ngrams: int = 2,
        weighting: Weighting = "tfidf",
        stop_words: Literal["english"] | None = None,
        min_df: int = 2,
        max_features: int | None = None,
        select_by: SelectBy = "frequency",
    ) -> None:
        super().__init__()
        for name, value in (("ngrams", ngrams), ("min_df", min_df), ("max_features", max_features or 1)):
            if value < 1:
                raise UserError(f"the setting {name} is out of range", expected="1 or more", found=value)
        if stop_words and unit == "character":
            raise UserError("stop words are words", where="stop_words with unit=character", cure="stop_words=none")
        self.unit, self.ngrams, self.weighting, self.stop_words = unit, ngrams, weighting, stop_words
        self.min_df, self.max_features, self.select_by = min_df, max_features, select_by
        self.vocabulary: list[str] = []
        self.register_buffer("idf", torch.zeros(0, dtype=torch.float64))
        self._vectorizer: CountVectorizer | None = None

    def fit(self, texts: Sequence[str], y: Tensor) -> BagOfWords:
        """Finds the vocabulary in texts and their classes y (N,), and what its words weigh.

        Raises:
            UserError: no word is left; stop words for a script that is counted by characters.
        """
        if self.unit == "auto":
            self.unit = usual_unit(texts)
        if self.unit == "character" and self.stop_words:
            raise UserError(
                "these texts are counted by characters, and stop words are words",
                found="stop_words=english",
                cure="stop_words=none, or unit=word",
            )
        vectorizer = self._counter(min_df=self.min_df)
        try:
            counts = vectorizer.fit_transform(texts)
        except ValueError as error:
            raise UserError(
                f"no {self.unit} is left to count",
                expected=f"some that are in {self.min_df} or more training texts",
                found=f"{len(texts)} texts: {error}",
                cure="a smaller min_df, or other texts",
            ) from None
        names: NDArray[Any] = vectorizer.get_feature_names_out()
        if self.max_features is not None and self.max_features < len(names):
            kept = _best(_scores(counts, y, self.select_by), self.max_features)
            names, counts = names[kept], counts[:, kept]
        self.vocabulary = names.tolist()
        having = torch.from_numpy(_texts_having(counts))
        self.idf = (((1 + len(texts)) / (1 + having.double())).log() + 1).to(self.idf.device)
        self._vectorizer = None
        return self

    def counts(self, texts: Sequence[str]) -> scipy.sparse.csr_matrix:
        """How often each word of the vocabulary is in each text: (N, V), float64, sparse."""
        if not self.vocabulary:
            raise UserError("the bag of words has no vocabulary yet", cure="fit it to the training texts")
        if self._vectorizer is None:
            self._vectorizer = self._counter(vocabulary=self.vocabulary)
        return self._vectorizer.transform(texts)

    def weigh(self, counts: scipy.sparse.csr_matrix) -> scipy.sparse.csr_matrix:
        """Counts (N, V) as weights, both sparse; a text without a word that is known has none."""
        if self.weighting == "counts":
            return counts
        weights = counts.copy()
        if self.weighting == "binary":
            weights.data = np.ones_like(weights.data)
            return weights
        weights.data *= self.idf.cpu().numpy()[weights.indices]
        length = np.sqrt(np.asarray(weights.multiply(weights).sum(1))).ravel()
        weights.data /= np.repeat(np.where(length > 0, length, 1.0), np.diff(weights.indptr))
        return weights

    def forward(self, counts: Tensor) -> Tensor:
        """Counts (B, V) as weights (B, V), dense: what `weigh` does, as torch code."""
        if self.weighting == "counts":
            return counts
        if self.weighting == "binary":
            return (counts > 0).to(counts.dtype)
        weights = counts * self.idf.to(counts.dtype)
        length = weights.square().sum(1, keepdim=True).sqrt()
        return weights / torch.where(length > 0, length, 1.0)

    def tokens(self, text: str) -> list[str]:
        """The words, or runs of them, that a text is cut into, known or not.

        >>> BagOfWords(unit="word", ngrams=1).tokens("It isn't good!")
        ['it', "isn't", 'good', '!']
        """
        found: list[str] = self._counter().build_analyzer()(text)
        return found

    def _counter(self, **settings: Any) -> CountVectorizer:
        words = self.unit != "character"
        # A vocabulary of an earlier version, which counted spaces, is counted with them.
        own = not words and not any(" " in one for one in self.vocabulary)
        return CountVectorizer(
            analyzer=self._characters if own else "word" if words else "char",
            token_pattern=_TOKEN if words else None,
            stop_words=self.stop_words,
            ngram_range=(1, 1 if own else self.ngrams),
            dtype=np.float64,
            **settings,
        )

    def _characters(self, text: str) -> list[str]:
        """Runs of characters without a space between them: no space is counted."""
        return [
            piece[start : start + length]
            for piece in text.lower().split()
            for length in range(1, self.ngrams + 1)
            for start in range(len(piece) - length + 1)
        ]

    # -- state --------------------------------------------------------------------------------------------------

    def get_extra_state(self) -> dict[str, Any]:
        return {
            "unit": self.unit,
            "ngrams": self.ngrams,
            "weighting": self.weighting,
            "stop_words": self.stop_words,
            "vocabulary": self.vocabulary,
        }

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.unit, self.ngrams, self.weighting = state["unit"], state["ngrams"], state["weighting"]
        self.stop_words, self.vocabulary, self._vectorizer = state["stop_words"], list(state["vocabulary"]), None

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Any number of words: they are what was fitted, whatever stands here."""
        missing = [f"{prefix}{name}" for name in ("_extra_state", "idf") if f"{prefix}{name}" not in state_dict]
        if missing:
            missing_keys.extend(missing)
            return
        self.set_extra_state(state_dict[f"{prefix}_extra_state"])
        self.idf = state_dict[f"{prefix}idf"].detach().clone().to(self.idf.device)


def usual_unit(texts: Sequence[str]) -> Literal["word", "character"]:
    """Characters where most letters are of a script without spaces between words, and nobody has put them there; else words.

    Texts that were cut into words have spaces between such letters, as often as words are long.

    >>> usual_unit(["这部电影很好", "ok"]), usual_unit(["a good film"]), usual_unit(["我 喜欢 读书", "我 讨厌 读书"])
    ('character', 'word', 'word')
    """
    unspaced = sum(len(_UNSPACED.findall(text)) for text in texts)
    letters = sum(len(_LETTER.findall(text)) for text in texts)
    if 2 * unspaced <= letters:
        return "word"
    cuts = sum(len(_CUT.findall(text)) for text in texts)
    return "word" if LONGEST_WORD * cuts >= unspaced else "character"


def _texts_having(counts: scipy.sparse.csr_matrix) -> NDArray[np.int64]:
    return np.bincount(counts.indices, minlength=counts.shape[1])


def _scores(counts: scipy.sparse.csr_matrix, y: Tensor, select_by: SelectBy) -> Tensor:
    """How good each word is (V,), more being better."""
    if select_by == "frequency":
        return torch.from_numpy(_texts_having(counts)).double()
    of = y.numpy()
    with_word = np.stack([_texts_having(counts[of == k]) for k in range(int(of.max()) + 1)], 1)
    table = contingency(torch.from_numpy(with_word), y.bincount())
    return mutual_information(table) if select_by == "mutual-information" else chi_square(table)


def _best(scores: Tensor, count: int) -> NDArray[np.int64]:
    """The places of the `count` largest, in order; of equal ones the first."""
    found: NDArray[np.int64] = scores.sort(descending=True, stable=True).indices[:count].sort().values.numpy()
    return found


TOPICS = (
    Topic(
        "Bag of words, TF-IDF, text classification",
        "词袋、TF-IDF、文本分类",
        lectures=(3,),
        code=("BagOfWords",),
        command="chainrule train bag-of-words estimator=naive-bayes",
    ),
)
