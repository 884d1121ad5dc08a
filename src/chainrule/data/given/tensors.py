"""Tensors that were given in Python, of any form that torch has, as arrays."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from chainrule.core.errors import UserError


def array_of(tensor: Tensor, where: str) -> np.ndarray:
    """The numbers of a tensor on the CPU, sharing memory where that can be.

    Sparse and quantised ones are written out, and types of half precision that NumPy lacks become float32.

    Raises:
        UserError: it has no values (`meta`), or is nested, which is no array.

    >>> array_of(torch.eye(2, dtype=torch.bfloat16).to_sparse(), "x").tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    if tensor.is_meta or tensor.is_nested:
        kind = "meta" if tensor.is_meta else "nested"
        raise UserError("this is no array", where=where, expected="a tensor of numbers", found=f"a {kind} tensor")
    plain = tensor.detach().cpu()
    if plain.is_quantized:
        plain = plain.dequantize()
    if plain.layout is not torch.strided:
        plain = plain.to_dense()
    if plain.is_floating_point() and plain.dtype not in (torch.float16, torch.float32, torch.float64):
        plain = plain.float()
    return plain.resolve_conj().resolve_neg().numpy()
