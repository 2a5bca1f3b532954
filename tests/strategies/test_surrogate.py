"""Expected improvement, the pool, the encodings, and the forest's pick."""

import math
import random

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from oneshot.spaces import NASBench201
from oneshot.strategies import RandomForest, random_forest
from oneshot.strategies.surrogate import expected_improvement, normal_scores, one_hot, pool

SPACE = NASBench201((1, 8, 8), 10)


@pytest.mark.parametrize(("mean", "deviation", "best"), [(0.0, 1.0, 0.5), (2.0, 0.3, 1.0), (-1.0, 2.0, 1.0)])
def test_expected_improvement_is_its_integral(mean, deviation, best):
    def integrand(value):
        return (value - best) * norm.pdf(value, mean, deviation)

    expected, _ = quad(integrand, best, mean + 12 * deviation)
    found = expected_improvement(np.array([mean]), np.array([deviation]), best)
    assert found == pytest.approx([expected], rel=1e-6)


def test_expected_improvement_without_spread_is_the_gain():
    assert expected_improvement(np.array([1.5, 0.5]), np.zeros(2), 1.0) == pytest.approx([0.5, 0.0])


def test_normal_scores_keep_order_and_ties_and_have_no_outliers():
    found = normal_scores([0.1, -1e9, 0.3, 0.3])
    assert found[1] < found[0] < found[2] == found[3]
    assert found[1] == pytest.approx(norm.ppf(0.125)) and found[2] == pytest.approx(norm.ppf(0.75))


def test_one_hot_is_the_space_s():
    rng = random.Random(0)
    drawn = [SPACE.sample(rng) for _ in range(20)]
    rows = one_hot(SPACE, drawn)
    assert all((row == SPACE.one_hot(a).flatten().numpy()).all() for row, a in zip(rows, drawn, strict=True))


def test_half_of_a_pool_is_near_the_best_and_none_was_seen():
    rng = random.Random(0)
    told = {SPACE.sample(rng): i / 100 for i in range(100)}
    best = sorted(told, key=lambda a: -told[a])[:10]
    found = pool(SPACE, rng, told, set(told), 200)
    assert len(found) == len(set(found)) == 200 and not set(found) & set(told)

    def distance(a):
        return min(sum(x != y for x, y in zip(a.decisions, b.decisions, strict=True)) for b in best)

    assert 0.45 < np.mean([distance(a) <= 2 for a in found]) < 0.75  # some random ones are near by chance


def test_a_pool_of_an_exhausted_space_is_one_that_was_seen():
    rng = random.Random(0)

    class Small(NASBench201):
        def sample(self, rng):
            return self.architecture([rng.randrange(2)] + [0] * 5)

    space = Small((1, 8, 8), 10)
    found = pool(space, rng, {}, {space.sample(rng) for _ in range(50)}, 10)
    assert len(found) == 1 and space.is_valid(found[0].decisions)


def test_the_forest_asks_for_the_largest_expected_improvement(monkeypatch):
    """The forest's own trees, and the improvement by integration; failures are not among the told."""
    rng = random.Random(3)
    forests, candidates = [], [SPACE.sample(rng) for _ in range(30)]

    class LoggedEstimator(random_forest.RandomForestRegressor):
        def fit(self, rows, values):
            forests.append((self, len(rows), values))
            return super().fit(rows, values)

    monkeypatch.setattr(random_forest, "RandomForestRegressor", LoggedEstimator)
    monkeypatch.setattr(random_forest, "pool", lambda *arguments: candidates)
    strategy = RandomForest(SPACE, startup=20)
    for i in range(41):
        query = strategy.ask()
        if len(forests):
            break
        strategy.tell(query, {"accuracy": sum(query.architecture.decisions) if i % 2 else math.nan})
    forest, rows, values = forests[0]
    assert rows == 20 and len(values) == 20
    gains = []
    for a in candidates:
        votes = [float(tree.predict(SPACE.one_hot(a).flatten().numpy()[None])[0]) for tree in forest.estimators_]
        mean, deviation = np.mean(votes), max(np.std(votes), 1e-12)

        def integrand(z, mean=mean, deviation=deviation):
            return max(mean + deviation * z - max(values), 0.0) * norm.pdf(z)

        gains.append(quad(integrand, -12, 12, limit=200)[0])
    assert query.architecture == candidates[int(np.argmax(gains))]
