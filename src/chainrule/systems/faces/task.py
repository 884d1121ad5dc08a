"""Images of persons into points of a sphere, where one person's lie near each other: who is it, and is it the same?"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from chainrule.core.errors import UserError
from chainrule.core.task import Deployable, Figure, TrainingBatch
from chainrule.data.batches import Batch
from chainrule.data.dataset import Dataset
from chainrule.data.images.faces import FaceSplit, read_gallery, read_other_faces
from chainrule.data.images.loading import decode_files
from chainrule.functional.losses import triplet
from chainrule.loops.supervised import fit
from chainrule.nn.fitted import Fitted
from chainrule.nn.normalization.normalize import Normalize
from chainrule.run.input_normalization import input_normalization
from chainrule.run.run import Run
from chainrule.systems.faces import figures as face_figures
from chainrule.systems.faces.identity_batches import IdentityBatches
from chainrule.systems.faces.triplets import (
    Triplets,
    hardest_triplets,
    pairwise_squared_distances,
    semi_hard_triplets,
    violating_triplets,
)
from chainrule.systems.faces.verification import (
    accept_rate_at,
    area_under_roc,
    balanced_accuracy,
    best_threshold,
    equal_error_rate,
    fold_accuracy,
    pair_distances,
    rank_one,
    roc,
)

Mining = Literal["semi-hard", "hard", "all"]
EVALUATION_BATCH = 100
RATES = {"tar_at_far_1e2": 1e-2, "tar_at_far_1e3": 1e-3}  # measured where there are pairs enough
EIGENFACES = (5, 10, 20, 40, 80, 160)  # numbers of components that the validation persons choose among
NEAREST = 5  # of the gallery, that an answer names
METHODS = {"network": "", "eigenfaces": "_eigenfaces", "raw pixels": "_raw_pixels"}  # and what its metrics end in


class Threshold(nn.Module):
    """How far within the threshold a squared distance lies, (B,) to (B,): 0 or more is one person."""

    value: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("value", torch.ones(1))

    def forward(self, squared_distance: Tensor) -> Tensor:
        return self.value - squared_distance


class MirrorMean(nn.Module):
    """The mean of an image's embedding and its mirror image's, brought to length 1: (B, C, S, S) to (B, E).

    A face and its mirror image are one person, so what differs between their embeddings tells nothing.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.normalize(self.model(x) + self.model(x.flip(3)))


class FaceEmbedding:
    """A network that gives embeddings (B, E) of length 1 for normalised images (B, C, S, S), learnt by triplets.

    Args:
        run: the run it belongs to.
        data: what `load_faces` gave.
        model: the network.
        eigenfaces: principal components, the baseline; fitted to the training images, (B, C S S) to coordinates.
        optimizer, schedule, epochs: the optimisation.
        persons, images: of a batch, P and K of `IdentityBatches`.
        margin: of the triplet loss, in squared distance.
        mining: which triplets of a batch are learnt from: `semi_hard_triplets`, `hardest_triplets`,
            `violating_triplets`.
        augment: random changes to the images of a training batch, bytes to bytes.
        mirror: whether answers are those of `MirrorMean`.
    """

    def __init__(
        self,
        run: Run,
        *,
        data: Dataset[FaceSplit],
        model: nn.Module,
        eigenfaces: Fitted,
        optimizer: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LRScheduler,
        epochs: int,
        persons: int,
        pictures: int,
        margin: float,
        mining: Mining,
        augment: Callable[[Tensor], Tensor] | None = None,
        mirror: bool = True,
    ) -> None:
        self.run, self.data, self.model, self.eigenfaces = run, data, model, eigenfaces
        self.optimizer, self.schedule, self.epochs = optimizer, schedule, epochs
        self.persons, self.pictures, self.margin, self.mining, self.augment = persons, pictures, margin, mining, augment
        self.answering = MirrorMean(model) if mirror else model
        self.threshold = Threshold().to(run.device)
        self.normalize = Normalize(*input_normalization(run, (data.spec["mean"], data.spec["std"]))).to(run.device)

    def modules(self) -> dict[str, nn.Module]:
        return {"model": self.model, "eigenfaces": self.eigenfaces, "threshold": self.threshold}

    # -- training -----------------------------------------------------------------------------------------------

    def train(self, run: Run) -> None:
        run.require_one_process()
        batches = self._batches()
        self._fit_eigenfaces()

        def objective(batch: Batch) -> Tensor:
            return self.loss(self.model(self.inputs(batch.x)), batch.y)

        fit(
            run,
            modules=self.modules(),
            objective=objective,
            optimizer=self.optimizer,
            schedule=self.schedule,
            train=batches,
            epochs=self.epochs,
            validate=self.validate,
            choose_by=("auc", False),
        )

    def _batches(self) -> IdentityBatches:
        train, device = self.data.train, self.run.device
        x, y = train.x.to(device, memory_format=torch.channels_last), train.y.to(device)
        return IdentityBatches(x, y, persons=self.persons, pictures=self.pictures, seed=self.run.seed)

    def inputs(self, x: Tensor) -> Tensor:
        """What the network is given of a training batch: augmented and normalised."""
        return self.normalize(x if self.augment is None else self.augment(x))

    def triplets(self, embeddings: Tensor, labels: Tensor) -> Triplets:
        """Anchors, positives and negatives among the embeddings of a batch, as `mining` has them."""
        if self.mining == "hard":
            return hardest_triplets(embeddings, labels)
        mine = semi_hard_triplets if self.mining == "semi-hard" else violating_triplets
        return mine(embeddings, labels, margin=self.margin)

    def loss(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """The mean of the triplets' losses that are not zero (Hermans et al. 2017, section 2); 0 where there is none."""
        if embeddings.dtype == torch.bfloat16:  # under autocast; distances differ in digits that it lacks
            embeddings = embeddings.float()
        anchor, positive, negative = self.triplets(embeddings, labels)
        losses = triplet(
            embeddings[anchor],
            embeddings[positive],
            embeddings[negative],
            margin=self.margin,
            normalization="unreduced",
        )
        mean = losses.sum() / (losses > 0).sum().clamp_min(1)
        return mean + 0.0 * embeddings.sum()  # mining passes over what is no number, and the guard is to see it

    def _fit_eigenfaces(self) -> None:
        """As many components, and whitened or not, as tell the validation persons apart best."""
        train, val = self._rows(self.data.train.x).double(), self._rows(self.data.val.x).double()
        self.eigenfaces.fit(train)
        variance = self.eigenfaces.get_buffer("explained_variance_").to(val.device)
        coordinates, count = self.eigenfaces(val), int((variance > 1e-9 * variance[0]).sum())
        counts = [number for number in EIGENFACES if number <= count] or [count]
        best: tuple[float, int, bool] | None = None
        for number in counts:
            for whiten in (False, True):
                rows = coordinates[:, :number] / (variance[:number].sqrt() if whiten else 1.0)
                auc = area_under_roc(*pair_distances(pairwise_squared_distances(rows), self.data.val.y.to(rows.device)))
                if best is None or auc > best[0]:
                    best = (auc, number, whiten)
        assert best is not None
        self.eigenfaces.fit(train, n_components=best[1], whiten=best[2])
        self.eigenfaces.to(self.run.device)

    # -- measuring ----------------------------------------------------------------------------------------------

    def validate(self) -> dict[str, float]:
        """Metrics on the validation persons, who choose the threshold as well."""
        y = self.data.val.y.to(self.run.device)
        distances = pairwise_squared_distances(self.embed(self.data.val.x))
        pairs = pair_distances(distances, y)
        self.threshold.value.fill_(best_threshold(*pairs))
        return {
            "auc": area_under_roc(*pairs),
            "eer": equal_error_rate(*pairs),
            "rank1": _first_as_gallery(distances, y),
        }

    def evaluate(self, data: str | None = None) -> dict[str, float]:
        """Metrics of the network; those of the baselines end in `_eigenfaces` and `_raw_pixels`."""
        if data is None:
            split, distances = self.data.test, self._test_distances
        else:
            split = read_other_faces(data, self.run.record["data"]["target"], self.data.spec)
            distances = self.distances(split)
        y = split.y.to(self.run.device)
        found = {
            f"{metric}{METHODS[method]}": value
            for method, matrix in distances.items()
            for metric, value in _verified(matrix, y).items()
        }
        pairs = pair_distances(distances["network"], y)
        return {"accuracy": balanced_accuracy(*pairs, float(self.threshold.value)), **found}

    def protocol(self) -> str:
        made, estimator = self.data.spec["splits"], self.eigenfaces.estimator.get_params()
        how = f"{estimator['n_components']} components{', whitened' if estimator['whiten'] else ''}"
        return (
            f"validation persons ({made['val']}) chose the epoch by the area under the ROC of all their pairs, the threshold of "
            f"accuracy, and the eigenfaces ({how}); test persons ({made['test']}), of whom training ({made['train']}) and "
            "validation saw nobody, measured once, at the end, on all their pairs; accuracies count genuine pairs and "
            "impostors alike; verification_accuracy: every two of ten folds of the test persons at the threshold that the other "
            "folds chose; rank1: the first image of each person is the gallery, the rest are probes"
        )

    def distances(self, split: FaceSplit) -> dict[str, Tensor]:
        """Squared distances between all images of a split (N, N), by each of the methods."""
        pixels = self._rows(split.x)
        rows = {"network": self.embed(split.x), "eigenfaces": self.eigenfaces(pixels), "raw pixels": pixels}
        return {name: pairwise_squared_distances(rows[name]) for name in METHODS}

    @torch.inference_mode()
    def embed(self, x: Tensor) -> Tensor:
        """Embeddings (N, E) in eval mode, for any number of byte images (N, C, S, S)."""
        self.answering.eval()
        parts = []
        for chunk in x.split(EVALUATION_BATCH):
            with self.run.autocast():
                parts.append(self.answering(self.normalize(chunk.to(self.run.device))).float())
        return torch.cat(parts)

    def _rows(self, x: Tensor) -> Tensor:
        """Pixels from 0 to 1 as rows (N, C S S)."""
        return x.to(self.run.device).flatten(1).float() / 255

    @cached_property
    def _test_distances(self) -> dict[str, Tensor]:
        return self.distances(self.data.test)

    # -- answers ------------------------------------------------------------------------------------------------

    def predict(self, inputs: list[str], out: Path | None) -> list[dict[str, Any]]:
        """Image files are compared with each other; with a folder among them, they are looked for in it.

        The folder is the gallery: a subfolder a person, or loose images named after whom they show.
        """
        folders = [Path(name) for name in inputs if Path(name).is_dir()]
        files = [Path(name) for name in inputs if not Path(name).is_dir()]
        if len(folders) > 1:
            raise UserError(
                "images are looked for in one gallery at a time",
                expected="one folder",
                found=", ".join(str(folder) for folder in folders),
            )
        if folders and not files:
            raise UserError(
                "there is nobody to look for",
                where=folders[0],
                expected="image files, then the gallery's folder",
                cure=f"chainrule predict {self.run.folder} Image {folders[0]}",
            )
        x = decode_files(files, self.data.spec)
        if folders:
            return self._identify(files, self.embed(x), folders[0])
        if len(files) == 1:
            return [{"input": str(files[0]), "embedding": [round(v, 6) for v in self.embed(x)[0].tolist()]}]
        return self._compare(files, self.embed(x))

    def _compare(self, files: list[Path], embeddings: Tensor) -> list[dict[str, Any]]:
        """For each image, whom of the others it shows too; of two images, simply whether they show one person."""
        distances = pairwise_squared_distances(embeddings).cpu()
        threshold = float(self.threshold.value)
        if len(files) == 2:
            answer = "one person" if float(distances[0, 1]) <= threshold else "two persons"
            shared = {
                "answer": answer,
                "squared_distance": round(float(distances[0, 1]), 6),
                "threshold": round(threshold, 6),
            }
            one, other = map(str, files)
            return [{"input": one, "with": other, **shared}, {"input": other, "with": one, **shared}]
        answers = []
        for i, file in enumerate(files):
            others = {str(other): round(float(distances[i, j]), 6) for j, other in enumerate(files) if j != i}
            alike = [str(other) for j, other in enumerate(files) if j != i and float(distances[i, j]) <= threshold]
            answers.append(
                {
                    "input": str(file),
                    "same_person_as": ", ".join(dict.fromkeys(alike)) or "none of the others",
                    "squared_distances": others,
                    "threshold": round(threshold, 6),
                }
            )
        return answers

    def _identify(self, files: list[Path], embeddings: Tensor, folder: Path) -> list[dict[str, Any]]:
        """For each image, the nearest of the gallery, and whose it is; nobody where it is beyond the threshold."""
        members, persons = read_gallery(folder)
        gallery = self.embed(decode_files(members, self.data.spec))
        distances = pairwise_squared_distances(embeddings, gallery).cpu()
        threshold = float(self.threshold.value)
        answers = []
        for file, row in zip(files, distances, strict=True):
            order = [i for i in row.argsort(stable=True).tolist() if members[i].resolve() != file.resolve()]
            if not order:
                raise UserError("the gallery holds nothing but the image itself", where=folder, found=file)
            nearest = order[0]
            answers.append(
                {
                    "input": str(file),
                    "person": persons[nearest] if float(row[nearest]) <= threshold else "nobody in the gallery",
                    "nearest": str(members[nearest]),
                    "squared_distance": round(float(row[nearest]), 6),
                    "threshold": round(threshold, 6),
                    "top": {str(members[i]): round(float(row[i]), 6) for i in order[:NEAREST]},
                }
            )
        return answers

    # -- looking inside -----------------------------------------------------------------------------------------

    def example(self) -> dict[str, tuple[Tensor, ...]]:
        spec = self.data.spec
        x = torch.zeros(1, spec["channels"], spec["size"], spec["size"], device=self.run.device)
        fitted = {"eigenfaces": (x.flatten(1),)} if hasattr(self.eigenfaces, "components_") else {}
        return {"model": (x,), **fitted, "threshold": (torch.zeros(1, device=self.run.device),)}

    def prepare(self, inputs: list[str]) -> dict[str, tuple[Tensor, ...]]:
        x = decode_files(inputs, self.data.spec)
        return {"model": (self.normalize(x.to(self.run.device)),), "eigenfaces": (self._rows(x),)}

    def test_images(self) -> Tensor:
        return self.data.test.x

    def training_batch(self) -> TrainingBatch:
        """The first batch of the first epoch."""
        batch = next(self._batches().epoch(0))
        return TrainingBatch(self.model, (self.inputs(batch.x),), batch.y, self.loss, self.optimizer)

    def deployable(self) -> Deployable:
        spec = self.data.spec
        shape = (spec["channels"], spec["size"], spec["size"])
        return Deployable(
            nn.Sequential(self.normalize, self.answering).cpu().eval(),
            lambda count: (torch.randint(0, 256, (count, *shape)).float(),),
            ("pixels",),
            ("embedding",),
            {
                "pixels": f"float32 (B, {', '.join(map(str, shape))}), 0 to 255",
                "one person": f"where the squared distance of two embeddings is at most {float(self.threshold.value):.6g}",
            },
        )

    def figures(self) -> list[Figure]:
        test = self.data.test
        distances = {name: matrix.cpu() for name, matrix in self._test_distances.items()}
        curves = {name: roc(*pair_distances(matrix, test.y)) for name, matrix in distances.items()}
        own = distances["network"]
        shown = {name: distances[name] for name in ("raw pixels", "network")}
        return [
            self._table(distances),
            face_figures.roc_curves(curves),
            face_figures.similarity_matrices(shown, test.y, test.names),
            face_figures.nearest_neighbours(test.x, own, test.y, test.names),
            face_figures.hardest_pairs(test.x, own, test.y, test.names, float(self.threshold.value)),
        ]

    def _table(self, distances: dict[str, Tensor]) -> Figure:
        scores = {name: _verified(matrix, self.data.test.y) for name, matrix in distances.items()}
        metrics = list(scores["network"])
        rows = [[name, *(f"{found[metric]:.4f}" for metric in metrics)] for name, found in scores.items()]
        estimator = self.eigenfaces.estimator.get_params()
        return Figure(
            "What learning adds",
            "The same test pairs judged by the learnt embedding, by principal components of the training images "
            f"({estimator['n_components']}{', whitened' if estimator['whiten'] else ''}), and by the pixels themselves.",
            table=[["distance of", *metrics], *rows],
        )


def _verified(distances: Tensor, labels: Tensor) -> dict[str, float]:
    """What a matrix of distances (N, N) between images of persons (N,) is worth."""
    pairs = pair_distances(distances, labels)
    found = {"auc": area_under_roc(*pairs), "eer": equal_error_rate(*pairs)}
    impostors = int((~pairs[1]).sum())
    found |= {name: accept_rate_at(*pairs, rate) for name, rate in RATES.items() if impostors * rate >= 1}
    if int((torch.bincount(labels) > 1).sum()) >= 4:
        found["verification_accuracy"] = fold_accuracy(distances, labels)
    return {**found, "rank1": _first_as_gallery(distances, labels)}


def _first_as_gallery(distances: Tensor, labels: Tensor) -> float:
    """Rank-1 identification: the first image of each person is the gallery, all others are probes."""
    first = torch.stack([(labels == person).nonzero()[0, 0] for person in labels.unique()])
    rest = torch.ones_like(labels, dtype=torch.bool)
    rest[first] = False
    return rank_one(distances[rest][:, first], labels[rest], labels[first])
