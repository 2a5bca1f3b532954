"""Bayesian optimization with a random forest, as SMAC does (Hutter, Hoos and Leyton-Brown, 2011)."""

import math

import numpy as np
from sklearn.ensemble import RandomForestRegressor

from oneshot.architecture import Architecture, Query
from oneshot.errors import check_integer
from oneshot.spaces.base import SearchSpace
from oneshot.strategies.base import Strategy
from oneshot.strategies.surrogate import encode, expected_improvement, pool


class RandomForest(Strategy):
    """Expected improvement under the mean and the spread of the trees, over a pool of candidates; one-hot encoding.

    startup: asks that are random. trees: of the forest, fitted anew for every ask. pool: architectures compared.
    Raises InputError for anything out of range.
    """

    def __init__(
        self,
        space: SearchSpace,
        seed: int = 0,
        metric: str = "accuracy",
        startup: int = 20,
        trees: int = 30,
        pool: int = 200,
    ) -> None:
        super().__init__(space, seed, metric)
        for name, value in (("startup", startup), ("trees", trees), ("pool", pool)):
            check_integer(f"strategy.{name}", value, 2)
        self.startup, self.trees, self.size = startup, trees, pool
        self.scores: dict[Architecture, float] = {}
        self.asked: set[Architecture] = set()

    def ask(self) -> Query:
        candidates = pool(self.space, self.rng, self.scores, self.asked, self.size)
        seed = self.rng.randrange(2**31)
        if len(self.scores) >= self.startup:
            forest = RandomForestRegressor(self.trees, min_samples_leaf=1, max_features=0.6, random_state=seed)
            values = np.array(list(self.scores.values()))
            forest.fit(encode(self.space, list(self.scores)), values)
            rows = encode(self.space, candidates).astype(np.float32)
            votes = np.stack([tree.predict(rows) for tree in forest.estimators_])
            gain = expected_improvement(votes.mean(0), votes.std(0), values.max())
            architecture = candidates[int(gain.argmax())]
        else:
            architecture = candidates[0]
        self.asked.add(architecture)
        return Query(architecture)

    def learn(self, query: Query, score: float) -> None:
        if math.isfinite(score):
            self.scores[query.architecture] = score
