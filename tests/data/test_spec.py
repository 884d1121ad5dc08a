"""Specs as JSON: there and back, records of old, and fields that are not known."""

from __future__ import annotations

import pytest

from chainrule.core.errors import UserError
from chainrule.data.tables.spec import TableSpec
from tests.data.image_sets import image_spec

TABLE = {
    "where": "t.csv",
    "columns": ["a", "b"],
    "target": None,
    "classes": None,
    "mean": [0.0, 0.0],
    "std": [1.0, 1.0],
}
COMMON = {"counts": {"train": 3}, "splits": {"train": "the rest"}, "fingerprint": "ab"}


def test_there_and_back() -> None:
    spec = image_spec(classes=["cat", "dog"], border=4, class_counts=[3, 4])
    content = spec.to_json()
    assert type(spec).from_json(content) == spec
    assert content["class_counts"] == [3, 4] and content["margin"] is None
    assert "class_counts" not in image_spec().to_json(), "None need not be written"


def test_a_record_of_old_has_what_was_not_there_by_default() -> None:
    spec = TableSpec.from_json({**TABLE, **COMMON, "dropped": {"b": 1.0}})
    assert spec.features == ["a", "b"] and spec.categories == {} and spec.missing == "refuse" and spec.image is None


def test_a_key_of_json_keeps_its_old_name() -> None:
    spec = TableSpec.from_json({**TABLE, **COMMON, "picture": [8, 8]})
    assert spec.image == [8, 8] and spec.to_json()["picture"] == [8, 8] and "image" not in spec.to_json()


def test_a_field_of_a_newer_version_is_told() -> None:
    with pytest.raises(UserError, match=r"(?s)not understood.*spec: colour.*open the run with the version"):
        TableSpec.from_json({**TABLE, **COMMON, "colour": "red"})


def test_a_field_that_lacks_is_told() -> None:
    with pytest.raises(UserError, match=r"(?s)not understood.*spec: columns, fingerprint.*no such fields"):
        TableSpec.from_json({k: v for k, v in {**TABLE, **COMMON}.items() if k not in ("columns", "fingerprint")})
