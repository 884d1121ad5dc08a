"""Environments of gymnasium, several at once, whose state can be saved although gymnasium cannot save it.

Each episode begins by a reset with a seed that is a function of (seed, split, environment, episode number), and the
actions since are remembered. An environment that is deterministic given its seed, as gymnasium requires, is then
restored by the same reset and the same actions.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.core.data_request import DataRequest
from chainrule.core.errors import RunFailed, UserError, missing_extra
from chainrule.data.dataset import Dataset, dataset_of
from chainrule.data.spec import Spec

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class EnvironmentSpec(Spec):
    """What a run must know of an environment: its id, the sizes of its spaces, the first action's number, limits."""

    id: str
    obs_size: int
    num_actions: int
    action_start: int = 0
    max_episode_steps: int | None = None
    reward_threshold: float | None = None


class Episodes:
    """The episodes of one split of an environment: how they begin, and what a policy gets from them.

    Args:
        spec: of the environment, as `environment_spec` gives it.
        split: train, val or test; no seed is in two splits.
        seed: decides the seeds. Training takes the run's, so that runs see different episodes; validation and test
            take 0, so that all runs are measured on the same.
    """

    def __init__(self, spec: EnvironmentSpec, split: str, seed: int) -> None:
        self.spec, self.split, self.seed = spec, SPLITS.index(split), seed
        self._pool: list[Any] = []

    def seed_of(self, lane: int, number: int = 0) -> int:
        """The seed of the reset that begins episode `number` of environment `lane`: 31 bits, two of them the split."""
        drawn = np.random.SeedSequence((self.seed, self.split, lane, number)).generate_state(1)[0]
        return self.split << 29 | int(drawn) >> 3

    def environments(self, count: int) -> Environments:
        """`count` environments that are stepped together and begin a new episode wherever one ends."""
        return Environments(self, count)

    def play(self, policy: Callable[[Tensor], Tensor], numbers: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Plays the episodes of these numbers, all at once.

        Args:
            policy: actions int64 (n,) for observations (n, D); n falls as episodes end.
            numbers: which episodes; each has its own seed.

        Returns:
            The undiscounted return of each episode, float64, and its length in steps, int64.
        """
        while len(self._pool) < len(numbers):
            self._pool.append(make(self.spec.id))
        start, dtype = self.spec.action_start, np.float32
        returns, lengths = [0.0] * len(numbers), [0] * len(numbers)
        # All episodes at once; one that ends drops out, and the policy answers for those that remain.
        live = [(i, self._pool[i]) for i in range(len(numbers))]
        obs = np.array([env.reset(seed=self.seed_of(numbers[i]))[0] for i, env in live], dtype)
        while live:
            actions = policy(torch.from_numpy(obs)).tolist()
            remaining, rows = [], []
            for (i, env), action in zip(live, actions, strict=True):
                row, reward, terminated, truncated, _ = env.step(action + start)
                returns[i] += float(reward)
                lengths[i] += 1
                if not (terminated or truncated):
                    remaining.append((i, env))
                    rows.append(row)
            live, obs = remaining, np.array(rows, dtype)
        return torch.tensor(returns, dtype=torch.float64), torch.tensor(lengths)


class Step(NamedTuple):
    """What n environments answered: next_obs float32 (n, D), reward float32 (n,), terminated, truncated bool (n,).

    `next_obs` is what followed the action, also where the episode ended there; the first observation of the new
    episode is in `Environments.obs`.
    """

    next_obs: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray


class Environments:
    """Environments that are stepped together. `obs` float32 (n, D) is what each shows now.

    `finished` lists (return, length) of the episodes that ended since the caller last cleared it.
    """

    def __init__(self, episodes: Episodes, count: int) -> None:
        self.episodes, self.count = episodes, count
        self._start = episodes.spec.action_start
        self._envs = [make(episodes.spec.id) for _ in range(count)]
        self._number = [-1] * count
        self._actions: list[list[int]] = [[] for _ in range(count)]
        self._return = [0.0] * count
        self.finished: list[tuple[float, int]] = []
        self.obs = np.zeros((count, episodes.spec.obs_size), np.float32)
        for lane in range(count):
            self._begin(lane, 0)

    def step(self, actions: Sequence[int]) -> Step:
        """Takes one action in each environment; where the episode ends, the next one begins."""
        next_obs = np.empty_like(self.obs)
        reward = np.empty(self.count, np.float32)
        terminated, truncated = np.empty(self.count, np.bool_), np.empty(self.count, np.bool_)
        ended = []
        for lane, action in enumerate(actions):
            row, r, over, cut, _ = self._envs[lane].step(action + self._start)
            next_obs[lane], reward[lane], terminated[lane], truncated[lane] = row, r, over, cut
            self._actions[lane].append(action)
            self._return[lane] += float(r)
            if over or cut:
                ended.append(lane)
        # An environment whose episode ended is reset: it shows the first observation of the next episode.
        self.obs = next_obs
        if ended:
            self.obs = next_obs.copy()  # next_obs itself keeps the last observation of the old episode
            for lane in ended:
                self.finished.append((self._return[lane], len(self._actions[lane])))
                self._begin(lane, self._number[lane] + 1)
        return Step(next_obs, reward, terminated, truncated)

    def state_dict(self) -> dict[str, Any]:
        """The number of each environment's episode and the actions since its reset; `obs` to check the replay against."""
        return {
            "number": list(self._number),
            "actions": [np.array(actions, np.int64) for actions in self._actions],
            "obs": self.obs,
            "finished": list(self.finished),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        # The same reset and the same actions lead back to the same state.
        for lane, (number, actions) in enumerate(zip(state["number"], state["actions"], strict=True)):
            self._begin(lane, number)
            row: Any = self.obs[lane]
            for action in actions.tolist():
                row, r, *_ = self._envs[lane].step(action + self._start)
                self._return[lane] += float(r)
            self.obs[lane], self._actions[lane] = row, actions.tolist()
        if not np.array_equal(self.obs, state["obs"], equal_nan=True):
            raise RunFailed(
                f"{self.episodes.spec.id} was not restored by the same seed and the same actions: "
                "it draws numbers elsewhere than from its own generator, and a run in it cannot be resumed"
            )
        self.finished = [tuple(pair) for pair in state["finished"]]

    def _begin(self, lane: int, number: int) -> None:
        self.obs[lane], _ = self._envs[lane].reset(seed=self.episodes.seed_of(lane, number))
        self._number[lane], self._actions[lane], self._return[lane] = number, [], 0.0


def load_environment(request: DataRequest) -> Dataset[EnvironmentSpec, Episodes]:
    """The run's environment; its "data" are episodes. Spec: what `environment_spec` gives."""

    def read() -> tuple[EnvironmentSpec, dict[str, Episodes]]:
        spec = environment_spec(request.source)
        return spec, {split: Episodes(spec, split, request.seed if split == "train" else 0) for split in SPLITS}

    return dataset_of(request, EnvironmentSpec, read)


def environment_spec(name: str) -> EnvironmentSpec:
    """What a run must know of an environment: id, sizes of its spaces, limits.

    Raises:
        UserError: for an unknown environment, an action space that is not discrete, an observation space that is no
            vector of numbers.
    """
    env = make(name)
    from gymnasium.spaces import Box, Discrete

    obs, action = env.observation_space, env.action_space
    if not isinstance(action, Discrete):
        raise UserError(
            f"the action space of {name} is not discrete",
            where="action space",
            expected="Discrete: Q-learning takes the largest of one value for each action",
            found=action,
            cure="an environment with discrete actions, such as CartPole-v1, Acrobot-v1 or LunarLander-v3",
        )
    if not isinstance(obs, Box) or len(obs.shape) != 1:
        raise UserError(
            f"the observations of {name} are not vectors",
            where="observation space",
            expected="Box of shape (D,)",
            found=obs,
            cure="an environment with such observations, or a wrapper such as gymnasium.wrappers.FlattenObservation",
        )
    assert env.spec is not None
    facts = repr((name, obs, action, env.spec.max_episode_steps))
    return EnvironmentSpec(
        id=name,
        obs_size=int(obs.shape[0]),
        num_actions=int(action.n),
        action_start=int(action.start),
        max_episode_steps=env.spec.max_episode_steps,
        reward_threshold=env.spec.reward_threshold,
        splits={
            "train": "reset seeds decided by the run's seed",
            "val": "reset seeds of their own, the same for every run",
            "test": "reset seeds of their own, the same for every run",
        },
        counts={"obs": int(obs.shape[0]), "actions": int(action.n)},
        fingerprint=hashlib.blake2b(facts.encode(), digest_size=6).hexdigest(),
    )


def make(name: str, images: bool = False) -> Any:
    """One environment of gymnasium by its id; `module:Id-v0` imports the module that registers it first.

    With `images`, its `render()` gives byte arrays (H, W, 3).
    """
    try:
        import gymnasium
    except ModuleNotFoundError:
        raise missing_extra("gymnasium", "rl") from None
    try:
        options: dict[str, Any] = {"render_mode": "rgb_array"} if images else {}  # an environment need not accept it
        return gymnasium.make(name, disable_env_checker=True, **options)
    except gymnasium.error.DependencyNotInstalled as error:
        if "box2d" in str(error).lower():
            raise missing_extra("gymnasium[box2d]", "box2d") from None
        raise UserError(f"{name} needs a package that is not installed", where="gymnasium", found=error) from None
    except (gymnasium.error.Error, ModuleNotFoundError) as error:
        close = difflib.get_close_matches(name, list(gymnasium.registry), n=3, cutoff=0.5)
        raise UserError(
            f"there is no environment {name!r}" + (f"; did you mean {' or '.join(close)}?" if close else ""),
            expected="an id that gymnasium knows, or module:Id-v0 where a module of yours registers it",
            found=error,
        ) from None


TOPICS = (
    Topic(
        "Return, discount, policy, Bellman target",
        "回报、折扣、策略、贝尔曼目标",
        lectures=(3,),
        code=("Episodes",),
        command="chainrule train dqn gamma=0.95",
    ),
)
