"""Weights that Caffe trained, by the names of a network of this package: for the networks that `chainrule.models` has too.

Colours are turned round: Caffe's images are blue first, ours red first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from chainrule.core.errors import UserError
from chainrule.interop.caffe.description.files import read_binary
from chainrule.interop.caffe.weights import blob_value

Names = (
    str | tuple[str, str]
)  # a layer of Caffe's; of a batch normalisation the layer of its sums and that of its scale


def state_of(file: str | Path, network: nn.Module, layers: Mapping[str, Names]) -> dict[str, Tensor]:
    """The weights in a .caffemodel as a state dict of the network; what the two have not in common stays in it.

    A layer of the file that `layers` does not name keeps its own name, and a layer that the file lacks is absent, so
    that whoever loads the state dict can say what does not fit. The input channels of the first layer are turned round
    where there are three.

    Caffe keeps the sums of means and variances and the factor that they are divided by; its scale follows as a layer
    of its own.

    Args:
        file: binary, as Caffe wrote it.
        network: whose names are wanted; it is not changed.
        layers: for the path of a module, which layer of Caffe's has its weights; the first one is that which sees the
            image. Paths of parts that the network was built without may be among them.

    Raises:
        UserError: no such file, a file that is cut off or something else, or a layer with another number of blobs.
    """
    stored = read_binary(file)
    blobs = {layer.name: [blob_value(blob) for blob in layer.blobs] for layer in (stored.layer or stored.layers)}
    blobs = {name: values for name, values in blobs.items() if values}
    if not blobs:
        raise UserError("the file holds no weights", where=file, expected="a .caffemodel with layers and their blobs")
    own, state = network.state_dict(), {}
    for path, names in layers.items():
        values = _normalisation(file, names, blobs) if isinstance(names, tuple) else _weights(file, names, blobs)
        for key, value in values.items():
            state[f"{path}.{key}"] = _as_large(value, own.get(f"{path}.{key}"))
    first = f"{next(iter(layers))}.weight"
    if first in state and state[first].dim() == 4 and state[first].shape[1] == 3:
        state[first] = state[first].flip(1)
    taken = {name for names in layers.values() for name in ([names] if isinstance(names, str) else names)}
    strange = {name: values for name, values in blobs.items() if name not in taken}
    return state | {f"{name} ({i})": value for name, values in strange.items() for i, value in enumerate(values)}


def in_order(network: nn.Module, names: Sequence[str]) -> dict[str, str]:
    """The convolutions and linear layers of a network, as they stand, with a name each: `layers` of `state_of`.

    >>> in_order(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Linear(2, 2)), ["conv1", "ip1"])
    {'0': 'conv1', '2': 'ip1'}
    """
    paths = [path for path, module in network.named_modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
    return dict(zip(paths, names, strict=True))


def _weights(file: str | Path, name: str, blobs: Mapping[str, list[Tensor]]) -> dict[str, Tensor]:
    found = blobs.get(name, [])
    if len(found) > 2:
        raise _other_number(file, name, "weight and bias", found)
    return dict(zip(("weight", "bias"), found, strict=False))


def _normalisation(file: str | Path, names: tuple[str, str], blobs: Mapping[str, list[Tensor]]) -> dict[str, Tensor]:
    sums, scale = (blobs.get(name, []) for name in names)
    values = _weights(file, names[1], blobs) if scale else {}
    if not sums:
        return values
    if len(sums) != 3:
        raise _other_number(file, names[0], "means, variances and their factor", sums)
    mean, variance, factor = sums
    share = 1 / float(factor) if float(factor) else 0.0  # as batch_norm_layer.cpp has it
    return {**values, "running_mean": mean.flatten() * share, "running_var": variance.flatten() * share}


def _other_number(file: str | Path, name: str, expected: str, found: list[Tensor]) -> UserError:
    return UserError(
        "the layer has another number of blobs than the network's",
        where=f"{file}, layer {name!r}",
        expected=expected,
        found=f"{len(found)} blobs",
    )


def _as_large(value: Tensor, own: Tensor | None) -> Tensor:
    """Without the axes of size 1 that Caffe put in front of every blob before 2014: as many as the network's has not."""
    axes = own.dim() if own is not None else max(value.dim() - 2, 1) if value.shape[:2] == (1, 1) else value.dim()
    while value.dim() > axes and value.shape[0] == 1:
        value = value[0]
    return value
