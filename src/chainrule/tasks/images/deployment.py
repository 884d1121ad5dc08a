"""An image classifier as a file to deploy: pixels in, probabilities out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from chainrule.core.task import COMPARED, Deployable


def deployable_classifier(
    normalize: nn.Module,
    answering: nn.Module,
    shape: Sequence[int],
    classes: list[str],
    images: Callable[[], Tensor] | None = None,
) -> Deployable:
    """The network between normalisation and softmax, for pixels (B, *shape) from 0 to 255.

    `images` gives bytes (N, *shape) of the run's own data, with which the file is compared.
    """
    module = nn.Sequential(normalize, answering, nn.Softmax(1)).cpu().eval()
    return Deployable(
        module,
        lambda count: (torch.randint(0, 256, (count, *shape)).float(),),
        ("pixels",),
        ("probs",),
        {"pixels": f"float32 (B, {', '.join(map(str, shape))}), 0 to 255", "classes": classes},
        None if images is None else lambda: (images()[:COMPARED].float(),),
    )
