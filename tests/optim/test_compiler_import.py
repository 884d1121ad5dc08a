"""torch's optimisers without its compiler: the same numbers, and torch's own way where the compiler is loaded."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import sys, torch
if "spared" in sys.argv:
    from chainrule.optim.compiler_import import spare_compiler
    spare_compiler()
results = []
for make in (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop, torch.optim.Adagrad):
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(5))
    optimizer = make([weight], lr=0.1)
    for step in range(3):
        if step == 2:  # a checkpoint between two steps
            state = optimizer.state_dict()
            optimizer = make([weight], lr=0.1)
            optimizer.load_state_dict(state)
        optimizer.zero_grad()
        (weight ** 2).sum().backward()
        optimizer.step()
        assert torch.is_grad_enabled()
    results += weight.tolist()
    optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(1))]})
print(repr(results))
print("torch._dynamo" in sys.modules)
if "spared" in sys.argv:
    import torch._dynamo
    calls = []
    torch._dynamo.graph_break = lambda *words: calls.append(1)
    optimizer.step()
    print(len(calls))
"""


def lines(*words: str) -> list[str]:
    run = subprocess.run([sys.executable, "-c", CODE, *words], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


def test_the_same_numbers_and_no_compiler_until_somebody_loads_it() -> None:
    numbers, loaded, breaks = lines("spared")
    usual, usually_loaded = lines()
    assert numbers == usual
    assert (loaded, usually_loaded) == ("False", "True")
    assert breaks == "2"  # torch's own wrapper is back
