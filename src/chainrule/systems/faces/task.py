"""FaceNet: images of faces to embeddings of length 1, learnt by triplets, for verification and identification."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from chainrule.core.errors import UserError
from chainrule.core.settings import Count, NonNegative
from chainrule.core.task import COMPARED, Deployable, Figure, TrainingBatch
from chainrule.data.batches import Batch, BatchLoader, pairs
from chainrule.data.dataset import Dataset
from chainrule.data.images.decoding import SUFFIXES
from chainrule.data.images.loading import decode_files
from chainrule.data.inputs import answer_to, asked_files, asked_paths, chunks
from chainrule.data.layout import Place
from chainrule.data.samplers import PKSampler
from chainrule.functional.losses import triplet
from chainrule.loops.supervised import fit
from chainrule.nn.fitted import Fitted
from chainrule.nn.normalization.normalize import Normalize
from chainrule.run.input_normalization import input_normalization
from chainrule.run.run import Run
from chainrule.systems.faces import figures as face_figures
from chainrule.systems.faces.data import FaceSpec, FaceSplit, read_gallery, read_other_faces
from chainrule.systems.faces.eigenfaces import fit_eigenfaces
from chainrule.systems.faces.matching import identify, verify
from chainrule.systems.faces.triplets import (
    Triplets,
    batch_all_triplets,
    batch_hard_triplets,
    pairwise_squared_distances,
    semi_hard_triplets,
)
from chainrule.systems.faces.verification import (
    area_under_roc,
    balanced_accuracy,
    best_threshold,
    equal_error_rate,
    first_as_gallery,
    pair_distances,
    roc,
    verification_metrics,
)
from chainrule.systems.faces.watch_list import two_lists, watch_list_curve

Mining = Literal["semi-hard", "hard", "all"]
EVALUATION_BATCH = 100
CHUNK = 256  # files that are in memory at a time, in predict
METHODS = {"network": "", "eigenfaces": "_eigenfaces", "raw pixels": "_raw_pixels"}  # and what its metrics end in


class Threshold(nn.Module):
    """threshold - d for squared distances d, (B,) to (B,): a pair is accepted as the same person from 0 on."""

    value: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("value", torch.ones(1))

    def forward(self, squared_distance: Tensor) -> Tensor:
        return self.value - squared_distance


class FlipAveragedEmbedding(nn.Module):
    """Test-time augmentation: the mean of the embeddings of an image and its mirror image, of length 1 again.

    (B, C, S, S) to (B, E). A face and its mirror image are the same person, so what differs between their embeddings is
    noise.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.normalize(self.model(x) + self.model(x.flip(3)))


class FaceEmbedding:
    """FaceNet: normalised images (B, C, S, S) to embeddings (B, E) of length 1, trained with the triplet loss.

    Args:
        run: the run it belongs to.
        data: what `load_faces` gave.
        model: the network.
        eigenfaces: the baseline, a PCA of the training images: (B, C S S) to components.
        optimizer, schedule, epochs: the optimisation.
        persons, images_per_person: P and K of `PKSampler`.
        margin: of the triplet loss, in squared distance.
        mining: `semi_hard_triplets`, `batch_hard_triplets` or `batch_all_triplets`.
        augment: random changes to the images of a training batch, bytes to bytes.
        mirror: whether embeddings are those of `FlipAveragedEmbedding`, except in training.
    """

    def __init__(
        self,
        run: Run,
        *,
        data: Dataset[FaceSpec, FaceSplit],
        model: nn.Module,
        eigenfaces: Fitted,
        optimizer: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LRScheduler,
        epochs: int,
        persons: int,
        images_per_person: int,
        margin: float,
        mining: Mining,
        augment: Callable[[Tensor], Tensor] | None = None,
        mirror: bool = True,
    ) -> None:
        self.run, self.data, self.model, self.eigenfaces = run, data, model, eigenfaces
        self.optimizer, self.schedule, self.epochs = optimizer, schedule, epochs
        self.persons, self.images_per_person = persons, images_per_person
        self.margin, self.mining, self.augment = margin, mining, augment
        self.embedder = FlipAveragedEmbedding(model) if mirror else model
        self.threshold = Threshold().to(run.device)
        self.normalize = Normalize(*input_normalization(run, (data.spec.mean, data.spec.std))).to(run.device)

    def modules(self) -> dict[str, nn.Module]:
        return {"model": self.model, "eigenfaces": self.eigenfaces, "threshold": self.threshold}

    # -- training -----------------------------------------------------------------------------------------------

    def train(self, run: Run) -> None:
        run.require_one_process()
        batches = self._batches()
        fit_eigenfaces(
            self.eigenfaces,
            self._rows(self.data.train.x).double(),
            self._rows(self.data.val.x).double(),
            self.data.val.y,
        )
        self.eigenfaces.to(run.device)

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

    def _batches(self) -> BatchLoader[Batch]:
        train, device = self.data.train, self.run.device
        x, y = train.x.to(device, memory_format=torch.channels_last), train.y.to(device)
        sampler = PKSampler(
            y,
            classes=self.persons,
            samples=self.images_per_person,
            seed=self.run.seed,
            settings=("persons", "pictures"),
        )
        return BatchLoader(sampler, pairs(x, y))

    def inputs(self, x: Tensor) -> Tensor:
        """What the network is given of a training batch: augmented and normalised."""
        return self.normalize(x if self.augment is None else self.augment(x))

    def triplets(self, embeddings: Tensor, labels: Tensor) -> Triplets:
        """Anchors, positives and negatives among the embeddings of a batch, as `mining` has them."""
        if self.mining == "hard":
            return batch_hard_triplets(embeddings, labels)
        mine = semi_hard_triplets if self.mining == "semi-hard" else batch_all_triplets
        return mine(embeddings, labels, margin=self.margin)

    def loss(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """The mean of the triplets' losses that are not zero (Hermans et al. 2017, section 2); 0 where there is none."""
        if embeddings.dtype == torch.bfloat16:  # under autocast; it lacks the digits in which distances differ
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
        return mean + 0.0 * embeddings.sum()  # mining leaves NaN out, and the guard is to see it

    # -- measuring ----------------------------------------------------------------------------------------------

    def validate(self) -> dict[str, float]:
        """Metrics on the validation persons, who choose the threshold as well."""
        y = self.data.val.y.to(self.run.device)
        distances = pairwise_squared_distances(self.embed(self.data.val.x))
        pairs = pair_distances(distances, y)
        self.threshold.value.fill_(best_threshold(*pairs))
        return {"auc": area_under_roc(*pairs), "eer": equal_error_rate(*pairs), "rank1": first_as_gallery(distances, y)}

    def evaluate(self, data: Place | None = None) -> dict[str, float]:
        """Metrics of the network; those of the baselines end in `_eigenfaces` and `_raw_pixels`."""
        if data is None:
            split, distances = self.data.test, self._test_distances
        else:
            split = read_other_faces(data, self.run.data.target, self.data.spec)
            distances = self.distances(split)
        self.measured, y = split, split.y.to(self.run.device)
        found = {
            f"{metric}{METHODS[method]}": value
            for method, matrix in distances.items()
            for metric, value in verification_metrics(matrix, y).items()
        }
        pairs = pair_distances(distances["network"], y)
        return {"accuracy": balanced_accuracy(*pairs, float(self.threshold.value)), **found}

    def protocol(self) -> str:
        made, estimator = self.data.spec.splits, self.eigenfaces.estimator.get_params()
        how = f"{estimator['n_components']} components{', whitened' if estimator['whiten'] else ''}"
        return (
            f"validation persons ({made['val']}) chose the epoch by the area under the ROC of all their pairs, the threshold of "
            f"accuracy, and the eigenfaces ({how}); test persons ({made['test']}), of whom training ({made['train']}) and "
            "validation saw nobody, measured once, at the end, on all their pairs; accuracies count genuine pairs and "
            "impostors alike; verification_accuracy: every two of ten folds of the test persons at the threshold that the other "
            "folds chose; rank1: the first image of each person is the gallery, the rest are probes; dir_at_far: a watch list of "
            "the first images of half of the persons, then of the other half, the rest and all images of the others are probes"
        )

    def distances(self, split: FaceSplit) -> dict[str, Tensor]:
        """Squared distances between all images of a split (N, N), by each of the methods."""
        pixels = self._rows(split.x)
        rows = {"network": self.embed(split.x), "eigenfaces": self.eigenfaces(pixels), "raw pixels": pixels}
        return {name: pairwise_squared_distances(rows[name]) for name in METHODS}

    @torch.inference_mode()
    def embed(self, x: Tensor) -> Tensor:
        """Embeddings (N, E) in eval mode, for any number of byte images (N, C, S, S)."""
        self.embedder.eval()
        parts = []
        for chunk in x.split(EVALUATION_BATCH):
            with self.run.autocast():
                parts.append(self.embedder(self.normalize(chunk.to(self.run.device))).float())
        return torch.cat(parts)

    def _rows(self, x: Tensor) -> Tensor:
        """Pixels from 0 to 1 as rows (N, C S S)."""
        return x.to(self.run.device).flatten(1).float() / 255

    @cached_property
    def _test_distances(self) -> dict[str, Tensor]:
        return self.distances(self.data.test)

    # -- answers ------------------------------------------------------------------------------------------------

    def predict(
        self, inputs: Iterable[str], out: Path | None, *, top: Count = 5, threshold: NonNegative | None = None
    ) -> Iterator[dict[str, Any]]:
        """Image files are compared with each other (verification); with a folder they are probes, and it is the gallery.

        A gallery has a subfolder a person, or loose images named after whom they show; `top` of its images are named.
        Up to the squared distance `threshold` a pair is one person; none: what the validation split chose.
        """
        named = list(asked_paths(inputs))
        folders = [asked.value for asked in named if isinstance(asked.value, Path) and asked.value.is_dir()]
        probes = [asked for asked in named if asked.value not in folders]
        files = [asked.value for asked in probes]
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
                cure=f"chainrule predict {self.run.folder} IMAGE {folders[0]}",
            )
        if not files:
            raise UserError("no image is named", expected="files, lists, or a line each on stdin")
        limit = float(self.threshold.value) if threshold is None else threshold
        parts = [self.embed(decode_files([a.value for a in part], self.data.spec)) for part in chunks(probes, CHUNK)]
        embeddings = torch.cat(parts)
        if folders:
            gallery, persons = read_gallery(folders[0])
            known = self.embed(decode_files(gallery, self.data.spec))
            distances = pairwise_squared_distances(embeddings, known).cpu()
            yield from map(answer_to, probes, identify(files, gallery, persons, distances, limit, top))
        elif len(files) == 1:
            yield answer_to(probes[0], {"embedding": [round(v, 6) for v in embeddings[0].tolist()]})
        else:
            yield from map(answer_to, probes, verify(files, pairwise_squared_distances(embeddings).cpu(), limit))

    # -- looking inside -----------------------------------------------------------------------------------------

    def example(self) -> dict[str, tuple[Tensor, ...]]:
        spec = self.data.spec
        x = torch.zeros(1, spec.channels, spec.size, spec.size, device=self.run.device)
        fitted = {"eigenfaces": (x.flatten(1),)} if hasattr(self.eigenfaces, "components_") else {}
        return {"model": (x,), **fitted, "threshold": (torch.zeros(1, device=self.run.device),)}

    def prepare(self, inputs: list[str]) -> dict[str, tuple[Tensor, ...]]:
        x = decode_files([asked.value for asked in asked_files(inputs, SUFFIXES, "image")], self.data.spec)
        return {"model": (self.normalize(x.to(self.run.device)),), "eigenfaces": (self._rows(x),)}

    def test_images(self) -> Tensor:
        return self.data.test.x

    def training_batch(self) -> TrainingBatch:
        """The first batch of the first epoch."""
        batch = next(self._batches().epoch(0))
        return TrainingBatch(self.model, (self.inputs(batch.x),), batch.y, self.loss, self.optimizer)

    def deployable(self) -> Deployable:
        spec = self.data.spec
        shape = (spec.channels, spec.size, spec.size)
        return Deployable(
            nn.Sequential(self.normalize, self.embedder).cpu().eval(),
            lambda count: (torch.randint(0, 256, (count, *shape)).float(),),
            ("pixels",),
            ("embedding",),
            {
                "pixels": f"float32 (B, {', '.join(map(str, shape))}), 0 to 255",
                "one person": f"where the squared distance of two embeddings is at most {float(self.threshold.value):.6g}",
            },
            lambda: (self.data.test.x[:COMPARED].float(),),
        )

    def figures(self) -> list[Figure]:
        test = self.data.test
        distances = {name: matrix.cpu() for name, matrix in self._test_distances.items()}
        curves = {name: roc(*pair_distances(matrix, test.y)) for name, matrix in distances.items()}
        open_set = {name: watch_list_curve(two_lists(matrix, test.y)) for name, matrix in distances.items()}
        own = distances["network"]
        shown = {name: distances[name] for name in ("raw pixels", "network")}
        return [
            self._table(distances),
            face_figures.roc_curves(curves),
            face_figures.watch_list_curves(open_set),
            face_figures.similarity_matrices(shown, test.y, test.names),
            face_figures.nearest_neighbours(test.x, own, test.y, test.names),
            face_figures.hardest_pairs(test.x, own, test.y, test.names, float(self.threshold.value)),
        ]

    def _table(self, distances: dict[str, Tensor]) -> Figure:
        scores = {name: verification_metrics(matrix, self.data.test.y) for name, matrix in distances.items()}
        metrics = list(scores["network"])
        rows = [[name, *(f"{found[metric]:.4f}" for metric in metrics)] for name, found in scores.items()]
        estimator = self.eigenfaces.estimator.get_params()
        return Figure(
            "What learning adds",
            "The same test pairs judged by the learnt embedding, by principal components of the training images "
            f"({estimator['n_components']}{', whitened' if estimator['whiten'] else ''}), and by the pixels themselves.",
            table=[["distance of", *metrics], *rows],
        )
