"""NumPy arrays as tensors, for estimators: rows that are given, what is held, classes from log-probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from chainrule.functional.sparse_rows import SparseRows, as_rows


def dense_rows(array: NDArray[Any], device: torch.device | str = "cpu") -> Tensor:
    """An array as a tensor on the device, in its dtype; it shares memory on the CPU where the array may be written.

    >>> import numpy as np
    >>> dense_rows(np.eye(2)).dtype
    torch.float64
    """
    return torch.from_numpy(array if array.flags.writeable else array.copy()).to(
        device
    )  # torch warns of what it may not write


def like(x: Tensor, values: NDArray[Any]) -> Tensor:
    """Values as a tensor of the dtype and on the device of x.

    >>> import numpy as np
    >>> like(torch.zeros(1), np.ones(2))
    tensor([1., 1.])
    """
    return torch.as_tensor(values, dtype=x.dtype, device=x.device)


class LogProbabilityMixin:
    """Mixin of a classifier whose `decide` gives log p(class | x) (N, K): the classes and their probabilities."""

    classes_: NDArray[Any]
    device: str

    def decide(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def predict(self, X: Any) -> NDArray[Any]:
        """The classes (N,) of rows X (N, D)."""
        scores = self._log_probabilities(X)  # first, for it says when nothing is fitted
        return self.classes_[scores.argmax(1).numpy()]

    def predict_proba(self, X: Any) -> NDArray[Any]:
        """p(class | x) (N, K) of rows X (N, D)."""
        return self._log_probabilities(X).exp().numpy()

    def _rows(self, X: Any) -> Any:
        """What `decide` reads of checked rows, if it is not the rows themselves."""
        return X

    def _log_probabilities(self, X: Any) -> Tensor:
        check_is_fitted(self)
        sparse = "csr" if get_tags(self).input_tags.sparse else False
        X = validate_data(self, X, dtype=[np.float64, np.float32], accept_sparse=sparse, reset=False)
        rows = as_rows(self._rows(X), self.device)
        return self.decide(rows.rows if isinstance(rows, SparseRows) else rows).cpu()
