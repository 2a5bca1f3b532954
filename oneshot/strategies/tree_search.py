"""Monte Carlo tree search, UCT (Kocsis and Szepesvari, 2006), for NAS as by Wistuba (arXiv:1712.07420) and AlphaX."""

import math
from collections import defaultdict

import numpy as np
from scipy.stats import rankdata

from ..architecture import Architecture, Query
from ..errors import check_range
from ..spaces.base import SearchSpace
from .base import Strategy

Decisions = tuple[int, ...]
TRIES = 1000  # of a rollout through one group


class TreeSearch(Strategy):
    """Descends the tree of decisions by upper confidence bounds, and from the first untried child at random.

    A node is a prefix of decisions, its children are `allowed` after it. An ask goes to an untried child where there
    is one, else to the child of largest

        Q(child) + exploration * sqrt(ln N(node) / N(child)),

    N: asks through a node, Q: mean reward of the answers below it. AlphaX (Wang et al., arXiv:1903.11059) and Wistuba
    take accuracy as reward; here it is the quantile of a score among all that were told, to the `power`, so any
    increasing transformation of the scores gives the same search, and a failed one is the worst. A power above 1
    makes the mean follow a subtree's best architectures, as a search wants a maximum and not a mean.
    Every prefix of an asked architecture is kept, not one new node an ask: what a rollout found counts for nodes that
    are reached later. N counts asks whose answers are on their way, Q does not (as WU-UCT, Liu et al.,
    arXiv:1810.11755), so asks that run ahead spread. Subtrees that are wholly asked are closed, so no architecture is
    asked twice until the space is exhausted; then asks are random.

    Rollouts are uniform over the valid completions of a group, by rejection; where that fails a thousand times, by
    `allowed` one choice after the other. exploration: in units of reward, which lies in [0, 1]; 0 is greedy.
    power: above 0. Raises InputError for anything out of range.
    Reference: Kocsis and Szepesvari, Bandit based Monte-Carlo planning, ECML 2006.
    """

    def __init__(
        self,
        space: SearchSpace,
        seed: int = 0,
        metric: str = "accuracy",
        exploration: float = 0.4,
        power: float = 2.0,
    ) -> None:
        super().__init__(space, seed, metric)
        check_range("strategy.exploration", exploration, 0.0)
        check_range("strategy.power", power, 0.0, open_low=True)
        self.exploration, self.power = exploration, power
        self.visits: dict[Decisions, int] = {}
        self.closed: set[Decisions] = set()  # every architecture below was asked
        self.scores: dict[Architecture, float] = {}
        self.below: defaultdict[Decisions, list[int]] = defaultdict(list)  # places in `scores`
        self.rewards = np.zeros(0)  # in the order of `scores`

    def ask(self) -> Query:
        if () in self.closed:
            return Query(self.space.sample(self.rng))
        prefix: Decisions = ()
        while len(prefix) < len(self.space.choices):
            children = [(*prefix, k) for k in self.space.allowed(prefix)]
            untried = [child for child in children if child not in self.visits]
            if untried:
                prefix = self._rollout(self.rng.choice(untried))
            else:
                open_children = [child for child in children if child not in self.closed]
                prefix = max(open_children, key=lambda child: self.bound(child, self.visits[child[:-1]]))
        self._visit(prefix)
        return Query(Architecture(self.space.fingerprint, prefix))

    def learn(self, query: Query, score: float) -> None:
        architecture = query.architecture
        if architecture not in self.scores:
            if architecture.decisions not in self.visits:  # told without having been asked for
                self._visit(architecture.decisions)
            for i in range(len(architecture.decisions) + 1):
                self.below[architecture.decisions[:i]].append(len(self.scores))
        self.scores[architecture] = max(score, self.scores.get(architecture, -math.inf))
        ranks = rankdata(list(self.scores.values()))
        self.rewards = ((ranks - 0.5) / len(ranks)) ** self.power

    def bound(self, prefix: Decisions, parent_visits: int) -> float:
        """Q + exploration * sqrt(ln N(parent) / N) of a node that was asked; without an answer Q is the mean of all."""
        told = self.below.get(prefix) or self.below.get(())
        q = float(self.rewards[told].mean()) if told else 0.0
        return q + self.exploration * math.sqrt(math.log(parent_visits) / self.visits[prefix])

    def _visit(self, decisions: Decisions) -> None:
        for i in range(len(decisions) + 1):
            self.visits[decisions[:i]] = self.visits.get(decisions[:i], 0) + 1
        self.closed.add(decisions)
        for i in reversed(range(len(decisions))):
            prefix = decisions[:i]
            if any((*prefix, k) not in self.closed for k in self.space.allowed(prefix)):
                break
            self.closed.add(prefix)

    def _rollout(self, prefix: Decisions) -> Decisions:
        """A random valid completion. Group by group, as what is allowed in one rarely depends on another."""
        choices = self.space.choices
        while len(prefix) < len(choices):
            end = len(prefix)
            while end < len(choices) and choices[end].group == choices[len(prefix)].group:
                end += 1
            prefix = self._drawn(prefix, end)
        return prefix

    def _drawn(self, prefix: Decisions, end: int) -> Decisions:
        for _ in range(TRIES):
            drawn = prefix
            while len(drawn) < end:
                k = self.rng.randrange(len(self.space.choices[len(drawn)].candidates))
                if k not in self.space.allowed(drawn):
                    break
                drawn += (k,)
            else:
                return drawn
        while len(prefix) < end:
            prefix += (self.rng.choice(self.space.allowed(prefix)),)
        return prefix
