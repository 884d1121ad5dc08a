"""How little a weight or a unit of a trained network matters: by magnitude, by the second derivative, by leaving it out.

Shapes: N samples, D inputs and M units of a layer; the loss is the mean over the samples.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from chainrule.core.course import Topic
from chainrule.core.errors import UserError

Criterion = Callable[[Tensor, Tensor], Tensor]  # answers and targets to the mean loss, a scalar
Saliency = dict[str, Tensor]  # of the weights of a layer, by its name


def magnitude(network: nn.Module) -> Saliency:
    """|w| of each weight of the linear and convolutional layers; biases have none.

    >>> layer = nn.Linear(2, 1)
    >>> layer.weight.data = torch.tensor([[3.0, -0.5]])
    >>> magnitude(nn.Sequential(layer))
    {'0': tensor([[3.0000, 0.5000]])}
    """
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    layers = {name: layer for name, layer in network.named_modules() if isinstance(layer, kinds)}
    return {name: layer.weight.detach().abs() for name, layer in layers.items()}


def second_derivatives(network: nn.Module, x: Tensor, y: Tensor, criterion: Criterion) -> Saliency:
    """The diagonal of the Hessian of the mean loss, d2L/dw_ij^2, for the weights of all linear layers, exactly.

    A weight acts through the sum a_i = sum_j w_ij x_j + b_i of its unit alone, so that of each sample

        d2L/dw_ij^2 = x_j^2 d2L/da_i^2

    and a unit costs one backward pass, of the gradient. OBD as published adds two approximations to be faster: it drops
    the terms with f'', which rectified units do not have, and those between units of the layer above.

    Args:
        network: in eval mode for this; each linear layer is applied once to each sample, as rows.
        x, y: inputs (N, ...) and targets (N, ...).
        criterion: a mean over the samples.

    Returns:
        (M, D) for each linear layer, by its name.

    Errors: a UserError where there is no linear layer, or one takes more than a row a sample.

    Source: LeCun, Denker, Solla: Optimal brain damage, 1990, equations 7 to 9, without the approximations.

    >>> layer = nn.Linear(1, 1)
    >>> squared = lambda answers, y: (answers[:, 0] - y).square().mean() / 2
    >>> second_derivatives(nn.Sequential(layer), torch.tensor([[1.0], [3.0]]), torch.zeros(2), squared)
    {'0': tensor([[5.]])}
    """
    layers = {name: layer for name, layer in network.named_modules() if isinstance(layer, nn.Linear)}
    if not layers:
        raise UserError("no linear layer has a weight to take second derivatives of", found=type(network).__name__)
    seen: dict[str, tuple[Tensor, Tensor]] = {}
    hooks = []
    for name, layer in layers.items():

        def keep(_: nn.Module, inputs: tuple[Tensor, ...], sums: Tensor, name: str = name) -> Tensor:
            if sums.dim() != 2 or name in seen:
                raise UserError("a linear layer takes more than one row a sample", where=name, found=tuple(sums.shape))
            seen[name] = inputs[0], sums
            return sums.clone()  # an activation that works in place does not touch the sums

        hooks.append(layer.register_forward_hook(keep))
    training = network.training
    try:
        with torch.enable_grad():
            loss = len(x) * criterion(network.eval()(x), y)  # the sum over samples: each has its own derivatives
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()
    found: Saliency = {}
    for name, (inputs, sums) in seen.items():
        gradient = torch.autograd.grad(loss, sums, create_graph=True)[0]  # (N, M)
        curvature = torch.stack([_derivative_by_itself(gradient, sums, i) for i in range(sums.shape[1])], 1)  # (N, M)
        found[name] = (curvature.T @ inputs.detach().square()) / len(x)  # (M, D)
    return found


def _derivative_by_itself(gradient: Tensor, sums: Tensor, unit: int) -> Tensor:
    """d2L_n / da_n,unit^2 of each sample (N,): samples do not meet, so their sum may be derived at once."""
    if not gradient.requires_grad:  # the loss is linear in these sums
        return torch.zeros_like(sums[:, unit])
    (found,) = torch.autograd.grad(gradient[:, unit].sum(), sums, retain_graph=True, allow_unused=True)
    return torch.zeros_like(sums[:, unit]) if found is None else found[:, unit].detach()


def obd_saliency(network: nn.Module, x: Tensor, y: Tensor, criterion: Criterion) -> Saliency:
    """What the loss should rise by without each weight of the linear layers: s = h w^2 / 2, h = d2L/dw^2.

    That is the Taylor expansion at a minimum, where the gradient is 0, without the terms between two weights. Arguments and
    errors are those of `second_derivatives`.

    Source: LeCun, Denker, Solla 1990, equation 3 and section 2.2.

    >>> layer = nn.Linear(1, 1)
    >>> layer.weight.data = torch.tensor([[2.0]])
    >>> squared = lambda answers, y: (answers[:, 0] - y).square().mean() / 2
    >>> obd_saliency(nn.Sequential(layer), torch.tensor([[1.0], [3.0]]), torch.zeros(2), squared)
    {'0': tensor([[10.]])}
    """
    layers = dict(network.named_modules())
    curvature = second_derivatives(network, x, y, criterion)
    weights = {name: layers[name].get_parameter("weight").detach() for name in curvature}
    return {name: h * weights[name].square() / 2 for name, h in curvature.items()}


@torch.no_grad()
def unit_relevance(network: nn.Module, layer: str, x: Tensor, y: Tensor, criterion: Criterion) -> Tensor:
    """How much the loss rises without each unit of a hidden linear layer, (M,): rho_i = L(without i) - L(with i), measured.

    Args:
        network: in eval mode for this; a chain of linear layers with activations between them.
        layer: the name of the layer whose units are left out, one at a time.
        x, y: inputs and targets.
        criterion: a mean over the samples.

    Errors: a UserError where the next linear layer does not take these units.

    Source: Mozer, Smolensky: Skeletonization, 1989, equation 2; the paper then approximates it by a derivative.

    >>> _ = torch.manual_seed(0)
    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> net[2].weight.data[:, 1] = 0.0
    >>> unit_relevance(net, "0", torch.randn(5, 2), torch.zeros(5, 1), nn.functional.mse_loss)[1].item()
    0.0
    """
    outgoing = next_linear(network, layer).weight
    training = network.training
    network.eval()
    whole, rises = criterion(network(x), y), []
    for unit in range(outgoing.shape[1]):
        kept = outgoing[:, unit].clone()
        outgoing[:, unit] = 0.0
        rises.append(criterion(network(x), y) - whole)
        outgoing[:, unit] = kept
    network.train(training)
    return torch.stack(rises)


def next_linear(network: nn.Module, layer: str) -> nn.Linear:
    """The linear layer that takes the units of `layer`; UserError where that is not so, or something learnt stands between."""
    learnt = [(name, m) for name, m in network.named_modules() if list(m.parameters(recurse=False))]
    names = [name for name, _ in learnt]
    if layer not in names or not isinstance(learnt[names.index(layer)][1], nn.Linear):
        linear = [name for name, m in learnt if isinstance(m, nn.Linear)]
        raise UserError("there is no such linear layer", expected=", ".join(linear[:-1]), found=layer)
    own, after = learnt[names.index(layer)][1], learnt[names.index(layer) + 1 :]
    if not after or not isinstance(after[0][1], nn.Linear) or after[0][1].in_features != own.out_features:
        raise UserError(
            "the units of this layer do not go into a linear layer alone",
            where=layer,
            expected="a chain of linear layers, with activations without parameters between them",
            found=type(after[0][1]).__name__ if after else "the last layer",
        )
    return after[0][1]


TOPICS = (
    Topic(
        "Pruning: magnitude, optimal brain damage, units",
        "剪枝：按大小、OBD、按神经元",
        lectures=(1,),
        code=("magnitude", "second_derivatives", "obd_saliency", "unit_relevance"),
        command="chainrule train pruning",
    ),
)
