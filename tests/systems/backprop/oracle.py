"""What the tests of back-propagation by hand share: the comparison of a layer with PyTorch's own, through autograd."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from chainrule.systems.backprop.layers.layer import Layer


def same_as_autograd(ours: Layer, theirs: nn.Module | Callable[..., Tensor], x: Tensor, *rest: Tensor) -> None:
    """Output, delta of the input and gradients of all parameters agree in float64 to 1e-9 of the largest value."""
    ours = ours.double()
    if isinstance(theirs, nn.Module):
        theirs = theirs.double().train(ours.training)
        theirs.load_state_dict(ours.state_dict())
    x = x.double() if x.is_floating_point() else x
    leaf = x.clone().requires_grad_(x.is_floating_point())
    torch.manual_seed(11)
    expected = theirs(leaf, *rest)
    expected = expected[0] if isinstance(expected, tuple) else expected
    torch.manual_seed(11)
    found = ours(x, *rest)
    near(found, expected, "output")
    delta = torch.randn(expected.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    expected.backward(delta)
    found_delta = ours.backward(delta)
    assert not found.requires_grad and not found_delta.requires_grad and found.grad_fn is None
    if x.is_floating_point():
        near(found_delta, leaf.grad if leaf.grad is not None else torch.zeros_like(leaf), "delta of the input")
    if isinstance(theirs, nn.Module):
        reference = dict(theirs.named_parameters())
        for name, parameter in ours.named_parameters():
            near(parameter.grad, reference[name].grad, name)
            assert parameter.grad is not None and not parameter.grad.requires_grad
        for name, buffer in ours.named_buffers():
            near(buffer.double(), dict(theirs.named_buffers())[name].double(), name)


def near(found: Tensor | None, expected: Tensor | None, what: str) -> None:
    """Equal to 1e-9 of the largest absolute value expected, or of 1."""
    assert found is not None and expected is not None, f"{what} is missing"
    assert found.shape == expected.shape, f"{what}: {tuple(found.shape)} for {tuple(expected.shape)}"
    if expected.numel():
        scale = max(1.0, float(expected.detach().abs().max()))
        difference = float((found - expected.detach()).abs().max())
        assert difference <= 1e-9 * scale, f"{what} differs by {difference:.3g} of {scale:.3g}"
