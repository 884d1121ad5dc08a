"""The section "Why this answer" of the page that `explain` writes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from chainrule.core.errors import UserError
from chainrule.core.task import Normalization
from chainrule.introspection.attribution.budget import GPU_FACTOR, MULTIPLY_ADDS, Budget
from chainrule.introspection.attribution.filters import first_filters
from chainrule.introspection.attribution.grad_cam import default_target_layer, grad_cam
from chainrule.introspection.attribution.gradients import input_gradient, integrated_gradients, smooth_grad
from chainrule.introspection.attribution.guided_backpropagation import deconvnet, guided_backpropagation, relu_nodes
from chainrule.introspection.attribution.images import heat_map, image_grid, overlay, png, signed_grey, spread
from chainrule.introspection.attribution.inversion import class_image
from chainrule.introspection.attribution.layer_rows import LEAST_STEPS, STEPS, Explained, evenly_spaced, layer_rows
from chainrule.introspection.attribution.occlusion import mean_over_squares, occlusion
from chainrule.introspection.attribution.target import eval_with_grad, image_leaf, layers_with_maps, target_score
from chainrule.introspection.layers import evaluating, layers, runs_as_one_call
from chainrule.introspection.tensors import first_tensor

MOST_FILTERS = 64
SIDE = 190


def attribution_section(
    module: nn.Module,
    given: tuple[Any, ...],
    *,
    classes: Sequence[str] = (),
    target: int | None = None,
    normalize: Normalization | None = None,
    data: Callable[[], Tensor] | None = None,
) -> dict[str, Any] | None:
    """What the template shows of why a classifier of images answers as it does; None for any other network.

    Args:
        module: the network.
        given: what it is called with: one image (1, C, H, W).
        classes: their names, in the order of the logits.
        target: the class that is explained; the top class where it is None.
        normalize: what the task does to bytes before the network.
        data: gives the bytes (N, C, H, W) of the test split, among which exciting images are looked for.

    Raises:
        UserError: there is no such class.
    """
    if not _classifies_one_image(module, given):
        return None
    x = given[0].detach()
    cost = sum(row.multiply_adds for row in layers(module, (x,)))
    budget = Budget(cost, MULTIPLY_ADDS * (1 if x.device.type == "cpu" else GPU_FACTOR))
    with eval_with_grad(module), torch.no_grad():
        score = target_score(module, x, target)
        logits = first_tensor(module(x))
    assert logits is not None
    chosen = int(score.target.index[0])
    notes = []
    try:
        input_gradient(module, x, chosen)
        differentiable = True
    except UserError as error:
        differentiable = False
        notes.append(f"What needs gradients is left out: {error}")
    explained = Explained(module, x, budget, normalize, differentiable)
    maps = layers_with_maps(module, x)
    if not maps:
        notes.append("No layer gives maps, so Grad-CAM and receptive fields have no meaning here.")
    split = _split(data, notes) if maps else None
    some = evenly_spaced(split, budget) if split is not None else None
    return {
        "target": classes[chosen] if chosen < len(classes) else str(chosen),
        "probability": float(logits.float().softmax(1)[0, chosen]),
        "images": _panels(explained, chosen, bool(maps), notes),
        "filters": _filters(explained),
        "layers": layer_rows(explained, maps, some) if maps else [],
        "searched": len(some) if some is not None else 0,
        "split": len(split) if split is not None else 0,
        "notes": notes,
    }


def _classifies_one_image(module: nn.Module, given: tuple[Any, ...]) -> bool:
    if len(given) != 1 or not isinstance(given[0], Tensor) or not runs_as_one_call(module):
        return False
    x = given[0]
    if x.dim() != 4 or len(x) != 1 or not x.is_floating_point():
        return False
    with torch.no_grad(), evaluating(module):
        output = first_tensor(module(x))
    return output is not None and output.dim() == 2 and len(output) == 1


def _split(data: Callable[[], Tensor] | None, notes: list[str]) -> Tensor | None:
    """The test split; None where there is none any more, and why is told."""
    try:
        return data() if data is not None else None
    except UserError as error:
        notes.append(f"The images that excite the maps are left out: {error}")
        return None


def _panels(explained: Explained, target: int, maps: bool, notes: list[str]) -> list[dict[str, Any]]:
    """The images that stand side by side, each with what it is, its formula and where it comes from."""
    module, x = explained.module, explained.x
    pixels = explained.pixels(x[0])
    shown = [_panel(pixels, "The image", "as the network sees it, its normalisation undone")]
    if explained.differentiable:
        shown.append(
            _panel(
                heat_map(input_gradient(module, x, target)[0].abs().amax(0)),
                "Saliency",
                "where a change would move the logit most; bright is much",
                "max over colours of |∂s/∂x|",
                "Simonyan et al. 2014",
            )
        )
        shown += _smoothed_panels(explained, target)
        shown += _guided_panels(explained, target, notes)
        if maps and _has_target_layer(module, x):
            layer = default_target_layer(module, x)
            shown.append(
                _panel(
                    overlay(pixels, grad_cam(module, x, target, layer)[0]),
                    "Grad-CAM",
                    f"where the maps of {layer} speak for the class; red is most",
                    "relu(Σ αₖ Aᵏ), αₖ the mean of ∂s/∂Aᵏ",
                    "Selvaraju et al. 2017",
                )
            )
    shown.append(_occlusion_panel(explained, target, pixels))
    shown += _class_image(explained, target)
    return shown


def _panel(pixels: Tensor, name: str, says: str, formula: str = "", source: str = "") -> dict[str, Any]:
    return {"png": png(pixels, SIDE), "name": name, "says": says, "formula": formula, "source": source}


def _has_target_layer(module: nn.Module, x: Tensor) -> bool:
    return bool(layers_with_maps(module, image_leaf(x), least=2))


def _smoothed_panels(explained: Explained, target: int) -> list[dict[str, Any]]:
    """SmoothGrad and integrated gradients, where the network is cheap enough for their many passes."""
    shown = []
    samples, steps = explained.budget.gradients(16), explained.budget.gradients(32)
    if samples >= 4:
        smooth = smooth_grad(explained.module, explained.x, target, samples=samples)[0].abs().amax(0)
        shown.append(
            _panel(
                heat_map(smooth),
                "SmoothGrad",
                f"the gradient's mean over {samples} copies with noise: what is no accident of one point",
                "|mean of ∂s/∂x at x + ε|",
                "Smilkov et al. 2017",
            )
        )
    if steps >= 8:
        parts = integrated_gradients(explained.module, explained.x, target, steps=steps)[0].sum(0, keepdim=True)
        shown.append(
            _panel(
                signed_grey(parts),
                "Integrated gradients",
                f"what each pixel adds to the logit on the way from the mean colour: light adds, dark takes away; in sum {float(parts.sum()):+.3g}",
                "x · ∫ ∂s/∂(αx) dα",
                "Sundararajan et al. 2017",
            )
        )
    return shown


def _guided_panels(explained: Explained, target: int, notes: list[str]) -> list[dict[str, Any]]:
    with eval_with_grad(explained.module):
        any_rectifier = (
            next(relu_nodes(target_score(explained.module, image_leaf(explained.x), target).values), None) is not None
        )
    if not any_rectifier:
        notes.append(
            "This network has no rectifier: guided back-propagation and the deconvnet would be the plain gradient."
        )
        return []
    return [
        _panel(
            signed_grey(guided_backpropagation(explained.module, explained.x, target)[0]),
            "Guided back-propagation",
            "the gradient, of which only positive parts pass an active rectifier; grey is none",
            "g · [x > 0] · [g > 0]",
            "Springenberg et al. 2015",
        ),
        _panel(
            signed_grey(deconvnet(explained.module, explained.x, target)[0]),
            "Deconvnet",
            "the way back with filters transposed and pooling undone by its switches; grey is none",
            "g · [g > 0]",
            "Zeiler and Fergus 2014",
        ),
    ]


def _occlusion_panel(explained: Explained, target: int, pixels: Tensor) -> dict[str, Any]:
    height, width = explained.x.shape[2:]
    size = max(1, round(min(height, width) / 5))
    places = max(explained.budget.forwards(400), 49)
    stride = max(1, round(((height - size + 1) * (width - size + 1) / places) ** 0.5))
    probs = occlusion(explained.module, explained.x, target, size=size, stride=stride)
    with torch.no_grad(), evaluating(explained.module):
        logits = first_tensor(explained.module(explained.x))
    assert logits is not None
    before = float(logits.float().softmax(1)[0, target])
    drop = mean_over_squares(before - probs, (height, width), size, stride)
    return _panel(
        overlay(pixels, drop, signed=True, least=0.05),
        "Occlusion",
        f"a grey square of {size} × {size} pixels is slid over it: red is where hiding lowers the probability, "
        f"from {before:.3g} to {float(probs.min()):.3g} at worst",
        "p(x) − p(x with the square)",
        "Zeiler and Fergus 2014",
    )


def _class_image(explained: Explained, target: int) -> list[dict[str, Any]]:
    steps = explained.budget.gradients(STEPS, share=2)
    if not explained.differentiable or steps < LEAST_STEPS:
        return []
    made = class_image(explained.module, explained.x, target, steps=steps, lr=0.1)
    return [
        _panel(
            explained.pixels(made.image[0]),
            "What the class looks like to it",
            f"an image made from noise in {steps} steps to raise the logit",
            "max s(z) − λ|z|² − µ TV(z)",
            "Simonyan et al. 2014",
        )
    ]


def _filters(explained: Explained) -> dict[str, Any] | None:
    found = first_filters(explained.module, explained.x)
    if found is None:
        return None
    weight = found.weight.cpu()
    colour = weight.shape[1] == 3
    parts = [spread(one if colour else one.mean(0, keepdim=True)) for one in weight[:MOST_FILTERS]]
    return {
        "png": png(image_grid(parts, 16), 0),
        "name": found.name,
        "kind": found.kind,
        "count": len(weight),
        "shown": len(parts),
        "size": f"{weight.shape[2]} × {weight.shape[3]}",
        "channels": weight.shape[1],
    }
