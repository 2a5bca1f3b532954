"""Q-learning with experience replay, MetaQNN (Baker, Gupta, Naik and Raskar, arXiv:1611.02167)."""

import math
from typing import NamedTuple

from scipy.stats import rankdata

from ..architecture import Architecture, Query
from ..errors import check_integer, check_range
from ..spaces.base import SearchSpace
from .base import Strategy

State = tuple[int, tuple[int, ...]]  # number of the choice, the last `memory` decisions before it
START = 0.5  # first Q; if power > 1 it is above the mean reward, so that untried candidates are tried


class Transition(NamedTuple):
    """One decision of an architecture.

    Args:
        state: The state in which the decision is taken.
        action: Index of the chosen candidate.
        after: The next state and the candidates that are allowed there; None after the last decision.
    """

    state: State
    action: int
    after: tuple[State, tuple[int, ...]] | None


class QLearning(Strategy):
    """Q-learning with experience replay (MetaQNN).

    Decisions are epsilon-greedy in a table Q(state, candidate). The table learns from replayed answers with discount 1:

        Q(s, u) <- (1 - lr) Q(s, u) + lr * (r + max over allowed u' of Q(s', u')).

    r is 0 except at the last decision, whose target is the reward alone. After every answer `replays` architectures are
    drawn from all that have a score, and each is updated from its last decision to its first. Epsilon is 1 for the
    first `explore` asks, then 0.9, 0.8, ... for `step` asks each, down to `final`, where it stays.

    Paper: lr 0.01, epsilon 1 for 1500 asks, then 100 or 150 asks at each value, down to 0.1.

    Differences:
        - The state is the number of the choice and the last `memory` decisions. `memory=1` matches the paper's state,
          the last layer and its depth. Earlier decisions are forgotten, so Q is an average over them; only the set of
          allowed candidates still depends on them.
        - The paper's reward is the accuracy. Here it is the quantile of a score among all scores so far, to a power.
          Scores may have any scale, and a failed query is the worst.
        - An architecture that was asked before is drawn again, up to `redraws` times, because the same query gives
          nothing new; the paper uses its stored score.

    Args:
        space: The search space.
        seed: Seed of all random draws of the strategy.
        metric: Name of the score that is maximized.
        memory: Number of last decisions in the state, at least 0.
        lr: Learning rate of the table, in (0, 1].
        replays: Number of architectures that are updated after every answer, at least 1.
        explore: Number of asks at epsilon 1, at least 0.
        step: Number of asks at each later value of epsilon, at least 1.
        final: The last epsilon, in [0, 1].
        power: Exponent of the quantile, above 0.
        redraws: How often an architecture that was asked before is drawn again, at least 0.

    Raises:
        InputError: If an argument is out of range.

    Reference:
        Baker, Gupta, Naik and Raskar, Designing neural network architectures using reinforcement learning,
        arXiv:1611.02167.
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
        """Return the probability of a random decision, after this number of asks."""
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
