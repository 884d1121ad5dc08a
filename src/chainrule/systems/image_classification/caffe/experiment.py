"""What a training needs of Caffe's files together: their texts, sizes that agree, rules that can be kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from importlib import resources
from typing import Any

from chainrule.core.errors import UserError
from chainrule.interop.caffe.description.files import read_binary, read_text
from chainrule.interop.caffe.description.sources import Source
from chainrule.interop.caffe.solver import Solver, beside, net_of
from chainrule.interop.caffe.weights import blob_value
from chainrule.nn.normalization.batch_norm import CaffeBatchNorm
from chainrule.systems.image_classification.caffe.classifier import CaffeClassifier, data_of

BUILT_IN = {"lenet": "lenet.prototxt"}
BUILT_IN_SOLVERS = {"lenet": "lenet_solver.prototxt"}
MEANS = "mean_value: 104 mean_value: 117 mean_value: 123"


def read_texts(net: str, solver: str) -> dict[str, str]:
    """The texts of the description and the solver, and the name of the first, which errors use.

    Args:
        net: a file, `lenet`, or nothing: the network that the solver holds or names, else `lenet`.
        solver: a file, or `lenet`.

    Raises:
        UserError: a file that is not there or holds something else.
    """
    if solver in BUILT_IN_SOLVERS:
        solver_text = asset(BUILT_IN_SOLVERS[solver])
    else:
        solver_text = read_text(solver, "Solver")[1]
        if not net and (found := net_of(solver)) is not None:
            return {"net": found[0], "solver": solver_text, "name": found[1]}
    net = net or "lenet"
    net_text = asset(BUILT_IN[net]) if net in BUILT_IN else read_text(net, "Net")[1]
    return {"net": net_text, "solver": solver_text, "name": net}


def source_in(texts: dict[str, Any], *, level: int = 0, stages: Sequence[str] = ()) -> Source:
    """The data layer of the description; the means of its mean image are kept beside the texts, and stand for the file.

    Raises:
        UserError: the description has no data, or its mean image cannot be read.
    """
    source = data_of(texts["net"], texts["name"], level=level, stages=stages)
    if not source.mean_file:
        return source
    if "mean" not in texts:
        texts["mean"] = channel_means(source.mean_file, texts["name"])
    return replace(source, mean_value=tuple(texts["mean"]), mean_file="")


def channel_means(file: str, net: str) -> list[float]:
    """The means over pixels of a mean image (.binaryproto), a channel, in Caffe's order: what `mean_value` would say.

    Caffe takes the image itself away in training; taking its means away is what its own scripts do when a trained
    network answers. Mean images are smooth, and the two differ little.

    Args:
        file: its path, from the working folder or from that of the description.
        net: the path of the description.

    Raises:
        UserError: no such file, or it holds no image.
    """
    path = beside(file, net)
    if not path.is_file():
        raise UserError(
            "there is no such file",
            where=path,
            expected="a mean image (binary, .binaryproto), which the description names as mean_file",
            cure=f"the file there or beside {net}; or the means a channel in its place, {MEANS}",
        )
    blob = read_binary(path, "Blob")
    try:
        image = blob_value(blob)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    *others, channels, height, width = [1, 1, 1, *image.shape]
    if math.prod(others) != 1 or not image.numel() or not image.isfinite().all():
        raise UserError(
            "the file holds no mean image",
            where=path,
            expected="numbers (channels, height, width)",
            found=tuple(image.shape),
            cure=f"{MEANS} in place of mean_file",
        )
    return [float(mean) for mean in image.double().view(channels, height * width).mean(1)]


def asset(name: str) -> str:
    """A text that comes with the package."""
    return (resources.files("chainrule.systems.image_classification.caffe") / "assets" / name).read_text("utf-8")


def side(source: Source, size: int) -> int:
    """The side that images are brought to, before a part is cut out: as given, else as the data layer says.

    Raises:
        UserError: nobody says it, or it is smaller than the part.
    """
    found = size or source.size or source.crop_size
    if not found:
        raise UserError(
            f"the description does not say how large the images are (data layer {source.name!r})",
            expected="crop_size, new_height and new_width, or a layer of type Input",
            cure="size=224",
        )
    if found < source.crop_size:
        raise UserError(
            "the images are smaller than the part that is cut out",
            expected=f"{source.crop_size} or more",
            found=f"size={found}",
            cure=f"size={source.crop_size}",
        )
    return found


def check(model: CaffeClassifier, solver: Solver, classes: int) -> None:
    """UserError where the network has another number of outputs than there are classes, or the solver asks too much."""
    if model.num_classes != classes:
        raise UserError(
            f"the network {model.net.name} tells other classes apart than the data have",
            expected=f"{classes} outputs, one for each class",
            found=model.num_classes,
            cure=f"num_output: {classes} in the last layer (layer {model.net.steps_for(model.heads[-1:])[-1][0].name!r})",
        )
    if solver.iter_size > 1 and any(isinstance(module, CaffeBatchNorm) for module in model.modules()):
        raise UserError(
            "gradients of several batches cannot be put together where batches are normalised",
            expected="iter_size: 1",
            found=f"iter_size: {solver.iter_size}",
            cure="a larger batch_size",
        )
