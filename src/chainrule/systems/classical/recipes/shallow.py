"""Shallow models on a table, or on small images as rows: classifiers without a gradient, groups, axes, densities, codes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from chainrule.core.recipe import recipe
from chainrule.core.settings import Count, Fraction, NonNegative, Positive, Preprocessing

if TYPE_CHECKING:
    from chainrule.data.dataset import Dataset
    from chainrule.data.tables.loading import TableSplit
    from chainrule.data.tables.spec import TableSpec
    from chainrule.run.run import Run
    from chainrule.systems.classical.exploration import TableExplorer
    from chainrule.tasks.tables.classification import TableClassifier


@recipe(
    "naive-bayes",
    task="table classification",
    data="digits",
    kinds=("table",),
    source="Bishop 2006, section 4.2; Manning, Raghavan, Schuetze 2008, chapter 13",
    model="gaussian-naive-bayes",
    tiny={"smoothing": (1e-9, 1e-3)},
    summary_zh="朴素贝叶斯：高斯、多项、伯努利",
)
def naive_bayes(
    run: Run,
    *,
    kind: Literal["gaussian", "multinomial", "bernoulli"] = "gaussian",
    smoothing: tuple[Positive, ...] | None = None,
    priors: Literal["frequency", "uniform"] = "frequency",
    binarize: NonNegative = 0.0,
    encode: bool = True,
    missing: Literal["refuse", "fill"] = "refuse",
    val_fraction: Fraction = 0.1,
) -> TableClassifier:
    """Naive Bayes; the validation split chooses the smoothing (a share of the largest variance, or what counts begin with)."""
    from chainrule.systems.classical.naive_bayes import BernoulliNaiveBayes, GaussianNaiveBayes, MultinomialNaiveBayes
    from chainrule.tasks.tables.classification import TableClassifier
    from chainrule.tasks.tables.estimators import estimator_task

    shared: dict[str, Any] = {"priors": None if priors == "frequency" else priors, "device": str(run.device)}
    model: GaussianNaiveBayes | MultinomialNaiveBayes | BernoulliNaiveBayes
    if kind == "gaussian":
        name, values = "var_smoothing", smoothing or (1e-9, 1e-6, 1e-3, 1e-2, 1e-1)
        model = GaussianNaiveBayes(**shared)
    else:
        name, values = "alpha", smoothing or (1e-3, 1e-2, 1e-1, 1.0, 10.0)
        model = (
            MultinomialNaiveBayes(**shared)
            if kind == "multinomial"
            else BernoulliNaiveBayes(binarize=binarize, **shared)
        )
    return estimator_task(
        TableClassifier,
        run,
        model,
        [{name: value} for value in values],
        task="classification",
        choose_by="loss",
        preprocess=kind == "gaussian",
        encode=encode,
        missing=missing,
        val_fraction=val_fraction,
    )


@recipe(
    "lda",
    task="table classification",
    data="digits",
    kinds=("table",),
    source="Fisher 1936; Hastie, Tibshirani, Friedman 2009, section 4.3",
    model="lda",
    tiny={"shrinkage": ("none", 0.1)},
    summary_zh="线性判别分析，协方差收缩",
)
def lda(
    run: Run,
    *,
    shrinkage: tuple[Literal["none", "auto"] | Fraction, ...] = ("none", "auto", 0.01, 0.1, 0.3),
    preprocess: Preprocessing = "standardize",
    encode: bool = True,
    missing: Literal["refuse", "fill"] = "refuse",
    val_fraction: Fraction = 0.1,
) -> TableClassifier:
    """Linear discriminant analysis; the validation split chooses how far the covariance is shrunk."""
    from chainrule.systems.classical.discriminant import LinearDiscriminant
    from chainrule.tasks.tables.classification import TableClassifier
    from chainrule.tasks.tables.estimators import estimator_task

    model = LinearDiscriminant(device=str(run.device))
    return estimator_task(
        TableClassifier,
        run,
        model,
        [{"shrinkage": None if share == "none" else share} for share in shrinkage],
        task="classification",
        choose_by="loss",
        preprocess=preprocess,
        encode=encode,
        missing=missing,
        val_fraction=val_fraction,
    )


@recipe(
    "nearest-neighbours",
    task="table classification",
    data="digits",
    kinds=("table",),
    source="Cover and Hart 1967",
    model="nearest-neighbours",
    tiny={"neighbours": (1, 3)},
    summary_zh="最近邻",
)
def nearest_neighbours(
    run: Run,
    *,
    neighbours: tuple[Count, ...] = (1, 3, 5, 7, 11, 15),
    voting: Literal["uniform", "distance"] = "uniform",
    preprocess: Preprocessing = "standardize",
    encode: bool = True,
    missing: Literal["refuse", "fill"] = "refuse",
    val_fraction: Fraction = 0.1,
) -> TableClassifier:
    """The class of most of the nearest training rows; the validation split chooses how many are asked, of equals the fewest."""
    from chainrule.systems.classical.neighbours import NearestNeighbours
    from chainrule.tasks.tables.classification import TableClassifier
    from chainrule.tasks.tables.estimators import at_most, estimator_task

    def candidates(data: Dataset[TableSpec, TableSplit]) -> list[dict[str, int]]:
        at_most("neighbours", neighbours, data, "training rows", data.spec.counts["train"])
        return [{"n_neighbors": count} for count in sorted(neighbours, reverse=True)]  # a run keeps the last of equals

    model = NearestNeighbours(weights=voting, device=str(run.device))
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


@recipe(
    "k-means",
    task="clustering",
    data="digits",
    kinds=("table",),
    source="Lloyd 1982; Arthur and Vassilvitskii 2007; Elkan 2003",
    model="k-means",
    tiny={"clusters": (3,), "starts": 2},
    summary_zh="聚类，k-means++ 起点",
)
def k_means(
    run: Run,
    *,
    clusters: tuple[Count, ...] = (10,),
    starts: Count = 10,
    max_iterations: Count = 300,
    tolerance: NonNegative = 1e-4,
    standardize: bool = True,
    encode: bool = True,
    missing: Literal["refuse", "fill"] = "refuse",
    val_fraction: Fraction = 0.1,
) -> TableExplorer:
    """k-means from k-means++; of several numbers of clusters the validation split takes that of least mean square."""
    from chainrule.systems.classical.exploration import TableExplorer
    from chainrule.systems.classical.k_means import KMeans
    from chainrule.tasks.tables.estimators import at_most, estimator_task

    def candidates(data: Dataset[TableSpec, TableSplit]) -> list[dict[str, int]]:
        at_most("clusters", clusters, data, "training rows", data.spec.counts["train"])
        return [{"n_clusters": count} for count in clusters]

    model = KMeans(
        n_init=starts, max_iter=max_iterations, tol=tolerance, random_state=run.seed % 2**32, device=str(run.device)
    )
    return estimator_task(
        TableExplorer,
        run,
        model,
        candidates,
        task="density",
        choose_by="mean_square",
        preprocess=standardize,
        encode=encode,
        missing=missing,
        val_fraction=val_fraction,
        output="distances",
        how=f"of {starts} starts that of least inertia on the training split",
    )


@recipe(
    "pca",
    task="dimension reduction",
    data="digits",
    kinds=("table",),
    source="Pearson 1901; Tipping and Bishop 1999",
    model="pca",
    tiny={"components": (2, 5)},
    summary_zh="主成分分析",
)
def pca(
    run: Run,
    *,
    components: tuple[Count, ...] | None = None,
    whiten: bool = False,
    standardize: bool = True,
    encode: bool = True,
    missing: Literal["refuse", "fill"] = "refuse",
    val_fraction: Fraction = 0.1,
) -> TableExplorer:
    """Principal components; the validation split chooses how many (1 to 60, if none are named) by their Gaussian's density."""
    from chainrule.systems.classical.exploration import TableExplorer
    from chainrule.systems.classical.pca import PCA
    from chainrule.tasks.tables.estimators import at_most, estimator_task

    def candidates(data: Dataset[TableSpec, TableSplit]) -> list[dict[str, int]]:
        most = min(len(data.spec.mean), data.spec.counts["train"])
        at_most("components", components or (1,), data, "columns and training rows", most)
        counts = components or [count for count in (1, 2, 5, 10, 20, 30, 40, 50, 60) if count <= most]
        return [{"n_components": count} for count in counts]

    model = PCA(whiten=whiten, device=str(run.device))
    return estimator_task(
        TableExplorer,
        run,
        model,
        candidates,
        task="density",
        choose_by="nll_nats",
        preprocess=standardize,
        encode=encode,
        missing=missing,
        val_fraction=val_fraction,
        output="coordinates",
    )


@recipe(
    "kernel-density",
    task="density estimation",
    data="digits",
    kinds=("table",),
    source="Parzen 1962; Silverman 1986",
    model="kernel-density",
    tiny={"bandwidth": (1.0, "scott")},
    summary_zh="核密度估计",
)
def kernel_density(
    run: Run,
    *,
    bandwidth: tuple[Positive | Literal["scott", "silverman"], ...] = (
        "scott",
        "silverman",
        0.1,
        0.2,
        0.4,
        0.7,
        1.0,
        1.5,
        2.0,
    ),
    kernel: Literal["gaussian", "exponential"] = "gaussian",
    standardize: bool = True,
    encode: bool = True,
    missing: Literal["refuse", "fill"] = "refuse",
    val_fraction: Fraction = 0.1,
) -> TableExplorer:
    """A bump on every training row; the validation split chooses their width by its likelihood.

    The kernels of bounded support are left to Python: a row farther than a bandwidth from all others has no density at all.
    """
    from chainrule.systems.classical.exploration import TableExplorer
    from chainrule.systems.classical.kernel_density import KernelDensity
    from chainrule.tasks.tables.estimators import estimator_task

    model = KernelDensity(kernel=kernel, device=str(run.device))
    return estimator_task(
        TableExplorer,
        run,
        model,
        [{"bandwidth": width} for width in bandwidth],
        task="density",
        choose_by="nll_nats",
        preprocess=standardize,
        encode=encode,
        missing=missing,
        val_fraction=val_fraction,
        output="log_density",
    )


@recipe(
    "sparse-coding",
    task="dictionary learning",
    data="digits",
    kinds=("table",),
    source="Olshausen and Field 1996; Mairal, Bach, Ponce, Sapiro 2009",
    model="sparse-coding",
    tiny={"atoms": 5, "max_iterations": 3},
    summary_zh="稀疏编码：每行是字典里少数几个原子之和",
)
def sparse_coding(
    run: Run,
    *,
    atoms: Count = 100,
    alpha: Positive = 1.0,
    max_iterations: Count = 50,
    tolerance: NonNegative = 1e-5,
    standardize: bool = True,
    encode: bool = True,
    missing: Literal["refuse", "fill"] = "refuse",
    val_fraction: Fraction = 0.1,
) -> TableExplorer:
    """A dictionary of which every row is a sum of few atoms, by coordinate descent on codes and atoms in turn."""
    from chainrule.systems.classical.exploration import TableExplorer
    from chainrule.systems.classical.sparse_coding import SparseCoding
    from chainrule.tasks.tables.estimators import estimator_task

    model = SparseCoding(
        n_components=atoms, alpha=alpha, max_iter=max_iterations, tol=tolerance, code_tol=1e-6, device=str(run.device)
    )
    return estimator_task(
        TableExplorer,
        run,
        model,
        task="density",
        preprocess=standardize,
        encode=encode,
        missing=missing,
        val_fraction=val_fraction,
        output="codes",
    )
