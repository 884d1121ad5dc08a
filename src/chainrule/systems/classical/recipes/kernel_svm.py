"""The support vector machine with a kernel, on a table or on small images as rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from chainrule.core.recipe import Target, recipe
from chainrule.core.settings import Count, Fraction, NonNegative, Positive, Preprocessing

if TYPE_CHECKING:
    from chainrule.run.run import Run
    from chainrule.tasks.tables.classification import TableClassifier


@recipe(
    "kernel-svm",
    task="table classification",
    data="digits",
    kinds=("table",),
    source="Cortes and Vapnik 1995; Platt 1998; LIBSVM (Fan, Chen, Lin 2005)",
    model="kernel-svm",
    target=Target(
        "error",
        0.0074,
        "digits",
        "scikit-learn 1.9, SVC with C and gamma chosen from the same candidates",
        "on the splits of seeds 0, 1, 2: the validation split chose, of equals the smallest C; mean test error",
    ),
    tiny={"c": (1.0,), "gamma": ("scale", 0.01)},
    summary_zh="核支持向量机，SMO 算法",
)
def kernel_svm(
    run: Run,
    *,
    c: tuple[Positive, ...] = (1.0, 10.0, 100.0),
    gamma: tuple[Positive | Literal["scale", "auto"], ...] = ("scale", 0.003, 0.001),
    kernel: Literal["linear", "poly", "rbf", "sigmoid"] = "rbf",
    degree: Count = 3,
    coef0: NonNegative = 0.0,
    multi_class: Literal["ovo", "ovr"] = "ovo",
    class_weight: Literal["balanced"] | None = None,
    balance: bool = False,
    tol: Positive = 1e-3,
    cache_size: Positive = 200.0,
    preprocess: Preprocessing = "standardize",
    encode: bool = True,
    missing: Literal["refuse", "fill"] = "refuse",
    val_fraction: Fraction = 0.1,
) -> TableClassifier:
    """The support vector machine with a kernel, by SMO; the validation split chooses C and gamma, of equals the smallest C."""
    from chainrule.systems.classical.kernel_svm import KernelSVM
    from chainrule.tasks.tables.classification import TableClassifier
    from chainrule.tasks.tables.estimators import estimator_task

    model = KernelSVM(
        kernel=kernel,
        degree=degree,
        coef0=coef0,
        multi_class=multi_class,
        class_weight="balanced" if balance else class_weight,
        tol=tol,
        cache_size=cache_size,
        device=str(run.device),
    )
    widths = gamma if kernel != "linear" else gamma[:1]  # which a linear kernel has none of
    # A run keeps the last of equals: that of the smallest C, and the first gamma.
    candidates = [{"C": one, "gamma": width} for one in sorted(c, reverse=True) for width in reversed(widths)]
    return estimator_task(
        TableClassifier,
        run,
        model,
        candidates,
        task="classification",
        choose_by="error",
        preprocess=preprocess,
        encode=encode,
        missing=missing,
        val_fraction=val_fraction,
        probabilistic=False,
    )
