"""Small runs that several test files look at; each is trained once a session."""

from __future__ import annotations

from pathlib import Path

import pytest

import chainrule

_MADE: dict[int, Path] = {}


def lenet_run(factory: pytest.TempPathFactory, seed: int = 0) -> Path:
    """The folder of LeNet trained on the embedded digits for one epoch. Look, do not write into it: copy it first."""
    if seed not in _MADE:
        folder = factory.mktemp("trained") / f"seed-{seed}"
        chainrule.train("lenet-caffe", epochs=1, log_every=3, seed=seed, out=folder, device="cpu")
        _MADE[seed] = folder
    return _MADE[seed]
