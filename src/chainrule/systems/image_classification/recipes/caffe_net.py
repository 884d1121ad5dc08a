"""A network as Caffe's files describe it, trained as its solver says, on any images with classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from chainrule.core.course import Topic
from chainrule.core.recipe import Target, recipe
from chainrule.core.settings import Fraction, Named, PathName, Size

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from chainrule.run.run import Run
    from chainrule.tasks.images.classification import ImageClassifier


BuiltInOrPath = Annotated[str, Named(("lenet",))]


@recipe(
    "caffe-net",
    task="image classification",
    data="digits",
    kinds=("images",),
    source="Jia et al. 2014; Caffe examples/mnist",
    model="caffe-net",
    target=Target(
        "error", 0.0090, "mnist", "Caffe, examples/mnist/readme.md: accuracy 0.991", "last of 10,000 iterations of 64"
    ),
    tiny={"epochs": 2, "log_every": 3},
    summary_zh="Caffe 文件描述的任意网络和求解器：`net=FILE.prototxt solver=FILE.prototxt caffemodel=FILE`",
    topics=(Topic("Nets, weights and solvers in Caffe's files", "Caffe 文件中的网络、权重和求解器", lectures=(2,)),),
)
def caffe_net(
    run: Run,
    *,
    net: BuiltInOrPath = "",
    solver: BuiltInOrPath = "lenet",
    caffemodel: PathName = "",
    fresh: tuple[str, ...] | None = None,
    stage: tuple[str, ...] | None = None,
    level: int = 0,
    size: Size = 0,
    channels: Size = 0,
    batch_size: Size = 0,
    epochs: Size = 0,
    val_fraction: Fraction = 1 / 12,
) -> ImageClassifier:
    """The network of a net description (net=FILE.prototxt), by the optimisation of a solver (solver=FILE.prototxt).

    Without files it is Caffe's LeNet. `net` is otherwise the network that the solver names or holds. `caffemodel` holds
    weights to start from, but for the layers named in `fresh`; without it those files are taken that the solver names as
    weights. `stage` and `level` let layers in, beside what the solver's train_state says. What the files say of size, channels and batch stands unless it is
    given; `epochs` are as many whole ones as max_iter asks for, and validation comes after each. The data are those of
    --data, and the seed is the run's. Of a mean image (mean_file) the means a channel are taken away.
    """
    from dataclasses import replace
    from functools import partial

    from chainrule.core.files.standard_streams import say
    from chainrule.data.images.augment import crop, flip, of_images
    from chainrule.data.images.loading import load_images
    from chainrule.interop.caffe.solver import beside, parse_solver
    from chainrule.interop.caffe.weights import load_caffemodel
    from chainrule.systems.image_classification.caffe import experiment
    from chainrule.systems.image_classification.caffe.classifier import parse_classifier
    from chainrule.systems.image_classification.caffe.transform import mean_and_std
    from chainrule.tasks.images.classification import ImageClassifier

    texts = run.record.setdefault("caffe", {})  # a run answers without the files it began with
    if not texts:
        texts |= experiment.read_texts(net, solver)
    rule = parse_solver(texts["solver"], solver)
    stages, level = (*(stage or ()), *rule.stages), level or rule.level
    source = experiment.source_in(texts, level=level, stages=stages)
    size = experiment.side(source, size)
    data = load_images(
        run.data, size=size, channels=channels or source.channels, val_fraction=val_fraction, may_stay=True
    )
    colours = data.spec.channels
    mean, std = mean_and_std(source, colours)
    data = data.restated(run.data, replace(data.spec, mean=mean, std=std))
    model = parse_classifier(texts["net"], colours, source.crop_size or size, texts["name"], level=level, stages=stages)
    experiment.check(model, rule, len(data.spec.classes))
    if caffemodel and run.fresh:
        load_caffemodel(model.net, caffemodel, fresh=fresh or ())
    elif run.fresh:
        for file in rule.weights:
            say(f"{file}: {load_caffemodel(model.net, beside(file, solver), fresh=fresh or (), partial=True)}")
    if run.fresh:
        for note in (*rule.notes, *model.net.notes):
            say(note)
    run.place(model)
    batch_size = (batch_size or source.batch_size or 64) * rule.iter_size
    epochs = epochs or -(-rule.max_iter // -(-data.spec.counts["train"] // batch_size))
    optimizer = rule.optimizer(model)
    changes: list[Callable[[Tensor], Tensor]] = (
        [partial(crop, height=source.crop_size, width=source.crop_size)] if 0 < source.crop_size < size else []
    )
    changes += [flip] if source.mirror else []
    return ImageClassifier(
        run,
        data=data,
        model=model,
        criterion=model.criterion,
        optimizer=optimizer,
        schedule=rule.schedule(optimizer),
        epochs=epochs,
        batch_size=batch_size,
        changes=[of_images(change) for change in changes],
    )
