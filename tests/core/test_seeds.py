"""Seeds up to 2^63 - 1: what is made of them fits a generator, small ones give what they always gave."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

import chainrule
from chainrule.cli import cli
from chainrule.core.errors import UserError
from chainrule.core.seeds import LARGEST
from chainrule.data.samplers.sampler import generator_of

pytestmark = pytest.mark.usefixtures("no_report")


def test_generators_of_large_seeds_differ() -> None:
    seeds = (0, 2**43 + 5, 2_026_113_007_150_000_000, LARGEST)
    drawn = [torch.rand(4, generator=generator_of(seed, *more)) for seed in seeds for more in ((3,), (3, 5))]
    assert all(not torch.equal(a, b) for i, a in enumerate(drawn) for b in drawn[:i])
    plain = torch.rand(4, generator=torch.Generator().manual_seed(8 * 1_000_003 + 3))
    assert torch.equal(torch.rand(4, generator=generator_of(7, 3)), plain)


@pytest.mark.parametrize("recipe", ["k-means", "gaussian-mixture"])
def test_a_run_with_the_largest_seed(recipe: str, tmp_path: Path) -> None:
    settings = {"k-means": {"clusters": (2,), "starts": 2}, "gaussian-mixture": {"components": 2, "components_to": 3}}
    run = chainrule.train(recipe, data="iris", seed=LARGEST, out=tmp_path / "run", **settings[recipe])  # type: ignore[arg-type]
    assert run.record["seed"] == LARGEST and run.record["status"] == "done"


def test_seeds_settings_and_threads_out_of_range_are_told(tmp_path: Path) -> None:
    for seed in (-1, 2**63):
        with pytest.raises(UserError, match="the seed is out of range"):
            chainrule.train("k-means", data="iris", seed=seed, out=tmp_path / "run")
    for words, said in (
        (["--seed", str(2**63)], "not in the range"),
        (["threads=100000"], "the setting threads is out of range"),
        (["lr=1e308"], "numbers reach to 3.4e38"),
        (["batch_size=9" + "0" * 25], "numbers reach to 3.4e38"),
    ):
        done = CliRunner().invoke(cli, ["train", "mlp-table", "--data", "iris", "--out", "run", *words])
        status = getattr(done.exception, "exit_status", done.exit_code)
        assert status == 2 and said in f"{done.output}{done.exception}" and not Path("run").exists()
