"""Why a fitted model generalises, measured: bias and variance, ensembles, random labels, averaging by dropout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chainrule.core.course import Topic
from chainrule.core.recipe import Headline, recipe
from chainrule.core.settings import Count, Fraction, NonNegative, Positive, Repeats, Size

if TYPE_CHECKING:
    from chainrule.run.run import Run
    from chainrule.tasks.study import Study


@recipe(
    "bias-variance",
    task="decomposition of the error",
    data="synthetic",
    source="Geman, Bienenstock and Doursat 1992; Belkin et al. 2019",
    headline=Headline(
        ("largest_relative_gap", "polynomial_best_size", "polynomial_best_error", "net_best_size", "net_best_error")
    ),
    tiny={"degrees": (0, 3, 9), "hidden": (1, 4), "sets": 20, "steps": 60},
    summary_zh="偏差、方差及其和随模型大小的变化",
    topics=(
        Topic("Bias and variance", "偏差与方差", lectures=(3,), command="chainrule train bias-variance noise=0.1"),
    ),
)
def bias_variance(
    run: Run,
    *,
    degrees: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 17, 20, 30, 50, 100),
    hidden: tuple[int, ...] = (1, 2, 3, 4, 6, 8, 16, 32),
    samples: Count = 15,
    sets: Count = 500,
    noise: NonNegative = 0.3,
    steps: Count = 1500,
    lr: Positive = 0.01,
) -> Study:
    """Bias squared, variance and noise against model size, and their sum against the measured test error."""
    from chainrule.systems.studies.generalization.bias_variance import bias_variance_study

    return bias_variance_study(
        run, degrees=degrees, hidden=hidden, samples=samples, sets=sets, noise=noise, steps=steps, lr=lr
    )


@recipe(
    "generalization-gap",
    task="risk against empirical risk",
    data="digits",
    kinds=("images",),
    source="Vapnik and Chervonenkis 1971; Valiant 1984; Bartlett and Mendelson 2002",
    headline=Headline(
        ("largest_deviation", "pac_gap", "vc_gap", "rademacher_gap", "order_of_deviation", "net_gap_of_most")
    ),
    tiny={"samples": (10, 40), "sets": 20, "points": 4, "hidden": 8, "steps": 20, "repeats": 1},
    summary_zh="泛化误差随样本数的变化，与 PAC、VC、Rademacher 界",
    topics=(
        Topic("Generalisation gap against the number of samples", "泛化误差随样本数的变化", lectures=(3,)),
        Topic("PAC bound, ensembles, votes", command="chainrule train generalization-gap delta=0.01"),
    ),
)
def generalization_gap(
    run: Run,
    *,
    samples: tuple[Count, ...] = (10, 30, 100, 300, 1000, 3000),
    hypotheses: Count = 100,
    delta: Positive = 0.05,
    noise: Fraction = 0.2,
    sets: Count = 500,
    points: Count = 9,
    hidden: Count = 32,
    steps: Count = 300,
    lr: Positive = 0.01,
    repeats: Repeats = 3,
    size: Count = 8,
) -> Study:
    """How far risk and empirical risk are apart, against the number of samples, beside the bounds of learning theory.

    Thresholds on a line, whose risk is known exactly, beside the bounds by the number of hypotheses, the VC dimension and
    the Rademacher complexity; nets on images, by training and test error. The labellings of 1 to `points` points by
    thresholds, intervals, half planes and rectangles are enumerated, and with them VC dimension and complexity.
    """
    from chainrule.systems.studies.generalization.generalization_gap import gap_study

    return gap_study(
        run,
        samples=samples,
        hypotheses=hypotheses,
        delta=delta,
        noise=noise,
        sets=sets,
        points=points,
        hidden=hidden,
        steps=steps,
        lr=lr,
        repeats=repeats,
        size=size,
    )


@recipe(
    "ensemble-bounds",
    task="votes of classifiers",
    data="digits",
    kinds=("images",),
    source="Hansen and Salamon 1990; Krogh and Vedelsby 1995; Breiman 1996",
    headline=Headline(
        (
            "mean_error_resamples",
            "vote_error_resamples",
            "binomial_error_resamples",
            "hoeffding_bound_resamples",
            "correlation_resamples",
        )
    ),
    tiny={"members": 5, "samples": 200, "steps": 40},
    summary_zh="投票的错误率与它的界",
    topics=(
        Topic(
            "PAC bound, ensembles, votes",
            "PAC 界、集成、投票",
            lectures=(3,),
            command="chainrule train ensemble-bounds members=11",
        ),
    ),
)
def ensemble_bounds(
    run: Run,
    *,
    members: Count = 25,
    hidden: Count = 4,
    size: Count = 8,
    samples: Size = 1000,
    steps: Count = 300,
    lr: Positive = 0.02,
    noise: NonNegative = 0.3,
) -> Study:
    """The error of a vote of nets against the binomial error of independent members and Hoeffding's bound."""
    from chainrule.systems.studies.generalization.ensemble_bounds import ensemble_study

    return ensemble_study(
        run, members=members, hidden=hidden, size=size, samples=samples, steps=steps, lr=lr, noise=noise
    )


@recipe(
    "random-labels",
    task="fitting random labels",
    data="digits",
    kinds=("images",),
    source="Zhang et al. 2017 (arXiv 1611.03530)",
    headline=Headline(
        (
            "parameters_per_sample",
            "true_labels_test_error",
            "random_labels_train_error",
            "random_labels_test_error",
            "random_labels_epochs_to_fit",
        )
    ),
    tiny={"corruptions": (0.0, 1.0), "hidden": 64, "samples": 100, "epochs": 30},
    summary_zh="网络能记住随机标签",
    topics=(Topic("Random labels memorised", "记住随机标签", lectures=(3,)),),
)
def random_labels(
    run: Run,
    *,
    corruptions: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0),
    hidden: Count = 512,
    layers: Count = 1,
    size: Count = 8,
    samples: Size = 0,
    epochs: Count = 300,
    batch_size: Count = 128,
    lr: Positive = 0.1,
    momentum: Fraction = 0.9,
) -> Study:
    """Training and test error, and the epochs to fit, for true labels, random labels, shuffled and random pixels.

    Zhang et al. use CIFAR-10 whole, which needs many more epochs:
    `chainrule train random-labels --data cifar10 size=28 layers=3 lr=0.01 epochs=600`. Add `samples=2000` for minutes.
    """
    from chainrule.systems.studies.generalization.random_labels import random_labels_study

    return random_labels_study(
        run,
        corruptions=corruptions,
        hidden=hidden,
        layers=layers,
        size=size,
        samples=samples,
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        momentum=momentum,
    )


@recipe(
    "dropout-averaging",
    task="averaging over masks",
    data="digits",
    kinds=("images",),
    source="Srivastava et al. 2014; Gal and Ghahramani 2016",
    headline=Headline(
        (
            "error_without_dropout",
            "rate_50_scaled_error",
            "rate_50_mean_error",
            "rate_50_scaled_calibration",
            "rate_50_mean_calibration",
        )
    ),
    tiny={"rates": (0.5,), "hidden": 32, "enumerated": 6, "draws": 5, "steps": 40},
    summary_zh="一次缩放的前向与各掩码平均的比较",
    topics=(Topic("Dropout"),),
)
def dropout_averaging(
    run: Run,
    *,
    rates: tuple[float, ...] = (0.2, 0.5, 0.8),
    hidden: Count = 256,
    enumerated: Count = 12,
    draws: Count = 200,
    size: Count = 8,
    samples: Size = 0,
    steps: Count = 1500,
    batch_size: Count = 64,
    lr: Positive = 1e-3,
) -> Study:
    """One pass with scaled weights against the mean over sampled masks, and over all masks of small nets."""
    from chainrule.systems.studies.generalization.dropout_averaging import dropout_study

    return dropout_study(
        run,
        rates=rates,
        hidden=hidden,
        enumerated=enumerated,
        draws=draws,
        size=size,
        samples=samples,
        steps=steps,
        batch_size=batch_size,
        lr=lr,
    )
