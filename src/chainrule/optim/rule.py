"""What all update rules share: checked settings, parameters that can be updated, memories laid out as they are.

A rule says in `bounds` and `check` what its settings may be and in `update` what it does with parameters and gradients. It is a
`torch.optim.Optimizer`, so PyTorch's schedulers, sharding and state dictionaries work with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor

from chainrule.core.errors import RunFailed, UserError, unknown
from chainrule.optim.settings import AT_LEAST_0, Bounds, check

_OF_ALL = {"lr": AT_LEAST_0, "weight_decay": AT_LEAST_0}
_ALSO_IN_GROUPS = ("params", "param_names", "lr_mult", "initial_lr")


class UpdateRule(torch.optim.Optimizer):
    """A rule that changes parameters by their gradients.

    Args:
        params: the parameters; or dictionaries with `params`, settings of their own, and `lr_mult`, by which
            `as_schedule` multiplies the rate of the group (1 where it is not given).
        defaults: the settings of groups that do not have their own.

    Raises:
        UserError: no parameters; one that is no leaf, not floating point, complex, or a view with gaps; an unknown or
            wrong setting; a sparse gradient (at `step`).
    """

    bounds: ClassVar[dict[str, Bounds]] = {}  # of settings beside lr and weight_decay
    adaptive = False  # whether it divides by a root of squared gradients: float16 would lose those
    decoupled = False  # whether `weight_decay` stays out of the gradient

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        if isinstance(params, Tensor):
            raise UserError(f"{self.name}: a tensor in the place of a list of parameters", cure="[parameter]")
        params = list(params)
        if not params:
            raise UserError(
                f"{self.name}: there is nothing to optimise",
                expected="parameters",
                found="an empty list",
                cure="model.parameters(), once: a generator is empty after its first use",
            )
        super().__init__(params, defaults)

    @property
    def name(self) -> str:
        """The class, as error messages name it."""
        return type(self).__name__

    def check(self, group: dict[str, Any]) -> None:
        """UserError unless the settings of a group are right."""
        for name, bounds in {**_OF_ALL, **self.bounds}.items():
            if name in group:
                check(self.name, name, group[name], bounds)

    def update(self, params: list[Tensor], grads: list[Tensor], group: dict[str, Any]) -> None:
        """Changes the parameters, all of one device and type, in place; the L2 penalty is in the gradients."""
        raise NotImplementedError

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds parameters with settings of their own; they are checked like the others."""
        for key in param_group:
            if key not in self.defaults and key not in _ALSO_IN_GROUPS:
                raise unknown(f"{self.name} has no setting", key, [*self.defaults, "lr_mult"])
        params = param_group["params"]
        params = [params] if isinstance(params, Tensor) else list(params)
        for index, item in enumerate(params):
            self._check_parameter(item[1] if isinstance(item, tuple) else item, index)
        super().add_param_group({**param_group, "params": params})
        self.check(self.param_groups[-1])

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update. A parameter whose gradient is None stays, and so does its memory.

        Args:
            closure: computes the loss and the gradients anew, if given.

        Returns:
            what the closure returned, or None.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for params, grads in self._alike(group["params"]):
                decay = 0.0 if self.decoupled else group.get("weight_decay", 0.0)
                try:
                    self.update(params, list(torch._foreach_add(grads, params, alpha=decay)) if decay else grads, group)
                except RuntimeError as error:
                    if "without overflow" not in str(error):
                        raise
                    raise RunFailed(
                        f"{self.name}: a step is too large for {str(params[0].dtype).removeprefix('torch.')}\n"
                        f"  found:    lr={group['lr']:g}\n  cure:     a smaller lr"
                    ) from None
        return loss

    def memory(self, params: list[Tensor], key: str) -> list[Tensor]:
        """What the rule remembers of each parameter under `key`: of the parameter's shape and layout, zeros at first."""
        kept = []
        for p in params:
            state = self.state[p]
            value = state.get(key)
            state[key] = torch.zeros_like(p) if value is None else laid_out_as(p, value)
            kept.append(state[key])
        return kept

    def count(self, params: list[Tensor]) -> list[int]:
        """The number of this update, a parameter, from 1; kept on the CPU, so that no device is waited for."""
        for p in params:
            state = self.state[p]
            before = state.get("step", state.pop("count", 0))  # older runs kept a whole number under `count`
            state["step"] = torch.as_tensor(before, dtype=torch.float32).cpu() + 1
        return [int(self.state[p]["step"]) for p in params]

    def _alike(self, params: list[Tensor]) -> Iterable[tuple[list[Tensor], list[Tensor]]]:
        """Parameters with their gradients, where there are any, in lists of one device and type, as kernels take them."""
        lists: dict[tuple[torch.device, torch.dtype], tuple[list[Tensor], list[Tensor]]] = {}
        for p in params:
            grad = p.grad
            if grad is None:
                continue
            if grad.layout is not torch.strided:
                raise UserError(
                    f"{self.name}: a gradient is sparse",
                    where=f"a parameter of shape {tuple(p.shape)}",
                    expected="a dense gradient",
                    found=str(grad.layout),
                    cure="nn.Embedding(..., sparse=False)",
                )
            alike = lists.setdefault((p.device, p.dtype), ([], []))
            alike[0].append(p)
            alike[1].append(laid_out_as(p, grad))
        return lists.values()

    def _check_parameter(self, p: Any, index: int) -> None:
        problem = _problem(p)
        if problem is None and self.adaptive and p.dtype is torch.float16:
            problem = (
                "float16 parameters",
                "float32, bfloat16 or float64: the square of a small gradient is 0 in float16",
                "weights in float32 and autocast",
            )
        if problem:
            found, expected, cure = problem
            raise UserError(
                f"{self.name}: cannot optimise {found}", where=f"parameter {index}", expected=expected, cure=cure
            )


def laid_out_as(p: Tensor, value: Tensor) -> Tensor:
    """`value` with the strides of `p`: the fused kernels walk through memory and would pair the wrong elements."""
    if value.stride() == p.stride():
        return value
    return torch.empty_like(p).copy_(value)


def _problem(p: Any) -> tuple[str, str, str] | None:
    """What hinders an update of `p`: what was found, what is expected, the cure."""
    if not isinstance(p, Tensor):
        return f"a {type(p).__name__}", "tensors, or dictionaries with params", "model.parameters()"
    if not p.is_leaf:
        return "a tensor that was computed", "a leaf of the graph", "parameter.detach().requires_grad_()"
    if not p.is_floating_point():
        return f"{p.dtype} parameters", "real floating point", "torch.view_as_real of complex ones"
    plain = type(p) in (Tensor, torch.nn.Parameter)
    if plain and torch.empty_like(p, device="meta").stride() != p.stride():
        return "a view with gaps or overlaps", "a tensor that fills its memory", "parameter.contiguous(), as a new leaf"
    return None
