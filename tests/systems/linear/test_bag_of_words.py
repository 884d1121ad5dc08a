"""Bags of words against scikit-learn's, selection against SciPy's and scikit-learn's statistics, and the whole recipe."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.feature_selection import chi2
from sklearn.metrics import mutual_info_score
from sklearn.naive_bayes import MultinomialNB

import chainrule
from chainrule.core.errors import UserError
from chainrule.data.text.sentences import read_sentence_splits
from chainrule.functional.sparse_rows import csr_tensor
from chainrule.nn.fitted import Fitted
from chainrule.run.run import Run
from chainrule.systems.classical.naive_bayes import BernoulliNaiveBayes, MultinomialNaiveBayes
from chainrule.systems.linear.bag_of_words.feature_selection import chi_square, contingency, mutual_information
from chainrule.systems.linear.bag_of_words.vectorizer import BagOfWords, usual_unit
from chainrule.systems.linear.logistic import LogisticRegression
from chainrule.systems.linear.svm import LinearSVM
from tests.conftest import mirror

pytestmark = pytest.mark.usefixtures("no_report")

TEXTS = ["a good film, a very good film!", "a bad film", "it isn't bad", "good, good fun", "dull and bad!", "fun"]
Y = torch.tensor([1, 0, 1, 1, 0, 1])
REVIEWS = {
    "good": ["a fine film", "fine fun", "so fine and warm", "a warm story", "warm and fine", "fine cast"],
    "bad": ["a dull film", "dull noise", "so dull and cold", "a cold story", "cold and dull", "dull cast"],
}


def table(file: Path, reviews: dict[str, list[str]] = REVIEWS, times: int = 4) -> Path:
    rows = [f"{text} {i},{name}" for name, texts in reviews.items() for text in texts for i in range(times)]
    file.write_text("text,label\n" + "\n".join(rows) + "\n", "utf-8")
    return file


# -- selection --------------------------------------------------------------------------------------------------


def random_presence(seed: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    return draw.random((60, 25)) < draw.random(25) * 0.8 + 0.1, draw.integers(0, 3, 60)


def table_of(present: np.ndarray, y: np.ndarray) -> torch.Tensor:
    per_class = np.bincount(y)
    with_word = np.stack([present[y == k].sum(0) for k in range(len(per_class))], 1)
    return contingency(torch.from_numpy(with_word), torch.from_numpy(per_class))


@pytest.mark.parametrize("seed", range(3))
def test_mutual_information_is_that_of_scikit_learn(seed: int) -> None:
    present, y = random_presence(seed)
    expected = [mutual_info_score(present[:, j], y) for j in range(present.shape[1])]
    assert np.allclose(mutual_information(table_of(present, y)), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_chi_square_is_that_of_scipy_and_scikit_learn(seed: int) -> None:
    present, y = random_presence(seed)
    found = chi_square(table_of(present, y)).numpy()
    for j, part in enumerate(table_of(present, y).numpy()):
        assert np.isclose(found[j], scipy.stats.chi2_contingency(part, correction=False).statistic, rtol=1e-12)
    absent = 1 - present.mean(0)  # scikit-learn's sums over the texts that have the word alone
    assert np.allclose(found * absent, chi2(present.astype(float), y)[0], rtol=1e-10)


def test_words_in_all_texts_or_in_none_tell_nothing() -> None:
    counts = contingency(torch.tensor([[3, 4], [0, 0], [3, 0]]), torch.tensor([3, 4]))
    for statistic in (mutual_information(counts), chi_square(counts)):
        assert statistic[:2].tolist() == [0.0, 0.0] and statistic[2] > 0.5
    assert chi_square(counts)[2] == pytest.approx(7.0)  # N for a word that decides the class
    shares = torch.tensor([3 / 7, 4 / 7])
    assert mutual_information(counts)[2] == pytest.approx(float(-(shares * shares.log()).sum()))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: contingency(torch.ones(2, 3), torch.ones(2)), "do not fit"),
        (lambda: contingency(torch.tensor([[1, 0], [0, 5]]), torch.tensor([2, 2])), "word 1"),
        (lambda: mutual_information(torch.ones(2, 3, 2)), r"\(V, 2, K\)"),
        (lambda: chi_square(-torch.ones(2, 2, 2)), "out of range"),
        (lambda: chi_square(torch.zeros(2, 2, 2)), "out of range"),
    ],
)
def test_selection_refuses(call, words: str) -> None:
    with pytest.raises(UserError, match=words):
        call()


# -- the bag ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ngrams", [1, 2])
def test_tfidf_is_that_of_scikit_learn(ngrams: int) -> None:
    bag = BagOfWords(ngrams=ngrams, min_df=1).fit(TEXTS, Y)
    theirs = TfidfVectorizer(
        ngram_range=(1, ngrams), tokenizer=BagOfWords(unit="word", ngrams=1).tokens, token_pattern=None
    )
    assert np.allclose(bag.weigh(bag.counts(TEXTS)).toarray(), theirs.fit_transform(TEXTS).toarray(), atol=1e-14)
    assert bag.vocabulary == theirs.get_feature_names_out().tolist()
    new = ["a film, a film", "unknown words", "isn't it fun!"]
    assert np.allclose(bag.weigh(bag.counts(new)).toarray(), theirs.transform(new).toarray(), atol=1e-14)


@pytest.mark.parametrize("weighting", ["tfidf", "counts", "binary"])
def test_dense_and_sparse_weigh_alike(weighting: str) -> None:
    bag = BagOfWords(min_df=1, weighting=weighting).fit(TEXTS, Y)
    counts = bag.counts([*TEXTS, "nothing known"])
    before = counts.toarray()
    sparse = bag.weigh(counts).toarray()
    assert np.allclose(bag(torch.from_numpy(before)), sparse, atol=1e-15)
    assert np.array_equal(counts.toarray(), before), "the counts themselves stay as they are"
    assert not sparse[-1].any() and np.isfinite(sparse).all()
    if weighting == "binary":
        assert np.array_equal(sparse, (before > 0).astype(float))


def test_words_by_hand() -> None:
    bag = BagOfWords(unit="word", ngrams=2)
    assert bag.tokens("It isn't GOOD!") == ["it", "isn't", "good", "!", "it isn't", "isn't good", "good !"]
    assert BagOfWords(unit="character", ngrams=2).tokens("很好。") == ["很", "好", "。", "很好", "好。"]
    assert BagOfWords(unit="word", ngrams=1, stop_words="english").tokens("this is a dull film") == ["dull", "film"]


def test_the_script_decides_the_unit() -> None:
    assert usual_unit(["这本书很好 ok"]) == usual_unit(["とても良い"]) == usual_unit(["ดีมาก"]) == "character"
    assert (
        usual_unit(["good"])
        == usual_unit(["Очень хорошо"])
        == usual_unit(["매우 좋다"])
        == usual_unit(["123 !"])
        == "word"
    )
    bag = BagOfWords(min_df=1).fit(["很好", "不好"], torch.tensor([1, 0]))
    assert bag.unit == "character" and bag.vocabulary == ["不", "不好", "好", "很", "很好"]


def test_texts_that_were_cut_into_words_are_counted_by_words() -> None:
    """The lecture's two sentences, and its table."""
    texts = ["我 喜欢 读书", "我 讨厌 读书"]
    bag = BagOfWords(min_df=1, weighting="binary", ngrams=1).fit(texts, torch.tensor([1, 0]))
    order = [bag.vocabulary.index(word) for word in ("我", "喜欢", "讨厌", "读书")]
    assert bag.unit == "word" and len(bag.vocabulary) == 4
    assert bag.weigh(bag.counts(texts)).toarray()[:, order].tolist() == [[1, 1, 0, 1], [1, 0, 1, 1]]
    assert usual_unit(["这 本 书 很 好 ， 我 喜欢", "不好"]) == usual_unit(["とても 良い 本 です"]) == "word"
    # A space now and then, as reviews have it in place of a comma, cuts no words.
    assert usual_unit(["这部电影很好 推荐", "很好 推荐 物流很快", "1 2 3 不错"]) == "character"


def test_characters_leave_spaces_out_and_a_vocabulary_of_old_keeps_them() -> None:
    texts = ["很 好  ok", "不好"]
    bag = BagOfWords(unit="character", min_df=1, ngrams=2).fit(texts, torch.tensor([1, 0]))
    assert bag.vocabulary == sorted(["很", "好", "o", "k", "ok", "不", "不好"])
    old = CountVectorizer(analyzer="char", ngram_range=(1, 2)).fit(texts)
    vocabulary = old.get_feature_names_out().tolist()
    state = {"unit": "character", "ngrams": 2, "weighting": "counts", "stop_words": None, "vocabulary": vocabulary}
    again = BagOfWords()
    again.load_state_dict({"_extra_state": state, "idf": torch.ones(len(vocabulary), dtype=torch.float64)})
    assert " " in vocabulary and np.array_equal(again.counts(texts).toarray(), old.transform(texts).toarray())


def test_min_df_counts_texts_and_not_words() -> None:
    bag = BagOfWords(ngrams=1, min_df=2).fit(["fun fun fun", "good", "good bad"], torch.tensor([0, 1, 1]))
    assert bag.vocabulary == ["good"]


@pytest.mark.parametrize("select_by", ["frequency", "mutual-information", "chi-square"])
def test_the_best_words_are_kept(select_by: str) -> None:
    bag = BagOfWords(ngrams=1, min_df=1, max_features=3, select_by=select_by).fit(TEXTS, Y)
    counts = CountVectorizer(tokenizer=bag.tokens, token_pattern=None).fit(TEXTS)
    present, names = counts.transform(TEXTS).toarray() > 0, counts.get_feature_names_out()
    if select_by == "frequency":
        scores = present.sum(0)
    elif select_by == "mutual-information":
        scores = np.array([mutual_info_score(column, Y) for column in present.T])
    else:
        scores = np.array(
            [scipy.stats.chi2_contingency(p, correction=False).statistic for p in table_of(present, Y.numpy())]
        )
    assert bag.vocabulary == sorted(names[np.argsort(-scores.round(12), kind="stable")[:3]])
    assert len(bag.idf) == 3 == bag.counts(TEXTS).shape[1]


def test_state_carries_the_vocabulary() -> None:
    bag = BagOfWords(min_df=1, stop_words="english").fit(TEXTS, Y)
    again = BagOfWords(weighting="counts")
    again.load_state_dict(json.loads(json.dumps({"_extra_state": bag.get_extra_state()})) | {"idf": bag.idf})
    assert np.array_equal(again.weigh(again.counts(TEXTS)).toarray(), bag.weigh(bag.counts(TEXTS)).toarray())
    with pytest.raises(RuntimeError, match="idf"):
        BagOfWords().load_state_dict({"_extra_state": bag.get_extra_state()})


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: BagOfWords(min_df=0), "min_df"),
        (lambda: BagOfWords(ngrams=0), "ngrams"),
        (lambda: BagOfWords(max_features=-1), "max_features"),
        (lambda: BagOfWords(unit="character", stop_words="english"), "stop words are words"),
        (lambda: BagOfWords(stop_words="english").fit(["很好", "不好"], torch.tensor([0, 1])), "counted by characters"),
        (lambda: BagOfWords(min_df=2).fit(["one", "two"], torch.tensor([0, 1])), "no word is left"),
        (lambda: BagOfWords(min_df=1).fit([" ", "\n"], torch.tensor([0, 1])), "no word is left"),
        (lambda: BagOfWords().counts(["x"]), "no vocabulary yet"),
    ],
)
def test_the_bag_refuses(call, words: str) -> None:
    with pytest.raises(UserError, match=words):
        call()


@pytest.mark.parametrize("made", [MultinomialNaiveBayes, BernoulliNaiveBayes, LogisticRegression, LinearSVM])
def test_sparse_rows_are_answered_as_dense_ones(made) -> None:
    bag = BagOfWords(min_df=1, weighting="binary").fit(TEXTS, Y)
    rows = bag.weigh(bag.counts(TEXTS))
    sparse, dense = Fitted(made()), Fitted(made())
    sparse.fit(rows, Y)
    dense.fit(torch.from_numpy(rows.toarray()), Y)
    answers = [
        sparse(csr_tensor(rows)),
        sparse(torch.from_numpy(rows.toarray())),
        dense(torch.from_numpy(rows.toarray())),
    ]
    assert torch.allclose(answers[0], answers[1], atol=1e-12) and torch.allclose(answers[1], answers[2], atol=1e-5)


# -- the recipe -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {"estimator": "naive-bayes", "weighting": "counts"},
        {"estimator": "bernoulli", "weighting": "binary"},
        {"estimator": "logistic"},
        {"estimator": "svm", "c": (1.0,)},
    ],
    ids=lambda s: s["estimator"],
)
def test_each_estimator_learns_the_users_texts(settings: dict, tmp_path: Path) -> None:
    run = chainrule.train(
        "bag-of-words", data=str(table(tmp_path / "r.csv")), out=tmp_path / "run", device="cpu", **settings
    )
    assert run.result()["metrics"]["accuracy"] == 1.0
    (tmp_path / "mine.txt").write_text("warm and\nfine\n", "utf-8")
    (tmp_path / "mine.csv").write_text("number,text\n1,so dull\n2,a fine cast\n", "utf-8")
    asked = ["a dull, cold thing", str(tmp_path / "mine.txt"), str(tmp_path / "mine.csv")]
    answers = chainrule.predict(tmp_path / "run", asked, device="cpu")
    assert [a["class"] for a in answers] == ["bad", "good", "bad", "good"]
    assert {"dull", "cold"} <= set(answers[0]["spoke"]) and answers[2]["input"].endswith("mine.csv, line 2")
    (few,) = chainrule.predict(tmp_path / "run", asked[:1], words=1, top=1, device="cpu")
    assert few["spoke"].items() <= answers[0]["spoke"].items() and len(few["spoke"]) == len(few["top"]) == 1
    assert answers[2]["number"] == "1" and answers[2]["text"] == "so dull"
    assert ("probability" in answers[0]) == (settings["estimator"] != "svm") == ("loss" in run.result()["metrics"])
    words = next(f for f in Run.load(tmp_path / "run", "cpu").open_task().figures() if f.title.startswith("Words"))
    spoken = {name: said.split(", ") for name, said in words.table[1:]}
    assert "dull" in spoken["bad"][:4] and "fine" in spoken["good"][:4]


def test_an_unknown_text_gets_the_prior(tmp_path: Path) -> None:
    reviews = {"good": REVIEWS["good"], "bad": REVIEWS["bad"] + ["dull dull", "cold cold"]}
    chainrule.train(
        "bag-of-words",
        data=str(table(tmp_path / "r.csv", reviews)),
        out=tmp_path / "run",
        device="cpu",
        estimator="naive-bayes",
    )
    answer = chainrule.predict(tmp_path / "run", ["zzz yyy"], device="cpu")[0]
    run = Run.load(tmp_path / "run", "cpu")
    share = float((run.open_task().data.train.y == 0).double().mean())
    assert answer["known"] == 0 and answer["spoke"] == {} and answer["probability"] == pytest.approx(share, abs=1e-6)


def test_the_vocabulary_is_that_of_the_training_split_alone(tmp_path: Path) -> None:
    for name, times in (("train", 3), ("val", 1), ("test", 1)):
        table(tmp_path / f"{name}.csv", times=times)
    with (tmp_path / "test.csv").open("a", encoding="utf-8") as stream:
        stream.write("onlyhere onlyhere,good\nonlyhere fine,good\n")
    run = chainrule.train("bag-of-words", data=str(tmp_path), out=tmp_path / "run", device="cpu", min_df=1)
    vocabulary = run.task.model.bag.vocabulary
    assert "onlyhere" not in vocabulary and "fine" in vocabulary
    assert run.record["data"]["spec"]["splits"] == dict.fromkeys(("train", "val", "test"), "as published")
    assert chainrule.evaluate(tmp_path / "run", data=str(tmp_path / "val.csv"), device="cpu")["accuracy"] == 1.0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"estimator": "bernoulli"}, "weighting=binary"),
        ({"folds": 10, "fold": 11}, "no such fold"),
        ({"folds": 1}, "no such fold"),
        ({"min_df": 10_000}, "no word is left"),
        ({"weighting": "bm25"}, "tfidf or counts or binary"),
    ],
)
def test_the_recipe_refuses(settings: dict, words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words):
        chainrule.train("bag-of-words", out=tmp_path / "run", device="cpu", **settings)
    assert not (tmp_path / "run").exists()


def test_mr_reaches_the_published_figure(tmp_path: Path) -> None:
    """Naive Bayes over single words on one fold of ten; the answers are scikit-learn's."""
    mirror("mr")
    run = chainrule.train(
        "bag-of-words",
        data="mr",
        out=tmp_path / "run",
        device="cpu",
        estimator="naive-bayes",
        weighting="binary",
        ngrams=1,
        alpha=(1.0,),
        folds=10,
        fold=1,
    )
    accuracy = run.result()["metrics"]["accuracy"]
    _, splits = read_sentence_splits("mr", target=None, val_fraction=0.1, test_fraction=0.1, folds=10, fold=1, seed=0)
    count = CountVectorizer(
        tokenizer=BagOfWords(unit="word", ngrams=1).tokens, token_pattern=None, binary=True, min_df=2
    )
    theirs = MultinomialNB().fit(count.fit_transform(splits["train"].texts), splits["train"].y)
    assert accuracy == pytest.approx(theirs.score(count.transform(splits["test"].texts), splits["test"].y), abs=1e-12)
    assert 0.75 < accuracy < 0.81
