"""Sizes as in the papers' tables; promotion against a plain sort."""

import random

import pytest

from oneshot.spaces import NASBench201
from oneshot.strategies import Hyperband, SuccessiveHalving

SPACE = NASBench201((1, 8, 8), 10)
R = 81
TABLE = [  # Hyperband, section 3: (n_i, r_i) of R = 81, eta = 3, for s = 4 .. 0
    [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)],
    [(34, 3), (11, 9), (3, 27), (1, 81)],
    [(15, 9), (5, 27), (1, 81)],
    [(8, 27), (2, 81)],
    [(5, 81)],
]


def bracket(strategy, score):
    """One bracket asked and told in turn: what came at each fidelity."""
    found = {}
    rungs = strategy.rungs(strategy.started)
    for _ in range(sum(rung.size for rung in rungs)):
        query = strategy.ask()
        found.setdefault(query.fidelity, []).append(query.architecture)
        strategy.tell(query, {"accuracy": score(query)})
    assert not strategy.open
    return found


@pytest.mark.parametrize("minimum", [1 / 81, 0.0123])
def test_hyperband_table(minimum):
    strategy = Hyperband(SPACE, eta=3, minimum_fidelity=minimum)
    for index in range(7):
        rungs = strategy.rungs(index)
        assert [size for size, _ in rungs] == [n for n, _ in TABLE[index % 5]]
        assert [fidelity * R for _, fidelity in rungs] == pytest.approx([r for _, r in TABLE[index % 5]])
        assert rungs[-1].fidelity == 1.0


def test_hyperband_asks_the_table():
    strategy, rng = Hyperband(SPACE, minimum_fidelity=1 / 81), random.Random(0)
    for rows in (*TABLE, TABLE[0]):
        found = bracket(strategy, lambda query: rng.random())
        assert [(len(asked), round(fidelity * R)) for fidelity, asked in found.items()] == rows


@pytest.mark.parametrize(
    ("n", "eta", "minimum", "sizes", "fidelities"),
    [
        (16, 2, 1 / 16, [16, 8, 4, 2, 1], [1 / 16, 1 / 8, 1 / 4, 1 / 2, 1]),
        (10, 3, 0.1, [10, 3, 1], [1 / 9, 1 / 3, 1]),
        (5, 3, 1 / 27, [5, 1, 1, 1], [1 / 27, 1 / 9, 1 / 3, 1]),
        (4, 3, 0.5, [4], [1.0]),
    ],
)
def test_successive_halving_sizes(n, eta, minimum, sizes, fidelities):
    rungs = SuccessiveHalving(SPACE, n=n, eta=eta, minimum_fidelity=minimum).rungs(0)
    assert [rung.size for rung in rungs] == sizes
    assert [rung.fidelity for rung in rungs] == pytest.approx(fidelities)


def test_the_best_of_a_rung_go_on_whatever_other_rungs_scored():
    strategy, rng, scores = SuccessiveHalving(SPACE), random.Random(1), {}

    def score(query):  # the higher the fidelity the lower
        return scores.setdefault(query, rng.random() - 10 * query.fidelity)

    for _ in range(2):
        found = list(bracket(strategy, score).items())
        for (low, asked), (_, promoted) in zip(found, found[1:], strict=False):
            ranked = sorted(asked, key=lambda a: -next(scores[q] for q in scores if q[:2] == (a, low)))
            assert promoted == ranked[: len(asked) // 3]


def test_failures_are_never_promoted():
    strategy = SuccessiveHalving(SPACE, n=9, eta=3, minimum_fidelity=1 / 9)
    first = [strategy.ask() for _ in range(9)]
    for i, query in enumerate(first):
        strategy.tell(query, {"accuracy": -1e9 * i} if i in (6, 8) else {})
    second = [strategy.ask() for _ in range(2)]
    assert [query.architecture for query in second] == [first[i].architecture for i in (6, 8)]
    new = strategy.ask()  # the rung of three has two architectures; the next bracket begins
    assert new.fidelity == first[0].fidelity and new.architecture not in {query.architecture for query in first}
    strategy.tell(second[0], {})
    strategy.tell(second[1], {"accuracy": 0.5})
    assert strategy.ask() == (first[8].architecture, 1.0, None)


def test_a_bracket_in_which_all_failed_ends():
    strategy = SuccessiveHalving(SPACE, n=3, eta=3, minimum_fidelity=1 / 3)
    first = [strategy.ask() for _ in range(3)]
    for query in first:
        strategy.tell(query, {})
    assert not strategy.open
    assert strategy.ask().fidelity == first[0].fidelity


def test_asks_ahead_start_the_next_bracket_and_come_back():
    strategy = SuccessiveHalving(SPACE, n=9, eta=3, minimum_fidelity=1 / 9)
    ahead = [strategy.ask() for _ in range(12)]
    assert all(query.fidelity == strategy.rungs(0)[0].fidelity for query in ahead)
    assert len({query.architecture for query in ahead}) == 12
    for i, query in reversed(list(enumerate(ahead))):
        strategy.tell(query, {"accuracy": i})
    back = [strategy.ask() for _ in range(4)]
    assert [query.architecture for query in back[:3]] == [ahead[i].architecture for i in (8, 7, 6)]
    assert back[3].fidelity == ahead[0].fidelity and back[3].architecture not in {q.architecture for q in ahead}


def test_a_second_answer_and_a_stranger_do_not_fill_a_rung():
    strategy = SuccessiveHalving(SPACE, n=3, eta=3, minimum_fidelity=1 / 3)
    first = [strategy.ask() for _ in range(3)]
    for query in (first[0], first[0], first[0]._replace(fidelity=1.0), first[1]):
        strategy.tell(query, {"accuracy": 1.0})
    assert strategy.ask().fidelity == first[0].fidelity  # the next bracket's
    strategy.tell(first[2], {"accuracy": 2.0})
    assert strategy.ask() == (first[2].architecture, 1.0, None)


def test_a_copied_query_finds_its_rung():
    """A log keeps the fidelity as text."""
    strategy = SuccessiveHalving(SPACE, n=3, eta=3, minimum_fidelity=1 / 3)
    for score in range(3):
        query = strategy.ask()
        strategy.tell(query._replace(fidelity=float(repr(query.fidelity))), {"accuracy": score})
    assert strategy.ask() == (query.architecture, 1.0, None)


def test_a_deep_bracket_is_drawn_as_it_is_asked():
    strategy = Hyperband(SPACE, eta=2, minimum_fidelity=1e-6)
    assert strategy.rungs(0)[0].size == 2**19 and strategy.ask().fidelity == 2.0**-19
