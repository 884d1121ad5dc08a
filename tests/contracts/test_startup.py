"""What a training loads besides PyTorch: nothing that takes a second and that it does not use."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

# scikit-learn brings SciPy, and pandas where it is installed; torch's compiler brings SymPy
HEAVY = ("sklearn", "scipy", "pandas", "pyarrow", "torch._dynamo", "torch.onnx", "sympy", "onnx", "gymnasium")
COMPILERS = {"torch._dynamo", "torch.onnx", "sympy", "onnx", "gymnasium"}
CODE = """
import json, sys
from chainrule.cli import main
for words in json.loads(sys.argv[1]):
    try:
        main(words)
    finally:
        print("LOADED", *(name for name in %r if name in sys.modules), file=sys.stderr)
"""


def loaded(*commands: list[str]) -> list[set[str]]:
    """Which of `HEAVY` are loaded after each of some commands, given one after another in a process of their own."""
    program = [sys.executable, "-c", CODE % (HEAVY,), json.dumps(commands)]
    run = subprocess.run(program, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return [set(line.split()[1:]) for line in run.stderr.splitlines() if line.startswith("LOADED")]


def test_a_training_loads_what_it_uses(tmp_path: Path) -> None:
    """A network with Adam of torch's, on rows that scikit-learn ships, is trained, measured and reported on with figures
    without any of them. Estimators take scikit-learn, and no compiler."""
    ends = [["--device", "cpu", "--out", str(tmp_path / name)] for name in ("network", "estimator")]
    network, estimator = loaded(
        ["train", "mlp-regression", "epochs=1", *ends[0]],
        ["train", "logistic-regression", "c=1", "--data", "iris", *ends[1]],
    )
    assert network == set() and "sklearn" in estimator and not estimator & COMPILERS
    assert all((tmp_path / name / "report.html").is_file() for name in ("network", "estimator"))
