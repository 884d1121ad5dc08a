"""Texts into classes from bags of words, with naive Bayes, logistic regression or a support vector machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from chainrule.core.recipe import Target, recipe
from chainrule.core.settings import Count, Fraction, Positive, Size

if TYPE_CHECKING:
    from collections.abc import Callable

    from chainrule.nn.fitted import Estimator
    from chainrule.run.run import Run
    from chainrule.systems.linear.bag_of_words.task import TextClassifier


@recipe(
    "bag-of-words",
    task="text classification",
    data="python-manual",
    kinds=("sentences",),
    source="Manning, Raghavan, Schuetze: Introduction to information retrieval, 2008, chapters 6 and 13; Wang and Manning 2012",
    model="logistic-regression",
    target=Target(
        "accuracy",
        0.779,
        "mr",
        "Wang and Manning 2012, table 2, MNB-uni (77.9; MNB-bi 79.0, SVM-uni 76.2, SVM-bi 77.7), "
        "with estimator=naive-bayes weighting=binary ngrams=1",
        "mean of ten folds: folds=10 fold=1 to 10, in each the validation split chooses alpha",
        lower_is_better=False,
    ),
    tiny={"c": (1.0, 10.0), "tol": 1e-2, "min_df": 4},
    summary_zh="文本分类：TF-IDF 加朴素贝叶斯、logistic 回归或支持向量机",
)
def bag_of_words(
    run: Run,
    *,
    estimator: Literal["naive-bayes", "bernoulli", "logistic", "svm"] = "logistic",
    weighting: Literal["tfidf", "counts", "binary"] = "tfidf",
    unit: Literal["auto", "word", "character"] = "auto",
    ngrams: Count = 2,
    stop_words: Literal["english"] | None = None,
    min_df: Count = 2,
    max_features: Count | None = None,
    select_by: Literal["frequency", "mutual-information", "chi-square"] = "frequency",
    alpha: tuple[Positive, ...] = (0.03, 0.1, 0.3, 1.0, 3.0),
    c: tuple[Positive, ...] = (0.1, 1.0, 10.0, 100.0),
    class_weight: Literal["balanced"] | None = None,
    balance: bool = False,
    tol: Positive = 1e-4,
    folds: Size = 0,
    fold: Count = 1,
    val_fraction: Fraction = 0.1,
) -> TextClassifier:
    """Which words a text has, not their order; the validation split chooses alpha of naive Bayes, or C."""
    from chainrule.core.errors import UserError
    from chainrule.data.text.sentences import load_sentences
    from chainrule.nn.fitted import Fitted
    from chainrule.systems.classical.naive_bayes import BernoulliNaiveBayes, MultinomialNaiveBayes
    from chainrule.systems.linear.bag_of_words.task import TextClassifier
    from chainrule.systems.linear.bag_of_words.vectorizer import BagOfWords
    from chainrule.systems.linear.logistic import LogisticRegression
    from chainrule.systems.linear.svm import LinearSVM

    if estimator == "bernoulli" and weighting != "binary":
        raise UserError(
            "Bernoulli's form of naive Bayes reads whether a word is there, not what it weighs",
            found=f"estimator=bernoulli weighting={weighting}",
            cure="weighting=binary",
        )
    if balance and estimator in ("naive-bayes", "bernoulli"):
        raise UserError(
            "naive Bayes has no class weights",
            found=f"balance=yes estimator={estimator}",
            cure="estimator=logistic or svm",
        )
    data = load_sentences(run.data, val_fraction=val_fraction, folds=folds, fold=fold)
    bag = BagOfWords(
        unit=unit,
        ngrams=ngrams,
        weighting=weighting,
        stop_words=stop_words,
        min_df=min_df,
        max_features=max_features,
        select_by=select_by,
    )
    device = str(run.device)
    makers: dict[str, Callable[[], Estimator]] = {
        "naive-bayes": lambda: MultinomialNaiveBayes(device=device),
        "bernoulli": lambda: BernoulliNaiveBayes(device=device),
        "logistic": lambda: LogisticRegression(
            class_weight="balanced" if balance else class_weight, tol=tol, max_iter=10_000, device=device
        ),
        "svm": lambda: LinearSVM(class_weight="balanced" if balance else class_weight, tol=tol, device=device),
    }
    bayes = estimator in ("naive-bayes", "bernoulli")
    return TextClassifier(
        run,
        data=data,
        bag=bag,
        model=Fitted(makers[estimator]()),
        candidates=[{"alpha": one} for one in alpha] if bayes else [{"C": one} for one in c],
        probabilistic=estimator != "svm",
    )
