"""The tables that scikit-learn ships, read without it, against its own readers."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from sklearn import datasets

from chainrule.core.errors import UserError
from chainrule.data.catalog import shipped

LOADERS = {
    "digits": datasets.load_digits,
    "iris": datasets.load_iris,
    "wine": datasets.load_wine,
    "breast-cancer": datasets.load_breast_cancer,
    "diabetes": datasets.load_diabetes,
}


@pytest.mark.parametrize("name, load", LOADERS.items(), ids=LOADERS)
def test_every_number_and_name_is_scikit_learns(name, load):
    ours, theirs = shipped.shipped_table(name), load()
    for mine, other in ((ours.x, theirs.data), (ours.y, theirs.target)):
        assert np.array_equal(mine, other) and (mine.dtype, mine.strides) == (other.dtype, other.strides)
    assert list(ours.columns) == [str(column) for column in theirs.feature_names]
    assert list(ours.classes) == [str(kind) for kind in theirs.get("target_names", [])]


def test_the_package_is_not_imported_for_it():
    code = "import sys; from chainrule.data.catalog.shipped import shipped_table; shipped_table('wine')\n"
    run = subprocess.run(
        [sys.executable, "-c", code + "print('sklearn' in sys.modules)"], capture_output=True, text=True
    )
    assert run.stdout.strip() == "False", run.stderr


def test_without_the_package_it_is_told(monkeypatch):
    monkeypatch.setattr(shipped.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="scikit-learn, which ships this set"):
        shipped.shipped_table("iris")
