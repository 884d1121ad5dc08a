"""Linear models on a table, or on small images as rows: regression, logistic regression, the perceptron."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from chainrule.core.course import Topic
from chainrule.core.recipe import Target, recipe
from chainrule.core.settings import Count, Fraction, NonNegative, Positive, Preprocessing

if TYPE_CHECKING:
    from chainrule.run.run import Run
    from chainrule.tasks.tables.classification import TableClassifier
    from chainrule.tasks.tables.regression import TableRegressor


@recipe(
    "linear-regression",
    task="table regression",
    data="diabetes",
    kinds=("table",),
    source="Golub and Van Loan 2013, section 5.3",
    model="linear-regression",
    tiny={"solver": "normal"},
    summary_zh="最小二乘：QR 分解、正规方程、梯度下降",
    topics=(Topic("Linear regression: normal equations, QR, descent"),),
)
def linear_regression(
    run: Run,
    *,
    solver: Literal["qr", "normal", "gradient"] = "qr",
    tol: Positive = 1e-6,
    max_iter: Count = 10_000,
    standardize: bool = True,
    encode: bool = True,
    missing: Literal["refuse", "fill"] = "refuse",
    val_fraction: Fraction = 0.1,
) -> TableRegressor:
    """Least squares, by QR, the normal equations or gradient descent."""
    from chainrule.systems.linear.regression import LinearRegression
    from chainrule.tasks.tables.estimators import estimator_task
    from chainrule.tasks.tables.regression import TableRegressor

    model = LinearRegression(solver=solver, tol=tol, max_iter=max_iter, device=str(run.device))
    return estimator_task(
        TableRegressor,
        run,
        model,
        task="regression",
        preprocess=standardize,
        encode=encode,
        missing=missing,
        val_fraction=val_fraction,
    )


@recipe(
    "ridge",
    task="table regression",
    data="diabetes",
    kinds=("table",),
    source="Hoerl and Kennard 1970",
    model="ridge",
    tiny={"alpha": (0.1, 10.0)},
    summary_zh="岭回归：带平方惩罚的最小二乘",
)
def ridge(
    run: Run,
    *,
    alpha: tuple[NonNegative, ...] = (0.01, 0.1, 1.0, 10.0, 100.0),
    solver: Literal["qr", "normal", "gradient"] = "qr",
    tol: Positive = 1e-6,
    max_iter: Count = 10_000,
    standardize: bool = True,
    encode: bool = True,
    missing: Literal["refuse", "fill"] = "refuse",
    val_fraction: Fraction = 0.1,
) -> TableRegressor:
    """Least squares with a squared penalty; the validation split chooses how much."""
    from chainrule.systems.linear.regression import Ridge
    from chainrule.tasks.tables.estimators import estimator_task
    from chainrule.tasks.tables.regression import TableRegressor

    model = Ridge(solver=solver, tol=tol, max_iter=max_iter, device=str(run.device))
    return estimator_task(
        TableRegressor,
        run,
        model,
        [{"alpha": one} for one in alpha],
        task="regression",
        choose_by="mse",
        preprocess=standardize,
        encode=encode,
        missing=missing,
        val_fraction=val_fraction,
    )


@recipe(
    "lasso",
    task="table regression",
    data="diabetes",
    kinds=("table",),
    source="Tibshirani 1996; Friedman, Hastie, Tibshirani 2010",
    model="lasso",
    tiny={"alpha": (0.1, 1.0)},
    summary_zh="lasso：惩罚使一部分权重变为 0，用坐标下降求解",
)
def lasso(
    run: Run,
    *,
    alpha: tuple[Positive, ...] = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0),
    tol: Positive = 1e-6,
    max_iter: Count = 10_000,
    standardize: bool = True,
    encode: bool = True,
    missing: Literal["refuse", "fill"] = "refuse",
    val_fraction: Fraction = 0.1,
) -> TableRegressor:
    """Least squares with a penalty that sets weights to 0; the validation split chooses how much."""
    from chainrule.systems.linear.regression import Lasso
    from chainrule.tasks.tables.estimators import estimator_task
    from chainrule.tasks.tables.regression import TableRegressor

    model = Lasso(tol=tol, max_iter=max_iter, device=str(run.device))
    return estimator_task(
        TableRegressor,
        run,
        model,
        [{"alpha": one} for one in alpha],
        task="regression",
        choose_by="mse",
        preprocess=standardize,
        encode=encode,
        missing=missing,
        val_fraction=val_fraction,
    )


@recipe(
    "logistic-regression",
    task="table classification",
    data="breast-cancer",
    kinds=("table",),
    source="Cox 1958; Bishop 2006, section 4.3",
    model="logistic-regression",
    tiny={"c": (0.1, 1.0), "tol": 1e-3},
    summary_zh="logistic 回归，两类或多类，牛顿法、L-BFGS",
)
def logistic_regression(
    run: Run,
    *,
    c: tuple[Positive, ...] = (0.001, 0.01, 0.1, 1.0, 10.0),
    solver: Literal["lbfgs", "newton", "gradient"] = "lbfgs",
    class_weight: Literal["balanced"] | None = None,
    balance: bool = False,
    tol: Positive = 1e-6,
    max_iter: Count = 10_000,
    preprocess: Preprocessing = "standardize",
    encode: bool = True,
    missing: Literal["refuse", "fill"] = "refuse",
    val_fraction: Fraction = 0.1,
) -> TableClassifier:
    """Log-odds that are linear in the columns: one row of weights for two classes; the validation split chooses C."""
    from chainrule.systems.linear.logistic import LogisticRegression
    from chainrule.tasks.tables.classification import TableClassifier
    from chainrule.tasks.tables.estimators import estimator_task

    model = LogisticRegression(
        solver=solver,
        class_weight="balanced" if balance else class_weight,
        tol=tol,
        max_iter=max_iter,
        device=str(run.device),
    )
    return estimator_task(
        TableClassifier,
        run,
        model,
        [{"C": one} for one in c],
        task="classification",
        choose_by="loss",
        preprocess=preprocess,
        encode=encode,
        missing=missing,
        val_fraction=val_fraction,
    )


@recipe(
    "softmax-regression",
    task="table classification",
    data="digits",
    kinds=("table",),
    source="Bishop 2006, section 4.3.4; LeCun et al. 1998 for a linear classifier of MNIST",
    model="softmax-regression",
    target=Target(
        "error",
        0.08,
        "mnist",
        "LeCun et al. 1998, figure 9: linear classifiers, 0.12 plain, 0.084 on deslanted images",
        "test split, once, after the validation split chose C",
    ),
    tiny={"c": (0.1,), "tol": 1e-2, "preprocess": "pca"},
    summary_zh="softmax 回归：每类一个线性得分，再取 softmax",
)
def softmax_regression(
    run: Run,
    *,
    c: tuple[Positive, ...] = (0.001, 0.01, 0.1),
    solver: Literal["lbfgs", "newton", "gradient"] = "lbfgs",
    class_weight: Literal["balanced"] | None = None,
    balance: bool = False,
    tol: Positive = 1e-4,
    max_iter: Count = 10_000,
    dtype: Literal["float64", "float32"] = "float64",
    preprocess: Preprocessing = "standardize",
    encode: bool = True,
    missing: Literal["refuse", "fill"] = "refuse",
    val_fraction: Fraction = 0.1,
) -> TableClassifier:
    """A linear score for each class and the softmax of them; the validation split chooses C."""
    import torch

    from chainrule.systems.linear.logistic import SoftmaxRegression
    from chainrule.tasks.tables.classification import TableClassifier
    from chainrule.tasks.tables.estimators import estimator_task

    model = SoftmaxRegression(
        solver=solver,
        class_weight="balanced" if balance else class_weight,
        tol=tol,
        max_iter=max_iter,
        device=str(run.device),
    )
    return estimator_task(
        TableClassifier,
        run,
        model,
        [{"C": one} for one in c],
        task="classification",
        choose_by="loss",
        preprocess=preprocess,
        dtype=getattr(torch, dtype),
        encode=encode,
        missing=missing,
        val_fraction=val_fraction,
    )


@recipe(
    "perceptron",
    task="table classification",
    data="digits",
    kinds=("table",),
    source="Rosenblatt 1958; Freund and Schapire 1999",
    model="perceptron",
    tiny={"epochs": (1, 5)},
    summary_zh="感知器：Rosenblatt 的学习规则；末次、平均或投票的权重",
    topics=(Topic("Perceptron, its bound on mistakes"),),
)
def perceptron(
    run: Run,
    *,
    epochs: tuple[Count, ...] = (1, 3, 10, 30, 100),
    average: Literal["last", "averaged", "voted"] = "averaged",
    standardize: bool = True,
    encode: bool = True,
    missing: Literal["refuse", "fill"] = "refuse",
    val_fraction: Fraction = 0.1,
) -> TableClassifier:
    """Weights that are sums of the rows answered wrongly; the validation split chooses after how many epochs to stop."""
    from chainrule.systems.linear.perceptron import Perceptron
    from chainrule.tasks.tables.classification import TableClassifier
    from chainrule.tasks.tables.estimators import estimator_task

    model = Perceptron(average=average, random_state=run.seed, device=str(run.device))
    return estimator_task(
        TableClassifier,
        run,
        model,
        [{"max_iter": count} for count in epochs],
        task="classification",
        choose_by="error",
        preprocess=standardize,
        encode=encode,
        missing=missing,
        val_fraction=val_fraction,
        probabilistic=False,
    )
