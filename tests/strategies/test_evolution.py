"""Who leaves the population, who is a parent, and what a child is: against plain loops."""

import random

import pytest

from oneshot.architecture import Query
from oneshot.spaces import NASBench201
from oneshot.strategies import Evolution

SPACE = NASBench201((1, 8, 8), 10)


def tells(strategy, count, rng):
    told = []
    for _ in range(count):
        query = strategy.ask()
        score = rng.choice([rng.random(), float("-inf")])
        strategy.tell(query, {"accuracy": score})
        told.append((query.architecture, score))
    return told


@pytest.mark.parametrize("removal", ["oldest", "worst", "none"])
def test_who_leaves(removal):
    strategy = Evolution(SPACE, population=6, tournament=3, removal=removal)
    members = []
    for member in tells(strategy, 40, random.Random(0)):
        members.append(member)
        if removal == "oldest":
            members = members[-6:]
        elif removal == "worst" and len(members) > 6:
            lowest = members[0]
            for other in members:
                if other[1] < lowest[1]:
                    lowest = other
            members.remove(lowest)
    assert strategy.population == members
    assert len(members) == (40 if removal == "none" else 6)


def test_a_tournament_of_all_picks_the_best_and_a_child_changes_one_decision():
    strategy = Evolution(SPACE, population=5, tournament=5, removal="worst", inherit=True)
    rng = random.Random(1)
    for _ in range(40):
        query = strategy.ask()
        if query.parent is not None:
            best = max(strategy.population, key=lambda member: member[1])[0]
            assert query.parent == best
            pairs = zip(best.decisions, query.architecture.decisions, strict=True)
            assert sum(a != b for a, b in pairs) == 1
        strategy.tell(query, {"accuracy": rng.random()})
    assert query.parent is not None


def test_the_best_of_a_sample_of_the_population_is_the_parent():
    strategy = Evolution(SPACE, population=20, tournament=10, removal="none", inherit=True)
    ranks = {}
    for score in range(20):
        query = strategy.ask()
        strategy.tell(query, {"accuracy": score})
        ranks[query.architecture] = score
    parents = [ranks[strategy.ask().parent] for _ in range(2000)]
    assert min(parents) >= 9  # at least nine others are worse
    assert sum(parent == 19 for parent in parents) / 2000 == pytest.approx(0.5, abs=0.04)  # 10 of 20 are drawn


def test_a_crossed_child_takes_each_decision_from_a_parent():
    strategy = Evolution(SPACE, population=2, tournament=1, crossover=1.0, removal="none")
    first, second = (strategy.ask() for _ in range(2))
    for query in (first, second):
        strategy.tell(query, {"accuracy": 0.5})
    rows = list(zip(first.architecture.decisions, second.architecture.decisions, strict=True))
    mixed = 0
    for _ in range(50):
        child = strategy.ask().architecture.decisions
        strange = [k for k, pair in zip(child, rows, strict=True) if k not in pair]
        assert len(strange) <= 1  # the mutation
        distances = [sum(k != pair[i] for k, pair in zip(child, rows, strict=True)) for i in (0, 1)]
        mixed += min(distances) > 1
    assert mixed > 10


def test_queries_do_not_repeat_and_names_of_parents_are_opt_in():
    strategy = Evolution(SPACE)
    queries = []
    rng = random.Random(2)
    for _ in range(150):
        queries.append(strategy.ask())
        strategy.tell(queries[-1], {"accuracy": rng.random()})
    assert len(set(queries)) == 150 and all(query == Query(query.architecture) for query in queries)
