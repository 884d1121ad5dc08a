"""Seconds and environment steps until CartPole-v1 is solved by deep Q-learning: Chainrule beside Stable-Baselines3.

    python benchmarks/dqn.py [--seeds 0 1 2 3 4] [--threads 1]

Solved is a mean return of 475 over 100 episodes of the greedy policy. Both are measured by the same function every 500
environment steps, on the same episodes, and its time counts for both: ten episodes, and where their mean is 475 or more,
ninety others, so that all hundred decide. A contestant stops at the first measurement that says solved. Each runs in a
fresh process on the same cores, in turn, seed by seed; imports, PyTorch's lazy ones among them, are done before the
clock starts. Chainrule trains by its recipe's own numbers, Stable-Baselines3 (extra `bench`) by those that RL Baselines3
Zoo tuned for it on this environment. Each is then measured once more, on 100 test episodes, outside the clock.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from measure import circumstances, in_words, run_contestant, table, write_results

ENVIRONMENT, SOLVED, EVALUATE_EVERY, FEW_EPISODES = "CartPole-v1", 475.0, 500, 10
ZOO = {  # rl-baselines3-zoo, hyperparams/dqn.yml, CartPole-v1
    "learning_rate": 2.3e-3,
    "batch_size": 64,
    "buffer_size": 100_000,
    "learning_starts": 1_000,
    "gamma": 0.99,
    "target_update_interval": 10,
    "train_freq": 256,
    "gradient_steps": 128,
    "exploration_fraction": 0.16,
    "exploration_final_eps": 0.04,
    "policy_kwargs": {"net_arch": [256, 256]},
}
ZOO_STEPS = 50_000
CONTESTANTS = ("chainrule", "stable-baselines3")


def open_run(folder: Path, seed: int) -> Any:
    """A run of the recipe, not begun; its system measures both contestants."""
    from chainrule.core.discovery import get_recipe
    from chainrule.core.settings import bind
    from chainrule.run.run import Run
    from chainrule.run.settings import run_settings

    recipe = get_recipe("dqn")
    given = {"stop_at": SOLVED, "evaluate_every": EVALUATE_EVERY, "evaluation_episodes": FEW_EPISODES}
    return Run.create(
        recipe,
        bind(given, recipe.build, owner="dqn"),
        bind({}, run_settings, owner=""),
        seed=seed,
        data=ENVIRONMENT,
        target=None,
        device="cpu",
        out=folder / "run",
    )


def train_ours(folder: Path, seed: int) -> dict[str, Any]:
    """The recipe as it is, with its run folder, log and kept weights."""
    start = time.perf_counter()
    run = open_run(folder, seed)
    with run.active():
        run.task.train(run)
    seconds = time.perf_counter() - start
    last = [line for line in run.log_lines() if "val_return" in line][-1]
    solved = last["val_episodes"] == 100 and last["val_return"] >= SOLVED
    run.open_task()
    return _result(solved, seconds, last["environment_steps"], last["val_return"], run.task)


def train_theirs(folder: Path, seed: int) -> dict[str, Any]:
    """DQN with the zoo's numbers; a callback measures."""
    from stable_baselines3 import DQN
    from stable_baselines3.common.callbacks import BaseCallback

    judge = open_run(folder, 0).task

    class Measure(BaseCallback):
        solved, value = False, float("nan")

        def _on_step(self) -> bool:
            if self.num_timesteps % EVALUATE_EVERY == 0:
                judge.q = self.model.policy.q_net
                metrics, self.solved = judge.validate()
                self.value = metrics["return"]
            return not self.solved

    start, measure = time.perf_counter(), Measure()
    model = DQN("MlpPolicy", ENVIRONMENT, **ZOO, seed=seed, device="cpu", verbose=0)  # type: ignore[arg-type]
    model.learn(ZOO_STEPS, callback=measure)
    seconds = time.perf_counter() - start
    judge.q = model.policy.q_net
    return _result(measure.solved, seconds, model.num_timesteps, measure.value, judge)


def _result(solved: bool, seconds: float, steps: int, value: float, agent: Any) -> dict[str, Any]:
    return {
        "solved": bool(solved),
        "seconds": seconds,
        "steps": steps,
        "val_return": value,
        "test_return": agent.evaluate()["return"],
    }


def contestant(name: str, seed: int, threads: int) -> dict[str, Any]:
    import gymnasium  # noqa: F401
    import torch
    import torch._dynamo  # which the first optimiser of a process would import

    torch.set_num_threads(threads)
    train = train_ours
    if name == "stable-baselines3":
        import stable_baselines3  # noqa: F401

        train = train_theirs
    with tempfile.TemporaryDirectory() as folder:
        return train(Path(folder), seed)


def summarise(runs: dict[str, list[dict[str, Any]]]) -> str:
    """Medians over the seeds, and every run."""

    def middle(name: str, key: str) -> float:
        return statistics.median(run[key] for run in runs[name])

    good = {name: results for name, results in runs.items() if results and all("error" not in run for run in results)}
    rows = [
        [
            name,
            f"{sum(run['solved'] for run in runs[name])} of {len(runs[name])}",
            f"{middle(name, 'seconds'):.1f}",
            f"{min(run['seconds'] for run in runs[name]):.1f} to {max(run['seconds'] for run in runs[name]):.1f}",
            f"{middle(name, 'cpu_s'):.1f}",
            f"{middle(name, 'steps'):,.0f}",
            f"{middle(name, 'test_return'):.0f}",
        ]
        for name in good
    ]
    text = table(["", "solved", "seconds", "least to most", "CPU s", "steps", "test return"], rows) if rows else ""
    if len(good) == 2:
        ratio = middle("stable-baselines3", "seconds") / middle("chainrule", "seconds")
        text += (
            f"\n\nStable-Baselines3 took {ratio:.1f} times as long (median seconds; a run that was not solved counts "
            "with the seconds that it had, which is less than it needs)."
        )
    each = [
        [
            f"{name}, seed {run['seed']}",
            "failed: " + run["error"].splitlines()[-1] if "error" in run else "yes" if run["solved"] else "no",
            *([] if "error" in run else [f"{run['seconds']:.1f}", f"{run['steps']:,}", f"{run['test_return']:.1f}"]),
        ]
        for name in runs
        for run in runs[name]
    ]
    return f"{text}\n\n{table(['', 'solved', 'seconds', 'steps', 'test return'], [(*row, '', '', '')[:5] for row in each])}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--contestants", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS))
    parser.add_argument("--name", default="dqn", help="of the files in results/")
    parser.add_argument("--one", choices=CONTESTANTS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(contestant(given.one, given.seeds[0], given.threads)))
        return
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in given.contestants}
    for seed in given.seeds:
        for name in given.contestants:
            result = run_contestant(
                Path(__file__),
                ["--one", name, "--seeds", str(seed), "--threads", str(given.threads)],
                threads=given.threads,
            )
            runs[name].append({"seed": seed, **result})
            print(name, runs[name][-1], file=sys.stderr, flush=True)
    record: dict[str, Any] = {
        **circumstances(__file__, given.threads, ("chainrule", "torch", "gymnasium", "stable-baselines3", "numpy")),
        "protocol": {"environment": ENVIRONMENT, "solved": SOLVED, "evaluate_every": EVALUATE_EVERY, "zoo": ZOO},
        "runs": runs,
    }
    notes = (
        f"{in_words(record)}\n\nTraining until the mean return "
        f"over 100 episodes is {SOLVED:g}, measured every {EVALUATE_EVERY} environment steps by the same function, whose time "
        "counts for both. CPU s are of the whole process, imports among them."
    )
    write_results(given.name, record, f"# CartPole-v1 by deep Q-learning\n\n{summarise(runs)}\n\n{notes}")


if __name__ == "__main__":
    main()
