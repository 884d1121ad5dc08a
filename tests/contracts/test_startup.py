"""What a training loads besides PyTorch: nothing that takes a second and that it does not use."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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


def test_estimators_take_scikit_learn_and_no_compiler(tmp_path: Path) -> None:
    words = ("train", "logistic-regression", "c=1", "--data", "iris", "--device", "cpu", "--out", str(tmp_path / "run"))
    assert not loaded(*words) & {"torch._dynamo", "torch.onnx", "sympy", "onnx", "gymnasium"}
