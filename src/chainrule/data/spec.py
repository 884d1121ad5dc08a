"""What a run keeps of its data, so that it can answer without them: a typed record, and its form as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import MISSING, dataclass
from typing import Any, Self

from chainrule.core.errors import UserError

# Metadata of a field: left out of the JSON where it is None. {"key": NAME} gives it another name there.
MAY_LACK = {"may_lack": True}


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What every kind of data has; a kind adds its own: classes, columns, a vocabulary.

    In JSON a field has its name, or the `key` of its metadata, for records of earlier versions are read too.

    Attributes:
        counts: samples of each split.
        splits: how each split came about, in words.
        fingerprint: changes when any value of the data changes.

    >>> Spec.from_json(Spec(counts={"train": 8}, splits={}, fingerprint="ab").to_json()).counts
    {'train': 8}
    """

    counts: dict[str, int]
    splits: dict[str, str]
    fingerprint: str

    def to_json(self) -> dict[str, Any]:
        """The record as plain JSON; fields that are None and need not be there are left out."""
        found = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is not None or not field.metadata.get("may_lack"):
                found[_key(field)] = value
        return found

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """The record that `to_json` wrote, now or in an earlier version: what is missing has its default.

        Raises:
            UserError: it has fields that are not known here, or lacks one that has no default.
        """
        fields = {_key(field): field for field in dataclasses.fields(cls)}
        strange = [key for key in content if key not in fields]
        needed = {key for key, f in fields.items() if f.default is MISSING and f.default_factory is MISSING}
        lacking = sorted(needed - set(content))
        if strange or lacking:
            raise UserError(
                "what run.json says of the data is not understood",
                where=f"run.json, data, spec: {', '.join(strange or lacking)}",
                expected=f"the fields of this version: {', '.join(fields)}",
                found="fields that this version does not know" if strange else "no such fields",
                cure="open the run with the version that wrote it" if strange else "train a new run",
            )
        return cls(**{fields[key].name: value for key, value in content.items()})


def _key(field: dataclasses.Field[Any]) -> str:
    return field.metadata.get("key") or field.name
