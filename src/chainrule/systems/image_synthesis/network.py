"""The network whose features are used: that of a trained run, or one by name with the weights of --weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from chainrule.core.errors import UserError, unknown
from chainrule.models import get_card, weights_named
from chainrule.nn.normalization.normalize import Normalize
from chainrule.run.input_normalization import pixel_normalization
from chainrule.run.run import Run
from chainrule.systems.image_synthesis.feature_extractor import FeatureExtractor, last_layer_of_each_size, preprocessing
from chainrule.tasks.images.classification import classifier_of_run

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # of photographs, where no weights bring their own


@dataclass(frozen=True)
class ImageNetwork:
    """A network on the run's device, with the normalisation of pixels that it was trained with.

    Attributes:
        channels, size: of the images that it was made for.
        paper_names: from the names of layers in the paper of Gatys et al. to the module's own; empty but for a VGG.
    """

    module: nn.Module
    normalize: Normalize
    channels: int
    size: int
    paper_names: Mapping[str, str]

    def extractor(self, layers: Sequence[str]) -> FeatureExtractor:
        return FeatureExtractor(self.module, self.own_names(layers), preprocessing(self.normalize, self.channels))

    def own_names(self, layers: Sequence[str]) -> tuple[str, ...]:
        """The module's names of layers, which may be given as in the paper; UserError where there is no such layer."""
        known = [name for name, _ in self.module.named_modules() if name]
        for name in layers:
            if name not in known and name not in self.paper_names:
                raise unknown("there is no layer", name, [*self.paper_names, *known])
        return tuple(self.paper_names.get(name, name) for name in layers)

    def last_layers(self) -> tuple[str, ...]:
        """The last layer of each size of feature maps, in order."""
        example = torch.zeros(1, self.channels, self.size, self.size, device=self.normalize.scale.device)
        return last_layer_of_each_size(self.module, example)


def load_network(
    run: Run, *, of: str | None, name: str, paper_names: Callable[[nn.Module], Mapping[str, str]]
) -> ImageNetwork:
    """The network of the run `of`; where it is None that of a model's name with the weights of --weights, else random.

    Args:
        run: whose device and --weights.
        of: the folder of a run of an image classifier.
        name: of a model.
        paper_names: gives `ImageNetwork.paper_names`.

    Raises:
        UserError: a run and --weights at once; a run or a model that has nothing to do with images.
    """
    if of:
        if run.record["weights"]:
            raise UserError(
                "the network of a run has its weights",
                expected="of=RUN or --weights",
                found=f"of={of} --weights {run.record['weights']}",
            )
        task = classifier_of_run(of, str(run.device), run)
        module, normalize = task.model, task.normalize
        channels, size = task.data.spec.channels, task.data.spec.size
    else:
        card = get_card(name)
        example: tuple[Tensor, ...] = card.example(1)
        if len(example) != 1 or example[0].dim() != 4:
            raise UserError(
                f"{name} is no network for images", expected="vgg19, googlenet, resnet50, ...", found=f"network={name}"
            )
        module, (channels, size) = card.build(), example[0].shape[1:3]
        published = weights_named(name, run.record["weights"])
        photographs = (IMAGENET[0][:channels], IMAGENET[1][:channels])
        pixels = (published.preprocessing.mean, published.preprocessing.std) if published else None
        normalize = pixel_normalization(run, photographs, pixels)
    if channels not in (1, 3):
        raise UserError("the network takes no images", expected="1 or 3 channels", found=channels)
    return ImageNetwork(run.place(module), normalize, channels, size, paper_names(module))
