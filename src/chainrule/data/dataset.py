"""A data set as a run sees it: splits that are read when first asked for, and a spec that is known without reading."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, Generic, TypeVar

from chainrule.core.data_request import DataRequest
from chainrule.core.errors import UserError

Split = TypeVar("Split")


class Dataset(Generic[Split]):
    """Splits `train`, `val`, `test`, and `spec`: class names, channels, vocabulary, counts, as plain JSON.

    A new run reads the data at once and writes `spec` into run.json. A run that is opened again gets its spec from
    there, so that it can answer without the data; where it does read them, they must be those of the spec.
    """

    def __init__(
        self, read: Callable[[], tuple[dict[str, Any], dict[str, Split]]], spec: dict[str, Any] | None = None
    ) -> None:
        self._read, self._spec = read, spec

    @cached_property
    def _loaded(self) -> tuple[dict[str, Any], dict[str, Split]]:
        spec, splits = self._read()
        if self._spec is not None and spec["fingerprint"] != self._spec["fingerprint"]:
            raise UserError(
                "the data are not those that this run began with",
                where=self._spec.get("where"),
                expected=f"{self._spec['counts']}, fingerprint {self._spec['fingerprint']}",
                found=f"{spec['counts']}, fingerprint {spec['fingerprint']}",
                cure="put the old data back, or train a new run",
            )
        return spec, splits

    @property
    def spec(self) -> dict[str, Any]:
        return self._spec if self._spec is not None else self._loaded[0]

    @property
    def train(self) -> Split:
        return self._loaded[1]["train"]

    @property
    def val(self) -> Split:
        return self._loaded[1]["val"]

    @property
    def test(self) -> Split:
        return self._loaded[1]["test"]


def dataset_of(request: DataRequest, read: Callable[[], tuple[dict[str, Any], dict[str, Split]]]) -> Dataset[Split]:
    """The data of a run: a new one reads them and notes their spec in its record, one that is opened again has it there.

    Args:
        request: what is read; the spec is noted where it is not there.
        read: gives spec and splits.
    """
    data = Dataset(read, request.spec)
    request.keep_spec(data.spec)
    return data
