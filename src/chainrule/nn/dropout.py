"""Dropout: units left out at random in training; and Monte Carlo dropout, which leaves it on afterwards."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from chainrule.core.course import Topic
from chainrule.core.errors import UserError


class Dropout(nn.Module):
    """In training each number is set to zero with probability p, and the others are divided by 1 - p; in eval x.

    Dividing in training (inverted dropout) keeps the expectation, so that eval has nothing to scale.

    Args:
        p: from 0 to 1; 1 leaves nothing.

    Takes and gives any shape. The random numbers are those of torch's global generator.

    Source: Srivastava et al.: Dropout, 2014, section 10 (inverted form).

    >>> _ = torch.manual_seed(0)
    >>> Dropout(0.5)(torch.ones(6)).unique().tolist(), Dropout(0.5).eval()(torch.ones(2)).tolist()
    ([0.0, 2.0], [1.0, 1.0])
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise UserError("p is out of range", expected="0 to 1, the probability to leave out", found=p)
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        if self.p == 1:  # 0 / 0 otherwise
            return x * 0
        return x * torch.empty_like(x).bernoulli_(1 - self.p).div_(1 - self.p)

    def extra_repr(self) -> str:
        return f"{self.p}"


_TORCH_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


@torch.no_grad()
def monte_carlo(model: nn.Module, x: Tensor, samples: int) -> Tensor:
    """Answers of `samples` thinned networks to the same input: (samples, *shape of the answer).

    Dropout is on, everything else (batch normalisation) as in eval; the modes are put back afterwards. For a
    classifier the predictive distribution is `monte_carlo(model, x, 50).softmax(-1).mean(0)`, and the deviation over
    the first dimension measures how uncertain the network is about its own weights.

    Args:
        model: with dropout of some kind in it: this module's, torch's, or within torch's recurrent layers.
        x: what the model takes.
        samples: 1 or more.

    Raises:
        UserError: no dropout above 0 in the model, so that all answers would be equal; fewer samples than 1.

    Source: Gal and Ghahramani: Dropout as a Bayesian approximation, 2016 (arXiv 1506.02142), equation 6.

    >>> _ = torch.manual_seed(0)
    >>> answers = monte_carlo(nn.Sequential(Dropout(0.5)), torch.ones(1), 1000)
    >>> answers.shape, bool((answers.mean() - 1).abs() < 0.1)
    (torch.Size([1000, 1]), True)
    """
    if samples < 1:
        raise UserError("there must be samples to average", expected="1 or more", found=samples)
    dropouts = [module for module in model.modules() if _drops(module)]
    if not dropouts:
        raise UserError(
            "the model has no dropout, so all its answers would be equal", cure="model.eval()(x) is that answer"
        )
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        for module in dropouts:
            module.training = True
        return torch.stack([model(x) for _ in range(samples)])
    finally:
        for module, training in modes:
            module.training = training


def _drops(module: nn.Module) -> bool:
    if isinstance(module, nn.RNNBase):
        return module.dropout > 0
    return isinstance(module, (Dropout, *_TORCH_DROPOUTS)) and module.p > 0


TOPICS = (
    Topic(
        "Dropout",
        "Dropout（随机失活）",
        lectures=(2, 3),
        code=("Dropout", "monte_carlo"),
        command="chainrule train dropout-averaging",
    ),
)
