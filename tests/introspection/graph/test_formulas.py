"""Formulas and functions of the user's own, as the command reads and explains them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from chainrule.api import explain
from chainrule.cli import main
from chainrule.core.errors import UserError
from chainrule.inspect import check, graph
from chainrule.introspection.graph.expression import Expression, read_value

EXACT = 1e-12


# -- formulas and files -------------------------------------------------------------------------------------------------

NUMBERS = {"x": 0.7, "y": -1.3, "z": 2.1}
FORMULAS = [
    "x",
    "x*x",
    "-x^2",
    "2^-x",
    "(x+y)*(y-z)",
    "x/(y-z)+1.5e-1",
    "sigmoid(x*y)-tanh(z)",
    "max(x,y)*min(y,z)",
    "exp(-(x-y)**2/(2*z**2))",
    "log(1+exp(x))",
    "abs(y)*sqrt(z)",
    "sin(x)*cos(pi*y)",
    "relu(y)+relu(x)*e",
    "max(x, 2)",
]


@pytest.mark.parametrize("text", FORMULAS)
def test_formulas_against_difference_quotients(text: str) -> None:
    f = Expression(text)
    at = [NUMBERS[name] for name in f.names]
    g = graph(f, *at)

    def value(numbers: list[float]) -> float:
        return float(f(*[torch.tensor(v, dtype=torch.float64) for v in numbers]))

    for k, name in enumerate(f.names):
        up, down = list(at), list(at)
        up[k] += 1e-6
        down[k] -= 1e-6
        gradient = g[name].gradient
        expected = (value(up) - value(down)) / 2e-6
        assert (0.0 if gradient is None else float(gradient)) == pytest.approx(expected, rel=1e-6, abs=1e-8)
    assert check(g) < EXACT


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x +", "no expression"),
        ("", "no expression"),
        ("foo(x)", "there is no function 'foo'"),
        ("sigmoyd(x)", "did you mean sigmoid"),
        ("x.real", "not allowed"),
        ("x[0]", "not allowed"),
        ("'a'*x", "not allowed"),
        ("x if y else z", "not allowed"),
        ("max(x)", "takes 2 arguments"),
        ("exp(x, y)", "takes 1 argument"),
        ("(lambda: x)()", "not allowed"),
        ("x @ y", "not allowed"),
        ("True", "not allowed"),
        ("__import__('os')", "no function"),
        ("(" * 3000 + "x" + ")" * 3000, "too long"),
        ("-" * 1500 + "x", "too deep"),
        ("exp(x=1)", "not allowed"),
        ("x*1j", "not allowed"),
        ("x\0", "no expression"),
    ],
)
def test_what_is_no_formula(text: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        Expression(text)


def test_values_of_the_command() -> None:
    assert read_value("x", " -2.5 ") == -2.5 and read_value("x", "1e3") == 1000.0
    assert (
        read_value("x", "[[1,2],[3,4]]").shape == (2, 2) and read_value("x", "randint(10, 2, 3)").dtype == torch.int64
    )
    assert torch.equal(read_value("x", "randn(3)"), read_value("x", "randn(3)"))
    for wrong in ("a", "", "[1,[2]]", "rand(3)", "randn(-1)", "open('x')", "{1: 2}", "True", "randint()"):
        with pytest.raises(UserError, match="this is no value"):
            read_value("x", wrong)


USERS_FILE = """
import math
import torch

def scaled(a, b=2.0):
    return (a.tanh() * b).sum()

def wrong(a):
    return torch.ones(3) @ (a * 2)

def lost(a):
    return math.sqrt(a.item())

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, 2)

    def forward(self, x):
        return self.layer(x).relu()

class Sized(torch.nn.Module):
    def __init__(self, size):
        super().__init__()

net = Net()
"""


def command(*words: str) -> int:
    try:
        main(["explain", *words])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_the_command_on_formulas_and_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("(x+y)*(y-z)", "x=-1", "y=3", "z=2") == 0
    out = capsys.readouterr().out
    assert "∂L/∂y = 3 = 1 from h1 + 2 from h2" in out and out.endswith("graph.html\n") and Path("graph.html").is_file()
    assert command("-x^2", "x=3", "--out", "square.html") == 0 and Path("square.html").is_file()
    Path("mine.py").write_text(USERS_FILE, "utf-8")
    assert command("mine.py:scaled", "a=[1,2]") == 0 and "h1 = tanh a" in capsys.readouterr().out
    assert command("mine.py:scaled", "a=1", "b=3") == 0 and "  b = 3" in capsys.readouterr().out
    assert command("mine.py:Net", "x=randn(4,3)") == 0 == command("mine.py:net", "x=randn(4,3)")
    assert explain("x*x", ["x=2"], out=tmp_path / "a.html") == tmp_path / "a.html"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["x+y", "x=1"], 'explain "x\\+y" x=1 y=1'),
        (["x+y"], "did you mean|there is no recipe|a value is missing"),
        (["x*y", "x=1", "y=2", "zz=3"], "no input 'zz'"),
        (["x*y", "x=1", "x=2"], "given twice"),
        (["x*y", "x"], "key=value"),
        (["mine.py:scald", "a=1"], "did you mean scaled"),
        (["none.py:f", "x=1"], "no such file"),
        (["mine.py:wrong", "a=1"], "the last operation that ended was number 1, mul"),
        (["mine.py:lost", "a=4"], "left the graph"),
        (["mine.py:Sized", "x=1"], "cannot be built without arguments"),
        (["broken.py:f", "x=1"], "the file fails: SyntaxError"),
        (["mine.py:scaled", "a=q"], "this is no value"),
        (["2*3"], "depends on no input|gives no tensor"),
    ],
)
def test_mistakes_of_the_command(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.py").write_text(USERS_FILE, "utf-8")
    Path("broken.py").write_text("def f(:\n", "utf-8")
    assert command(*words) == 2
    err = capsys.readouterr().err
    assert re.search(says, err) and "Traceback" not in err, err
