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
    """Expected improvement under the mean and the spread of the trees, over a pool of candidates; one-hot encoding.

    SMAC climbs to the candidates that it compares; here they are random and mutations of the best. Scores are mapped
    to normal quantiles of their ranks. startup: asks that are random. trees: of the forest, fitted anew for every
    ask. features: the share of features that a split may use. pool: architectures compared.
    Raises InputError for anything out of range.
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
