"""The best of several drawn architectures."""

import random
from collections import Counter
from itertools import product
from math import prod

import pytest
import torch
from helpers.support import darts, small_space
from scipy.stats import chisquare
from torch.nn import functional

from oneshot.architects.base import Step
from oneshot.architects.path_dropout import PathDropout
from oneshot.architects.uniform import Uniform
from oneshot.errors import InputError
from oneshot.selection import BestOf
from oneshot.spaces import DARTSCells


class Estimate:
    """A known accuracy for each architecture; keeps the calls."""

    def __init__(self, accuracy):
        self.accuracy, self.calls = accuracy, []

    def estimate(self, queries):
        self.calls.append(queries)
        return [{"accuracy": self.accuracy(query.architecture), "loss": 0.0} for query in queries]


def score(architecture):
    return random.Random(hash(architecture.decisions)).random()


def drawn_by(space, architect, samples, seed=0):
    return [
        space.architecture([d for (d,) in architect.gates(Step(seed, 0, 1, draw=n)).active])
        for n in range(1, samples + 1)
    ]


def test_the_best_of_the_architects_draws_wins():
    space = small_space()
    architect, estimate = Uniform(space, functional.cross_entropy), Estimate(score)
    drawn = drawn_by(space, architect, 20)
    assert BestOf(20)(space, architect, estimate) == max(drawn, key=score)
    assert len(estimate.calls) == 1
    assert [query.architecture for query in estimate.calls[0]] == drawn
    assert all(query.fidelity == 1 and query.parent is None for query in estimate.calls[0])
    assert len({BestOf(20, seed)(space, architect, estimate) for seed in range(5)}) > 1
    assert BestOf(20)(space, architect, estimate) == max(drawn, key=score)


def test_each_is_scored_once_and_ties_go_to_the_first():
    space = DARTSCells((1, 8, 8), 10, cells=3, channels=4, nodes=2, candidates=("none", "skip_connect"))
    architect, estimate = Uniform(space, functional.cross_entropy), Estimate(lambda _: 0.5)
    drawn = drawn_by(space, architect, 100)
    assert BestOf(100)(space, architect, estimate) == drawn[0]
    assert [q.architecture for q in estimate.calls[0]] == list(dict.fromkeys(drawn))
    assert len(estimate.calls[0]) == 9
    second = list(dict.fromkeys(drawn))[1:3]
    tied = Estimate(lambda a: float(a in second))
    assert BestOf(100)(space, architect, tied) == second[0]


@pytest.mark.parametrize("make", [darts, lambda space: PathDropout(space, functional.cross_entropy)])
def test_gates_of_several_paths_are_no_architecture_so_it_draws_from_the_space(make):
    """Uniformly: 9 valid architectures, each as often."""
    space = DARTSCells((1, 8, 8), 10, cells=3, channels=4, nodes=2, candidates=("none", "skip_connect"))
    drawn = Counter(BestOf(1, seed)(space, make(space), Estimate(score)) for seed in range(450))
    assert all(space.is_valid(found.decisions) for found in drawn)
    assert len(drawn) == 9 and chisquare(list(drawn.values())).pvalue > 0.001
    estimate = Estimate(score)
    assert BestOf(20)(small_space(), make(small_space()), estimate) == max(
        (query.architecture for query in estimate.calls[0]), key=score
    )
    assert len(estimate.calls[0]) == 20


def test_it_can_draw_from_the_scores():
    space = DARTSCells((1, 8, 8), 10, cells=3, channels=4, nodes=2, candidates=("none", "skip_connect"))
    architect = darts(space)
    with torch.no_grad():
        architect.alpha[:, 1] = torch.tensor([0.0, 0, 2, 0, 1, 0, 0, 0, 2, 1])
    scores = architect.scores().tolist()
    valid = [a for a in product(range(2), repeat=10) if space.is_valid(a)]
    products = [prod(row[k] for row, k in zip(scores, decisions, strict=True)) for decisions in valid]
    drawn = Counter(BestOf(1, seed, True)(space, architect, Estimate(score)).decisions for seed in range(900))
    expected = [900 * p / sum(products) for p in products]
    assert set(drawn) <= set(valid) and chisquare([drawn[a] for a in valid], expected).pvalue > 0.001


@pytest.mark.parametrize(
    ("name", "value"),
    [("from_scores", 1), ("samples", 0), ("samples", 2.5), ("seed", -1), ("seed", 0.5), ("seed", True), ("seed", None)],
)
def test_bad_arguments(name, value):
    with pytest.raises(InputError, match=f"selection.{name}={value}"):
        BestOf(**{name: value})
