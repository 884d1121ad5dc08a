"""Samplers: which samples make up each batch, as functions of seed, epoch and position."""

from chainrule.data.samplers.bucketed import Bucketed
from chainrule.data.samplers.by_class import Balanced, PKSampler
from chainrule.data.samplers.by_length import ByLength
from chainrule.data.samplers.by_shape import ByShape, aspect_groups
from chainrule.data.samplers.by_total_size import ByTotalSize
from chainrule.data.samplers.rollouts import Rollouts
from chainrule.data.samplers.sampler import Sampler
from chainrule.data.samplers.shuffled import Shuffled
from chainrule.data.samplers.windows import Windows

__all__ = [
    "Balanced",
    "Bucketed",
    "ByLength",
    "ByShape",
    "ByTotalSize",
    "PKSampler",
    "Rollouts",
    "Sampler",
    "Shuffled",
    "Windows",
    "aspect_groups",
]
