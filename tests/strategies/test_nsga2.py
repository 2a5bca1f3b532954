"""The front and the parents against brute force; answers enter the generations."""

import math
import random

import pytest
from helpers.support import small_space

from oneshot.architecture import Query
from oneshot.spaces import NASBench201
from oneshot.strategies import NSGA2

SPACE = NASBench201((1, 8, 8), 10)


def scores_of(architecture):
    rng = random.Random(str(architecture.decisions))
    return {"accuracy": rng.randrange(12), "cost": rng.randrange(12)}


def non_dominated(told):
    """Plain loops over (accuracy, cost)."""
    kept = []
    for a, (accuracy, cost) in told.items():
        worse = False
        for other_accuracy, other_cost in told.values():
            as_good = other_accuracy >= accuracy and other_cost <= cost
            worse |= as_good and (other_accuracy > accuracy or other_cost < cost)
        if not worse:
            kept.append(a)
    return set(kept)


def run(strategy, count):
    told = {}
    for _ in range(count):
        query = strategy.ask()
        scores = scores_of(query.architecture)
        strategy.tell(query, scores)
        told[query.architecture] = (scores["accuracy"], scores["cost"])
    return told


@pytest.mark.parametrize("space", [SPACE, small_space(nodes=4)], ids=["nasbench201", "darts"])
def test_front(space):
    strategy = NSGA2(space, population=10)
    assert strategy.front() == []
    told = run(strategy, 70)
    found = strategy.front()
    assert set(found) == non_dominated(told) and len(found) == len(set(found)) > 1
    values = [told[a] for a in found]
    assert values == sorted(values, reverse=True)


def test_the_second_score_may_have_another_name_and_needs_to_be_there():
    strategy = NSGA2(SPACE, objective="latency")
    first, second, third = (strategy.ask() for _ in range(3))
    strategy.tell(first, {"accuracy": 0.9, "cost": 1.0})
    strategy.tell(second, {"accuracy": 0.9, "latency": math.nan})
    assert strategy.front() == []
    strategy.tell(third, {"accuracy": 0.1, "latency": 5.0})
    stranger = Query(SPACE.architecture([1] * 6))
    strategy.tell(stranger, {"accuracy": 0.1, "latency": 4.0})
    assert strategy.front() == [stranger.architecture]


@pytest.mark.parametrize("space", [SPACE, small_space(nodes=4)], ids=["nasbench201", "darts"])
def test_without_crossover_and_mutation_children_are_the_best_of_two_generations(space):
    """Every told trial counts, whether it was drawn at random, repaired or never asked for."""
    strategy = NSGA2(space, population=12, crossover=0.0, mutation=0.0, redraws=0)
    first = run(strategy, 12)
    assert len(first) == 12
    again = run(strategy, 6)
    assert set(again) <= set(first)
    rng, second = random.Random(0), {}
    while len(second) < 6:  # the rest of the second generation is told without being asked
        architecture = space.sample(rng)
        if architecture not in first:
            scores = scores_of(architecture)
            strategy.tell(Query(architecture), scores)
            second[architecture] = (scores["accuracy"], scores["cost"])
    pool, ranks = {**first, **second}, {}
    for rank in range(20):
        for a in non_dominated(left := {a: v for a, v in pool.items() if a not in ranks}):
            ranks[a] = rank
        if not left:
            break
    children = {strategy.ask().architecture for _ in range(200)}
    assert children <= set(pool)
    assert {a for a in pool if ranks[a] == 0} <= children and children & set(second)
    assert max(ranks[a] for a in children) < max(ranks.values())


def test_children_of_darts_cells_mix_two_parents():
    """With one parameter a choice: a name for each set of allowed candidates would hardly ever be shared."""
    space = small_space(nodes=4)
    strategy = NSGA2(space, population=2, crossover=1.0, mutation=0.0)
    first, second = run(strategy, 2)
    close = 0
    for _ in range(20):
        query = strategy.ask()
        rows = zip(query.architecture.decisions, first.decisions, second.decisions, strict=True)
        close += sum(k in (a, b) for k, a, b in rows) >= 24
    assert close >= 15  # of 28 decisions; repairs change few


def test_the_population_moves():
    strategy, told = NSGA2(SPACE), []
    for _ in range(200):
        query = strategy.ask()
        told.append((query.architecture.decisions.count(3), query.architecture.decisions.count(0)))
        strategy.tell(query, {"accuracy": told[-1][0], "cost": told[-1][1]})

    def mean(values):
        return sum(accuracy for accuracy, _ in values) / len(values), sum(cost for _, cost in values) / len(values)

    assert mean(told[:20]) == pytest.approx((1.2, 1.2), abs=0.5)
    accuracy, cost = mean(told[-40:])
    assert accuracy > 3 and cost < 0.7
