"""A data set as a run sees it: splits that are read when first asked for, and a spec that is known without reading."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Generic, TypeVar

from chainrule.core.data.request import DataRequest
from chainrule.core.errors import UserError
from chainrule.data.labels import alike_in_words
from chainrule.data.spec import Spec

GIVEN = ("as published", "as given")  # how the word on a split begins that the data came with
SpecT = TypeVar("SpecT", bound=Spec)
Split = TypeVar("Split")


class Dataset(Generic[SpecT, Split]):
    """Splits `train`, `val`, `test`, and `spec`: class names, channels, vocabulary, counts (`chainrule.data.spec`).

    A new run reads the data at once and writes `spec` into run.json. A run that is opened again gets its spec from
    there, so that it can answer without the data; where it does read them, they must be those of the spec.
    """

    def __init__(self, read: Callable[[], tuple[SpecT, dict[str, Split]]], spec: SpecT | None = None) -> None:
        self._read, self._spec = read, spec

    @cached_property
    def _loaded(self) -> tuple[SpecT, dict[str, Split]]:
        spec, splits = self._read()
        if self._spec is not None and spec.fingerprint != self._spec.fingerprint:
            raise UserError(
                "the data are not those that this run began with",
                where=getattr(self._spec, "where", None),
                expected=f"{self._spec.counts}, fingerprint {self._spec.fingerprint}",
                found=f"{spec.counts}, fingerprint {spec.fingerprint}",
                cure="put the old data back, or train a new run",
            )
        return spec, splits

    @property
    def spec(self) -> SpecT:
        return self._spec if self._spec is not None else self._loaded[0]

    def restated(self, request: DataRequest, spec: SpecT) -> Dataset[SpecT, Split]:
        """The same data with another spec, which the record takes over: pixels scaled by numbers from elsewhere."""
        request.keep_spec(spec.to_json())
        return Dataset(lambda: self._loaded, spec)

    @property
    def train(self) -> Split:
        return self._loaded[1]["train"]

    @property
    def val(self) -> Split:
        return self._loaded[1]["val"]

    @property
    def test(self) -> Split:
        return self._loaded[1]["test"]


def dataset_of(
    request: DataRequest, kind: type[SpecT], read: Callable[[], tuple[SpecT, dict[str, Split]]]
) -> Dataset[SpecT, Split]:
    """The data of a run: a new one reads them and notes their spec in its record, one that is opened again has it there.

    Args:
        request: what is read; the spec is noted where it is not there.
        kind: of the spec.
        read: gives spec and splits.
    """
    data = Dataset(read, None if request.spec is None else kind.from_json(request.spec))
    if request.spec is None:
        for name, share in (("val", request.val), ("test", request.test)):
            if share is not None and data.spec.splits.get(name, "").startswith(GIVEN):
                raise UserError(
                    f"the data have a {name} split of their own, so none is held out",
                    where=getattr(data.spec, "where", None),
                    found=f"--{name} {share:g}",
                    cure=f"leave --{name} out, or name the training part alone: --data train=PATH",
                )
        request.keep_spec(data.spec.to_json())
        request.note(*alike_in_words(getattr(data.spec, "classes", None) or ()))
    return data
