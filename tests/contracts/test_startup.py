"""What a training loads besides PyTorch: nothing that takes a second and that it does not use."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from chainrule.core.discovery import all_recipes, card_in_words, get_card
from chainrule.introspection.layers import card_text

# scikit-learn brings SciPy, and pandas where it is installed; torch's compiler brings SymPy
HEAVY = ("sklearn", "scipy", "pandas", "pyarrow", "torch._dynamo", "torch.onnx", "sympy", "onnx", "gymnasium")
CODE = """
import sys
from chainrule.cli import main
try:
    main(sys.argv[1:])
finally:
    print("LOADED", *(name for name in %r if name in sys.modules), file=sys.stderr)
"""


def loaded(*words: str) -> set[str]:
    """Which of `HEAVY` a command loads."""
    run = subprocess.run([sys.executable, "-c", CODE % (HEAVY,), *words], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return set(run.stderr.rpartition("LOADED")[2].split())


def test_a_network_is_trained_measured_and_reported_on_without_them(tmp_path: Path) -> None:
    """Rows that scikit-learn ships, Adam of torch's, a report with figures."""
    assert loaded("train", "mlp-regression", "epochs=1", "--device", "cpu", "--out", str(tmp_path / "run")) == set()
    assert (tmp_path / "run" / "report.html").is_file()


def test_an_estimator_is_shown_without_them() -> None:
    assert loaded("show", "logistic-regression") == set()


def test_estimators_take_scikit_learn_and_no_compiler(tmp_path: Path) -> None:
    words = ("train", "logistic-regression", "c=1", "--data", "iris", "--device", "cpu", "--out", str(tmp_path / "run"))
    assert not loaded(*words) & {"torch._dynamo", "torch.onnx", "sympy", "onnx", "gymnasium"}


IN_WORDS = [recipe for recipe in all_recipes().values() if recipe.model and card_in_words(recipe.model)]


def test_some_cards_are_read_as_words() -> None:
    assert {"logistic-regression", "k-means", "bag-of-words"} <= {recipe.name for recipe in IN_WORDS}


@pytest.mark.parametrize("recipe", IN_WORDS, ids=[recipe.name for recipe in IN_WORDS])
def test_a_card_in_words_says_what_the_card_says(recipe) -> None:
    assert recipe.model is not None
    words = card_in_words(recipe.model)
    assert words is not None and card_text(recipe, words) == card_text(recipe, get_card(recipe.model))
