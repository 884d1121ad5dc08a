"""Sparse rows: products with dense matrices from both sides, without making them dense."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor


class SparseRows:
    """A sparse matrix (N, D) and its transpose, both in compressed rows (CSR), so that both products are fast.

    Args:
        matrix: a SciPy sparse matrix or array (N, D) of float32 or float64.
        device: where its tensors lie.

    >>> import scipy.sparse
    >>> rows = SparseRows(scipy.sparse.csr_array([[0.0, 2.0], [3.0, 0.0]]))
    >>> (rows @ torch.eye(2).double()).tolist(), (rows.T @ torch.ones(2, 1).double()).tolist()
    ([[0.0, 2.0], [3.0, 0.0]], [[3.0], [2.0]])
    """

    def __init__(self, matrix: Any, device: torch.device | str = "cpu") -> None:
        self.rows = csr_tensor(matrix, device)
        self.columns = csr_tensor(matrix.T, device)

    @property
    def shape(self) -> torch.Size:
        return self.rows.shape

    @property
    def dtype(self) -> torch.dtype:
        return self.rows.dtype

    @property
    def T(self) -> SparseRows:  # noqa: N802 - torch's name
        """The transpose (D, N); nothing is copied."""
        turned = object.__new__(SparseRows)
        turned.rows, turned.columns = self.columns, self.rows
        return turned

    def __matmul__(self, other: Tensor) -> Tensor:
        return self.rows @ other

    def dense(self) -> Tensor:
        return self.rows.to_dense()

    def square_columns(self, weight: Tensor | None = None) -> Tensor:
        """For each column the weighted sum of its squares, sum_n weight_n x_nd^2: (D,), float64."""
        squares = self.columns.values().double().square()
        if weight is not None:
            squares = squares * weight.double()[self.columns.col_indices().long()]
        starts = self.columns.crow_indices().long()
        column = torch.repeat_interleave(torch.arange(len(starts) - 1, device=squares.device), starts.diff())
        return torch.zeros(self.shape[1], dtype=torch.float64, device=squares.device).index_add_(0, column, squares)


def as_rows(matrix: Any, device: torch.device | str = "cpu") -> Tensor | SparseRows:
    """A NumPy array or a SciPy sparse matrix (N, D) as rows on the device, in its dtype.

    >>> import numpy as np
    >>> as_rows(np.eye(2)).dtype
    torch.float64
    """
    if hasattr(matrix, "tocsr"):
        return SparseRows(matrix, device)
    array = matrix if matrix.flags.writeable else matrix.copy()  # torch warns of read-only memory
    return torch.from_numpy(array).to(device)


def csr_tensor(matrix: Any, device: torch.device | str = "cpu") -> Tensor:
    """A SciPy sparse matrix as a torch tensor with compressed rows.

    >>> import scipy.sparse
    >>> csr_tensor(scipy.sparse.csr_array([[0.0, 2.0]])).values().tolist()
    [2.0]
    """
    compressed = matrix.tocsr()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta", category=UserWarning)
        return torch.sparse_csr_tensor(
            torch.from_numpy(compressed.indptr.copy()),
            torch.from_numpy(compressed.indices.copy()),
            torch.from_numpy(compressed.data.copy()),
            size=compressed.shape,
            device=device,
            check_invariants=True,
        )


class AcceptsSparse:
    """Mixin of an estimator that takes SciPy's sparse rows: it says so to scikit-learn."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.input_tags.sparse = True
        return tags
