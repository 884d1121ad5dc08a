"""The builders of Caffe's losses and of its accuracy: what each reads of its settings."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from chainrule.core.errors import UserError
from chainrule.interop.caffe.description.files import read_binary
from chainrule.interop.caffe.layers import criteria
from chainrule.interop.caffe.layers.functions import as_layer
from chainrule.interop.caffe.layers.settings import Shapes, axis_of, ignored
from chainrule.interop.caffe.numbers import blob_value


class InfogainLoss(nn.Module):
    """`criteria.infogain_loss` with its matrix: of a file, or a third bottom."""

    def __init__(self, matrix: Tensor | None, settings: dict[str, Any]) -> None:
        super().__init__()
        self.matrix, self.settings = matrix, settings  # no buffer: it is no blob of the layer

    def forward(self, scores: Tensor, label: Tensor, matrix: Tensor | None = None) -> Any:
        matrix = self.matrix if matrix is None else matrix
        assert matrix is not None
        return criteria.infogain_loss(scores, label, matrix.to(scores.device), **self.settings)


def softmax_loss(layer: Any, shapes: Shapes) -> nn.Module:
    return as_layer(
        criteria.softmax_loss,
        axis=axis_of(layer.softmax_param.axis, shapes[0]),
        ignore_label=ignored(layer.loss_param),
        normalization=criteria.normalization_of(layer.loss_param, "valid"),
        with_probs=len(layer.top) == 2,
    )


def infogain_loss(layer: Any, shapes: Shapes) -> nn.Module:
    """With the matrix of `source` (.binaryproto), found from the working folder, or of a third bottom."""
    settings = layer.infogain_loss_param
    if len(shapes) == 2 and not settings.source:
        raise UserError("the loss has no matrix", expected='source: "FILE.binaryproto", or a third bottom')
    axis = axis_of(settings.axis, shapes[0])
    matrix = blob_value(read_binary(settings.source, "Blob")) if len(shapes) == 2 else torch.empty(shapes[2])
    if matrix.numel() != shapes[0][axis] ** 2:
        raise UserError(
            "the matrix of information gain does not fit",
            expected=f"{shapes[0][axis]} x {shapes[0][axis]}",
            found=tuple(matrix.shape),
        )
    return InfogainLoss(
        matrix if len(shapes) == 2 else None,
        {
            "axis": axis,
            "ignore_label": ignored(layer.loss_param),
            "normalization": criteria.normalization_of(layer.loss_param, "valid"),
            "with_probs": len(layer.top) == 2,
        },
    )


def sigmoid_loss(layer: Any, shapes: Shapes) -> nn.Module:
    return as_layer(
        criteria.sigmoid_loss,
        ignore_label=ignored(layer.loss_param),
        normalization=criteria.normalization_of(layer.loss_param, "batch"),
    )


def hinge_loss(layer: Any, shapes: Shapes) -> nn.Module:
    return as_layer(criteria.hinge_loss, norm=("", "L1", "L2")[layer.hinge_loss_param.norm])


def contrastive_loss(layer: Any, shapes: Shapes) -> nn.Module:
    settings = layer.contrastive_loss_param
    return as_layer(criteria.contrastive_loss, margin=settings.margin, legacy=settings.legacy_version)


def accuracy(layer: Any, shapes: Shapes) -> nn.Module:
    """Of all, and as a second top of each class."""
    settings = layer.accuracy_param
    axis = axis_of(settings.axis, shapes[0])
    if not 1 <= settings.top_k <= shapes[0][axis]:
        raise UserError("top_k is out of range", expected=f"1 to {shapes[0][axis]}", found=settings.top_k)
    per_class = len(layer.top) == 2
    ignore = ignored(settings)
    return as_layer(criteria.accuracy, top_k=settings.top_k, axis=axis, ignore_label=ignore, per_class=per_class)
