"""Climbs end where the enumeration of neighbours says, whatever order the answers come in."""

import random

import pytest

from oneshot.spaces import NASBench201
from oneshot.strategies import HillClimbing

SPACE = NASBench201((1, 8, 8), 10)


def height(architecture):
    """Rugged: a sum over choices and a fixed noise."""
    noise = random.Random(str(architecture.decisions)).random()
    return sum(k * (i + 1) for i, k in enumerate(architecture.decisions)) / 40 + noise


@pytest.fixture
def climbs(monkeypatch):
    """The path of each climb."""
    paths, move = [], HillClimbing._move

    def recorded(self, to):
        if self.at is None:
            paths.append([])
        paths[-1].append(to)
        move(self, to)

    monkeypatch.setattr(HillClimbing, "_move", recorded)
    return paths


def run(strategy, count):
    told = []
    for _ in range(count):
        query = strategy.ask()
        strategy.tell(query, {"accuracy": height(query.architecture)})
        told.append(query.architecture)
    return told


@pytest.mark.parametrize("first_improvement", [True, False])
def test_a_climb_goes_up_by_neighbours_to_a_local_optimum(climbs, first_improvement):
    strategy = HillClimbing(SPACE, starts=3, first_improvement=first_improvement)
    told = run(strategy, 400)
    assert len(set(told)) == 400 and len(climbs) >= 3
    assert climbs[0][0] == max(told[:3], key=height)
    for path in climbs[:-1]:
        for a, b in zip(path, path[1:], strict=False):
            around = list(SPACE.neighbours(a))
            assert b in around and height(b) > height(a)
            if not first_improvement:
                assert height(b) == max(map(height, around))
        assert all(height(a) < height(path[-1]) for a in SPACE.neighbours(path[-1]))
        assert set(SPACE.neighbours(path[-1])) <= set(told)


def test_answers_late_and_in_another_order(climbs):
    strategy, rng = HillClimbing(SPACE, starts=3), random.Random(0)
    waiting, told = [], []
    for _ in range(1500):
        if len(waiting) > rng.randrange(40):
            query = waiting.pop(rng.randrange(len(waiting)))
            strategy.tell(query, {"accuracy": height(query.architecture)})
            told.append(query.architecture)
        else:
            waiting.append(strategy.ask())
    assert len(set(told)) == len(told) and len(climbs) >= 3
    for path in climbs[:-1]:
        assert all(height(a) < height(path[-1]) for a in SPACE.neighbours(path[-1]))
        assert all(height(a) < height(b) for a, b in zip(path, path[1:], strict=False))


def test_asks_that_wait_for_neighbours_start_the_next_climb():
    strategy = HillClimbing(SPACE, starts=1)
    run(strategy, 1)
    around = set(SPACE.neighbours(strategy.drawn[0]))
    first = [strategy.ask() for _ in around]
    assert {query.architecture for query in first} == around
    second = strategy.ask()
    assert second.architecture not in around
    strategy.tell(second, {"accuracy": 100.0})
    for query in first:
        strategy.tell(query, {"accuracy": -100.0})
    assert strategy.ask().architecture in set(SPACE.neighbours(second.architecture))


def test_failed_starts_are_left_for_any_that_is_not():
    strategy = HillClimbing(SPACE, starts=2)
    for _ in range(2):
        strategy.tell(strategy.ask(), {})
    query = strategy.ask()
    strategy.tell(query, {"accuracy": -5.0})
    assert strategy.ask().architecture in set(SPACE.neighbours(query.architecture))
