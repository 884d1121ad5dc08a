"""A net description as a classifier of images: what a training takes of it, and what it may not ask."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from chainrule.core.errors import UserError
from chainrule.functional import losses
from chainrule.interop.caffe.description.graph import CaffeGraph, Step, score_blobs
from chainrule.interop.caffe.description.sources import Source
from chainrule.interop.caffe.layers.functions import Function
from chainrule.interop.caffe.net import parse_net, parse_sources


class CaffeClassifier(nn.Module):
    """Images to the scores (B, K) of their classes, by the network of a description.

    Images come as everywhere here, red first; Caffe's networks see blue first, so colours are turned round. Of
    images larger than the network's input the middle is cut out. In training, where the network has several losses,
    such as GoogLeNet's three, the scores of all are given, the main ones last; `criterion` takes both.

    Args:
        net: the network; its first input is the image.

    Raises:
        UserError: losses of other things than classes, or an output that is no (B, K).
    """

    def __init__(self, net: CaffeGraph) -> None:
        super().__init__()
        self.net = net
        heads = score_blobs(net)
        self.heads = [blob for blob, _ in heads]
        self.losses = [_criterion(step, net) for _, step in heads]
        self.cut = [step is not None and step.blocked[:1] == (True,) for _, step in heads]
        if all(self.cut):
            raise UserError(
                f"no loss of {net.name} hands a gradient back",
                expected="propagate_down: true",
                found="false at all losses",
            )
        self.weights = [1.0 if step is None else max(step.loss_weights) for _, step in heads]
        self.all_scores, self.main_scores = net.steps_for(self.heads), net.steps_for(self.heads[-1:])
        self.blob, shape = next(iter(net.inputs.items()))
        if len(shape) != 4:
            raise UserError(f"the first input of {net.name} is no image", expected="(N, C, H, W)", found=shape)
        self.size = shape[-2:]
        counts = {int(torch.Size(net.shapes[head][1:]).numel()) for head in self.heads}
        if len(counts) > 1:
            raise UserError(
                "the losses see other numbers of classes", expected="one number", found=", ".join(map(str, counts))
            )
        (self.num_classes,) = counts

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:  # (B, C, H, W), each side as large or larger
        height, width = self.size
        top, left = (x.shape[-2] - height) // 2, (x.shape[-1] - width) // 2
        x = x[..., top : top + height, left : left + width]
        if x.shape[1] == 3:
            x = x.flip(1)
        plan = self.all_scores if self.training else self.main_scores
        heads = self.heads if self.training else self.heads[-1:]
        blobs = self.net.run(plan, self.net.named((x,), {}))
        cuts = self.cut[-len(heads) :]
        scores = tuple((blobs[h].detach() if cut else blobs[h]).flatten(1) for h, cut in zip(heads, cuts, strict=True))
        return scores if len(scores) > 1 else scores[0]

    def criterion(self, scores: Tensor | tuple[Tensor, ...], y: Tensor) -> Tensor:
        """The loss of each sample (B,): of the main scores alone, or of all, each times its weight."""
        if isinstance(scores, Tensor):
            return self.weights[-1] * _loss(self.losses[-1], scores, y)
        parts = zip(self.weights, self.losses, scores, strict=True)
        return torch.stack([weight * _loss(norm, part, y) for weight, norm, part in parts]).sum(0)


def parse_classifier(
    text: str, in_channels: int, size: int, where: object = None, *, level: int = 0, stages: Sequence[str] = ()
) -> CaffeClassifier:
    """The classifier of a description in its phase TRAIN, for images (B, in_channels, size, size).

    Raises:
        UserError: see `chainrule.interop.caffe.net.read_net`; or the description has no data.

    >>> from importlib import resources
    >>> text = (resources.files("chainrule.systems.image_classification.caffe") / "assets" / "lenet.prototxt").read_text("utf-8")
    >>> parse_classifier(text, in_channels=3, size=28)(torch.zeros(2, 3, 28, 28)).shape
    torch.Size([2, 10])
    """
    source = data_of(text, where, level=level, stages=stages)
    shape = (max(source.batch_size, 1), in_channels, size, size)
    shapes = {source.tops[0]: shape}
    return CaffeClassifier(parse_net(text, "TRAIN", level=level, stages=stages, shapes=shapes, where=where))


def data_of(text: str, where: object = None, *, level: int = 0, stages: Sequence[str] = ()) -> Source:
    """The layer of a description that brings its images in, in training: the first."""
    found = parse_sources(text, "TRAIN", where, level=level, stages=stages, needed=True)
    return next(source for source in found if source.tops)


def _loss(norm: str, scores: Tensor, y: Tensor) -> Tensor:
    if norm == "softmax":
        return losses.cross_entropy(scores, y, normalization="unreduced")
    return losses.hinge(scores, y, norm=norm, normalization="unreduced")  # type: ignore[arg-type]


def _criterion(step: Step | None, net: CaffeGraph) -> str:
    """softmax, or the norm of a hinge loss; each a mean over samples, whatever the batch."""
    if step is None:  # a description without losses, as for deployment
        return "softmax"
    module = net.layers[step.key]
    if step.kind == "HingeLoss" and isinstance(module, Function):
        return str(module.settings["norm"])
    if step.kind != "SoftmaxWithLoss" or not isinstance(module, Function):
        raise UserError(
            f"the loss {step.name!r} is none of classes",
            expected="SoftmaxWithLoss or HingeLoss",
            found=step.kind,
            cure="a loop of your own around CaffeGraph.objective",
        )
    if module.settings["normalization"] == "none":
        raise UserError(
            f"the loss {step.name!r} is a sum over the batch",
            expected="a mean: normalization VALID, FULL or BATCH_SIZE",
            found="normalization: NONE",
        )
    return "softmax"
