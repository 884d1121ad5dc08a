"""Descriptions of every age in one form: the layers of today's Caffe, inputs among them.

Source: Caffe, util/upgrade_proto.cpp.
"""

from __future__ import annotations

from typing import Any

from chainrule.core.errors import UserError
from chainrule.interop.caffe.description.schema import ENUMS, SETTINGS, message

# Where the new name of a type is not the old one in capitals with underscores.
_RENAMED = {
    "ARGMAX": "ArgMax",
    "ABSVAL": "AbsVal",
    "BNLL": "BNLL",
    "HDF5_DATA": "HDF5Data",
    "HDF5_OUTPUT": "HDF5Output",
    "LRN": "LRN",
    "MVN": "MVN",
    "RELU": "ReLU",
    "TANH": "TanH",
    "SOFTMAX_LOSS": "SoftmaxWithLoss",
}
OLD_TYPES: dict[int, str] = {
    int(number): _RENAMED.get(word, "".join(part.capitalize() for part in word.split("_")))
    for word, number in (entry.split() for entry in ENUMS["OldLayer"].split(","))
}


def layers_of(net: Any) -> list[Any]:
    """All layers of a description, in order, in the new form; the fields `input` become layers of type Input.

    A loss that names no top gets one, as Caffe gives it one (AutoTopBlobs): of its own name, if no blob has that.

    Raises:
        UserError: both forms in one file, or inputs whose shapes are too few.

    >>> from chainrule.interop.caffe.description.files import parse_text
    >>> old = parse_text('input: "x" input_dim: [1, 3, 8, 8] layers { name: "c" type: SOFTMAX_LOSS blobs_lr: 2 }', "Net")
    >>> [(layer.type, len(layer.top), len(layer.param)) for layer in layers_of(old)]
    [('Input', 1, 0), ('SoftmaxWithLoss', 1, 1)]
    """
    if net.layer and net.layers:
        raise UserError(
            "the description mixes two forms",
            expected="layer { ... } throughout, or layers { ... }",
            found=f"{len(net.layer)} of the one and {len(net.layers)} of the other",
        )
    layers = list(net.layer) or [_upgraded(old) for old in net.layers]
    taken = {name for layer in layers for name in (*layer.bottom, *layer.top)} | set(net.input)
    for layer in layers:
        _move_transform(layer)
        if layer.type.endswith("Loss") and not layer.top:
            layer.top.append(layer.name if layer.name and layer.name not in taken else f"{layer.name} (automatic)")
            taken.add(layer.top[0])
    return [*_inputs(net), *layers]


def _inputs(net: Any) -> list[Any]:
    """The fields `input` with `input_shape`, or `input_dim` of before 2015, which has four numbers for each input."""
    shapes = [list(shape.dim) for shape in net.input_shape]
    dims = list(net.input_dim)
    if dims:
        shapes = [dims[i : i + 4] for i in range(0, len(dims), 4)]
    if shapes and (len(shapes) != len(net.input) or len(dims) % 4):
        raise UserError(
            "the inputs and their shapes do not match",
            expected=f"{len(net.input)} input_shape, or {4 * len(net.input)} input_dim, for {', '.join(net.input) or 'no input'}",
            found=f"{len(dims)} input_dim" if dims else f"{len(shapes)} input_shape",
        )
    layers = []
    for index, name in enumerate(net.input):
        layer = message("Layer")(name=name, type="Input", top=[name])
        if shapes:
            layer.input_param.shape.add(dim=shapes[index])
        layers.append(layer)
    return layers


def _upgraded(old: Any) -> Any:
    """A layer of before 2014 in the new form: the type is a word, and the multipliers stand in `param`."""
    layer = message("Layer")(
        name=old.name,
        type=OLD_TYPES[old.type],
        bottom=old.bottom,
        top=old.top,
        loss_weight=old.loss_weight,
        include=old.include,
        exclude=old.exclude,
        blobs=old.blobs,
    )
    for name in SETTINGS:
        if name in old.DESCRIPTOR.fields_by_name and old.HasField(name):
            getattr(layer, name).CopyFrom(getattr(old, name))
    for index in range(max(len(old.param), len(old.blobs_lr), len(old.weight_decay), len(old.blob_share_mode))):
        spec = layer.param.add()
        for field, values in (
            ("name", old.param),
            ("lr_mult", old.blobs_lr),
            ("decay_mult", old.weight_decay),
            ("share_mode", old.blob_share_mode),
        ):
            if index < len(values):
                setattr(spec, field, values[index])
    return layer


def _move_transform(layer: Any) -> None:
    """What data layers of before 2014 kept in their own settings goes where it stands today."""
    for name in ("data_param", "image_data_param", "window_data_param"):
        if layer.HasField(name):
            settings = getattr(layer, name)
            for field in ("scale", "mean_file", "crop_size", "mirror"):
                if settings.HasField(field):
                    setattr(layer.transform_param, field, getattr(settings, field))
                    settings.ClearField(field)
