"""Many small networks of one shape trained at once: a layer whose weights have a first dimension, the member."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from chainrule.core.errors import UserError


class EnsembleLinear(nn.Module):
    """A linear layer for each of `members` networks: answers[m] = x[m] W[m] + b[m].

    One batched matrix product computes all members at once. Weights start as those of
    `torch.nn.Linear`, uniform in +-1 / sqrt(in_features), drawn for each member.

    Args:
        members: how many networks.
        in_features, out_features: of each.

    Takes x (B, in_features), the same for all, or (members, B, in_features). Gives (members, B, out_features).

    Raises:
        UserError: a count below one.

    >>> layer = EnsembleLinear(3, 4, 2)
    >>> layer(torch.zeros(5, 4)).shape, layer(torch.zeros(3, 5, 4)).shape
    (torch.Size([3, 5, 2]), torch.Size([3, 5, 2]))
    """

    def __init__(self, members: int, in_features: int, out_features: int) -> None:
        super().__init__()
        if min(members, in_features, out_features) < 1:
            raise UserError(
                "a layer needs members and features",
                expected="members, in_features, out_features of 1 or more",
                found=(members, in_features, out_features),
            )
        reach = in_features**-0.5
        self.weight = nn.Parameter(torch.empty(members, in_features, out_features).uniform_(-reach, reach))
        self.bias = nn.Parameter(torch.empty(members, 1, out_features).uniform_(-reach, reach))

    def forward(self, x: Tensor) -> Tensor:
        return torch.matmul(x, self.weight) + self.bias  # (M, B, in) @ (M, in, out) + (M, 1, out)

    def extra_repr(self) -> str:
        members, in_features, out_features = self.weight.shape
        return f"{members}, {in_features}, {out_features}"
