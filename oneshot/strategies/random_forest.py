"""Bayesian optimization with a random forest, as SMAC does (Hutter, Hoos and Leyton-Brown, 2011)."""

import math

import numpy as np
from sklearn.ensemble import RandomForestRegressor

from ..architecture import Architecture, Query
from ..errors import check_integer, check_range
from ..spaces.base import SearchSpace
from .base import Strategy, unseen
from .surrogate import expected_improvement, normal_scores, one_hot, pool


class RandomForest(Strategy):
    """Bayesian optimization with a random forest, as in SMAC.

    The architecture with the largest expected improvement in a pool of candidates is asked next. Mean and spread of the
    prediction are those of the trees. Architectures are encoded one-hot, and a new forest is fitted for every ask.

    SMAC climbs to the candidates that it compares. Here half of them are random and half are mutations of the best
    ones. Scores are mapped to normal quantiles of their ranks.

    Args:
        space: The search space.
        seed: Seed of all random draws of the strategy.
        metric: Name of the score that is maximized.
        startup: Number of finite scores before the first fit, at least 2; until then asks are random.
        trees: Number of trees, at least 2.
        features: Share of the features that a split may use, in (0, 1].
        pool: Number of candidates that are compared for an ask, at least 1.

    Raises:
        InputError: If an argument is out of range.

    Reference:
        Hutter, Hoos and Leyton-Brown, Sequential model-based optimization for general algorithm configuration, LION
        2011.
    """

    def __init__(
        self,
        space: SearchSpace,
        seed: int = 0,
        metric: str = "accuracy",
        startup: int = 20,
        trees: int = 10,
        features: float = 0.6,
        pool: int = 200,
    ) -> None:
        super().__init__(space, seed, metric)
        check_integer("strategy.startup", startup, 2)
        check_integer("strategy.trees", trees, 2)
        check_range("strategy.features", features, 0.0, 1.0, open_low=True)
        check_integer("strategy.pool", pool, 1)
        self.startup, self.trees, self.features, self.size = startup, trees, float(features), pool
        self.scores: dict[Architecture, float] = {}
        self.seen: set[Architecture] = set()

    def ask(self) -> Query:
        if len(self.scores) < self.startup:
            architecture = unseen(self.space, self.rng, self.seen)
        else:
            architecture = self._most_promising()
        self.seen.add(architecture)
        return Query(architecture)

    def learn(self, query: Query, score: float) -> None:
        self.seen.add(query.architecture)
        if math.isfinite(score):
            self.scores[query.architecture] = score

    def _most_promising(self) -> Architecture:
        values = normal_scores(list(self.scores.values()))
        seed = self.rng.randrange(2**31)
        forest = RandomForestRegressor(self.trees, max_features=self.features, random_state=seed)
        forest.fit(one_hot(self.space, list(self.scores)), values)
        candidates = pool(self.space, self.rng, self.scores, self.seen, self.size)
        rows = one_hot(self.space, candidates)
        votes = np.stack([tree.predict(rows, check_input=False) for tree in forest.estimators_])
        gain = expected_improvement(votes.mean(0), votes.std(0), values.max())
        return candidates[int(gain.argmax())]
