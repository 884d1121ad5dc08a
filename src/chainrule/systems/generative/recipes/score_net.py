"""The classifier whose features score generators of digits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chainrule.core.course import Topic
from chainrule.core.recipe import recipe
from chainrule.core.settings import Count, Fraction, NonNegative, Positive

if TYPE_CHECKING:
    from chainrule.run.run import Run
    from chainrule.tasks.images.classification import ImageClassifier


@recipe(
    "score-net",
    task="image classification",
    data="digits",
    kinds=("images",),
    source="none: our own, for scores of generators",
    model="score-net",
    tiny={"epochs": 2, "log_every": 3},
    summary_zh="给数字生成器打分的小分类器",
    topics=(Topic("Quality of samples: Frechet distance, classifier score"),),
)
def score_net(
    run: Run,
    *,
    epochs: Count = 5,
    batch_size: Count = 128,
    lr: Positive = 2e-3,
    weight_decay: NonNegative = 1e-2,
    val_fraction: Fraction = 1 / 12,
) -> ImageClassifier:
    """Three convolutions, 64 features (47,034 parameters): AdamW, a cosine schedule."""
    import torch

    from chainrule.data.images.loading import load_images
    from chainrule.optim.schedule import cosine_schedule
    from chainrule.systems.generative.score_net import ScoreNet
    from chainrule.tasks.images.classification import ImageClassifier

    data = load_images(run.data, size=28, channels=1, val_fraction=val_fraction)
    model = run.place(ScoreNet(len(data.spec.classes)))
    optimizer = torch.optim.AdamW(model.parameters(), lr, weight_decay=weight_decay)
    return ImageClassifier(
        run,
        data=data,
        model=model,
        criterion=lambda logits, y: torch.nn.functional.cross_entropy(logits, y, reduction="none"),
        optimizer=optimizer,
        schedule=cosine_schedule(optimizer, epochs, data.spec.counts["train"], batch_size),
        epochs=epochs,
        batch_size=batch_size,
    )
