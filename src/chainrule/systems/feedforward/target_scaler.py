"""Un-standardises what a model gives: it learns a standardised target, the caller reads its units."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from chainrule.core.errors import UserError


class TargetScaler(nn.Module):
    """Un-standardises the output: y = mean + std * model(x), so that the model learns a target of mean 0 and deviation 1.

    Args:
        model: (B, ...) to (B, 1) or (B,).
        mean, std: of the target over the training split, in its units; a std of 0 is taken as 1.

    Gives (B,), in the precision of the model's answers. Both numbers are buffers, so they are saved with the weights.
    Errors: a UserError for a std below 0 or numbers that are not finite.

    >>> TargetScaler(nn.Identity(), mean=100.0, std=10.0)(torch.tensor([[0.5], [-1.0]])).tolist()
    [105.0, 90.0]
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, mean: float, std: float) -> None:
        super().__init__()
        if not (std >= 0 and abs(mean) < float("inf") and std < float("inf")):
            raise UserError(
                "the scale of the target is wrong",
                expected="finite numbers, std 0 or more",
                found=f"mean {mean}, std {std}",
            )
        self.model = model
        self.register_buffer("mean", torch.tensor(float(mean), dtype=torch.float64))
        self.register_buffer("std", torch.tensor(float(std) or 1.0, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:  # (B, ...) -> (B,)
        y = self.model(x).flatten()
        return self.mean.to(y.dtype) + self.std.to(y.dtype) * y
