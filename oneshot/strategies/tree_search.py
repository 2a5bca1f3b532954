"""Monte Carlo tree search, UCT (Kocsis and Szepesvari, 2006), for NAS as by Wistuba (arXiv:1712.07420) and AlphaX."""

import math
from array import array
from collections import defaultdict
from functools import partial

import numpy as np
from scipy.stats import rankdata

from ..architecture import Architecture, Query
from ..errors import check_range
from ..spaces.base import SearchSpace
from .base import Strategy

Decisions = tuple[int, ...]
TRIES = 1000  # random completions of a group before they are built choice by choice


class TreeSearch(Strategy):
    """Monte Carlo tree search by upper confidence bounds (UCT).

    A node of the tree is a prefix of decisions; its children are the candidates that are `allowed` next. An ask
    descends to a random untried child if there is one, and completes it at random. Otherwise it goes to the child with
    the largest

        Q(child) + exploration * sqrt(ln N(node) / N(child)),

    where N is the number of asks through a node and Q the mean reward of the answers below it. Random completions are
    uniform over the valid completions of a group, by rejection. If a thousand draws fail, one choice is drawn after the
    other from what is `allowed`.

    Differences from AlphaX (arXiv:1903.11059) and Wistuba (arXiv:1712.07420):
        - They take the accuracy as the reward. Here the reward is the quantile of a score among all scores so far, to
          a power. Any increasing transformation of the scores gives the same search, and a failed query is the worst.
        - A power above 1 lets the mean follow the best architectures of a subtree, as a search wants a maximum and not
          a mean.
        - Every prefix of an asked architecture becomes a node, not only one new node for each ask. What a random
          completion found then counts for nodes that are reached later.
        - N also counts asks without an answer yet, Q does not (as in WU-UCT, Liu et al., arXiv:1810.11755). Asks that
          run ahead of the answers therefore spread out.
        - A subtree in which everything was asked is closed. No architecture is asked twice until the whole space has
          been asked; then asks are random.

    Args:
        space: The search space.
        seed: Seed of all random draws of the strategy.
        metric: Name of the score that is maximized.
        exploration: Weight of the second term, in units of reward, at least 0; rewards lie in [0, 1]. 0 is greedy.
        power: Exponent of the quantile, above 0.

    Raises:
        InputError: If an argument is out of range.

    Reference:
        Kocsis and Szepesvári, Bandit based Monte-Carlo planning, ECML 2006.
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
        self.closed: set[Decisions] = set()  # every architecture below them was asked
        self.scores: dict[Architecture, float] = {}
        self.below: defaultdict[Decisions, array[int]] = defaultdict(partial(array, "q"))  # places in `scores`
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
            if architecture.decisions not in self.visits:  # an answer without an ask
                self._visit(architecture.decisions)
            for i in range(len(architecture.decisions) + 1):
                self.below[architecture.decisions[:i]].append(len(self.scores))
        self.scores[architecture] = max(score, self.scores.get(architecture, -math.inf))
        ranks = rankdata(list(self.scores.values()))
        self.rewards = ((ranks - 0.5) / len(ranks)) ** self.power

    def bound(self, prefix: Decisions, parent_visits: int) -> float:
        """Compute Q + exploration * sqrt(ln N(parent) / N) of a node.

        Without an answer below the node, Q is the mean of all answers.

        Args:
            prefix: The decisions of a node that was asked before.
            parent_visits: N(parent), the number of asks through its parent.

        Returns:
            The upper confidence bound, in units of reward.
        """
        told = self.below.get(prefix) or self.below.get(())
        q = float(self.rewards[np.frombuffer(told, np.int64)].mean()) if told else 0.0  # a list would be copied
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
        """A random valid completion, group by group, since what is allowed in one group rarely depends on another."""
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
