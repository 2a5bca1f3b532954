"""The Q table against enumeration, and epsilon against a written-out schedule."""

import itertools
import math

import pytest

from oneshot.architecture import Choice, Query
from oneshot.errors import InputError
from oneshot.spaces import DARTSCells
from oneshot.spaces.base import SearchSpace
from oneshot.strategies.q_learning import QLearning


class Table(SearchSpace):
    """Choices of 2, 3 and 2 candidates; after a first decision of 0, the second may not be 2: 10 architectures."""

    name = "table"
    choices = tuple(Choice(f"chain/{i}->{i + 1}", tuple("abc"[:n]), "chain") for i, n in enumerate((2, 3, 2)))

    def allowed(self, prefix):
        return (0, 1, 2) if prefix == (1,) else (0, 1)

    supernet = network = discretize = None  # type: ignore[assignment]


def every(space):
    ranges = (range(len(c.candidates)) for c in space.choices)
    return [space.architecture(d) for d in itertools.product(*ranges) if space.is_valid(d)]


def test_values_converge_to_the_best_completion():
    """With the whole prefix as state, Q(prefix, u) is the largest reward below: maximum by enumeration."""
    space = Table()
    search = QLearning(space, memory=3, lr=0.3, power=1.0)
    architectures = every(space)
    scores = [3.0, -7.0, 1e6, 2.0, -math.inf, 0.5, 8.0, 4.0, -1.0, 9.0]
    order = sorted(scores)
    reward = {a.decisions: (order.index(s) + 0.5) / 10 for a, s in zip(architectures, scores, strict=True)}
    for a, score in zip(architectures, scores, strict=True):
        search.learn(Query(a), score)
    for _ in range(20):
        search.learn(Query(architectures[0]), scores[0])  # replays all
    for length in range(3):
        for prefix in {a.decisions[:length] for a in architectures}:
            for k in space.allowed(prefix):
                best = max(r for d, r in reward.items() if d[: length + 1] == (*prefix, k))
                assert search.q[(length, prefix)][k] == pytest.approx(best, abs=1e-3), (prefix, k)


def test_one_update_by_hand():
    """A single answer has the quantile 1/2; from last decision to first, with the maximum over what is allowed."""
    search = QLearning(Table(), memory=1, lr=0.1, replays=1, power=2.0)
    search.q = {(1, (0,)): [0.5, 0.6, 99.0], (2, (1,)): [0.2, 0.5]}  # 99 is not allowed after (0,)
    search.learn(Query(search.space.architecture((0, 1, 0))), 5.0)
    assert search.q[(2, (1,))] == pytest.approx([0.2 + 0.1 * (0.25 - 0.2), 0.5])
    assert search.q[(1, (0,))] == pytest.approx([0.5, 0.6 + 0.1 * (0.5 - 0.6), 99.0])
    assert search.q[(0, ())] == pytest.approx([0.5 + 0.1 * (0.59 - 0.5), 0.5])


def test_epsilon_is_the_schedule():
    search = QLearning(Table(), explore=3, step=2, final=0.3)
    tenths = [10, 10, 10, 9, 9, 8, 8, 7, 7, 6, 6, 5, 5, 4, 4, 3, 3, 3, 3, 3]
    assert [search.epsilon(n) for n in range(20)] == [n / 10 for n in tenths]
    assert QLearning(Table(), explore=0, step=1, final=0.0).epsilon(9) == 0.0
    assert QLearning(Table(), final=1.0).epsilon(10**6) == 1.0


def test_greedy_asks_follow_the_table():
    search = QLearning(Table(), memory=1, explore=0, step=1, final=0.0, redraws=0)
    search.asks = 100
    search.q = {(0, ()): [0.1, 0.9], (1, (1,)): [0.2, 0.3, 0.8], (2, (2,)): [0.7, 0.6]}
    assert search.ask().architecture.decisions == (1, 2, 0)


def test_small_space_is_asked_without_repeats_until_it_ends():
    search = QLearning(Table(), explore=100, redraws=200)
    assert len({search.ask().architecture for _ in range(10)}) == 10
    assert search.ask().architecture in every(search.space)


def test_valid_where_decisions_depend_on_each_other():
    space = DARTSCells((3, 32, 32), 10, cells=3, channels=4)
    search = QLearning(space, explore=5, step=1)
    for i in range(40):
        query = search.ask()
        assert space.is_valid(query.architecture.decisions)
        search.tell(query, {"accuracy": math.nan if i % 4 == 0 else sum(query.architecture.decisions)})
    assert all(0 <= value <= 1 for values in search.q.values() for value in values)


@pytest.mark.parametrize("knob", [{"memory": -1}, {"lr": 0.0}, {"replays": 0}, {"step": 0}, {"final": 1.1}])
def test_knobs_out_of_range(knob):
    with pytest.raises(InputError, match=next(iter(knob))):
        QLearning(Table(), **knob)
