"""UCT against the formula by hand, and its tree against enumeration."""

import itertools
import math

import pytest

from oneshot.architecture import Architecture, Choice, Query
from oneshot.errors import InputError
from oneshot.spaces import DARTSCells
from oneshot.spaces.base import SearchSpace
from oneshot.strategies.tree_search import TreeSearch


class Table(SearchSpace):
    """Choices of 2, 3 and 3 candidates; after a first decision of 0, the second may not be 2: 15 architectures."""

    name = "table"
    choices = tuple(Choice(f"chain/{i}->{i + 1}", tuple("abc"[:n]), "chain") for i, n in enumerate((2, 3, 3)))

    def allowed(self, prefix):
        return (0, 1) if prefix in ((), (0,)) else (0, 1, 2)

    supernet = network = discretize = None  # type: ignore[assignment]


def told(search, decisions, score):
    search.learn(Query(Architecture(search.space.fingerprint, decisions)), score)


def test_bound_is_the_formula():
    """Four answers, quantiles 1/8, 3/8, 5/8, 7/8 in the order of their scores; the power squares them."""
    search = TreeSearch(Table(), exploration=0.7, power=2.0)
    told(search, (0, 0, 0), -1e6)
    told(search, (1, 0, 0), 3.0)
    told(search, (1, 2, 0), 2.0)
    told(search, (1, 2, 1), 900.0)
    quantiles = {"first": [1 / 8], "second": [5 / 8, 3 / 8, 7 / 8], "third": [3 / 8, 7 / 8]}
    mean = {name: sum(q * q for q in some) / len(some) for name, some in quantiles.items()}
    assert search.bound((0,), 4) == pytest.approx(mean["first"] + 0.7 * math.sqrt(math.log(4) / 1))
    assert search.bound((1,), 4) == pytest.approx(mean["second"] + 0.7 * math.sqrt(math.log(4) / 3))
    assert search.bound((1, 2), 3) == pytest.approx(mean["third"] + 0.7 * math.sqrt(math.log(3) / 2))
    # at the root 0.016 + 0.824 of (0,) against 0.432 + 0.476 of (1,)
    assert search.ask().architecture.decisions[0] == 1


def test_every_architecture_once_then_any():
    space = Table()
    search, seen = TreeSearch(space), []
    for _ in range(15):
        query = search.ask()
        seen.append(query.architecture.decisions)
        search.learn(query, -float(sum(seen[-1])))
    valid = {d for d in itertools.product(range(2), range(3), range(3)) if space.is_valid(d)}
    assert len(valid) == 15 and set(seen) == valid
    for _ in range(5):
        assert space.is_valid(search.ask().architecture.decisions)


def test_told_without_an_ask_is_not_asked():
    search = TreeSearch(Table())
    told(search, (0, 0, 0), 1.0)
    asked = [search.ask().architecture.decisions for _ in range(14)]
    assert len(set(asked)) == 14 and (0, 0, 0) not in asked


def test_visits_concentrate_on_the_optimum():
    """One first decision is better by far: more than half of the asks go below it (equal shares: a third)."""

    class Wide(Table):
        name = "wide"
        choices = tuple(Choice(f"chain/{i}->{i + 1}", tuple("abc"), f"{i}") for i in range(6))

        def allowed(self, prefix):
            return (0, 1, 2)

    for best in range(3):
        search = TreeSearch(Wide(), seed=best)
        for _ in range(150):
            query = search.ask()
            decisions = query.architecture.decisions
            search.learn(query, 10.0 * (decisions[0] == best) + sum(decisions[1:]))
        assert search.visits[()] == 150
        assert search.visits[(best,)] > 75
        top = max(search.scores, key=lambda a: search.scores[a])
        assert search.scores[top] >= 10 + 10 - 2  # of 20


def test_scores_may_have_any_scale():
    def asked(scale):
        search, found = TreeSearch(Table(), seed=3), []
        for _ in range(12):
            query = search.ask()
            found.append(query.architecture)
            search.learn(query, scale(sum(query.architecture.decisions)))
        return found

    assert asked(float) == asked(lambda x: 1e9 * x - 1e12) == asked(lambda x: math.exp(x))


def test_failures_are_the_worst():
    search = TreeSearch(Table())
    told(search, (0, 0, 0), -math.inf)
    told(search, (1, 0, 0), -5.0)
    assert search.rewards.tolist() == [(1 / 4) ** search.power, (3 / 4) ** search.power]


def test_waiting_asks_spread():
    """Before any answer the bounds differ by visits alone, so first decisions share the asks; 0 is not allowed."""
    search = TreeSearch(DARTSCells((3, 32, 32), 10, cells=3, channels=4))
    asked = {search.ask().architecture for _ in range(35)}
    firsts = [sum(a.decisions[0] == k for a in asked) for k in range(8)]
    assert len(asked) == 35 and firsts == [0] + [5] * 7


@pytest.mark.parametrize("knob", [{"exploration": -0.1}, {"power": 0.0}])
def test_knobs_out_of_range(knob):
    with pytest.raises(InputError, match=next(iter(knob))):
        TreeSearch(Table(), **knob)
