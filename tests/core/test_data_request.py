"""What a run was asked to read, and what run.json keeps of it."""

from __future__ import annotations

import pytest

from chainrule.core.data.request import DataRequest
from chainrule.core.errors import UserError


@pytest.mark.parametrize(
    "request_of, record",
    [
        (DataRequest({"": "digits"}), {"source": "digits", "target": None}),
        (
            DataRequest({"train": "a.csv", "test": "b.csv"}, "price", val=0.2),
            {"sources": {"train": "a.csv", "test": "b.csv"}, "target": "price", "val": 0.2},
        ),
        (DataRequest({"": "a", "test": "b"}), {"sources": {"": "a", "test": "b"}, "target": None}),
    ],
)
def test_the_record_and_back(request_of: DataRequest, record: dict[str, object]) -> None:
    assert request_of.to_record() == record
    assert DataRequest.from_record(record) == request_of


def test_a_spec_is_kept_in_the_record() -> None:
    record: dict[str, object] = {"source": "digits", "target": None}
    request = DataRequest.from_record(record, seed=3)
    assert request.spec is None and request.seed == 3
    request.keep_spec({"counts": {}})
    assert record["spec"] == {"counts": {}} == DataRequest.from_record(record).spec


def test_a_reader_of_one_source_refuses_several() -> None:
    with pytest.raises(UserError, match=r"(?s)from one source.*train=a\.csv test=b\.csv"):
        assert DataRequest({"train": "a.csv", "test": "b.csv"}).source
