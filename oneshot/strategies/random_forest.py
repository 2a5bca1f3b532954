"""Bayesian optimization with a random forest, as SMAC does (Hutter, Hoos and Leyton-Brown, 2011)."""

from collections.abc import Sequence

import numpy as np
from sklearn.tree import DecisionTreeRegressor

from ..architecture import Architecture
from ..errors import check_integer, check_range
from ..spaces.base import SearchSpace
from .surrogate import Numbers, Surrogate, expected_improvement, normal_scores, one_hot, pool

LARGEST_SEED = 2**31 - 1


class RandomForest(Surrogate):
    """Bayesian optimization with a random forest, as in SMAC.

    The architecture with the largest expected improvement in a pool of candidates is asked next. Mean and spread of the
    prediction are those of the trees. Architectures are encoded one-hot, and a new forest is fitted for every ask; with
    more than `history` answers for several asks, see `Surrogate`.

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
        history: Largest number of answers that are fitted, the best and the newest ones, at least 2. With more, a
            forest serves several asks. None fits all, for every ask.

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
        history: int | None = 400,
    ) -> None:
        super().__init__(space, seed, metric, startup, pool, history)
        check_integer("strategy.trees", trees, 2)
        check_range("strategy.features", features, 0.0, 1.0, open_low=True)
        self.trees, self.features = trees, float(features)

    def compare(self, told: Sequence[Architecture]) -> tuple[list[Architecture], Numbers]:
        values = normal_scores([self.scores[a] for a in told])
        forest = grown(one_hot(self.space, told), values, self.trees, self.features, self.rng.randrange(2**31))
        candidates = pool(self.space, self.rng, self.scores, self.seen, self.size)
        rows = one_hot(self.space, candidates)
        votes = np.stack([tree.predict(rows, check_input=False) for tree in forest])
        return candidates, expected_improvement(votes.mean(0), votes.std(0), values.max())


def grown(rows: Numbers, values: Numbers, trees: int, features: float, seed: int) -> list[DecisionTreeRegressor]:
    """Grow the trees of scikit-learn's `RandomForestRegressor(trees, max_features=features, random_state=seed)`.

    The trees are the same. scikit-learn's class copies and checks so much that it takes twice the time.

    Args:
        rows: Encoded architectures, (rows, features) of float32.
        values: Value of each, (rows,) of float64.
        trees: Number of trees.
        features: Share of the features that a split may use, in (0, 1].
        seed: Seed of the trees.

    Returns:
        The trees.
    """
    forest = []
    for one in np.random.RandomState(seed).randint(LARGEST_SEED, size=trees).tolist():
        drawn = np.random.RandomState(one).randint(0, len(rows), len(rows))
        tree = DecisionTreeRegressor(max_features=features, random_state=one)
        counts = np.bincount(drawn, minlength=len(rows)).astype(float)
        forest.append(tree.fit(rows, values, sample_weight=counts, check_input=False))
    return forest
