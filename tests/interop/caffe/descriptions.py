"""The published networks as net descriptions, written by functions; `width` makes them narrow for tests."""

from __future__ import annotations


class Description:
    """A net description that grows layer by layer; each takes the blob that the last one made, unless one is named."""

    def __init__(self, name: str, size: int, channels: int = 3) -> None:
        self.text = [
            f'name: "{name}"',
            f'layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ dim: 1 dim: {channels} dim: {size} dim: {size} }} }} }}',
        ]
        self.last = "data"

    def __str__(self) -> str:
        return "\n".join(self.text)

    def layer(self, kind: str, name: str, settings: str = "", *bottoms: str, in_place: bool = False) -> str:
        """Adds a layer and gives the name of its blob."""
        bottoms = bottoms or (self.last,)
        top = bottoms[0] if in_place else name
        ends = " ".join(f'bottom: "{b}"' for b in bottoms)
        self.text.append(f'layer {{ name: "{name}" type: "{kind}" {ends} top: "{top}" {settings} }}')
        self.last = top
        return top

    def conv(
        self,
        name: str,
        out: int,
        kernel: int,
        *,
        stride: int = 1,
        pad: int = 0,
        group: int = 1,
        bias: bool = True,
        of: str = "",
    ) -> str:
        settings = (
            f"convolution_param {{ num_output: {out} kernel_size: {kernel} stride: {stride} pad: {pad} group: {group} "
            f'bias_term: {str(bias).lower()} weight_filler {{ type: "msra" }} }}'
        )
        return self.layer("Convolution", name, settings, *([of] if of else []))

    def relu(self, name: str) -> str:
        return self.layer("ReLU", name, in_place=True)

    def pool(self, name: str, how: str, kernel: int, stride: int, more: str = "", of: str = "") -> str:
        settings = f"pooling_param {{ pool: {how} kernel_size: {kernel} stride: {stride} {more} }}"
        return self.layer("Pooling", name, settings, *([of] if of else []))

    def lrn(self, name: str, alpha: float, k: float) -> str:
        return self.layer("LRN", name, f"lrn_param {{ local_size: 5 alpha: {alpha} beta: 0.75 k: {k} }}")

    def dense(self, name: str, out: int) -> str:
        return self.layer(
            "InnerProduct", name, f'inner_product_param {{ num_output: {out} weight_filler {{ type: "xavier" }} }}'
        )

    def drop(self, name: str, ratio: float) -> str:
        return self.layer("Dropout", name, f"dropout_param {{ dropout_ratio: {ratio} }}", in_place=True)


def scaled(number: int, width: float) -> int:
    return max(1, round(number * width))


def alexnet(form: str, *, size: int = 227, width: float = 1.0, classes: int = 1000) -> str:
    """AlexNet as the paper has it (`paper`) or Caffe (`caffe`), or CaffeNet (`caffenet`), which pools first."""
    net = Description(form, size)
    alpha, k = (5e-4, 2.0) if form == "paper" else (1e-4, 1.0)

    def between(number: int) -> None:
        steps = [lambda: net.lrn(f"norm{number}", alpha, k), lambda: net.pool(f"pool{number}", "MAX", 3, 2)]
        for step in reversed(steps) if form == "caffenet" else steps:
            step()

    net.conv("conv1", scaled(96, width), 11, stride=4)
    net.relu("relu1")
    between(1)
    net.conv("conv2", scaled(256, width), 5, pad=2, group=2)
    net.relu("relu2")
    between(2)
    for number, out, group in ((3, 384, 1), (4, 384, 2), (5, 256, 2)):
        net.conv(f"conv{number}", scaled(out, width), 3, pad=1, group=group)
        net.relu(f"relu{number}")
    net.pool("pool5", "MAX", 3, 2)
    for number in (6, 7):
        net.dense(f"fc{number}", scaled(4096, width))
        net.relu(f"relu{number}")
        net.drop(f"drop{number}", 0.5)
    net.dense("fc8", classes)
    net.layer("Softmax", "prob")
    return str(net)


def vgg16(*, width: float = 1.0, classes: int = 1000) -> str:
    net = Description("VGG_ILSVRC_16_layers", 224)
    for stage, (count, out) in enumerate(((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)), 1):
        for number in range(1, count + 1):
            net.conv(f"conv{stage}_{number}", scaled(out, width), 3, pad=1)
            net.relu(f"relu{stage}_{number}")
        net.pool(f"pool{stage}", "MAX", 2, 2)
    for number in (6, 7):
        net.dense(f"fc{number}", scaled(4096, width))
        net.relu(f"relu{number}")
        net.drop(f"drop{number}", 0.5)
    net.dense("fc8", classes)
    net.layer("Softmax", "prob")
    return str(net)


INCEPTION = {
    "3a": (64, 96, 128, 16, 32, 32), "3b": (128, 128, 192, 32, 96, 64), "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64), "4c": (128, 128, 256, 24, 64, 64), "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128), "5a": (256, 160, 320, 32, 128, 128), "5b": (384, 192, 384, 48, 128, 128),
}  # fmt: skip


def googlenet(*, width: float = 1.0, classes: int = 1000) -> str:
    """GoogLeNet with its three losses, as for training, but with data of type Input and a label beside."""
    net = Description("GoogleNet", 224)
    net.text.append('layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 1 } } }')

    def conv(name: str, out: int, kernel: int, stride: int = 1, of: str = "") -> str:
        net.conv(name, scaled(out, width), kernel, stride=stride, pad=kernel // 2, of=of)
        return net.relu(f"{name}/relu")

    def head(number: int, weight: float) -> None:
        net.layer(
            "SoftmaxWithLoss", f"loss{number}/loss", f"loss_weight: {weight}", f"loss{number}/classifier", "label"
        )

    conv("conv1/7x7_s2", 64, 7, 2)
    net.pool("pool1/3x3_s2", "MAX", 3, 2)
    net.lrn("pool1/norm1", 1e-4, 1.0)
    conv("conv2/3x3_reduce", 64, 1)
    conv("conv2/3x3", 192, 3)
    net.lrn("conv2/norm2", 1e-4, 1.0)
    net.pool("pool2/3x3_s2", "MAX", 3, 2)
    for module, (ones, threes_in, threes, fives_in, fives, pooled) in INCEPTION.items():
        if module in ("4a", "5a"):
            net.pool(f"pool{'3' if module == '4a' else '4'}/3x3_s2", "MAX", 3, 2)
        at, below = f"inception_{module}", net.last
        conv(f"{at}/1x1", ones, 1, of=below)
        conv(f"{at}/3x3_reduce", threes_in, 1, of=below)
        conv(f"{at}/3x3", threes, 3)
        conv(f"{at}/5x5_reduce", fives_in, 1, of=below)
        conv(f"{at}/5x5", fives, 5)
        net.pool(f"{at}/pool", "MAX", 3, 1, "pad: 1", of=below)
        conv(f"{at}/pool_proj", pooled, 1)
        out = net.layer("Concat", f"{at}/output", "", *(f"{at}/{part}" for part in ("1x1", "3x3", "5x5", "pool_proj")))
        if module in ("4a", "4d"):
            number = 1 if module == "4a" else 2
            net.pool(f"loss{number}/ave_pool", "AVE", 5, 3)
            conv(f"loss{number}/conv", 128, 1)
            net.dense(f"loss{number}/fc", scaled(1024, width))
            net.relu(f"loss{number}/relu_fc")
            net.drop(f"loss{number}/drop_fc", 0.7)
            net.dense(f"loss{number}/classifier", classes)
            head(number, 0.3)
            net.last = out
    net.pool("pool5/7x7_s1", "AVE", 7, 1)
    net.drop("pool5/drop_7x7_s1", 0.4)
    net.dense("loss3/classifier", classes)
    head(3, 1.0)
    return str(net)


def resnet50(*, width: int = 64, classes: int = 1000, pool: str = "pad: 1 round_mode: FLOOR") -> str:
    """ResNet-50, the first 1 x 1 of a bottleneck in steps. The authors' own description has `pool=""`."""
    net = Description("ResNet-50", 224)

    def conv(
        name: str,
        suffix: str,
        out: int,
        kernel: int,
        stride: int = 1,
        *,
        of: str = "",
        relu: bool = True,
        bias: bool = False,
    ) -> str:
        conv_name, tail = (name, f"_{name}") if not suffix else (f"res{suffix}", suffix)
        net.conv(conv_name, out, kernel, stride=stride, pad=kernel // 2, bias=bias, of=of)
        net.layer("BatchNorm", f"bn{tail}", "batch_norm_param { use_global_stats: true }", in_place=True)
        net.layer("Scale", f"scale{tail}", "scale_param { bias_term: true }", in_place=True)
        return net.relu(f"{conv_name}_relu") if relu else net.last

    conv("conv1", "", width, 7, 2, bias=True)
    below = net.pool("pool1", "MAX", 3, 2, pool)
    for stage, count in enumerate((3, 4, 6, 3), 2):
        narrow = width * 2 ** (stage - 2)
        for block in "abcdef"[:count]:
            at, stride = f"{stage}{block}", 2 if block == "a" and stage > 2 else 1
            first = block == "a"
            around = conv("", f"{at}_branch1", 4 * narrow, 1, stride, of=below, relu=False) if first else below
            conv("", f"{at}_branch2a", narrow, 1, stride, of=below)
            conv("", f"{at}_branch2b", narrow, 3)
            through = conv("", f"{at}_branch2c", 4 * narrow, 1, relu=False)
            net.layer("Eltwise", f"res{at}", "", around, through)
            below = net.relu(f"res{at}_relu")
    net.pool("pool5", "AVE", 7, 1)
    net.dense("fc1000", classes)
    net.layer("Softmax", "prob")
    return str(net)
