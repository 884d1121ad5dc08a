"""How features and the machine behind them are fitted: the dictionary, then the scale of columns, then C by validation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from chainrule.data.batches import Batches
from chainrule.loops.selection import select
from chainrule.systems.image_classification.features.feature_svm import FeatureSVM
from chainrule.tasks.images.classification import ImageClassifier


def by_svm(c: Sequence[float], *, samples: int) -> Callable[[ImageClassifier, Batches], None]:
    """Fits a `FeatureSVM` with each C; the validation split chooses, of equals the smallest.

    Args:
        c: what a unit of slack costs, each that is tried.
        samples: patches that a dictionary is learnt from.
    """

    def learn(task: ImageClassifier, batches: Batches) -> None:
        run, model, val = task.run, task.model, task.data.val
        assert isinstance(model, FeatureSVM)
        run.require_one_process()
        # 1. Features of the training images; a dictionary is learnt from them, without their classes.
        generator = torch.Generator().manual_seed(run.seed)
        train = model.fit_features(batches.x, task.normalize, samples=samples, generator=generator)
        held_out, y = model.rows(val.x, task.normalize), val.y.to(run.device)

        def fit(settings: Mapping[str, Any]) -> dict[str, Any]:
            # 2. The machine with this C. 3. The scale that makes its margins log-odds.
            model.svm.fit(train, batches.y, **settings)
            model.calibrate(held_out, y)
            return {"iterations": int(torch.as_tensor(getattr(model.svm.estimator, "n_iter_", 0)).max())}

        select(
            run,
            modules=task.modules(),
            candidates=[{"C": one} for one in sorted(c, reverse=True)],  # a run keeps the last of equals
            fit=fit,
            validate=lambda: task.measure(val),
            choose_by=task.choose_by,
        )

    return learn
