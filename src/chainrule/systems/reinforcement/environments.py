"""Environments of gymnasium, several at once, whose state can be saved although gymnasium cannot save it.

Each episode begins by a reset with a seed that is a function of (seed, split, environment, episode number), and the
actions since are remembered. An environment that is deterministic given its seed, as gymnasium requires, is then
restored by the same reset and the same actions.
"""

from __future__ import annotations

import difflib
import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.core.data.request import DataRequest
from chainrule.core.errors import RunFailed, UserError, missing_extra
from chainrule.data.dataset import Dataset, dataset_of
from chainrule.data.spec import MAY_LACK, Spec
from chainrule.systems.reinforcement.spaces import ContinuousSpace, DiscreteSpace, Space, space_from_json, space_of

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class EnvironmentSpec(Spec):
    """What a run must know of an environment: its id, its spaces, limits.

    Attributes:
        obs_size: numbers in an observation; of discrete ones, how many there are.
        num_actions: actions to choose from; of continuous ones, numbers in an action.
        action_start: the number that the environment gives to the first discrete action.
        observation, action: the spaces as JSON, where these are no vector and not discrete.
    """

    id: str
    obs_size: int
    num_actions: int
    action_start: int = 0
    max_episode_steps: int | None = None
    reward_threshold: float | None = None
    observation: dict[str, Any] | None = field(default=None, metadata=MAY_LACK)
    action: dict[str, Any] | None = field(default=None, metadata=MAY_LACK)

    @property
    def observations(self) -> Space:
        return ContinuousSpace((self.obs_size,)) if self.observation is None else space_from_json(self.observation)

    @property
    def actions(self) -> Space:
        if self.action is None:
            return DiscreteSpace(self.num_actions, self.action_start)
        return space_from_json(self.action)


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
            policy: actions (n,) or (n, ...) for observations (n, D) or (n,); n falls as episodes end.
            numbers: which episodes; each has its own seed.

        Returns:
            The undiscounted return of each episode, float64, and its length in steps, int64.
        """
        while len(self._pool) < len(numbers):
            self._pool.append(make(self.spec.id))
        seen, done = self.spec.observations, self.spec.actions
        returns, lengths = [0.0] * len(numbers), [0] * len(numbers)
        # All episodes at once; one that ends drops out, and the policy answers for those that remain.
        live = [(i, self._pool[i]) for i in range(len(numbers))]
        obs = np.array([seen.read(env.reset(seed=self.seed_of(numbers[i]))[0]) for i, env in live])
        while live:
            actions = done.for_environment(policy(torch.from_numpy(obs)))
            remaining, rows = [], []
            for (i, env), action in zip(live, actions, strict=True):
                row, reward, terminated, truncated, _ = env.step(action)
                returns[i] += float(reward)
                lengths[i] += 1
                if not (terminated or truncated):
                    remaining.append((i, env))
                    rows.append(seen.read(row))
            live, obs = remaining, np.array(rows)
        return torch.tensor(returns, dtype=torch.float64), torch.tensor(lengths)


class Step(NamedTuple):
    """What n environments answered: next_obs (n, ...), reward float32 (n,), terminated, truncated bool (n,).

    `next_obs` is what followed the action, also where the episode ended there; the first observation of the new
    episode is in `Environments.obs`.
    """

    next_obs: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray


class Environments:
    """Environments that are stepped together. `obs` is what each shows now: float32 (n, D), or int64 (n,) where discrete.

    `finished` lists (return, length) of the episodes that ended since the caller last cleared it.
    """

    def __init__(self, episodes: Episodes, count: int) -> None:
        self.episodes, self.count = episodes, count
        self._seen, self._done = episodes.spec.observations, episodes.spec.actions
        self._envs = [make(episodes.spec.id) for _ in range(count)]
        self._number = [-1] * count
        self._actions: list[list[Any]] = [[] for _ in range(count)]
        self._return = [0.0] * count
        self.finished: list[tuple[float, int]] = []
        self.obs = np.zeros((count, *self._seen.shape), self._seen.dtype)
        for lane in range(count):
            self._begin(lane, 0)

    def step(self, actions: Sequence[Any] | Tensor) -> Step:
        """Takes one action (n,) or (n, ...) in each environment; where the episode ends, the next one begins."""
        given = np.asarray(actions, self._done.dtype)
        next_obs = np.empty_like(self.obs)
        reward = np.empty(self.count, np.float32)
        terminated, truncated = np.empty(self.count, np.bool_), np.empty(self.count, np.bool_)
        ended = []
        for lane, (action, kept) in enumerate(zip(self._done.for_environment(given), given.copy(), strict=True)):
            row, r, over, cut, _ = self._envs[lane].step(action)
            next_obs[lane], reward[lane], terminated[lane], truncated[lane] = row, r, over, cut
            self._actions[lane].append(kept)
            self._return[lane] += float(r)
            if over or cut:
                ended.append(lane)
        if isinstance(self._seen, DiscreteSpace):
            next_obs -= self._seen.start
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
            "actions": [
                np.array(actions, self._done.dtype).reshape(-1, *self._done.shape) for actions in self._actions
            ],
            "obs": self.obs,
            "finished": list(self.finished),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        # The same reset and the same actions lead back to the same state.
        for lane, (number, actions) in enumerate(zip(state["number"], state["actions"], strict=True)):
            self._begin(lane, number)
            for action in self._done.for_environment(actions):
                row, r, *_ = self._envs[lane].step(action)
                self._return[lane] += float(r)
                self.obs[lane] = self._seen.read(row)
            self._actions[lane] = list(np.asarray(actions))
        if not np.array_equal(self.obs, state["obs"], equal_nan=True):
            raise RunFailed(
                f"{self.episodes.spec.id} was not restored by the same seed and the same actions: "
                "it draws numbers elsewhere than from its own generator, and a run in it cannot be resumed"
            )
        self.finished = [tuple(pair) for pair in state["finished"]]

    def _begin(self, lane: int, number: int) -> None:
        obs, _ = self._envs[lane].reset(seed=self.episodes.seed_of(lane, number))
        self.obs[lane] = self._seen.read(obs)
        self._number[lane], self._actions[lane], self._return[lane] = number, [], 0.0


@dataclass(frozen=True)
class Takes:
    """What an agent can take: which kinds of spaces, and what to say to an environment that has another.

    Attributes:
        actions: `discrete`, `continuous`, or both.
        vectors: whether observations must be vectors, and not single numbers or images.
        why, cure: of discrete actions, where continuous ones are refused.
    """

    actions: tuple[str, ...] = ("discrete", "continuous")
    vectors: bool = False
    why: str = "this agent chooses among actions"
    cure: str = "an environment with discrete actions, such as CartPole-v1, Acrobot-v1 or LunarLander-v3"


VALUES_OF_ACTIONS = Takes(
    ("discrete",), vectors=True, why="Q-learning takes the largest of one value for each action"
)  # a network with an output for each action, as DQN has
ANYTHING = Takes()


def load_environment(request: DataRequest, takes: Takes = VALUES_OF_ACTIONS) -> Dataset[EnvironmentSpec, Episodes]:
    """The run's environment; its "data" are episodes. Spec: what `environment_spec` gives.

    Raises:
        UserError: a run folder names a module of environments that the user has not named; as `environment_spec`.
    """
    for name in (request.source, str((request.spec or {}).get("id"))):
        module, colon, _ = name.partition(":")
        if colon and request.own is not None:
            request.own.allow_module("environment", module)

    def read() -> tuple[EnvironmentSpec, dict[str, Episodes]]:
        spec = environment_spec(request.source, takes)
        return spec, {split: Episodes(spec, split, request.seed if split == "train" else 0) for split in SPLITS}

    return dataset_of(request, EnvironmentSpec, read)


def environment_spec(name: str, takes: Takes = VALUES_OF_ACTIONS) -> EnvironmentSpec:
    """What a run must know of an environment: id, its spaces, limits.

    Raises:
        UserError: for an unknown environment, and for one with a space that the agent cannot take.
    """
    env = make(name)
    seen, done = env.observation_space, env.action_space
    action = _action_space(done, name, takes)
    vector = isinstance(obs := _observation_space(seen, name, takes), ContinuousSpace) and len(obs.shape) == 1
    obs_size = obs.n if isinstance(obs, DiscreteSpace) else math.prod(obs.shape)
    num_actions = action.n if isinstance(action, DiscreteSpace) else math.prod(action.shape)
    assert env.spec is not None
    facts = repr((name, seen, done, env.spec.max_episode_steps))
    return EnvironmentSpec(
        id=name,
        obs_size=obs_size,
        num_actions=num_actions,
        action_start=action.start if isinstance(action, DiscreteSpace) else 0,
        max_episode_steps=env.spec.max_episode_steps,
        reward_threshold=env.spec.reward_threshold,
        observation=None if vector else obs.to_json(),
        action=None if isinstance(action, DiscreteSpace) else action.to_json(),
        splits={
            "train": "reset seeds decided by the run's seed",
            "val": "reset seeds of their own, the same for every run",
            "test": "reset seeds of their own, the same for every run",
        },
        counts={"obs": obs_size, "actions": num_actions},
        fingerprint=hashlib.blake2b(facts.encode(), digest_size=6).hexdigest(),
    )


def _action_space(space: Any, name: str, takes: Takes) -> Space:
    from gymnasium.spaces import Discrete

    if "continuous" not in takes.actions and not isinstance(space, Discrete):
        raise UserError(
            f"the action space of {name} is not discrete",
            where="action space",
            expected=f"Discrete: {takes.why}",
            found=space,
            cure=takes.cure,
        )
    found = space_of(space, "actions", name)
    if found.kind not in takes.actions:
        raise UserError(
            f"the action space of {name} is not continuous", where="action space", expected="Box", found=space
        )
    return found


def _observation_space(space: Any, name: str, takes: Takes) -> Space:
    from gymnasium.spaces import Box

    if takes.vectors and (not isinstance(space, Box) or len(space.shape) != 1):
        raise UserError(
            f"the observations of {name} are not vectors",
            where="observation space",
            expected="Box of shape (D,)",
            found=space,
            cure="an environment with such observations, or a wrapper such as gymnasium.wrappers.FlattenObservation",
        )
    return space_of(space, "observations", name)


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
