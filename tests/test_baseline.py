"""A strategy, an estimator, a budget: what counts, what is kept as the best, and that a cut run continues exactly."""

import random

import pytest
from helpers.support import small_space

from oneshot.architecture import Query
from oneshot.baseline import Baseline, Budget
from oneshot.errors import InputError
from oneshot.estimators import LoggedEstimator
from oneshot.strategies import NSGA2, Evolution, RandomSearch
from oneshot.strategies.base import Strategy

SPACE = small_space()


def accuracy(architecture):
    return sum((i + 1) * k for i, k in enumerate(architecture.decisions)) / 1000


def estimator(queries):
    return [{"accuracy": accuracy(query.architecture)} for query in queries]


class Listed(Strategy):
    """Asks for given queries, and keeps what it is told."""

    def __init__(self, queries):
        super().__init__(SPACE)
        self.left, self.told = list(queries), []

    def ask(self):
        return self.left.pop(0)

    def learn(self, query, score):
        self.told.append((query, score))


def architectures(count):
    return [SPACE.sample(random.Random(seed)) for seed in range(count)]


def test_every_ask_counts_and_the_best_is_kept():
    a, b, c = sorted(architectures(3), key=accuracy)
    strategy = Listed([Query(b), Query(b), Query(c), Query(a), Query(c)])
    rows = []
    baseline = Baseline(strategy, LoggedEstimator(estimator, SPACE), Budget(queries=4), record=rows.append)
    assert baseline.run() == c and baseline.best_score == accuracy(c)
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert [row["best"] for row in rows] == [accuracy(x) for x in (b, b, c, c)]
    assert [row["score"] for row in rows] == [accuracy(x) for x in (b, b, c, a)]
    assert baseline.incumbents == [b, b, c, c]
    assert strategy.told == [(Query(x), accuracy(x)) for x in (b, b, c, a)]


def test_a_higher_fidelity_counts_more():
    a, b, c = sorted(architectures(3), key=accuracy)
    strategy = Listed([Query(c, 0.1), Query(a, 0.5), Query(b, 0.5), Query(c, 0.1)])
    baseline = Baseline(strategy, LoggedEstimator(estimator, SPACE), Budget(queries=4))
    assert baseline.run() == b and baseline.incumbents == [c, a, b, b]


@pytest.mark.parametrize("batch", [1, 3, 7, 50])
def test_batches_do_not_exceed_the_budget(batch):
    seen = []

    def watched(queries):
        seen.append(len(queries))
        return estimator(queries)

    baseline = Baseline(
        Listed(map(Query, architectures(40))), LoggedEstimator(watched, SPACE), Budget(queries=20), batch
    )
    baseline.run()
    assert len(baseline.rows) == 20 and max(seen) <= batch


def test_seconds_end_it(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("oneshot.estimators.logged.worked", lambda: now[0])

    def slow(queries):
        now[0] += 2.0
        return estimator(queries)

    baseline = Baseline(RandomSearch(SPACE), LoggedEstimator(slow, SPACE), Budget(seconds=9.0))
    baseline.run()
    assert len(baseline.rows) == 5 and baseline.done == 10.0 and baseline.total == 9.0
    both = Baseline(RandomSearch(SPACE), LoggedEstimator(slow, SPACE), Budget(queries=3, seconds=9.0))
    both.run()
    assert len(both.rows) == 3


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("cut", [1, 9, 23])
def test_a_cut_run_continues_as_if_it_had_not_been(cut, batch, tmp_path):
    def run(path, limit):
        asked = []

        def stopping(queries):
            if len(asked) >= limit:
                raise KeyboardInterrupt
            asked.extend(queries)
            return estimator(queries)

        rows = []
        strategy = Evolution(SPACE, seed=5, population=6, tournament=3)
        baseline = Baseline(strategy, LoggedEstimator(stopping, SPACE, path), Budget(queries=30), batch, rows.append)
        try:
            return baseline.run(), rows
        except KeyboardInterrupt:
            return None, rows

    whole = run(tmp_path / "whole.jsonl", 1000)
    assert run(tmp_path / "cut.jsonl", cut)[0] is None
    assert run(tmp_path / "cut.jsonl", 1000) == whole
    lines = [(tmp_path / name).read_text().splitlines() for name in ("whole.jsonl", "cut.jsonl")]
    assert len(lines[0]) == len(lines[1]) == 30
    assert lines[0] == lines[1]


def test_failures_are_told_as_the_worst():
    worst, other = architectures(2)

    def failing(queries):
        pairs = zip(queries, estimator(queries), strict=True)
        return [{"accuracy": float("nan")} if query.architecture == worst else scores for query, scores in pairs]

    strategy = Listed([Query(worst), Query(other)])
    baseline = Baseline(strategy, LoggedEstimator(failing, SPACE), Budget(queries=2))
    assert baseline.run() == other
    assert strategy.told == [(Query(worst), float("-inf")), (Query(other), accuracy(other))]
    assert "score" not in baseline.rows[0] and "best" not in baseline.rows[0] and baseline.incumbents[0] is None


def test_bad_input():
    for budget in ({}, {"queries": 0}, {"seconds": 0.0}, {"queries": 1.5}, {"seconds": -1.0}):
        with pytest.raises(InputError, match="budget"):
            Budget(**budget)
    with pytest.raises(InputError, match="batch=0"):
        Baseline(RandomSearch(SPACE), LoggedEstimator(estimator, SPACE), Budget(1), batch=0)
    with pytest.raises(InputError, match="unknown metric 'size'; known: accuracy"):
        Baseline(RandomSearch(SPACE, metric="size"), LoggedEstimator(estimator, SPACE), Budget(1)).run()
    with pytest.raises(InputError, match="needs a cost"):
        Baseline(NSGA2(SPACE), LoggedEstimator(estimator, SPACE), Budget(1)).run()

    def broken(queries):
        raise ValueError("nothing works")

    with pytest.raises(InputError, match="none of 3 queries could be scored: ValueError: nothing works"):
        Baseline(RandomSearch(SPACE), LoggedEstimator(broken, SPACE), Budget(3)).run()
