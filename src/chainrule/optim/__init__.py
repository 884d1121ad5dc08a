"""Optimisation: update rules, learning-rate policies, initialisers, clipping of gradients.

A name is imported when it is first used, so that policies and their figures need no PyTorch.

>>> from chainrule.optim import SGD, inv
>>> inv(base_lr=0.01, gamma=1e-4, power=0.75)
inv(base_lr=0.01, gamma=0.0001, power=0.75)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chainrule.optim import initialisers, policies
    from chainrule.optim.adaptive import AdaDelta, AdaGrad, Adam, AdamW, RMSProp
    from chainrule.optim.by_name import optimizer_of
    from chainrule.optim.clipping import clip_each_norm, clip_norm, clip_value
    from chainrule.optim.initialisers import initialise
    from chainrule.optim.muon import Muon
    from chainrule.optim.newton import Newton, optimal_rate
    from chainrule.optim.policies import (
        Policy,
        cosine,
        exp,
        fixed,
        inv,
        multistep,
        poly,
        sequence,
        sigmoid,
        step,
        warmup,
    )
    from chainrule.optim.schedule import as_schedule, cosine_schedule, total_steps
    from chainrule.optim.sgd import SGD

__all__ = [
    "SGD",
    "AdaDelta",
    "AdaGrad",
    "Adam",
    "AdamW",
    "Muon",
    "Newton",
    "Policy",
    "RMSProp",
    "as_schedule",
    "clip_each_norm",
    "clip_norm",
    "clip_value",
    "cosine",
    "cosine_schedule",
    "exp",
    "fixed",
    "initialise",
    "initialisers",
    "inv",
    "multistep",
    "optimal_rate",
    "optimizer_of",
    "policies",
    "poly",
    "sequence",
    "sigmoid",
    "step",
    "total_steps",
    "warmup",
]

_HOMES = {
    "SGD": "sgd",
    "AdaGrad": "adaptive",
    "AdaDelta": "adaptive",
    "RMSProp": "adaptive",
    "Adam": "adaptive",
    "AdamW": "adaptive",
    "Muon": "muon",
    "Newton": "newton",
    "optimal_rate": "newton",
    "optimizer_of": "by_name",
    "clip_norm": "clipping",
    "clip_each_norm": "clipping",
    "clip_value": "clipping",
    "as_schedule": "schedule",
    "cosine_schedule": "schedule",
    "total_steps": "schedule",
    "initialise": "initialisers",
}


def __getattr__(name: str) -> Any:
    if name in ("policies", "initialisers"):
        return importlib.import_module(f"{__name__}.{name}")
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES.get(name, 'policies')}"), name)
