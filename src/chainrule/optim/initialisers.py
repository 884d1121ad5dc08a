"""Initial weights: functions that fill a tensor in place, and `initialise`, which applies one to a module by name.

Fans are those of `torch.nn.init`: for a weight (out, in, ...) fan-in is `in` times the field's size, fan-out `out` times
it. (A transposed convolution's weight is (in, out, ...), so there the two change places, in Caffe too.) Every function
takes an optional `generator`, draws from PyTorch's own otherwise, and returns the tensor.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn

from chainrule.core.course import Topic
from chainrule.core.errors import UserError, unknown
from chainrule.optim.settings import ABOVE_0, ANY, AT_LEAST_0, check, check_choice


def constant(tensor: Tensor, value: float = 0.0) -> Tensor:
    """Every element is `value`. Source: Caffe, ConstantFiller.

    >>> constant(torch.empty(2), 0.5)
    tensor([0.5000, 0.5000])
    """
    check("constant", "value", value, ANY)
    return nn.init.constant_(tensor, value)


def uniform(tensor: Tensor, low: float = 0.0, high: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Uniform in [low, high). Source: Caffe, UniformFiller, whose defaults these are."""
    check("uniform", "low", low, ANY)
    check("uniform", "high", high, ANY)
    if high < low:
        raise UserError("uniform: the bounds are the wrong way round", expected="low <= high", found=f"{low}, {high}")
    return nn.init.uniform_(tensor, low, high, generator)


def gaussian(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Normal with that mean and standard deviation. Source: Caffe, GaussianFiller, whose defaults these are."""
    check("gaussian", "mean", mean, ANY)
    check("gaussian", "std", std, AT_LEAST_0)
    return nn.init.normal_(tensor, mean, std, generator)


def small_random(tensor: Tensor, std: float = 0.01, generator: Generator | None = None) -> Tensor:
    """Normal with mean 0 and a small standard deviation, whatever the fans: signals fade in deep networks."""
    check("small_random", "std", std, AT_LEAST_0)
    return nn.init.normal_(tensor, 0.0, std, generator)


def scaled_random(tensor: Tensor, scale: float = 0.01, generator: Generator | None = None) -> Tensor:
    """scale rand / sqrt(D), D the fan-in, rand uniform in [0, 1): all weights at least 0.

    Mean scale / (2 sqrt(D)), variance scale^2 / (12 D).
    """
    check("scaled_random", "scale", scale, AT_LEAST_0)
    return nn.init.uniform_(tensor, 0.0, scale / math.sqrt(fans(tensor)[0]), generator)


def xavier(
    tensor: Tensor, fan: str = "in", distribution: str = "uniform", generator: Generator | None = None
) -> Tensor:
    """Variance 1/n: linear layers, or ones whose activation is like the identity about 0, keep the variance.

    Args:
        tensor: a weight of at least two axes.
        fan: what n is: "in" keeps the variance of signals, "out" that of gradients, "average" is between them.
        distribution: "uniform", in [-sqrt(3/n), sqrt(3/n)], or "normal".
        generator: source of randomness.

    Raises:
        UserError: an unknown choice, or a tensor without fans.

    Source: Glorot, Bengio 2010, equations 10 to 12 and 16 ("average"); Caffe, XavierFiller (variance_norm; its default
    is the fan-in). `torch.nn.init.xavier_uniform_` is "average".

    >>> weight = xavier(torch.empty(50, 300))
    >>> bool(weight.abs().max() <= 0.1)  # sqrt(3 / 300)
    True
    """
    return _fill(tensor, 1.0 / _fan("xavier", tensor, fan), distribution, generator, "xavier")


def msra(
    tensor: Tensor,
    fan: str = "in",
    distribution: str = "normal",
    negative_slope: float = 0.0,
    generator: Generator | None = None,
) -> Tensor:
    """Variance 2 / ((1 + a^2) n): layers with (leaky) ReLU keep the variance.

    Args:
        tensor: a weight of at least two axes.
        fan: what n is: "in", "out" or "average".
        distribution: "normal" or "uniform".
        negative_slope: a, the slope of the activation below 0; 0 is ReLU.
        generator: source of randomness.

    Raises:
        UserError: an unknown choice, or a tensor without fans.

    Source: He et al. 2015, equations 10, 14 and 15; Caffe, MSRAFiller; `torch.nn.init.kaiming_normal_`.
    """
    check("msra", "negative_slope", negative_slope, ANY)
    variance = 2.0 / ((1.0 + negative_slope**2) * _fan("msra", tensor, fan))
    return _fill(tensor, variance, distribution, generator, "msra")


def mpelu_taylor(
    tensor: Tensor,
    alpha: float = 1.0,
    beta: float = 1.0,
    distribution: str = "normal",
    generator: Generator | None = None,
) -> Tensor:
    """Variance 2 / (k^2 c (1 + alpha^2 beta^2)): layers with MPELU keep the variance, as far as its tangent tells.

    Below 0 the activation alpha (exp(beta x) - 1) is taken for its tangent alpha beta x, a leaky ReLU of that slope.
    With alpha = 0 it is `msra`, with alpha = beta = 1 (ELU) the fan-in `xavier`.

    Args:
        tensor: a weight of at least two axes; c is its input channels, k^2 the size of its field.
        alpha: MPELU's alpha, initially.
        beta: MPELU's beta, initially.
        distribution: "normal" or "uniform".
        generator: source of randomness.

    Raises:
        UserError: an unknown choice, or a tensor without fans.

    Source: Li, Fan, Li, Wu, Ming: Improving deep neural network with multiple parametric exponential linear units,
    2016 (arXiv 1606.00305).
    """
    check("mpelu_taylor", "alpha", alpha, ANY)
    check("mpelu_taylor", "beta", beta, ANY)
    variance = 2.0 / ((1.0 + (alpha * beta) ** 2) * fans(tensor)[0])
    return _fill(tensor, variance, distribution, generator, "mpelu_taylor")


def orthogonal(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """A random matrix whose rows, or columns where they are fewer, are orthogonal and of length `gain`.

    The weight is seen as (out, everything else). Source: Saxe, McClelland, Ganguli 2014, section 3;
    `torch.nn.init.orthogonal_`.
    """
    check("orthogonal", "gain", gain, ABOVE_0)
    fans(tensor)
    return nn.init.orthogonal_(tensor, gain, generator)


def bilinear(tensor: Tensor) -> Tensor:
    """The filter with which a transposed convolution enlarges an image bilinearly.

    For a field of k, f = ceil(k / 2) and c = (k - 1) / (2f), the middle, the element (i, j) is
    (1 - |i/f - c|) (1 - |j/f - c|). To enlarge by s: k = 2s - s mod 2, stride s, padding ceil((s - 1) / 2).

    Args:
        tensor: the weight (C, 1, k, k) of a transposed convolution with C groups, or (C, C, k, k) without groups, of
            which the channels' own filters are filled and the others are 0. (Caffe fills all, and so mixes channels.)

    Raises:
        UserError: another shape.

    Source: Caffe, BilinearFiller, whose first form (c from f mod 2 in place of k mod 2) was off the middle for k = 2, 3, 6, 7,
    ...; Long, Shelhamer, Darrell 2015, section 3.3.

    >>> bilinear(torch.empty(1, 1, 4, 4))[0, 0, 1]  # 0.75 of (0.25, 0.75, 0.75, 0.25)
    tensor([0.1875, 0.5625, 0.5625, 0.1875])
    """
    shape = tuple(tensor.shape)
    if len(shape) != 4 or shape[2] != shape[3] or shape[1] not in (1, shape[0]) or not tensor.numel():
        raise UserError("bilinear: the shape does not fit", expected="(C, 1, k, k) or (C, C, k, k)", found=shape)
    size = shape[2]
    half = math.ceil(size / 2)
    centre = (size - 1) / (2.0 * half)
    line = 1.0 - (torch.arange(size, dtype=torch.float64) / half - centre).abs()
    with torch.no_grad():
        tensor.zero_()
        channels = torch.arange(shape[0])
        tensor[channels, channels if shape[1] > 1 else 0] = torch.outer(line, line).to(tensor)
    return tensor


Initialiser = Callable[[Tensor], Tensor]
NAMES: dict[str, Initialiser] = {
    "constant": constant,
    "uniform": uniform,
    "gaussian": gaussian,
    "small-random": small_random,
    "scaled-random": scaled_random,
    "xavier": xavier,
    "msra": msra,
    "mpelu-taylor": mpelu_taylor,
    "orthogonal": orthogonal,
    "bilinear": bilinear,
}
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def initialise(module: nn.Module, how: str | Initialiser) -> nn.Module:
    """Fills the weights of all linear and convolutional layers in a module, and sets their biases to 0.

    Args:
        module: a layer, or a module with layers anywhere below it.
        how: a name of `NAMES`, or a function such as `functools.partial(msra, negative_slope=0.1)`.

    Returns:
        the module.

    Raises:
        UserError: an unknown name, no such layer, or a layer whose weight does not suit; it is named.

    >>> layer = initialise(nn.Linear(300, 50), "xavier")
    >>> bool(layer.weight.abs().max() <= 0.1), bool(layer.bias.any())
    (True, False)
    """
    if isinstance(how, str) and how not in NAMES:
        raise unknown("there is no initialiser", how, NAMES)
    fill = NAMES[how] if isinstance(how, str) else how
    layers = [(name, m) for name, m in module.named_modules() if isinstance(m, (nn.Linear, *_CONVOLUTIONS))]
    if not layers:
        raise UserError(
            "initialise: nothing to fill", expected="a linear or convolutional layer", found=type(module).__name__
        )
    for name, layer in layers:
        try:
            fill(layer.weight)
        except UserError as error:
            raise UserError(f"layer {name or type(layer).__name__}: {error}") from error
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return module


def fans(tensor: Tensor) -> tuple[int, int]:
    """Fan-in and fan-out of a weight (out, in, ...).

    Raises:
        UserError: fewer than two axes, or no element.

    >>> fans(torch.empty(8, 3, 5, 5))
    (75, 200)
    """
    if tensor.dim() < 2 or not tensor.numel():
        raise UserError(
            "a weight without fans",
            expected="(out, in, ...), none of them 0",
            found=tuple(tensor.shape),
            cure="constant, uniform or gaussian for biases",
        )
    field = tensor[0, 0].numel()
    return tensor.shape[1] * field, tensor.shape[0] * field


def _fan(owner: str, tensor: Tensor, fan: str) -> float:
    check_choice(owner, "fan", fan, ("in", "out", "average"))
    fan_in, fan_out = fans(tensor)
    return {"in": fan_in, "out": fan_out, "average": (fan_in + fan_out) / 2}[fan]


def _fill(tensor: Tensor, variance: float, distribution: str, generator: Generator | None, owner: str) -> Tensor:
    """Mean 0 and that variance."""
    check_choice(owner, "distribution", distribution, ("uniform", "normal"))
    if distribution == "normal":
        return nn.init.normal_(tensor, 0.0, math.sqrt(variance), generator)
    bound = math.sqrt(3.0 * variance)
    return nn.init.uniform_(tensor, -bound, bound, generator)


TOPICS = (
    Topic(
        "Initialisation of weights",
        "权重初始化",
        lectures=(1, 2, 3, 4),
        code=("xavier", "msra", "orthogonal", "initialise"),
        command="chainrule train vanishing-gradient inits=small-random,xavier",
    ),
)
