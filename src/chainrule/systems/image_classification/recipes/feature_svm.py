"""Features that are designed, or learnt without labels, and a support vector machine: recognition before networks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from chainrule.core.course import Topic
from chainrule.core.recipe import Headline, recipe
from chainrule.core.settings import Count, Fraction, Positive, Size

if TYPE_CHECKING:
    from chainrule.run.run import Run
    from chainrule.tasks.images.classification import ImageClassifier
    from chainrule.tasks.study import Study


@recipe(
    "feature-svm",
    task="image classification",
    data="digits",
    kinds=("images",),
    source="Dalal and Triggs 2005; Ahonen et al. 2004; Coates, Ng and Lee 2011",
    model="linear-svm",
    tiny={"size": 16, "c": (0.1, 1.0), "tol": 1e-2},
    summary_zh="网络之前的两段式方法：HOG、LBP、图像块字典或像素，后接线性支持向量机",
    topics=(Topic("Features made by hand: HOG, LBP, patch dictionaries, before networks"),),
)
def feature_svm(
    run: Run,
    *,
    features: Literal["hog", "lbp", "patches", "pixels"] = "hog",
    c: tuple[Positive, ...] = (0.001, 0.01, 0.1, 1.0),
    cell: Count = 8,
    orientations: Count = 9,
    patches: Count = 100,
    patch: Count = 6,
    samples: Count = 20_000,
    tol: Positive = 1e-4,
    size: Size = 32,
    channels: Size = 0,
    val_fraction: Fraction = 1 / 12,
) -> ImageClassifier:
    """HOG, LBP, a dictionary of patches or the pixels, and a linear support vector machine, of which validation chooses C.

    `cell` is the side of HOG's and LBP's cells in pixels, `orientations` are HOG's, `patches` of side `patch` the
    dictionary's, learnt by k-means from `samples` patches without any label. On CIFAR-10 a dictionary of 1600 is
    `features=patches patches=1600 samples=400000`: 50,000 rows of 6,400 numbers, 2.6 GB.
    """
    import torch

    from chainrule.data.images.loading import load_images
    from chainrule.nn.fitted import Fitted
    from chainrule.run.input_normalization import pixel_normalization
    from chainrule.systems.image_classification.features.feature_svm import FeatureSVM, features_of
    from chainrule.systems.image_classification.features.figures import feature_figures
    from chainrule.systems.image_classification.features.learning import by_svm
    from chainrule.systems.linear.svm import LinearSVM
    from chainrule.tasks.images.classification import ImageClassifier

    data = load_images(run.data, size=size, channels=channels, val_fraction=val_fraction)
    spec = data.spec
    chosen = features_of(features, spec.channels, cell=cell, orientations=orientations, patches=patches, patch=patch)
    svm = Fitted(LinearSVM(tol=tol, device=str(run.device)))
    example = torch.zeros(1, spec.channels, spec.size, spec.size)
    model = run.place(FeatureSVM(chosen, example, svm, len(spec.classes)))
    return ImageClassifier(
        run,
        data=data,
        model=model,
        criterion=lambda logits, y: torch.nn.functional.cross_entropy(logits, y, reduction="none"),
        normalize=pixel_normalization(run, ([0.0] * spec.channels, [1.0] * spec.channels)),
        learn=by_svm(c, samples=samples),
        chosen="C",
        figures_of=lambda x: feature_figures(chosen, x),
    )


@recipe(
    "feature-stages",
    task="image classification",
    data="digits",
    kinds=("images",),
    source="Coates, Ng and Lee 2011; Krizhevsky, Sutskever and Hinton 2012",
    headline=Headline(("network_error", "patches_error", "hog_error", "lbp_error", "pixels_error")),
    tiny={"methods": ("hog", "network"), "sizes": (60,), "cell": 14, "c": (0.1,), "steps": 3},
    summary_zh="人工特征、无监督学到的特征、与分类器一起学到的特征，在同样的图像上比较",
    topics=(Topic("Features made by hand: HOG, LBP, patch dictionaries, before networks"),),
)
def feature_stages(
    run: Run,
    *,
    methods: tuple[Literal["pixels", "lbp", "hog", "patches", "network"], ...] = (
        "pixels",
        "lbp",
        "hog",
        "patches",
        "network",
    ),
    sizes: tuple[Size, ...] = (100, 300, 1000, 0),
    c: tuple[Positive, ...] = (0.001, 0.01, 0.1, 1.0),
    cell: Count = 7,
    orientations: Count = 9,
    patches: Count = 100,
    patch: Count = 6,
    samples: Count = 20_000,
    steps: Count = 500,
    batch_size: Count = 64,
    lr: Positive = 0.01,
    momentum: Fraction = 0.9,
    tol: Positive = 1e-4,
    channels: Size = 0,
    val_fraction: Fraction = 1 / 12,
) -> Study:
    """Errors of pixels, LBP, HOG and a patch dictionary, each with an SVM, and of Caffe's LeNet, over training images.

    All see the same images of 28 x 28 pixels, the first so many of the training split in the seed's order; 0 is all. On
    MNIST: `chainrule train feature-stages --data mnist sizes=100,1000,10000 patches=200 steps=2000`.
    """
    from functools import partial

    from chainrule.data.images.loading import load_images
    from chainrule.nn.fitted import Fitted
    from chainrule.systems.image_classification.features.feature_svm import features_of
    from chainrule.systems.image_classification.features.stages import stages_study
    from chainrule.systems.image_classification.lenet import LeNetCaffe
    from chainrule.systems.linear.svm import LinearSVM

    data = load_images(run.data, size=28, channels=channels, val_fraction=val_fraction)
    spec = data.spec
    return stages_study(
        run,
        data=data,
        methods=methods,
        sizes=sizes,
        features=partial(
            features_of, channels=spec.channels, cell=cell, orientations=orientations, patches=patches, patch=patch
        ),
        machine=lambda: Fitted(LinearSVM(tol=tol, device=str(run.device))),
        network=lambda: LeNetCaffe(len(spec.classes), spec.channels),
        c=c,
        samples=samples,
        steps=steps,
        batch_size=batch_size,
        lr=lr,
        momentum=momentum,
    )
