"""What Caffe's data layers take from pixels, in this package's terms: a mean and a deviation.

Source: Caffe, data_transformer.cpp.
"""

from __future__ import annotations

from chainrule.core.errors import UserError
from chainrule.interop.caffe.description.sources import Source


def mean_and_std(source: Source, channels: int) -> tuple[list[float], list[float]]:
    """Mean and deviation a channel, red first, as shares of 255, such that (x / 255 - mean) / std = (x - mean_value) scale.

    Args:
        source: the data layer.
        channels: 1 or 3.

    Raises:
        UserError: a mean for another number of channels, or a scale of 0.

    >>> from chainrule.interop.caffe.net import parse_sources
    >>> text = 'layer { type: "Data" top: "x" transform_param { scale: 0.1 mean_value: 51 mean_value: 102 mean_value: 0 } }'
    >>> mean, std = mean_and_std(parse_sources(text)[0], 3)
    >>> [round(m, 3) for m in mean], round(255 * std[0], 3)
    ([0.0, 0.4, 0.2], 10.0)
    """
    if len(source.mean_value) not in (0, 1, channels):
        raise UserError(
            f"the data layer {source.name!r} has means for other channels",
            expected=f"1 mean_value, or {channels}",
            found=len(source.mean_value),
            cure=f"channels={len(source.mean_value)}",
        )
    if not source.scale > 0:
        raise UserError(
            f"the data layer {source.name!r} has a scale that leaves nothing", expected="above 0", found=source.scale
        )
    means = source.mean_value or (0.0,)
    means = means * channels if len(means) == 1 else means[::-1]  # Caffe's order is blue, green, red
    return [value / 255 for value in means], [1 / (255 * source.scale)] * channels
