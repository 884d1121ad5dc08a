"""First weights, as a description asks for them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from chainrule.core.errors import UserError, unknown
from chainrule.optim.initialisers import bilinear, constant, gaussian, msra, uniform, xavier

FILLERS = ("constant", "uniform", "gaussian", "xavier", "msra", "bilinear", "positive_unitball")


def fill(tensor: Tensor, filler: Any) -> Tensor:
    """Fills a tensor in place as a Filler message says, drawing from torch's global generator; gives the tensor.

    Raises:
        UserError: an unknown filler, or one that does not suit the shape.

    Source: Caffe, filler.hpp.

    >>> from chainrule.interop.caffe.description.schema import message
    >>> fill(torch.empty(2), message("Filler")(type="constant", value=0.5))
    tensor([0.5000, 0.5000])
    """
    fan = ("in", "out", "average")[filler.variance_norm]
    # Caffe's fans of a bias (n): 1 in, n out.
    rows = tensor if tensor.dim() > 1 else tensor.view(-1, 1)
    if filler.sparse >= 0 and filler.type != "gaussian":
        raise UserError(
            f"the filler {filler.type!r} is never sparse", expected="gaussian", found=f"sparse: {filler.sparse}"
        )
    with torch.no_grad():
        match filler.type:
            case "constant":
                constant(tensor, filler.value)
            case "uniform":
                uniform(tensor, filler.min, filler.max)
            case "gaussian":
                gaussian(tensor, filler.mean, filler.std)
                if filler.sparse >= 0:  # each weight stays with probability sparse / outputs
                    tensor.mul_(torch.rand_like(tensor) < filler.sparse / len(rows))
            case "xavier":
                xavier(rows, fan)
            case "msra":
                msra(rows, fan)
            case "bilinear":  # one filter for every pair of channels, as Caffe has it
                bilinear(tensor.view(-1, 1, *tensor.shape[2:]) if tensor.dim() == 4 else tensor)
            case "positive_unitball":  # at least 0, and the weights of an output sum to 1
                rows = rows.uniform_().view(len(rows), -1)
                rows /= rows.sum(1, keepdim=True)
            case other:
                raise unknown("there is no filler", other, FILLERS)
    return tensor


def fill_layer(module: nn.Module, settings: Any, unset: float) -> None:
    """Fills weights and biases by the fillers of a layer's settings.

    Args:
        module: the names of its parameters begin with `weight` and `bias`.
        settings: has `weight_filler` and `bias_filler`, or `filler` for the first.
        unset: the weights where no filler is named; biases are 0.
    """
    known = settings.DESCRIPTOR.fields_by_name
    for name, parameter in module.named_parameters():
        kind = name.partition("_")[0]
        field = f"{kind}_filler" if f"{kind}_filler" in known else "filler"
        if settings.HasField(field):
            fill(parameter, getattr(settings, field))
        else:
            nn.init.constant_(parameter, unset if kind == "weight" else 0.0)
