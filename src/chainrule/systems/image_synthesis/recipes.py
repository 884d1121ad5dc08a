"""Image synthesis by optimising pixels: Deep Dream and style transfer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from chainrule.core.course import Topic
from chainrule.core.recipe import recipe
from chainrule.core.settings import Count, NonNegative, PathName, Positive, Size

if TYPE_CHECKING:
    from torch import nn

    from chainrule.run.run import Run
    from chainrule.systems.image_synthesis.network import ImageNetwork
    from chainrule.systems.image_synthesis.task import ImageSynthesis


@recipe(
    "dream",
    task="images from a network",
    data="china",
    kinds=("image",),
    source="Mordvintsev, Olah, Tyka: Inceptionism, 2015, and its notebook dream.ipynb",
    model="vgg16",
    model_setting="network",
    tiny={"network": "resnet20", "size": 48, "octaves": 2, "steps": 3, "jitter": 4},
    summary_zh="在自己的图像（`--data 文件`）上做 Deep Dream：让网络各层看到的东西变得更强（`of=RUN`、`--weights`）",
    topics=(Topic("Deep Dream, style transfer", "Deep Dream、风格迁移", lectures=(1, 3)),),
)
def dream(
    run: Run,
    *,
    of: PathName | None = None,
    network: str = "vgg16",
    layers: tuple[str, ...] | None = None,
    channel: Size | None = None,
    guide: PathName | None = None,
    size: Count = 512,
    octaves: Count = 4,
    octave_scale: Positive = 1.4,
    steps: Count = 10,
    step_size: Positive = 1.5,
    jitter: Size = 32,
    tile: Size = 512,
    picture_every: Size = 0,
) -> ImageSynthesis:
    """Deep Dream on an image of one's own (--data FILE): gradient ascent on what chosen layers of a network respond to.

    `layers` are the target layers; the objective is the mean square of their outputs, or with `channel=` the mean of that
    channel, or with `guide=FILE` the match of their features with the guide's. The image is worked on in `octaves` sizes
    from coarse to fine, each `octave_scale` times the one before, with `steps` steps at each. A step changes a pixel by
    `step_size` levels of 255 in the mean, after a random shift of up to `jitter` pixels; a larger image than `tile` pixels
    is processed in tiles. `picture_every=N` saves the image after every N steps.

    The image shows what the network has learnt. `of=RUN` takes your own classifier: ResNet-20 after two epochs of CIFAR-10
    fills meadows with horses; one of digits has little but scratches. `--weights torchvision` (or FILE) gives the animals
    and towers of the original, which used GoogLeNet: network=googlenet-bn, vgg16, resnet50, ... Without either the weights
    are random, and the result is a texture without objects.
    """
    from chainrule.systems.image_synthesis.data import load_content_and_reference
    from chainrule.systems.image_synthesis.deep_dream import DeepDreamConfig
    from chainrule.systems.image_synthesis.network import load_network
    from chainrule.systems.image_synthesis.task import ImageSynthesis

    data = load_content_and_reference(run.data, size=size, reference=("guide", guide) if guide else None)
    config = DeepDreamConfig(
        octaves=octaves,
        octave_scale=octave_scale,
        steps_per_octave=steps,
        step_size=step_size,
        jitter=jitter,
        tile=tile,
        channel=channel,
        guided=guide is not None,
    )
    net = load_network(run, of=of, name=network, paper_names=vgg_layer_names)
    extractor = net.extractor(layers or _default_target_layers(net))
    return ImageSynthesis(run, data=data, extractor=extractor, config=config, picture_every=picture_every)


@recipe(
    "style",
    task="images from a network",
    data="china",
    kinds=("image",),
    source="Gatys, Ecker, Bethge: Image style transfer using convolutional neural networks, 2016",
    model="vgg19",
    model_setting="network",
    tiny={"network": "resnet20", "size": 40, "steps": 6, "start": "noise"},
    summary_zh="把一张图像（`--data 文件`）的内容画成另一张的风格（`style=文件`）",
    topics=(Topic("Deep Dream, style transfer"),),
)
def style(
    run: Run,
    *,
    style: PathName = "flower",
    of: PathName | None = None,
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
) -> ImageSynthesis:
    """The content of one image (--data FILE) in the style of another (style=FILE), by optimising the image's pixels.

    Minimises content_weight L_content + style_weight L_style + variation V. L_content compares the features of
    `content_layers`, L_style the Gram matrices of `style_layers`, each the mean of the paper's loss; V is the total
    variation a pixel. Each layer's features are divided by their mean size on both images, so that the weights mean the
    same for every size and network, and only their ratio counts: a larger `style_weight` gives more style, `variation=1`
    smooths the grain. Pixels out of their range cost as well. The image starts as the content, the style or `noise`, and
    takes `steps` steps of L-BFGS or Adam; `pooling=average` replaces the network's max pooling, as in the paper.
    `picture_every=N` saves the image after every N steps.

    `--weights torchvision` (or FILE) with network=vgg19 is the paper's network. Without it the weights are random, which is
    known to work for style too (He, Wang, Hopcroft 2016; Ustyuzhaninov et al. 2016): colours and strokes, but coarser.
    `of=RUN` takes your own classifier: one with batch normalisation takes up little of a style, and one of digits none worth
    it, for it knows neither colours nor textures. Layers are named as `chainrule explain` shows them, those of a VGG also as
    in the paper, conv4_2. `chainrule predict RUN FILE` gives another content the same style. Without --data and style= two
    photographs that come with scikit-learn are used, which have little style: only to see it run.
    """
    from chainrule.systems.image_synthesis.data import load_content_and_reference
    from chainrule.systems.image_synthesis.feature_extractor import average_pooling
    from chainrule.systems.image_synthesis.network import load_network
    from chainrule.systems.image_synthesis.style_transfer import StyleTransferConfig
    from chainrule.systems.image_synthesis.task import ImageSynthesis

    data = load_content_and_reference(run.data, size=size, reference=("style", style))
    net = load_network(run, of=of, name=network, paper_names=vgg_layer_names)
    if not content_layers or not style_layers:
        default_content, default_style = _default_layers(net)
        content_layers, style_layers = content_layers or default_content, style_layers or default_style
    config = StyleTransferConfig(
        content_layers=net.own_names(content_layers),
        style_layers=net.own_names(style_layers),
        content_weight=content_weight,
        style_weight=style_weight,
        variation=variation,
        optimizer=optimizer,
        lr=lr or (1.0 if optimizer == "lbfgs" else 4.0),
        start=start,
        steps=steps,
    )
    if pooling == "average":
        average_pooling(net.module)
    extractor = net.extractor((*content_layers, *style_layers))
    return ImageSynthesis(run, data=data, extractor=extractor, config=config, picture_every=picture_every)


def _default_target_layers(network: ImageNetwork) -> tuple[str, ...]:
    """The notebook's layer in GoogLeNet, conv4_2 in a VGG, in others the last with feature maps."""
    if "inception4c" in dict(network.module.named_children()):
        return ("inception4c",)
    return ("conv4_2",) if network.paper_names else network.last_layers()[-1:]


def _default_layers(network: ImageNetwork) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Content and style layers: the paper's in a VGG; in others the last of each size, and the last but one of these."""
    if network.paper_names:
        return ("conv4_2",), tuple(f"conv{stage}_1" for stage in range(1, 6))
    layers = network.last_layers()
    return layers[-2:][:1], layers


def vgg_layer_names(network: nn.Module) -> dict[str, str]:
    """Of a VGG: from the names in the paper of Gatys et al., as conv4_2, to the ReLU behind that layer; of others nothing.

    The paper's features are those after the rectifier.
    """
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
