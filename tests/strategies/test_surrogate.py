"""Expected improvement, the pool, the encodings, the forest's trees and pick, and what a limit of the history keeps."""

import math
import random

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm
from sklearn.ensemble import RandomForestRegressor

from oneshot.architecture import Query
from oneshot.spaces import NASBench201
from oneshot.strategies import GaussianProcess, RandomForest, random_forest
from oneshot.strategies.random_forest import grown
from oneshot.strategies.surrogate import expected_improvement, kept, normal_scores, one_hot, pool

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

    def logged(rows, values, *arguments):
        forests.append((grown(rows, values, *arguments), len(rows), values))
        return forests[-1][0]

    monkeypatch.setattr(random_forest, "grown", logged)
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
        votes = [float(tree.predict(SPACE.one_hot(a).flatten().numpy()[None])[0]) for tree in forest]
        mean, deviation = np.mean(votes), max(np.std(votes), 1e-12)

        def integrand(z, mean=mean, deviation=deviation):
            return max(mean + deviation * z - max(values), 0.0) * norm.pdf(z)

        gains.append(quad(integrand, -12, 12, limit=200)[0])
    assert query.architecture == candidates[int(np.argmax(gains))]


@pytest.mark.parametrize(("count", "features"), [(2, 1.0), (30, 0.6), (300, 0.3)])
def test_the_trees_are_those_of_scikit_learns_forest(count, features):
    rng = random.Random(count)
    rows = one_hot(SPACE, [SPACE.sample(rng) for _ in range(count)])
    values = normal_scores([rng.randrange(50) for _ in range(count)])
    expected = RandomForestRegressor(7, max_features=features, random_state=count).fit(rows, values).estimators_
    others = one_hot(SPACE, [SPACE.sample(rng) for _ in range(200)])
    for tree, other in zip(grown(rows, values, 7, features, count), expected, strict=True):
        assert tree.tree_.node_count == other.tree_.node_count
        assert (tree.predict(others) == other.predict(others)).all()


def test_one_half_of_what_is_kept_is_the_best_and_the_other_the_newest():
    rng = random.Random(0)
    scores = {SPACE.sample(rng): rng.randrange(30) for _ in range(500)}
    told = list(scores)
    assert kept(scores, None) == kept(scores, len(told)) == told
    found = kept(scores, 101)
    best = sorted(told, key=lambda a: (-scores[a], told.index(a)))[:51]
    newest = [a for a in reversed(told) if a not in best][:50]
    assert set(found) == {*best, *newest} and found == sorted(found, key=told.index)


def separable(query):
    return {"accuracy": sum((3 * i + k * k) % 7 for i, k in enumerate(query.architecture.decisions))}


SURROGATES = pytest.mark.parametrize("surrogate", [GaussianProcess, RandomForest])


@SURROGATES
def test_up_to_the_limit_nothing_changes(surrogate):
    limited, free = (surrogate(SPACE, seed=3, pool=30, history=limit) for limit in (40, None))
    differ = None
    for i in range(80):
        queries = limited.ask(), free.ask()
        if queries[0] != queries[1]:
            differ = i
            break
        for strategy, query in zip((limited, free), queries, strict=True):
            strategy.tell(query, separable(query))
    assert differ is not None and differ > 40  # the ask that follows 40 answers is still the same


@SURROGATES
def test_the_work_of_an_ask_does_not_grow(surrogate, monkeypatch):
    """With a limit of 20: at most 20 architectures are fitted, and for about 20 ln n of n asks."""
    fits, compare = [], surrogate.compare

    def counted(self, told):
        fits.append(len(told))
        return compare(self, told)

    monkeypatch.setattr(surrogate, "compare", counted)
    strategy = surrogate(SPACE, startup=10, pool=25, history=20)
    after = []
    for _ in range(300):
        query = strategy.ask()
        strategy.tell(query, separable(query))
        after.append(len(fits))
    assert len(strategy.seen) == 300 and max(fits) == 20
    assert after[19] == 10  # one for each ask up to the limit
    assert after[39] - after[19] in (10, 11) and after[299] - after[199] < 10  # each serves two, then 10 to 15
    for _ in range(30):  # answers from elsewhere: what was promising is not asked again
        query = Query(strategy.promising[0]) if strategy.promising else Query(SPACE.sample(random.Random(1)))
        strategy.tell(query, separable(query))
    asked = strategy.ask().architecture
    assert asked not in strategy.scores
