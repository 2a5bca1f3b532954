"""The densities, and what a limit of the history forgets. test_optuna.py compares the queries with Optuna's."""

import random

import numpy as np
import pytest

from oneshot.spaces import NASBench201
from oneshot.strategies import TPE, parzen
from oneshot.strategies.parzen import Density, Parzen, rising

SPACE = NASBench201((1, 8, 8), 10)


def score(query):
    return {"accuracy": sum((3 * i + k) % 5 for i, k in enumerate(query.architecture.decisions))}


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
        limited.tell(first, score(first))
        free.tell(second, score(second))
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
