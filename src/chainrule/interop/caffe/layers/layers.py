"""The table of layers: what each type of a description becomes, and how its settings are read.

A builder gets the layer's message and the shapes of its bottoms and gives a module. Source: Caffe, src/caffe/layers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from torch import nn

from chainrule.core.errors import UserError
from chainrule.interop.caffe.layers import criteria, loss_layers
from chainrule.interop.caffe.layers import functions as F
from chainrule.interop.caffe.layers.functions import Build, as_layer, simple
from chainrule.interop.caffe.layers.learnt import BiasLayer, Embed, FixedBatchNorm, InnerProduct, ScaleLayer
from chainrule.interop.caffe.layers.recurrent import recurrent
from chainrule.interop.caffe.layers.settings import Shapes, axis_of, covered, maps, pair, positive, within
from chainrule.nn.activations import PReLU
from chainrule.nn.normalization.batch_norm import CaffeBatchNorm
from chainrule.nn.normalization.local_response_norm import LocalResponseNorm, LocalResponseNormWithin
from chainrule.nn.pooling import CaffeAvgPool2d, CaffeMaxPool2d

MANY = 10**6


@dataclass(frozen=True)
class LayerType:
    """How a type of layer is built.

    Args:
        build: message and shapes of the bottoms to a module.
        bottoms, tops: how few and how many there may be.
        settings: the field with the fillers of its weights, for types that have weights.
        unset: first value of weights for which no filler is named.
    """

    build: Build
    bottoms: tuple[int, int] = (1, 1)
    tops: tuple[int, int] = (1, 1)
    settings: str = ""
    unset: float = 0.0


def convolution(layer: Any, shapes: Shapes) -> nn.Module:
    """Convolution and Deconvolution of maps."""
    settings = layer.convolution_param
    channels = maps(shapes)[1]
    if settings.axis not in (1, -3):
        raise UserError("the axis of the channels cannot be another", expected="axis: 1", found=settings.axis)
    kernel = pair(settings, "kernel_size", 0, "kernel_h", "kernel_w")
    stride, pad = pair(settings, "stride", 1), pair(settings, "pad", 0)
    dilation = [*settings.dilation] or [1]
    if min(*kernel, *stride, *dilation) < 1 or len(dilation) > 2:
        raise UserError(
            "kernel, stride and dilation must be 1 or more",
            found=f"{kernel}, {stride}, {tuple(dilation)}",
            cure="kernel_size: 3",
        )
    out, group = positive(settings, "num_output"), settings.group
    if group < 1 or channels % group or out % group:
        raise UserError(
            "the channels cannot be divided into groups",
            expected=f"multiples of group ({group})",
            found=f"{channels} channels to {out}",
        )
    kind = nn.ConvTranspose2d if layer.type == "Deconvolution" else nn.Conv2d
    return kind(
        channels, out, kernel, stride, pad, groups=group, bias=settings.bias_term, dilation=(dilation[0], dilation[-1])
    )


def inner_product(layer: Any, shapes: Shapes) -> nn.Module:
    """Everything from `axis` on, against each output."""
    settings = layer.inner_product_param
    axis = axis_of(settings.axis, shapes[0])
    size = math.prod(shapes[0][axis:])
    return InnerProduct(size, positive(settings, "num_output"), settings.bias_term, axis, settings.transpose)


def pooling(layer: Any, shapes: Shapes) -> nn.Module:
    """MAX and AVE, sizes rounded up as Caffe does, or down where it is asked."""
    settings = layer.pooling_param
    operation = ("MAX", "AVE", "STOCHASTIC")[settings.pool]
    maps(shapes)
    if operation == "STOCHASTIC":
        raise UserError("stochastic pooling is not read", expected="pool: MAX or AVE", found="pool: STOCHASTIC")
    if settings.global_pooling:
        if settings.HasField("kernel_size") or settings.HasField("kernel_h") or settings.HasField("kernel_w"):
            raise UserError("global pooling has no kernel", found="global_pooling: true with a kernel_size")
        return as_layer(F.global_pool, operation=operation)
    kernel = pair(settings, "kernel_size", 0, "kernel_h", "kernel_w")
    stride, pad = pair(settings, "stride", 1), pair(settings, "pad", 0)
    if min(*kernel, *stride) < 1:
        raise UserError("kernel and stride must be 1 or more", found=f"{kernel}, {stride}", cure="kernel_size: 2")
    if settings.round_mode == 1:
        return as_layer(F.floor_pool, operation=operation, kernel_size=kernel, stride=stride, padding=pad)
    return (CaffeMaxPool2d if operation == "MAX" else CaffeAvgPool2d)(kernel, stride, pad)


def local_response(layer: Any, shapes: Shapes) -> nn.Module:
    """LRN across channels or within each."""
    settings = layer.lrn_param
    if settings.local_size % 2 == 0:
        raise UserError("local_size must be odd", found=settings.local_size)
    if settings.norm_region == 1:  # Caffe's own k is 1 here, whatever is said
        return LocalResponseNormWithin(settings.local_size, settings.alpha, settings.beta)
    return LocalResponseNorm(settings.local_size, settings.alpha, settings.beta, settings.k)


def batch_norm(layer: Any, shapes: Shapes) -> nn.Module:
    """Without use_global_stats it goes by training and eval, which is Caffe's default."""
    settings = layer.batch_norm_param
    if len(shapes[0]) < 2:
        raise UserError("there are no channels", expected="(N, C, ...)", found=shapes[0])
    channels, fraction = shapes[0][1], settings.moving_average_fraction
    if settings.HasField("use_global_stats"):
        return FixedBatchNorm(channels, settings.eps, fraction, use_global_stats=settings.use_global_stats)
    return CaffeBatchNorm(channels, settings.eps, fraction)


def scale(layer: Any, shapes: Shapes) -> nn.Module:
    """A factor, learnt or a second blob; and a bias, if there is one."""
    settings = layer.scale_param
    axis = axis_of(settings.axis, shapes[0])
    shape = tuple(shapes[1]) if len(shapes) > 1 else covered(shapes[0], axis, settings.num_axes)
    return ScaleLayer(None if len(shapes) > 1 else shape, axis, shape if settings.bias_term else None)


def bias(layer: Any, shapes: Shapes) -> nn.Module:
    """A summand, learnt or a second blob."""
    settings = layer.bias_param
    axis = axis_of(settings.axis, shapes[0])
    return BiasLayer(None if len(shapes) > 1 else covered(shapes[0], axis, settings.num_axes), axis)


def prelu(layer: Any, shapes: Shapes) -> nn.Module:
    """A slope for each channel, or one for all."""
    return PReLU(1 if layer.prelu_param.channel_shared else shapes[0][1])


def embed(layer: Any, shapes: Shapes) -> nn.Module:
    settings = layer.embed_param
    return Embed(positive(settings, "input_dim"), positive(settings, "num_output"), settings.bias_term)


def relu(layer: Any, shapes: Shapes) -> nn.Module:
    slope = layer.relu_param.negative_slope
    return nn.LeakyReLU(slope) if slope else nn.ReLU()


def eltwise(layer: Any, shapes: Shapes) -> nn.Module:
    settings = layer.eltwise_param
    operation, coeff = ("PROD", "SUM", "MAX")[settings.operation], tuple(settings.coeff)
    if coeff and (operation != "SUM" or len(coeff) != len(shapes)):
        raise UserError(
            "the coefficients do not fit",
            expected=f"SUM with {len(shapes)} of them",
            found=f"{operation} with {len(coeff)}",
        )
    return as_layer(F.eltwise, operation=operation, coeff=coeff)


def concat(layer: Any, shapes: Shapes) -> nn.Module:
    settings = layer.concat_param
    axis = axis_of(settings.concat_dim if settings.HasField("concat_dim") else settings.axis, shapes[0])
    for shape in shapes[1:]:
        if [*shape[:axis], *shape[axis + 1 :]] != [*shapes[0][:axis], *shapes[0][axis + 1 :]]:
            raise UserError(
                "blobs that are put together must agree but along the axis",
                expected=f"{shapes[0]} but for axis {axis}",
                found=shape,
            )
    return as_layer(F.concat, axis=axis)


def slice_layer(layer: Any, shapes: Shapes) -> nn.Module:
    settings = layer.slice_param
    axis = axis_of(settings.slice_dim if settings.HasField("slice_dim") else settings.axis, shapes[0])
    return as_layer(F.slice_blob, axis=axis, points=tuple(settings.slice_point), parts=len(layer.top))


def filter_layer(layer: Any, shapes: Shapes) -> nn.Module:
    """Blobs and their selector, which has a number a sample."""
    if len(layer.top) != len(shapes) - 1:
        raise UserError(
            "there must be a top for each blob but the selector", expected=len(shapes) - 1, found=len(layer.top)
        )
    if math.prod(shapes[-1][1:]) != 1 or any(shape[:1] != shapes[-1][:1] for shape in shapes):
        raise UserError("the selector must have a number a sample", expected=f"({shapes[0][0]}, 1)", found=shapes[-1])
    return as_layer(F.filter_items)


def pyramid(layer: Any, shapes: Shapes) -> nn.Module:
    """SPP: as many levels as the maps have room for."""
    settings = layer.spp_param
    levels, side = positive(settings, "pyramid_height"), min(maps(shapes)[2:])
    if settings.pool == 2:
        raise UserError("stochastic pooling is not read", expected="pool: MAX or AVE", found="pool: STOCHASTIC")
    if levels > side.bit_length():
        raise UserError(
            "the maps are too small for so many levels", expected=f"{side.bit_length()} or fewer", found=levels
        )
    return as_layer(F.pyramid_pool, levels=levels, operation=("MAX", "AVE")[settings.pool])


def tile(layer: Any, shapes: Shapes) -> nn.Module:
    settings = layer.tile_param
    return as_layer(F.tile, axis=axis_of(settings.axis, shapes[0]), tiles=positive(settings, "tiles"))


def argmax(layer: Any, shapes: Shapes) -> nn.Module:
    settings = layer.argmax_param
    axis = axis_of(settings.axis, shapes[0]) if settings.HasField("axis") else None
    size = shapes[0][axis] if axis is not None else math.prod(shapes[0][1:])
    if not 1 <= settings.top_k <= size:
        raise UserError("top_k is out of range", expected=f"1 to {size}", found=settings.top_k)
    return as_layer(F.argmax, out_max_val=settings.out_max_val, top_k=settings.top_k, axis=axis)


def reduction(layer: Any, shapes: Shapes) -> nn.Module:
    settings = layer.reduction_param
    operation = {1: "SUM", 2: "ASUM", 3: "SUMSQ", 4: "MEAN"}[settings.operation]
    return as_layer(F.reduction, operation=operation, axis=axis_of(settings.axis, shapes[0]), coeff=settings.coeff)


def _reshape(layer: Any, shapes: Shapes) -> nn.Module:
    settings = layer.reshape_param
    return as_layer(F.reshape, dims=tuple(settings.shape.dim), axis=settings.axis, num_axes=settings.num_axes)


def _crop(layer: Any, shapes: Shapes) -> nn.Module:
    return as_layer(F.crop, axis=layer.crop_param.axis, offset=tuple(layer.crop_param.offset))


def _clip(layer: Any, shapes: Shapes) -> nn.Module:
    low, high = layer.clip_param.min, layer.clip_param.max
    if not low < high:
        raise UserError("the bounds leave nothing", expected="min below max", found=f"{low:g} and {high:g}")
    return nn.Hardtanh(low, high)


_SHIFTED = ("scale", "shift")
TYPES: dict[str, LayerType] = {
    "Convolution": LayerType(convolution, settings="convolution_param"),
    "Deconvolution": LayerType(convolution, settings="convolution_param"),
    "InnerProduct": LayerType(inner_product, settings="inner_product_param"),
    "Embed": LayerType(embed, settings="embed_param"),
    "LSTM": LayerType(recurrent, (2, 5), (1, 3), settings="recurrent_param"),
    "RNN": LayerType(recurrent, (2, 4), (1, 2), settings="recurrent_param"),
    "BatchNorm": LayerType(batch_norm),
    "Scale": LayerType(scale, (1, 2), settings="scale_param", unset=1.0),
    "Bias": LayerType(bias, (1, 2), settings="bias_param"),
    "PReLU": LayerType(prelu, settings="prelu_param", unset=0.25),
    "Pooling": LayerType(pooling),
    "LRN": LayerType(local_response),
    "MVN": LayerType(simple(F.mean_variance, "mvn_param", "normalize_variance", "across_channels", "eps")),
    "SPP": LayerType(pyramid),
    "Dropout": LayerType(lambda layer, shapes: nn.Dropout(within(layer.dropout_param, "dropout_ratio", 0, 1))),
    "ReLU": LayerType(relu),
    "ELU": LayerType(lambda layer, shapes: nn.ELU(layer.elu_param.alpha)),
    "Sigmoid": LayerType(lambda layer, shapes: nn.Sigmoid()),
    "TanH": LayerType(lambda layer, shapes: nn.Tanh()),
    "AbsVal": LayerType(simple(abs)),
    "Power": LayerType(simple(F.power, "power_param", "power", *_SHIFTED)),
    "Exp": LayerType(simple(F.exponential, "exp_param", "base", *_SHIFTED)),
    "Log": LayerType(simple(F.logarithm, "log_param", "base", *_SHIFTED)),
    "BNLL": LayerType(simple(F.bnll)),
    "Threshold": LayerType(simple(F.threshold, "threshold_param", "threshold")),
    "Swish": LayerType(simple(F.swish, "swish_param", "beta")),
    "Clip": LayerType(_clip),
    "Eltwise": LayerType(eltwise, (2, MANY)),
    "Concat": LayerType(concat, (1, MANY)),
    "Slice": LayerType(slice_layer, tops=(1, MANY)),
    "Split": LayerType(lambda layer, shapes: as_layer(F.split, tops=len(layer.top)), tops=(1, MANY)),
    "Flatten": LayerType(simple(F.flatten, "flatten_param", "axis", "end_axis")),
    "Reshape": LayerType(_reshape),
    "Crop": LayerType(_crop, (2, 2)),
    "Tile": LayerType(tile),
    "Reduction": LayerType(reduction),
    "Softmax": LayerType(lambda layer, shapes: nn.Softmax(axis_of(layer.softmax_param.axis, shapes[0]))),
    "ArgMax": LayerType(argmax),
    "Filter": LayerType(filter_layer, (2, MANY), (1, MANY)),
    "BatchReindex": LayerType(simple(F.batch_reindex), (2, 2)),
    "Silence": LayerType(simple(F.silence), (1, MANY), (0, 0)),
    "SoftmaxWithLoss": LayerType(loss_layers.softmax_loss, (2, 2), (1, 2)),
    "InfogainLoss": LayerType(loss_layers.infogain_loss, (2, 3), (1, 2)),
    "MultinomialLogisticLoss": LayerType(simple(criteria.logistic_loss), (2, 2)),
    "SigmoidCrossEntropyLoss": LayerType(loss_layers.sigmoid_loss, (2, 2)),
    "EuclideanLoss": LayerType(simple(criteria.euclidean_loss), (2, 2)),
    "HingeLoss": LayerType(loss_layers.hinge_loss, (2, 2)),
    "ContrastiveLoss": LayerType(loss_layers.contrastive_loss, (3, 3)),
    "Accuracy": LayerType(loss_layers.accuracy, (2, 2), (1, 2)),
}
