"""The estimator against Optuna's own sampler, query for query, and what a limit of the history forgets."""

import math
import random
import warnings

import numpy as np
import pytest
from helpers.support import small_space
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import TPESampler

from oneshot.architecture import Query
from oneshot.spaces import NASBench201
from oneshot.strategies import TPE, Strategy, parzen
from oneshot.strategies.parzen import Density, Parzen, rising
from oneshot.strategies.trials import Trials

SPACE = NASBench201((1, 8, 8), 10)


class OptunasTPE(Strategy):
    """The same strategy on an Optuna study, which keeps every trial."""

    def __init__(self, space, seed=0, multivariate=True, startup=20, candidates=64, redraws=10):
        super().__init__(space, seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            sampler = TPESampler(
                n_startup_trials=startup,
                n_ei_candidates=candidates,
                multivariate=multivariate,
                group=multivariate,
                seed=self.rng.randrange(2**31),
            )
        self.trials = Trials(space, sampler, ["maximize"], self._parameter, redraws)

    def ask(self):
        return Query(self.trials.ask())

    def learn(self, query, score):
        self.trials.tell(query.architecture, [score] if math.isfinite(score) else None)

    def _parameter(self, prefix):
        allowed = self.space.allowed(prefix)
        return f"{len(prefix)}:{','.join(map(str, allowed))}", allowed


def score(query):
    """A separable score with many ties, and some failures."""
    decisions = query.architecture.decisions
    chance = random.Random(str(decisions)).random()
    return {} if chance < 0.08 else {"accuracy": sum((3 * i + k) % 5 for i, k in enumerate(decisions)) - (chance > 0.7)}


def play(strategy, count, ahead, seed):
    """Asks and tells in a random order, with answers to queries that were not asked; the asks."""
    rng, asked, waiting = random.Random(seed), [], []
    while len(asked) < count:
        if waiting and (len(waiting) >= ahead or rng.random() < 0.3):
            query = waiting.pop(rng.randrange(len(waiting)))
            strategy.tell(query, score(query))
        elif rng.random() < 0.05:
            query = Query(strategy.space.sample(rng))
            strategy.tell(query, score(query))
        else:
            asked.append(strategy.ask().architecture)
            waiting.append(Query(asked[-1]))
    return asked


@pytest.mark.parametrize("multivariate", [True, False])
@pytest.mark.parametrize("space", [SPACE, small_space(nodes=3)], ids=["nasbench201", "darts"])
@pytest.mark.parametrize(("ahead", "redraws"), [(1, 2), (5, 0)])
def test_the_queries_are_those_of_optunas_sampler(space, multivariate, ahead, redraws):
    count = 70 if multivariate else 45
    knobs = {"seed": 5 + ahead, "multivariate": multivariate, "startup": 12, "candidates": 16, "redraws": redraws}
    found, expected = (play(make(space, **knobs), count, ahead, ahead) for make in (TPE, OptunasTPE))
    assert found == expected


def test_the_weights_are_optunas_also_with_many_answers():
    expected = OptunasTPE(SPACE, seed=2, redraws=0)
    found = TPE(SPACE, seed=2, redraws=0)
    rng = random.Random(0)
    for query in [Query(SPACE.sample(rng)) for _ in range(320)]:
        for strategy in (found, expected):
            strategy.tell(query, score(query))
    for _ in range(6):
        query = found.ask()
        assert query == expected.ask()
        for strategy in (found, expected):
            strategy.tell(query, score(query))


def test_the_log_density_is_that_of_the_tables():
    rows = np.array([[0, 2], [1, 2], [1, 0]] * 12)
    density = Density(rows, [2, 3])
    weights = np.append(rising(36), 1.0)
    weights /= weights.sum()
    total = 0.0
    for i in range(2):
        for j in range(3):
            first = [(1 / 37 + (row[0] == i)) / (1 + 2 / 37) for row in rows] + [1 / 2]
            second = [(1 / 37 + (row[1] == j)) / (1 + 3 / 37) for row in rows] + [1 / 3]
            expected = sum(w * a * b for w, a, b in zip(weights, first, second, strict=True))
            assert np.exp(density.log(np.array([[i, j]]))) == pytest.approx([expected])
            total += expected
    assert total == pytest.approx(1)
    drawn = density.sample(np.random.RandomState(0), 20_000)
    share = (drawn == [1, 2]).all(1).mean()
    assert share == pytest.approx(float(np.exp(density.log(np.array([[1, 2]]))[0])), abs=0.015)


def test_up_to_the_limit_nothing_changes():
    limited, free = TPE(SPACE, seed=3, history=60, redraws=3), TPE(SPACE, seed=3, history=None, redraws=3)
    differ = []
    for i in range(120):
        first, second = limited.ask(), free.ask()
        if first != second:
            differ.append(i)
            break
        limited.tell(first, {"accuracy": sum(first.architecture.decisions)})
        free.tell(second, {"accuracy": sum(second.architecture.decisions)})
    assert differ and differ[0] > 60  # the ask that follows 60 answers is still the same


def test_the_best_and_the_newest_answers_are_kept():
    sampler = Parzen(0, True, 5, 8, 100)
    sampler.values["x"] = (0, 1)
    rng = random.Random(0)
    scores = [rng.randrange(50) for _ in range(1000)]
    for value in scores:
        sampler.tell(sampler.start({"x": 0}), {"x": value % 2}, value)
    best = sorted(range(1000), key=lambda n: (-scores[n], n))[:10]  # 10 of 100 are good
    newest = [n for n in reversed(range(1000)) if n not in best][:90]
    assert sorted(sampler.told) == sorted(best + newest)


def test_the_work_of_a_draw_does_not_grow(monkeypatch):
    rows = []

    class Counted(Density):
        def __init__(self, found, widths):
            rows.append(len(found))
            super().__init__(found, widths)

    monkeypatch.setattr(parzen, "Density", Counted)
    strategy = TPE(SPACE, history=50, candidates=8)
    fits = []
    for _ in range(400):
        before = len(rows)
        query = strategy.ask()
        fits.append(len(rows) - before)
        strategy.tell(query, score(query))
    assert max(rows) == 45 and set(fits[50:]) == {2}  # one pair of densities for an ask, however often it draws
    assert len(strategy.parzen.told) == 50 and not strategy.parzen.open and not strategy.waiting
