"""Errors: their words, their exit statuses."""

from __future__ import annotations

import signal

import pytest

from chainrule.core.errors import ChainruleError, Interrupted, RunFailed, UserError, missing_extra


def test_a_user_error_says_what_where_expected_found_and_the_cure() -> None:
    error = UserError("it is wrong", where="a.csv, line 3", expected=4, found=[5], cure="write 4")
    assert str(error) == ("it is wrong\n  where:    a.csv, line 3\n  expected: 4\n  found:    [5]\n  cure:     write 4")
    assert str(UserError("it is wrong")) == "it is wrong"


def test_what_is_false_is_still_said() -> None:
    assert str(UserError("x", found=0)).endswith("found:    0")
    assert str(UserError("x", found="")).endswith("found:    ")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UserError("x"), 2),
        (RunFailed("x"), 1),
        (ChainruleError("x"), 1),
        (Interrupted("x", signal.SIGINT), 130),
        (Interrupted("x", signal.SIGTERM), 143),
        (missing_extra("onnx", "onnx"), 2),
    ],
)
def test_exit_statuses(error: ChainruleError, status: int) -> None:
    assert error.exit_status == status and isinstance(error, ChainruleError)


def test_a_missing_package_comes_with_its_command() -> None:
    assert "pip install 'chainrule[rl]'" in str(missing_extra("gymnasium", "rl"))
