"""Q-learning with experience replay, MetaQNN (Baker, Gupta, Naik and Raskar, arXiv:1611.02167)."""

import math
from typing import NamedTuple

from scipy.stats import rankdata

from ..architecture import Architecture, Query
from ..errors import check_integer, check_range
from ..spaces.base import SearchSpace
from .base import Strategy

State = tuple[int, tuple[int, ...]]  # number of the choice, the last `memory` decisions before it
START = 0.5  # Q of what was never updated; above the mean reward if power > 1, so that what is untried gets tried


class Transition(NamedTuple):
    """One decision of an architecture. after: the state it leads to and what is allowed there; None at the end."""

    state: State
    action: int
    after: tuple[State, tuple[int, ...]] | None


class QLearning(Strategy):
    """Decides epsilon-greedily by a table Q(state, candidate), learned from replayed answers with discount 1:

        Q(s, u) <- (1 - lr) Q(s, u) + lr * (r + max over allowed u' of Q(s', u')),

    where r is 0 but at the last decision, whose target is the reward alone. The state is the number of the choice and
    the last `memory` decisions: the paper's is the last layer and its depth, which `memory=1` is; what came
    before is forgotten, so Q is an average over it, except for what is `allowed`.
    After every tell `replays` architectures are drawn from all told, and updated from last decision to first.
    The paper's reward is the accuracy; here it is the quantile of a score among all that were told, to the `power`,
    so scores may have any scale, and a failed one is the worst.

    Epsilon is 1 for the first `explore` asks, then 0.9, 0.8, ... down to `final` for `step` asks each, and stays there
    (paper: 1500, then 100 or 150 each, to 0.1). An architecture that was asked before is drawn again, up to `redraws`
    times, as a repeated query would tell nothing; the paper takes its stored score.
    memory: decisions. lr: in (0, 1]. final: in [0, 1]. Raises InputError for anything out of range.
    """

    def __init__(
        self,
        space: SearchSpace,
        seed: int = 0,
        metric: str = "accuracy",
        memory: int = 1,
        lr: float = 0.2,
        replays: int = 100,
        explore: int = 30,
        step: int = 5,
        final: float = 0.1,
        power: float = 3.0,
        redraws: int = 20,
    ) -> None:
        super().__init__(space, seed, metric)
        check_integer("strategy.memory", memory, 0)
        check_range("strategy.lr", lr, 0.0, 1.0, open_low=True)
        check_integer("strategy.replays", replays, 1)
        check_integer("strategy.explore", explore, 0)
        check_integer("strategy.step", step, 1)
        check_range("strategy.final", final, 0.0, 1.0)
        check_range("strategy.power", power, 0.0, open_low=True)
        check_integer("strategy.redraws", redraws, 0)
        self.memory, self.lr, self.replays, self.power = memory, lr, replays, power
        self.explore, self.step, self.final, self.redraws = explore, step, final, redraws
        self.q: dict[State, list[float]] = {}
        self.scores: dict[Architecture, float] = {}
        self.paths: list[list[Transition]] = []  # in the order of `scores`, each from last decision to first
        self.asked: set[Architecture] = set()
        self.asks = 0

    def epsilon(self, asks: int) -> float:
        """The probability of a random decision, after so many asks."""
        tenths = 10 if asks < self.explore else 9 - (asks - self.explore) // self.step
        return max(self.final, tenths / 10)

    def ask(self) -> Query:
        epsilon = self.epsilon(self.asks)
        self.asks += 1
        for _ in range(self.redraws + 1):
            architecture = self.space.sample(self.rng) if epsilon == 1 else self._decided(epsilon)
            if architecture not in self.asked:
                break
        self.asked.add(architecture)
        return Query(architecture)

    def learn(self, query: Query, score: float) -> None:
        architecture = query.architecture
        if architecture not in self.scores:
            self.paths.append(self._transitions(architecture.decisions))
        self.scores[architecture] = max(score, self.scores.get(architecture, -math.inf))
        ranks = rankdata(list(self.scores.values()))
        rewards = (((ranks - 0.5) / len(ranks)) ** self.power).tolist()
        for i in self.rng.choices(range(len(self.paths)), k=self.replays):
            self._update(self.paths[i], rewards[i])

    def _decided(self, epsilon: float) -> Architecture:
        decisions: tuple[int, ...] = ()
        while len(decisions) < len(self.space.choices):
            allowed = self.space.allowed(decisions)
            values = self._values(self._state(decisions))
            best = max(values[k] for k in allowed)
            greedy = [k for k in allowed if values[k] == best]
            decisions += (self.rng.choice(allowed if self.rng.random() < epsilon else greedy),)
        return Architecture(self.space.fingerprint, decisions)

    def _update(self, path: list[Transition], reward: float) -> None:
        for state, action, after in path:
            target = reward
            if after is not None:
                values = self._values(after[0])
                target = max(values[k] for k in after[1])
            values = self._values(state)
            values[action] += self.lr * (target - values[action])

    def _values(self, state: State) -> list[float]:
        return self.q.setdefault(state, [START] * len(self.space.choices[state[0]].candidates))

    def _state(self, prefix: tuple[int, ...]) -> State:
        return len(prefix), prefix[max(0, len(prefix) - self.memory) :]

    def _transitions(self, decisions: tuple[int, ...]) -> list[Transition]:
        path, after = [], None
        for i in reversed(range(len(decisions))):
            prefix = decisions[:i]
            path.append(Transition(self._state(prefix), decisions[i], after))
            after = (self._state(prefix), self.space.allowed(prefix))
        return path
