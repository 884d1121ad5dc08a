"""An estimator with `fit` as a module: what it fitted are buffers, so it is saved, shown and exported like a network."""

from __future__ import annotations

import inspect
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from chainrule.core.device import ONE_PROCESS, World
from chainrule.core.errors import RunFailed

_NOT_MODEL = ("objective_path_", "classes_")  # arrays that no answer depends on


class Estimator(Protocol):
    """What scikit-learn's convention requires, and `decide`, the prediction in torch."""

    def fit(self, X: Any, y: Any = None, **more: Any) -> Any: ...
    def get_params(self, deep: bool = True) -> dict[str, Any]: ...
    def set_params(self, **params: Any) -> Any: ...
    def decide(self, x: Tensor) -> Tensor: ...


class Fitted(nn.Module):
    """An estimator (`fit`, and attributes ending in an underscore for what it found) as a `torch.nn.Module`.

    `forward` is the estimator's `decide`. The state is every fitted attribute: arrays as tensors, the rest (numbers,
    text, lists) and the constructor's settings as plain data. So a state of any shape loads, as its estimator was.

    >>> from sklearn.linear_model import LinearRegression
    >>> class Line(LinearRegression):
    ...     def decide(self, x):
    ...         return x @ torch.as_tensor(self.coef_, dtype=x.dtype) + self.intercept_
    >>> line = Fitted(Line())
    >>> line.fit(torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([1.0, 3.0, 5.0]))
    >>> line(torch.tensor([[10.0]])).round(decimals=4)
    tensor([21.])
    >>> again = Fitted(Line())
    >>> _ = again.load_state_dict(line.state_dict())
    >>> again.estimator.coef_.round(4)
    array([2.], dtype=float32)
    """

    def __init__(self, estimator: Estimator) -> None:
        super().__init__()
        self.estimator = estimator

    def forward(self, x: Tensor) -> Tensor:
        return self.estimator.decide(x)

    def fit(self, x: Any, y: Tensor | None = None, *, world: World = ONE_PROCESS, **settings: Any) -> None:
        """Fits the estimator, with other `settings` of its constructor where they are given, to rows x (N, ...).

        The rows are a tensor, or a SciPy sparse matrix where the estimator takes one. Every process of `world` is given
        all of them, and an estimator that `shares` reads its part.
        """
        self.estimator.set_params(**settings)
        rows = x.cpu().numpy() if isinstance(x, Tensor) else x
        shared = {"world": world} if world.size > 1 else {}
        try:
            self.estimator.fit(rows, None if y is None else y.cpu().numpy(), **shared)
        except torch.linalg.LinAlgError as error:
            raise RunFailed(f"{type(self.estimator).__name__} cannot be fitted to these rows: {error}") from None
        self._take()
        spoiled = next((n for n, b in self.named_buffers() if b.is_floating_point() and not b.isfinite().all()), None)
        if spoiled is not None:
            raise RunFailed(
                f"the fit of {type(self.estimator).__name__} is not finite: its {spoiled} has NaN or infinite values\n"
                "  cure:     columns of one scale (preprocess=standardize), a stronger penalty, or other settings"
            )

    @property
    def shares(self) -> bool:
        """Whether processes can share the fit: the estimator's `fit` takes a `world`, over which it adds up its sums."""
        return "world" in inspect.signature(self.estimator.fit).parameters

    @property
    def num_parameters(self) -> int:
        """How many numbers were fitted: coefficients and intercepts where the estimator has such, else all arrays."""
        held = dict(self.named_buffers())
        named = [held[name] for name in ("coef_", "intercept_") if name in held] if "coef_" in held else []
        return sum(b.numel() for b in (named or self._numbers()))

    def _numbers(self) -> list[Tensor]:
        return [b for name, b in self.named_buffers() if b.is_floating_point() and name not in _NOT_MODEL]

    def _take(self) -> None:
        """Makes buffers of the estimator's fitted arrays."""
        for name in list(self._buffers):
            del self._buffers[name]
        for name, value in _fitted_attributes(self.estimator).items():
            if _is_numeric(value):
                self.register_buffer(name, torch.from_numpy(np.array(value)))  # a copy: of its own, and writable

    # -- state --------------------------------------------------------------------------------------------------

    def get_extra_state(self) -> dict[str, Any]:
        found = _fitted_attributes(self.estimator)
        return {
            "settings": self.estimator.get_params(deep=False),
            "fitted": {name: _plain(value) for name, value in found.items() if not _is_numeric(value)},
        }

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.estimator.set_params(**state["settings"])
        for name, value in state["fitted"].items():
            setattr(
                self.estimator, name, np.array(value["text"]) if isinstance(value, dict) and "text" in value else value
            )

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Any names and shapes: they are what was fitted, whatever this estimator holds."""
        extra = state_dict.get(f"{prefix}_extra_state")
        if extra is None:
            missing_keys.append(f"{prefix}_extra_state")
            return
        for name in _fitted_attributes(self.estimator):
            delattr(self.estimator, name)
        self.set_extra_state(extra)
        for key, value in state_dict.items():
            name = key.removeprefix(prefix)
            if key.startswith(prefix) and isinstance(value, Tensor):
                setattr(self.estimator, name, value.detach().cpu().numpy().copy())
        self._take()


def _fitted_attributes(estimator: Estimator) -> dict[str, Any]:
    return {k: v for k, v in vars(estimator).items() if k.endswith("_") and not k.startswith("_")}


def _is_numeric(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in "fiub"


def _plain(value: Any) -> Any:
    """Text arrays as lists with a mark; NumPy's numbers as Python's."""
    if isinstance(value, np.ndarray):
        return {"text": value.astype(str).tolist()}
    return value.item() if isinstance(value, np.generic) else value


def example_rows(count: int) -> tuple[Tensor]:
    """Rows (count, 4) float64 of normal numbers: the example of a card of an estimator."""
    return (torch.randn(count, 4, dtype=torch.float64),)
