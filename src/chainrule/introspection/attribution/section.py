"""The section "Why this answer" of the page that `explain` writes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from chainrule.core.errors import UserError
from chainrule.core.task import Normalization
from chainrule.introspection.attribution.asking import ask, differentiating, images, layers_with_maps
from chainrule.introspection.attribution.effort import BUDGET, FASTER, Effort
from chainrule.introspection.attribution.filters import first_filters
from chainrule.introspection.attribution.grad_cam import grad_cam, last_maps
from chainrule.introspection.attribution.gradients import input_gradient, integrated_gradients, smooth_grad
from chainrule.introspection.attribution.images import around_grey, heat, in_grid, laid_over, png, spread
from chainrule.introspection.attribution.inversion import class_image
from chainrule.introspection.attribution.occlusion import mean_over_squares, occlusion
from chainrule.introspection.attribution.relu_rules import deconvnet, guided_backpropagation, rectifiers
from chainrule.introspection.attribution.views_of_layers import LEAST_STEPS, STEPS, Looking, layer_views, some_of
from chainrule.introspection.layers import evaluating, layers, runs_as_one_call
from chainrule.introspection.tensors import first_tensor

MOST_FILTERS = 64
SIDE = 190


def why_section(
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
        classes: their names.
        target: the class that is asked about; the top class where it is None.
        normalize: what the system does to bytes before the network.
        data: gives the bytes (N, C, H, W) of the test split, among which exciting images are looked for.

    Raises:
        UserError: there is no such class.
    """
    if not _classifies_one_image(module, given):
        return None
    x = given[0].detach()
    cost = sum(row.multiply_adds for row in layers(module, (x,)))
    effort = Effort(cost, BUDGET * (1 if x.device.type == "cpu" else FASTER))
    with differentiating(module), torch.no_grad():
        answer = ask(module, x, target)
        logits = first_tensor(module(x))
    assert logits is not None
    chosen = int(answer.place.index[0])
    notes = []
    try:
        input_gradient(module, x, chosen)
        differentiable = True
    except UserError as error:
        differentiable = False
        notes.append(f"What needs gradients is left out: {error}")
    look = Looking(module, x, effort, normalize, differentiable)
    maps = layers_with_maps(module, x)
    if not maps:
        notes.append("No layer gives maps, so Grad-CAM and receptive fields have no meaning here.")
    split = _split(data, notes) if maps else None
    some = some_of(split, effort) if split is not None else None
    return {
        "target": classes[chosen] if chosen < len(classes) else str(chosen),
        "probability": float(logits.float().softmax(1)[0, chosen]),
        "images": _images(look, chosen, bool(maps), notes),
        "filters": _filters(look),
        "layers": layer_views(look, maps, some) if maps else [],
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


def _images(look: Looking, target: int, maps: bool, notes: list[str]) -> list[dict[str, Any]]:
    """The images that stand side by side, each with what it is, its formula and where it comes from."""
    module, x = look.module, look.x
    pixels = look.pixels(x[0])
    shown = [_one(pixels, "The image", "as the network sees it, its normalisation undone")]
    if look.differentiable:
        shown.append(
            _one(
                heat(input_gradient(module, x, target)[0].abs().amax(0)),
                "Saliency",
                "where a change would move the logit most; bright is much",
                "max over colours of |∂s/∂x|",
                "Simonyan et al. 2014",
            )
        )
        shown += _smoothed(look, target)
        shown += _rectified(look, target, notes)
        if maps and _has_last_maps(module, x):
            layer = last_maps(module, x)
            shown.append(
                _one(
                    laid_over(pixels, grad_cam(module, x, target, layer)[0]),
                    "Grad-CAM",
                    f"where the maps of {layer} speak for the class; red is most",
                    "relu(Σ αₖ Aᵏ), αₖ the mean of ∂s/∂Aᵏ",
                    "Selvaraju et al. 2017",
                )
            )
    shown.append(_occluded(look, target, pixels))
    shown += _liked(look, target)
    return shown


def _one(pixels: Tensor, name: str, says: str, formula: str = "", source: str = "") -> dict[str, Any]:
    return {"png": png(pixels, SIDE), "name": name, "says": says, "formula": formula, "source": source}


def _has_last_maps(module: nn.Module, x: Tensor) -> bool:
    return bool(layers_with_maps(module, images(x), least=2))


def _smoothed(look: Looking, target: int) -> list[dict[str, Any]]:
    """SmoothGrad and integrated gradients, where the network is cheap enough for their many passes."""
    shown = []
    samples, steps = look.effort.gradients(16), look.effort.gradients(32)
    if samples >= 4:
        smooth = smooth_grad(look.module, look.x, target, samples=samples)[0].abs().amax(0)
        shown.append(
            _one(
                heat(smooth),
                "SmoothGrad",
                f"the gradient's mean over {samples} copies with noise: what is no accident of one point",
                "|mean of ∂s/∂x at x + ε|",
                "Smilkov et al. 2017",
            )
        )
    if steps >= 8:
        parts = integrated_gradients(look.module, look.x, target, steps=steps)[0].sum(0, keepdim=True)
        shown.append(
            _one(
                around_grey(parts),
                "Integrated gradients",
                f"what each pixel adds to the logit on the way from the mean colour: light adds, dark takes away; in sum {float(parts.sum()):+.3g}",
                "x · ∫ ∂s/∂(αx) dα",
                "Sundararajan et al. 2017",
            )
        )
    return shown


def _rectified(look: Looking, target: int, notes: list[str]) -> list[dict[str, Any]]:
    with differentiating(look.module):
        any_rectifier = next(rectifiers(ask(look.module, images(look.x), target).values), None) is not None
    if not any_rectifier:
        notes.append(
            "This network has no rectifier: guided back-propagation and the deconvnet would be the plain gradient."
        )
        return []
    return [
        _one(
            around_grey(guided_backpropagation(look.module, look.x, target)[0]),
            "Guided back-propagation",
            "the gradient, of which only positive parts pass an active rectifier; grey is none",
            "g · [x > 0] · [g > 0]",
            "Springenberg et al. 2015",
        ),
        _one(
            around_grey(deconvnet(look.module, look.x, target)[0]),
            "Deconvnet",
            "the way back with filters transposed and pooling undone by its switches; grey is none",
            "g · [g > 0]",
            "Zeiler and Fergus 2014",
        ),
    ]


def _occluded(look: Looking, target: int, pixels: Tensor) -> dict[str, Any]:
    height, width = look.x.shape[2:]
    size = max(1, round(min(height, width) / 5))
    places = max(look.effort.forwards(400), 49)
    stride = max(1, round(((height - size + 1) * (width - size + 1) / places) ** 0.5))
    probs = occlusion(look.module, look.x, target, size=size, stride=stride)
    with torch.no_grad(), evaluating(look.module):
        logits = first_tensor(look.module(look.x))
    assert logits is not None
    before = float(logits.float().softmax(1)[0, target])
    drop = mean_over_squares(before - probs, (height, width), size, stride)
    return _one(
        laid_over(pixels, drop, signed=True, least=0.05),
        "Occlusion",
        f"a grey square of {size} × {size} pixels is slid over it: red is where hiding lowers the probability, "
        f"from {before:.3g} to {float(probs.min()):.3g} at worst",
        "p(x) − p(x with the square)",
        "Zeiler and Fergus 2014",
    )


def _liked(look: Looking, target: int) -> list[dict[str, Any]]:
    steps = look.effort.gradients(STEPS, share=2)
    if not look.differentiable or steps < LEAST_STEPS:
        return []
    made = class_image(look.module, look.x, target, steps=steps, lr=0.1)
    return [
        _one(
            look.pixels(made.image[0]),
            "What the class looks like to it",
            f"an image made from noise in {steps} steps to raise the logit",
            "max s(z) − λ|z|² − µ TV(z)",
            "Simonyan et al. 2014",
        )
    ]


def _filters(look: Looking) -> dict[str, Any] | None:
    found = first_filters(look.module, look.x)
    if found is None:
        return None
    weight = found.weight.cpu()
    colour = weight.shape[1] == 3
    parts = [spread(one if colour else one.mean(0, keepdim=True)) for one in weight[:MOST_FILTERS]]
    return {
        "png": png(in_grid(parts, 16), 0),
        "name": found.name,
        "kind": found.kind,
        "count": len(weight),
        "shown": len(parts),
        "size": f"{weight.shape[2]} × {weight.shape[3]}",
        "channels": weight.shape[1],
    }
