"""Images made by looking into a network: Deep Dream, and the style of one image on the content of another."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Literal

from chainrule.core.course import Topic
from chainrule.core.recipe import recipe
from chainrule.core.settings import Count, NonNegative, Positive, Size

if TYPE_CHECKING:
    from torch import nn

    from chainrule.run.run import Run
    from chainrule.systems.image_synthesis.task import Eyes, ImageMaker

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # of photographs, where no weights bring their own


@recipe(
    "dream",
    task="images from a network",
    data="china",
    source="Mordvintsev, Olah, Tyka: Inceptionism, 2015, and its notebook dream.ipynb",
    model="vgg16",
    tiny={"network": "resnet20", "size": 48, "octaves": 2, "steps": 3, "jitter": 4},
    summary_zh="在自己的图像（`--data 文件`）上做 Deep Dream：让网络各层看到的东西变得更强（`of=RUN`、`--weights`）",
    topics=(Topic("Deep Dream, style transfer", "Deep Dream、风格迁移", lectures=(1, 3)),),
)
def dream(
    run: Run,
    *,
    of: str | None = None,
    network: str = "vgg16",
    layers: tuple[str, ...] | None = None,
    channel: Size | None = None,
    guide: str | None = None,
    size: Count = 512,
    octaves: Count = 4,
    octave_scale: Positive = 1.4,
    steps: Count = 10,
    step_size: Positive = 1.5,
    jitter: Size = 32,
    tile: Size = 512,
    picture_every: Size = 0,
) -> ImageMaker:
    """Deep Dream on an image of one's own (--data FILE): what chosen layers of a network see in it is made stronger.

    Ascends on the mean square of the layers' outputs, or with `channel=` on one channel's mean, or with `guide=FILE` on the
    likeness to what the layers see in a guide. `octaves` sizes, `octave_scale` apart, from coarse to fine, each of `steps`
    steps that change a pixel by `step_size` levels of 255 in the mean; `jitter` pixels of random shift; parts of `tile` pixels
    where the image is larger.

    What is dreamt is what the network has learnt. `of=RUN` dreams what one's own classifier knows: ResNet-20 after two epochs
    of CIFAR-10 fills meadows with horses; one of digits has little but scratches. `--weights torchvision` (or FILE) gives the
    animals and towers of the original, which asked GoogLeNet: network=googlenet-bn, vgg16, resnet50, ... Without either the
    weights are random, and the dream is a texture of dabs with no things in it.
    """
    from chainrule.systems.image_synthesis.deep_dream import DeepDream
    from chainrule.systems.image_synthesis.task import ImageMaker, load_images_to_make

    data = load_images_to_make(run, size=size, other=("guide", guide) if guide else None)
    way = DeepDream(
        channel=channel,
        octaves=octaves,
        octave_scale=octave_scale,
        octave_steps=steps,
        step_size=step_size,
        jitter=jitter,
        tile=tile,
        guided=guide is not None,
    )
    asked = _Network(run, of, network)
    return ImageMaker(
        run, data=data, eyes=asked.eyes(layers or asked.a_late_layer()), way=way, picture_every=picture_every
    )


@recipe(
    "style",
    task="images from a network",
    data="china",
    source="Gatys, Ecker, Bethge: Image style transfer using convolutional neural networks, 2016",
    model="vgg19",
    tiny={"network": "resnet20", "size": 40, "steps": 6, "start": "noise"},
    summary_zh="把一张图像（`--data 文件`）的内容画成另一张的风格（`style=文件`）",
    topics=(Topic("Deep Dream, style transfer"),),
)
def style(
    run: Run,
    *,
    style: str = "flower",
    of: str | None = None,
    network: str = "vgg19",
    content_layers: tuple[str, ...] | None = None,
    style_layers: tuple[str, ...] | None = None,
    content_weight: NonNegative = 1.0,
    style_weight: NonNegative = 30.0,
    variation: NonNegative = 0.0,
    size: Count = 256,
    start: Literal["content", "noise", "style"] = "content",
    optimizer: Literal["lbfgs", "adam"] = "lbfgs",
    lr: Positive | None = None,
    steps: Count = 100,
    pooling: Literal["average", "maximum"] = "average",
    picture_every: Size = 0,
) -> ImageMaker:
    """The content of one image (--data FILE) in the style of another (style=FILE), by L-BFGS on the image itself.

    Minimises content_weight L_content + style_weight L_style + variation V. L_content is the paper's loss over the number of
    features, L_style the mean of its losses over the layers, V the total variation a pixel; each layer's features are divided
    by their mean size on both images, and pixels out of their range cost. So the weights mean the same for every size and
    network, and only their ratio counts: a larger `style_weight` gives more style, `variation=1` smooths the grain.

    `--weights torchvision` (or FILE), with network=vgg19, is the paper's. Without weights they are random, which is known to
    do for style too (He, Wang, Hopcroft 2016; Ustyuzhaninov et al. 2016): colours and strokes, in a coarser hand. `of=RUN`
    asks one's own classifier: one with batch normalisation takes up little of a style, and one of digits none worth it, for
    it sees neither colours nor textures. Layers are named as `chainrule explain` shows them, those of a VGG also as in the
    paper, conv4_2. `chainrule predict RUN FILE` gives another content in the same style. Without --data and style= it
    takes two photographs that are at hand and have little of a style: only to see it run.
    """
    from chainrule.systems.image_synthesis.feature_extractor import average_pooling
    from chainrule.systems.image_synthesis.style_transfer import StyleTransfer
    from chainrule.systems.image_synthesis.task import ImageMaker, load_images_to_make

    data = load_images_to_make(run, size=size, other=("style", style))
    asked = _Network(run, of, network)
    content, styles = content_layers or asked.content_layers(), style_layers or asked.style_layers()
    way = StyleTransfer(
        content_layers=asked.named(content),
        style_layers=asked.named(styles),
        content_weight=content_weight,
        style_weight=style_weight,
        variation=variation,
        optimizer=optimizer,
        lr=lr or (1.0 if optimizer == "lbfgs" else 4.0),
        start=start,
        steps=steps,
    )
    if pooling == "average":
        average_pooling(asked.network)
    return ImageMaker(run, data=data, eyes=asked.eyes((*content, *styles)), way=way, picture_every=picture_every)


class _Network:
    """The network that is asked: that of a trained run, or one by name with the weights of --weights, else random ones.

    `network` is on the run's device; names of layers may be the paper's (conv4_2) where it is a VGG.
    """

    def __init__(self, run: Run, of: str | None, name: str) -> None:
        import torch

        from chainrule.core.errors import UserError
        from chainrule.models import get_card, weights_named
        from chainrule.nn.normalization.normalize import Normalize
        from chainrule.run.weights.provenance import input_normalization
        from chainrule.tasks.images.classification import classifier_of_run

        if of:
            if run.record["weights"]:
                raise UserError(
                    "the network of a run has its weights",
                    expected="of=RUN or --weights",
                    found=f"of={of} --weights {run.record['weights']}",
                )
            task = classifier_of_run(of, str(run.device))
            self.network, self.normalize = task.model, task.normalize
            self.channels, size = task.data.spec["channels"], task.data.spec["size"]
        else:
            card = get_card(name)
            example = card.example(1)
            if len(example) != 1 or example[0].dim() != 4:
                raise UserError(
                    f"{name} is no network for images",
                    expected="vgg19, googlenet, resnet50, ...",
                    found=f"network={name}",
                )
            self.network, (self.channels, size) = card.build(), example[0].shape[1:3]
            published = weights_named(name, run.record["weights"])
            photographs = (IMAGENET[0][: self.channels], IMAGENET[1][: self.channels])
            pixels = (published.preprocessing.mean, published.preprocessing.std) if published else None
            self.normalize = Normalize(*input_normalization(run, photographs, pixels)).to(run.device)
        if self.channels not in (1, 3):
            raise UserError("the network takes no images", expected="1 or 3 channels", found=self.channels)
        self.network = run.place(self.network)
        self.example = torch.zeros(1, self.channels, size, size, device=run.device)

    def eyes(self, layers: tuple[str, ...]) -> Eyes:
        from chainrule.systems.image_synthesis.feature_extractor import LayerOutputs
        from chainrule.systems.image_synthesis.task import Eyes

        return Eyes(LayerOutputs(self.network, self.named(layers)), self.normalize, grey=self.channels == 1)

    def named(self, layers: tuple[str, ...]) -> tuple[str, ...]:
        """The names of the module for the paper's, where it is a VGG; others as they are."""
        from chainrule.core.errors import unknown

        own = [name for name, _ in self.network.named_modules() if name]
        for name in layers:
            if name not in own and name not in self._of_the_paper:
                raise unknown("there is no layer", name, [*self._of_the_paper, *own])
        return tuple(self._of_the_paper.get(name, name) for name in layers)

    def content_layers(self) -> tuple[str, ...]:
        return ("conv4_2",) if self._of_the_paper else self._last_of_sizes()[-2:][:1]

    def style_layers(self) -> tuple[str, ...]:
        return tuple(f"conv{n}_1" for n in range(1, 6)) if self._of_the_paper else self._last_of_sizes()

    def a_late_layer(self) -> tuple[str, ...]:
        """What a dream climbs on unless layers are named: that of the notebook in GoogLeNet, else the last with maps."""
        if "inception4c" in dict(self.network.named_children()):
            return ("inception4c",)
        return ("conv4_2",) if self._of_the_paper else self._last_of_sizes()[-1:]

    def _last_of_sizes(self) -> tuple[str, ...]:
        """Of each size of maps the last layer that gives it."""
        from chainrule.systems.image_synthesis.task import last_of_each_size

        return last_of_each_size(self.network, self.example)

    @cached_property
    def _of_the_paper(self) -> dict[str, str]:
        return names_of_the_paper(self.network)


def names_of_the_paper(network: nn.Module) -> dict[str, str]:
    """Of a VGG: from the names in Gatys's paper, as conv4_2, to the layer that rectifies it; of others nothing."""
    from torch import nn

    from chainrule.systems.image_classification.vgg import VGG

    names: dict[str, str] = {}
    if isinstance(network, VGG):
        stage, number = 1, 0
        for name, layer in network.features.named_children():
            if isinstance(layer, nn.Conv2d):
                number += 1
            elif isinstance(layer, nn.ReLU):
                names[f"conv{stage}_{number}"] = f"features.{name}"
            elif not isinstance(layer, nn.BatchNorm2d):  # pooling
                stage, number = stage + 1, 0
    return names
