"""What a run keeps of its data, so that it can answer without them: a typed record, and its form as JSON."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from dataclasses import MISSING, dataclass
from typing import Any, Self, Union, get_args, get_origin, get_type_hints

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
        kinds = get_type_hints(cls)
        wrong = next((key for key, value in content.items() if not _fits(value, kinds[fields[key].name])), None)
        if wrong is not None:
            raise UserError(
                "what run.json says of the data is not understood",
                where=f"run.json, data, spec: {wrong}",
                expected=str(fields[wrong].type),
                found=repr(content[wrong])[:100],
                cure="the run folder as it was, from a backup; else train a new run",
            )
        return cls(**{fields[key].name: value for key, value in content.items()})


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value of JSON is of the kind that a field's annotation says; of records within it, nothing is asked.

    >>> _fits([1, 2.5], list[float]), _fits({"train": "8"}, dict[str, int]), _fits(None, str | None), _fits(True, int)
    (True, False, True, False)
    """
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return any(_fits(value, each) for each in inner)
    if origin is list:
        return isinstance(value, list) and all(_fits(each, inner[0]) for each in value)
    if origin is dict:
        return isinstance(value, dict) and all(_fits(each, inner[1]) for each in value.values())
    if kind in (int, float):
        return isinstance(value, (int, kind)) and not isinstance(value, bool)
    return isinstance(value, kind) if kind in (str, bool, type(None)) else True


def _key(field: dataclasses.Field[Any]) -> str:
    return field.metadata.get("key") or field.name
