"""Weights from files into modules: those that a run has learnt, and those that a training starts from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from chainrule.core.errors import UserError
from chainrule.run.distributed import parallel
from chainrule.run.weights.files import expect_file, is_caffemodel, read_weights
from chainrule.run.weights.learnt import learnt
from chainrule.run.weights.provenance import network_of

Shapes = Mapping[str, torch.Size]
SHOWN = 3  # names of weights in an error


def load_learnt(folder: Path, modules: Mapping[str, nn.Module]) -> None:
    """The weights that the validation chose in the run in `folder`, else the latest; by stages, from the last on."""
    weights = learnt(folder, modules)
    for name, module in modules.items():
        parallel.load_state(module, weights[name])


def load_file(
    file: str | Path,
    modules: Mapping[str, nn.Module],
    model: str,
    recognise: Callable[[Shapes], tuple[str, ...]] = lambda shapes: (),
) -> list[str]:
    """The weights of a file into the modules. Every name and shape must fit, with exceptions that are told.

    A layer that the module names in `class_layers` begins anew where the file's has another number of classes, or none of
    it. A part that the module has registered as None, because it was built without it, is left in the file. A first
    word that all names in the file have and none of the module's, such as the `model.` of a LightningModule, is taken off.

    Args:
        file: safetensors, or a state dict of torch.save. A file that a run wrote holds a state for each of the modules;
            any other holds the one module's own names. Or a .caffemodel, for a module that has `caffe_state`.
        modules: by name.
        model: what the errors call them.
        recognise: which networks have weights of these names and shapes, for the error.

    Returns:
        What must be told, a line each.

    Raises:
        UserError: as `read_weights`, or where the weights are those of another network.
    """
    from_caffe = is_caffemodel(Path(file))
    tensors, metadata = ({}, {}) if from_caffe else read_weights(Path(file))
    notes = []
    for name, module in modules.items():
        if from_caffe:
            given = _caffe_state(module, file, model)
            _expect_numbers(given, module, Path(file))
            notes += _load_what_fits(module, given, model, Path(file), recognise)
            continue
        prefix = f"{name}."
        own = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        given = own if "tree" in metadata else _in_words_of(module, tensors)
        _expect_numbers(given, module, Path(file))
        try:
            _load_whole(module, given)
        except RuntimeError:
            notes += _load_what_fits(module, given, model, Path(file), recognise)
    learnt_as = network_of(file) if "tree" in metadata else None
    if learnt_as not in (None, model):
        notes.append(
            f"{file}: a run of {learnt_as} learnt these weights; they fit {model}, which may compute something else"
        )
    return notes


def _in_words_of(module: nn.Module, given: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names without the first words that all of them have, where then some are names of the module and before none."""
    own, state = module.state_dict().keys(), given
    while not own & state.keys():
        words = {name.partition(".")[0] for name in state}
        if len(words) != 1 or not all("." in name for name in state):
            return given
        state = {name.partition(".")[2]: value for name, value in state.items()}
    return state


def _load_whole(module: nn.Module, given: Mapping[str, Tensor]) -> None:
    """The whole state into the module; RuntimeError where it does not fit, and then the module is as it was."""
    own = module.state_dict()
    fits = own.keys() == given.keys() and all(own[key].shape == given[key].shape for key in own)
    kept = {} if fits else {key: value.clone() for key, value in own.items() if isinstance(value, Tensor)}
    try:
        module.load_state_dict(given)
    except RuntimeError:
        with torch.no_grad():
            for key, value in kept.items():
                if own[key].shape == value.shape:
                    own[key].copy_(value)
        raise


def _expect_numbers(given: Mapping[str, Tensor], module: nn.Module, file: Path) -> None:
    """UserError where a tensor has a NaN, or a parameter is infinite or of a type that holds other numbers than weights."""
    spoilt = [name for name, value in given.items() if value.is_floating_point() and bool(value.isnan().any())]
    if spoilt:
        raise UserError(
            "the weights in the file are NaN",
            where=file,
            found=_listed("NaN", spoilt),
            cure="those of an earlier checkpoint, before the training that wrote them diverged",
        )
    parameters = {name: p for name, p in module.named_parameters() if name in given and p.is_floating_point()}
    others = [f"{name} ({given[name].dtype})" for name in parameters if not given[name].is_floating_point()]
    if others:
        raise UserError(
            "the weights in the file are no real numbers",
            where=file,
            expected="floating-point tensors",
            found=_listed("of another type", others).replace("torch.", ""),
            cure="the weights before they were quantised or otherwise packed",
        )
    infinite = [name for name, p in parameters.items() if bool(given[name].to(p.dtype).isinf().any())]
    if infinite:
        raise UserError(
            "the weights in the file are infinite",
            where=file,
            found=_listed("infinite", infinite),
            cure="those of an earlier checkpoint, before the training that wrote them diverged",
        )


def _caffe_state(module: nn.Module, file: str | Path, model: str) -> dict[str, Tensor]:
    if Path(file).exists():
        expect_file(Path(file))
    translate = getattr(module, "caffe_state", None)
    if translate is None:
        raise UserError(
            f"{model} takes no weights of Caffe's",
            where=file,
            expected="a state dict in safetensors or .pth",
            cure="network=alexnet-caffe, caffenet, vgg16, vgg19, googlenet, resnet50-caffe or lenet-caffe; or the recipe caffe-net",
        )
    state: dict[str, Tensor] = translate(file)
    return state


def _load_what_fits(
    module: nn.Module, given: dict[str, Tensor], model: str, file: Path, recognise: Callable[[Shapes], tuple[str, ...]]
) -> list[str]:
    """The exceptions; UserError says what is missing, too much, or of another shape."""
    own, notes, without = module.state_dict(), [], dict[str, list[str]]()
    for part in parts_left_out(module):
        dropped = [key for key in given if key.startswith(f"{part}.")]
        if dropped:
            notes.append(f"{file.name}: {part} is not used ({len(dropped)} tensors); this {model} was built without it")
            given = {key: value for key, value in given.items() if key not in dropped}
    for layer in getattr(module, "class_layers", ()):
        keys = [key for key in own if key.startswith(f"{layer}.")]
        if keys and _differs_in_classes(keys, own, given):
            old, new = (len(state[keys[0]]) for state in (given, own))
            notes.append(f"{file.name}: the layer {layer} begins anew, for {new} classes instead of {old}")
            given = {key: value for key, value in given.items() if key not in keys} | {key: own[key] for key in keys}
        elif keys and not any(key in given for key in keys):
            without[layer] = keys
    missing = [key for key in own if key not in given and not key.endswith("num_batches_tracked")]
    unexpected = [key for key in given if key not in own]
    others = [
        f"{key} {tuple(given[key].shape)} instead of {tuple(own[key].shape)}"
        for key in own
        if key in given and own[key].shape != given[key].shape
    ]
    if (
        not unexpected
        and not others
        and set(missing) <= {key for keys in without.values() for key in keys} < own.keys()
    ):
        notes += [f"{file.name}: it has no layer {layer}, which begins anew" for layer in without]
        missing = []
    if missing or unexpected or others:
        named = recognise({key: value.shape for key, value in given.items()})
        cure = f"they look like those of {' or '.join(named)}" if named else None
        if not missing and not unexpected and len(others) == 1 and (channels := _other_channels(own, given)):
            cure = f"channels={channels}, as the images had that they were trained on"
        raise UserError(
            f"these weights are not those of {model}",
            where=file,
            found="; ".join(
                text
                for text in (
                    _listed("missing", missing),
                    _listed("unexpected", unexpected),
                    _listed("of another shape", others),
                )
                if text
            ),
            cure=cure,
        )
    parallel.load_part(module, given)
    return notes


def parts_left_out(module: nn.Module) -> list[str]:
    """Names of the children that were registered as None."""
    return [
        f"{path}.{name}" if path else name
        for path, parent in module.named_modules()
        for name, child in parent._modules.items()
        if child is None
    ]


def _differs_in_classes(keys: list[str], own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> bool:
    """Whether the tensors of a layer have the same shapes but for the first dimension, which is the classes'."""
    if any(key not in given or not own[key].dim() or own[key].shape[1:] != given[key].shape[1:] for key in keys):
        return False
    counts = {len(given[key]) for key in keys}
    return len(counts) == 1 and counts != {len(own[keys[0]])}


def _other_channels(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> int | None:
    """How many channels the weights of a convolution see, where it is grey instead of colour or the other way round."""
    for key, mine in own.items():
        theirs = given[key]
        if mine.dim() == theirs.dim() == 4 and {mine.shape[1], theirs.shape[1]} == {1, 3}:
            return theirs.shape[1]
    return None


def _listed(what: str, names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{what}: {', '.join(names[:SHOWN])}{more}" if names else ""
