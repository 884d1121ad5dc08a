"""The task of a generative adversarial network: images from noise."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from chainrule.core.errors import UserError
from chainrule.core.seeds import in_64_bits
from chainrule.core.task import Deployable, Figure
from chainrule.data.batches import Batch, Batches
from chainrule.data.dataset import Dataset
from chainrule.data.images.loading import ImageSplit
from chainrule.data.images.spec import ImageSpec
from chainrule.data.images.unlabelled import read_other_unlabelled
from chainrule.data.layout import Place
from chainrule.reporting import plots as figures
from chainrule.run.distributed.parallel import align_buffers
from chainrule.run.run import Run
from chainrule.systems.generative.fid import classifier_score, feature_statistics, frechet_distance
from chainrule.systems.generative.images import ToPixels, from_bytes, grid, grid_columns, nearest, to_bytes, to_image
from chainrule.systems.generative.loop import discriminator_loss, non_saturating_loss, train_gan, update_average

Network = Callable[[Tensor], Tensor]

EVALUATION_BATCH = 500
MOST_SCORED = 10_000


class ImageGan:
    """A generator of images (B, C, S, S) in [-1, 1] from noise (B, Z), and a discriminator that gives logits (B,).

    Args:
        run: the run it belongs to.
        data: what `load_unlabelled` gave.
        generator, discriminator: the players, on the run's device.
        average: a copy of the generator, the moving average of its weights, which then makes the images; or None.
        generator_optimizer, discriminator_optimizer: their update rules.
        scorer: bytes (B, 1, H, W) to (features, log-probabilities), if there is one for such images.
        scorer_name: a description of it, for the protocol.
        steps, batch_size, discriminator_steps: the optimisation; a step is a batch.
        noise, noise_size: `uniform` in [-1, 1] or `normal`, and Z.
        ema: decay of the moving average.
        sample_every: steps between two grids of samples; 0: none.
    """

    def __init__(
        self,
        run: Run,
        *,
        data: Dataset[ImageSpec, ImageSplit],
        generator: nn.Module,
        discriminator: nn.Module,
        average: nn.Module | None,
        generator_optimizer: torch.optim.Optimizer,
        discriminator_optimizer: torch.optim.Optimizer,
        scorer: nn.Module | None,
        scorer_name: str,
        steps: int,
        batch_size: int,
        discriminator_steps: int,
        noise: Literal["uniform", "normal"],
        noise_size: int,
        ema: float,
        sample_every: int,
    ) -> None:
        self.run, self.data = run, data
        self.generator, self.discriminator, self.average = generator, discriminator, average
        self.generator_optimizer, self.discriminator_optimizer = generator_optimizer, discriminator_optimizer
        self.scorer, self.scorer_name = scorer, scorer_name
        self.steps, self.batch_size, self.discriminator_steps = steps, batch_size, discriminator_steps
        self.noise_kind, self.noise_size, self.ema, self.sample_every = noise, noise_size, ema, sample_every

    def modules(self) -> dict[str, nn.Module]:
        players = {"generator": self.generator, "discriminator": self.discriminator}
        return players if self.average is None else {**players, "average": self.average}

    @property
    def sampler(self) -> nn.Module:
        """The network that makes the images: the average where there is one."""
        return self.generator if self.average is None else self.average

    # -- training -------------------------------------------------------------------------------------------------

    def train(self, run: Run) -> None:
        run.require_whole_weights()
        if self.batch_size < run.world.size:
            raise UserError(
                "a batch has fewer images than there are processes",
                expected=f"batch_size={run.world.size} or more",
                found=self.batch_size,
            )
        self._images_to_score(self.data.test, self.data.spec.where)
        x, y = self.data.train.x.to(run.device), self.data.train.y.to(run.device)
        # Without an incomplete last batch, on whose few images batch norm would have other statistics.
        batches = Batches(x, y, self.batch_size, seed=run.seed, world=run.world, drop_last=True)
        generator = run.wrap_distributed(self.generator)
        discriminator = run.wrap_distributed(self.discriminator, again=True)
        fixed = self.fixed_noise(grid_columns(self.data.spec) ** 2)

        def after_step(step: int) -> None:
            align_buffers({"generator": self.generator}, run.world)
            if self.average is not None and step % self.discriminator_steps == 0:
                update_average(self.average, self.generator, self.ema, step // self.discriminator_steps)
            if self.sample_every and (step % self.sample_every == 0 or step == self.steps):
                run.save_image(f"samples-{step:06d}", grid(self.draw(fixed)))

        train_gan(
            run,
            generator=self.generator,
            discriminator=self.discriminator,
            generator_objective=lambda batch: self.generator_objective(batch, generator),
            discriminator_objective=lambda batch: self.discriminator_objective(batch, discriminator),
            generator_optimizer=self.generator_optimizer,
            discriminator_optimizer=self.discriminator_optimizer,
            train=batches,
            steps=self.steps,
            discriminator_steps=self.discriminator_steps,
            after_step=after_step,
            keep={} if self.average is None else {"average": self.average},
        )

    def discriminator_objective(self, batch: Batch, discriminator: Network) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Real and fake images are passed separately, so that batch norm sees each kind by itself."""
        with torch.no_grad():
            fake = self.generator(self.batch_noise(batch))
        real_logits, fake_logits = discriminator(from_bytes(batch.x)), discriminator(fake)
        share = self._share(batch)
        tracked = {"d_real": real_logits.sigmoid().mean() * share, "d_fake": fake_logits.sigmoid().mean() * share}
        return discriminator_loss(real_logits, fake_logits) * share, tracked

    def generator_objective(self, batch: Batch, generator: Network) -> tuple[Tensor, Mapping[str, Tensor]]:
        fake = generator(self.batch_noise(batch))
        return non_saturating_loss(self.discriminator(fake)) * self._share(batch), {}

    def batch_noise(self, batch: Batch) -> Tensor:
        """The rows of this process in the noise (b, Z) of a whole batch, which rank 0 draws for all."""
        whole = self.run.world.broadcast(self.noise(batch.count))
        return whole[self.run.world.share(batch.count)]

    def _share(self, batch: Batch) -> float:
        """What a mean over this process's part is multiplied by, so that the average over processes is the mean of all."""
        return len(batch.index) * self.run.world.size / batch.count

    def noise(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Noise (count, Z) on the run's device; drawn on the CPU where `generator` is given, so that devices agree."""
        shape, device = (count, self.noise_size), self.run.device if generator is None else "cpu"
        if self.noise_kind == "normal":
            z = torch.randn(shape, generator=generator, device=device)
        else:
            z = torch.rand(shape, generator=generator, device=device) * 2 - 1
        return z.to(self.run.device)

    def fixed_noise(self, count: int, stream: int = 0) -> Tensor:
        """Noise that depends on the run's seed and the number of a stream alone."""
        return self.noise(count, torch.Generator().manual_seed(in_64_bits((self.run.seed + 1) * 1_000_033 + stream)))

    @torch.inference_mode()
    def draw(self, z: Tensor) -> Tensor:
        """Byte images (N, C, S, S), on the CPU, for noise (N, Z); in eval mode, so that none depends on the others."""
        network, was_training = self.sampler, self.sampler.training

        def draw(z: Tensor) -> Tensor:
            parts = []
            for chunk in z.split(EVALUATION_BATCH):
                with self.run.autocast():
                    parts.append(to_bytes(network(chunk).float()).cpu())
            return torch.cat(parts)

        network.eval()
        images = self.run.world.map_rows(draw, z)
        network.train(was_training)
        return images

    # -- measuring ------------------------------------------------------------------------------------------------

    def evaluate(self, data: Place | None = None) -> dict[str, float]:
        spec = self.data.spec
        split = self.data.test if data is None else read_other_unlabelled(data, self.run.data.target, spec)
        self.measured = split
        real = self._images_to_score(split, str(data or spec.where))
        fake = self.draw(self.fixed_noise(len(real), stream=1))
        metrics = self._losses(real, fake)
        if self.scorer is None:
            return metrics
        chosen = torch.randperm(len(self.data.train), generator=torch.Generator().manual_seed(self.run.seed))[
            : len(real)
        ]
        scored = {
            "real": self._scored(real),
            "fake": self._scored(fake),
            "train": self._scored(self.data.train.x[chosen]),
        }
        statistics = {name: feature_statistics(features) for name, (features, _) in scored.items()}
        return {
            "fid": float(frechet_distance(*statistics["fake"], *statistics["real"])),
            "fid_of_train": float(frechet_distance(*statistics["train"], *statistics["real"])),
            "classifier_score": float(classifier_score(scored["fake"][1])),
            "classifier_score_of_test": float(classifier_score(scored["real"][1])),
            **metrics,
        }

    def protocol(self) -> str:
        made, count = self.data.spec.splits["test"], min(MOST_SCORED, self.data.spec.counts["test"])
        kept = "moving average of the generator" if self.average is not None else "generator"
        seen = (
            f"fid and classifier_score by the features of {self.scorer_name}, comparable only with each other; "
            "fid_of_train and classifier_score_of_test are what real images get"
            if self.scorer is not None
            else "colour images have no extractor here: losses alone"
        )
        return (
            f"no choice was made: the {kept} at the last step; {count} generated images against {count} of the "
            f"test split ({made}), measured once, at the end; {seen}"
        )

    @torch.inference_mode()
    def _losses(self, real: Tensor, fake: Tensor) -> dict[str, float]:
        """Both players' losses on byte images, in batches as in training.

        Batch norm takes the batch's own statistics: its running ones mix real and fake, and fit neither. A copy of the
        discriminator is evaluated, so that they do not change.
        """
        discriminator = copy.deepcopy(self.discriminator).train()
        logits = []
        for x in (real, fake):
            parts = x.tensor_split(max(1, len(x) // self.batch_size))
            with self.run.autocast():
                logits.append(
                    torch.cat([discriminator(from_bytes(part.to(self.run.device))).double() for part in parts])
                )
        real_logits, fake_logits = logits
        return {
            "d_loss": float(discriminator_loss(real_logits, fake_logits)),
            "g_loss": float(non_saturating_loss(fake_logits)),
            "d_real": float(real_logits.sigmoid().mean()),
            "d_fake": float(fake_logits.sigmoid().mean()),
        }

    @torch.inference_mode()
    def _scored(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features (N, D) and log-probabilities (N, K) of byte images, on the CPU."""
        scorer, widths = self.scorer, (0, 0)
        assert scorer is not None

        def score(x: Tensor) -> Tensor:
            nonlocal widths
            parts = [scorer(chunk.to(self.run.device)) for chunk in x.split(EVALUATION_BATCH)]
            features, log_probs = (torch.cat(each).cpu() for each in zip(*parts, strict=True))
            widths = features.shape[1], log_probs.shape[1]
            return torch.cat([features, log_probs], 1)  # (N, D + K)

        features, log_probs = self.run.world.map_rows(score, x).split(widths, 1)
        return features.contiguous(), log_probs.contiguous()

    def _images_to_score(self, split: ImageSplit, where: str) -> Tensor:
        if len(split) < 2:
            raise UserError(
                "the test split is too small for a covariance",
                where=where,
                expected="2 images or more",
                found=len(split),
                cure="more images: a fifth of them is held out where no test split is given",
            )
        return split.x[:MOST_SCORED]

    # -- answering ------------------------------------------------------------------------------------------------

    def generate(self, count: int, out: Path) -> list[dict[str, Any]]:
        """`count` images sample-0001.png, ... and all of them in grid.png, below `out`."""
        images = self.draw(self.noise(count, torch.default_generator))
        try:
            out.mkdir(parents=True, exist_ok=True)
            files = [out / f"sample-{number:04d}.png" for number in range(1, count + 1)]
            for file, image in zip([*files, out / "grid.png"], [*map(to_image, images), grid(images)], strict=True):
                file.unlink(missing_ok=True)  # a link there is replaced, and not written through
                image.save(file)
        except OSError as error:
            raise UserError(
                "the images cannot be written", where=out, found=error.strerror, cure="another --out"
            ) from None
        return [{"sample": number, "file": str(file)} for number, file in enumerate(files, 1)]

    def deployable(self) -> Deployable:
        spec, size = self.data.spec, self.noise_size
        shape = ", ".join(map(str, (spec.channels, spec.size, spec.size)))
        kind = "uniform in [-1, 1]" if self.noise_kind == "uniform" else "standard normal"

        def inputs(count: int) -> tuple[Tensor, ...]:
            return (torch.rand(count, size) * 2 - 1 if self.noise_kind == "uniform" else torch.randn(count, size),)

        return Deployable(
            ToPixels(self.sampler).cpu().eval(),
            inputs,
            ("noise",),
            ("pixels",),
            {"noise": f"float32 (B, {size}), {kind}", "pixels": f"float32 (B, {shape}), 0 to 255"},
        )

    def example(self) -> dict[str, tuple[Tensor, ...]]:
        spec, device = self.data.spec, self.run.device
        noise = torch.zeros(1, self.noise_size, device=device)
        inputs: dict[str, tuple[Tensor, ...]] = {
            "generator": (noise,),
            "discriminator": (torch.zeros(1, spec.channels, spec.size, spec.size, device=device),),
        }
        return inputs if self.average is None else {**inputs, "average": (noise,)}

    def figures(self) -> list[Figure]:
        samples = self.draw(self.fixed_noise(6, stream=2))
        train = self.data.train.x
        shown, titles = [], []
        for number, sample in enumerate(samples, 1):
            near = nearest(sample, train, 2)
            shown += [sample, *train[near]]
            titles += [f"sample {number}", "nearest", "second"]
        result = [
            figures.gallery(
                torch.stack(shown),
                titles,
                "Samples and the training images nearest to them",
                "By Euclidean distance of pixels: a generator that only copied would show its sample again.",
            )
        ]
        if self.scorer is not None:
            result.append(self._class_table())
        return result

    def _class_table(self) -> Figure:
        """How often the classifier answers each class: mode collapse shows as zeros."""
        real = self._images_to_score(self.data.test, self.data.spec.where)
        shares = []
        for images in (self.draw(self.fixed_noise(len(real), stream=1)), real):
            answer = self._scored(images)[1]
            shares.append(torch.bincount(answer.argmax(1), minlength=answer.shape[1]) / len(answer))
        rows = [
            [str(k), f"{float(fake):.3f}", f"{float(true):.3f}"]
            for k, (fake, true) in enumerate(zip(*shares, strict=True))
        ]
        return Figure(
            "Classes of the samples",
            f"Shares of the answers of {self.scorer_name}.",
            table=[["class", "generated", "test split"], *rows],
        )
