"""Support vector machines on a table, or on small images as rows: linear, and with a kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from chainrule.core.recipe import Target, recipe
from chainrule.core.settings import Count, Fraction, Positive, Preprocessing

if TYPE_CHECKING:
    from chainrule.run.run import Run
    from chainrule.tasks.tables.classification import TableClassifier


@recipe(
    "linear-svm",
    task="table classification",
    data="digits",
    kinds=("table",),
    source="Cortes and Vapnik 1995; LIBLINEAR (Fan et al. 2008); Pegasos (Shalev-Shwartz et al. 2011)",
    model="linear-svm",
    target=Target(
        "error",
        0.0464,
        "digits",
        "scikit-learn 1.9, LinearSVC(dual=False) with C chosen from the same candidates",
        "on the splits of seeds 0, 1, 2: the validation split chose C, of equals the smallest; mean test error",
    ),
    tiny={"c": (0.1, 1.0), "tol": 1e-2},
    summary_zh="线性支持向量机，牛顿法或 Pegasos",
)
def linear_svm(
    run: Run,
    *,
    c: tuple[Positive, ...] = (0.001, 0.01, 0.1, 1.0, 10.0),
    loss: Literal["hinge", "squared_hinge"] = "squared_hinge",
    solver: Literal["newton", "pegasos"] = "newton",
    class_weight: Literal["balanced"] | None = None,
    balance: bool = False,
    tol: Positive = 1e-6,
    max_iter: Count | None = None,
    preprocess: Preprocessing = "standardize",
    encode: bool = True,
    missing: Literal["refuse", "fill"] = "refuse",
    val_fraction: Fraction = 0.1,
) -> TableClassifier:
    """The linear support vector machine, each class against the rest; the validation split chooses C, of equals the smallest."""
    from chainrule.systems.linear.svm import LinearSVM
    from chainrule.tasks.tables.classification import TableClassifier
    from chainrule.tasks.tables.estimators import estimator_task

    model = LinearSVM(
        loss=loss,
        solver=solver,
        class_weight="balanced" if balance else class_weight,
        tol=tol,
        max_iter=max_iter,
        random_state=run.seed,
        device=str(run.device),
    )
    return estimator_task(
        TableClassifier,
        run,
        model,
        [{"C": one} for one in sorted(c, reverse=True)],  # a run keeps the last of equals
        task="classification",
        choose_by="error",
        preprocess=preprocess,
        encode=encode,
        missing=missing,
        val_fraction=val_fraction,
        probabilistic=False,
    )
