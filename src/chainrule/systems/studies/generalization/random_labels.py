"""The same net fits true labels, wrong labels and noise: what it can learn does not say what it has learnt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from chainrule.core.course import Topic
from chainrule.core.errors import UserError
from chainrule.core.task import Figure
from chainrule.loops.experiment import Row, descend
from chainrule.reporting.line_plots import Line, lines
from chainrule.run.run import Run
from chainrule.systems.studies.image_rows import ImageRows
from chainrule.tasks.study import Study

PIXELS = ("shuffled pixels", "random pixels", "noise")
EVALUATION = 2000  # samples of a pass
CLAIM = "A net that is large enough fits random labels to a training error of zero; only the test error shows the difference."


def random_labels_study(
    run: Run,
    *,
    corruptions: Sequence[float],
    hidden: int,
    layers: int,
    size: int,
    samples: int,
    epochs: int,
    batch_size: int,
    lr: float,
    momentum: float,
) -> Study:
    """A perceptron with nothing that regularises it, on labels corrupted more and more, and on pixels in disorder."""
    if not corruptions or not all(0 <= share <= 1 for share in corruptions):
        raise UserError(
            "a share of labels is out of range",
            expected="0 to 1, one at least",
            found=f"corruptions={','.join(map(str, corruptions))}",
        )
    rows = ImageRows(run, size=size, samples=samples)

    def measure(point: Mapping[str, Any]) -> Row:
        train, test = rows.train, rows.test
        y = corrupted(train.y, point["corruption"], rows.num_classes)
        pixels = torch.randperm(rows.width)
        x, test_x = (disordered(part.x, point["pixels"], pixels) for part in (train, test))
        parts: list[nn.Module] = []
        for before in (rows.width, *[hidden] * (layers - 1)):
            parts += [nn.Linear(before, hidden), nn.ReLU()]
        network = nn.Sequential(*parts, nn.Linear(hidden, rows.num_classes)).to(run.device)
        optimizer = torch.optim.SGD(network.parameters(), lr, momentum)
        size = min(batch_size, len(x))
        every = max(1, len(x) // size)
        errors: list[float] = []
        losses: list[Tensor] = []

        def each_step(step: int, loss: Tensor) -> bool:
            losses.append(loss)
            if (step + 1) % every:
                return False
            errors.append(error(network, x, y))
            return errors[-1] == 0

        descend(network, x, y, cross_entropy, optimizer, steps=epochs * every, batch_size=size, each_step=each_step)
        means = [float(part.mean()) for part in torch.stack(losses).split(every)]
        return {
            "train_error": errors[-1],
            "test_error": error(network, test_x, test.y),
            "fitted": errors[-1] == 0,
            "epochs_to_fit": len(errors),
            "steps": len(errors) * every,
            "wrong_labels": float((y != train.y).double().mean()),
            "parameters_per_sample": sum(p.numel() for p in network.parameters()) / len(x),
            "errors": errors,
            "losses": means,
        }

    points = [{"pixels": "as they are", "corruption": share} for share in corruptions]
    points += [{"pixels": pixels, "corruption": 0.0} for pixels in PIXELS]
    return Study(
        run,
        points=points,
        measure=measure,
        conclude=conclude,
        draw=lambda found: draw(found, rows.num_classes),
        claim=CLAIM,
        how=f"a perceptron of {layers} hidden layers of {hidden}, trained until no training sample is wrong or for {epochs} "
        "epochs; test error on the test split with its true labels and pixels in the same disorder",
    )


def corrupted(y: Tensor, share: float, num_classes: int) -> Tensor:
    """Each label with probability `share` replaced by one drawn from all classes, so that some stay right by chance."""
    replaced = torch.rand(len(y)) < share
    drawn = torch.randint(num_classes, (len(y),))
    return torch.where(replaced.to(y.device), drawn.to(y.device), y)


def disordered(x: Tensor, pixels: str, order: Tensor) -> Tensor:
    """Rows (N, D) as they are, in one order for all, each in an order of its own, or replaced by Gaussian noise."""
    if pixels == "shuffled pixels":
        return x[:, order.to(x.device)]
    if pixels == "random pixels":
        return x.gather(1, torch.rand(x.shape).argsort(1).to(x.device))
    return torch.randn(x.shape).to(x) * x.std() + x.mean() if pixels == "noise" else x


@torch.no_grad()
def error(network: nn.Module, x: Tensor, y: Tensor) -> float:
    """The share of rows whose largest logit is not that of their label."""
    wrong = [
        (network(part).argmax(1) != of).sum() for part, of in zip(x.split(EVALUATION), y.split(EVALUATION), strict=True)
    ]
    return int(torch.stack(wrong).sum()) / len(y)


def label(row: Row) -> str:
    """A point in words."""
    if row["pixels"] != "as they are":
        return row["pixels"]
    return {0.0: "true labels", 1.0: "random labels"}.get(row["corruption"], f"{row['corruption']:.0%} random labels")


def conclude(rows: list[Row]) -> dict[str, float]:
    found: dict[str, float] = {"parameters_per_sample": rows[0]["parameters_per_sample"]}
    for row in rows:
        name = label(row).replace("% ", "_percent_").replace(" ", "_").lower()
        name = name if name[0].isalpha() else f"labels_{name.removesuffix('_labels')}"
        found |= {
            f"{name}_train_error": row["train_error"],
            f"{name}_test_error": row["test_error"],
            f"{name}_epochs_to_fit": row["epochs_to_fit"],
        }
    return found | {"share_fitted": sum(row["fitted"] for row in rows) / len(rows)}


def draw(rows: list[Row], num_classes: int) -> list[Figure]:
    fits = {label(row): Line(range(1, len(row["errors"]) + 1), row["errors"], i) for i, row in enumerate(rows)}
    losses = {label(row): Line(range(1, len(row["losses"]) + 1), row["losses"], i) for i, row in enumerate(rows)}
    of = sorted((row for row in rows if row["pixels"] == "as they are"), key=lambda row: row["corruption"])
    shares, chance = [row["corruption"] for row in of], 1 - 1 / num_classes
    return [
        lines(
            fits,
            "Training error",
            "Each line ends where no training sample is wrong.",
            xlabel="epochs",
            ylabel="error (share of training samples)",
            xscale="log",
        ),
        lines(
            losses,
            "Training loss",
            "The mean over the batches of each epoch.",
            xlabel="epochs",
            ylabel="cross-entropy (nats)",
            xscale="log",
            yscale="log",
        ),
        lines(
            {
                "test error": Line(shares, [row["test_error"] for row in of], 0),
                "training error at the end": Line(shares, [row["train_error"] for row in of], 1),
                "chance": Line([shares[0], shares[-1]], [chance, chance], 8, ":"),
            },
            "Error against the share of random labels",
            "On test samples with their true labels.",
            xlabel="share of labels drawn at random",
            ylabel="error (share of samples)",
            bottom=-0.02,
            top=1,
        ),
        lines(
            {"epochs": Line(shares, [row["epochs_to_fit"] for row in of], 2)},
            "Time to fit",
            "Epochs until no training sample is wrong, or all of them where one stays wrong.",
            xlabel="share of labels drawn at random",
            ylabel="epochs",
            bottom=0,
        ),
    ]


TOPICS = (Topic("Random labels memorised", code=("corrupted",)),)
