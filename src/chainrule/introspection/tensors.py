"""The tensors among what a layer is given or gives, however they are nested."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor


def tensors(tree: object) -> Iterator[Tensor]:
    """All tensors in tuples, lists, mappings and dataclasses, in their order.

    >>> import torch
    >>> [len(t) for t in tensors((torch.zeros(1), {"a": [torch.zeros(2), 3]}, None))]
    [1, 2]
    """
    if isinstance(tree, Tensor):
        yield tree
        return
    if isinstance(tree, Mapping):
        items = list(tree.values())
    elif isinstance(tree, (tuple, list)):
        items = list(tree)
    elif hasattr(tree, "__dataclass_fields__") and not isinstance(tree, type):
        items = list(vars(tree).values())
    else:
        return
    for item in items:
        yield from tensors(item)


def first_tensor(tree: object) -> Tensor | None:
    """The first of them: the answer, where a layer gives more than its answer."""
    return next(tensors(tree), None)
