"""Path dropout against the closed form of its distribution."""

from math import comb

import pytest
import pytorch_lightning as pl
import torch
from helpers.support import QUIET, small_space
from scipy.stats import chisquare
from torch.nn import functional

from oneshot.architects.base import Step
from oneshot.architects.path_dropout import PathDropout
from oneshot.architecture import Choice, Gates
from oneshot.errors import InputError
from oneshot.search import Schedule, Search
from oneshot.selection import BestOf
from oneshot.spaces import SearchSpace

SIZES = (3, 2, 1, 4)
DRAWS = 1500


class Ragged(SearchSpace):
    """One to four candidates a choice, all allowed."""

    name = "ragged"
    choices = tuple(Choice(f"cell/{i}->{i + 1}", tuple("abcd"[:m]), f"cell/{i + 1}") for i, m in enumerate(SIZES))
    settings = {}

    def allowed(self, prefix):
        return tuple(range(SIZES[len(prefix)]))

    def supernet(self):
        raise NotImplementedError

    def network(self, architecture, inherit=None):
        raise NotImplementedError

    def discretize(self, scores):
        raise NotImplementedError


def path_dropout(space, rate=0.3):
    return PathDropout(space, functional.cross_entropy, rate=rate)


@pytest.mark.parametrize(("index", "rate"), [(0, 0.3), (50, 0.3), (100, 0.3), (100, 0.02)])
def test_survivors_follow_the_closed_form(double, index, rate):
    """Of k candidates, each dropped with p = progress * rate^(1/k): binomial, with one survivor at least."""
    architect = path_dropout(Ragged(), rate)
    drawn = [architect.gates(Step(0, index, 101, draw=n)) for n in range(DRAWS)]
    weight = torch.stack([gates.weight for gates in drawn])
    for i, k in enumerate(SIZES):
        p = index / 100 * rate ** (1 / k)
        number = [0.0] * (k + 1)
        survived = [0] * k
        for gates in drawn:
            number[len(gates.active[i])] += 1
            for candidate in gates.active[i]:
                survived[candidate] += 1
        expected = [comb(k, n) * (1 - p) ** n * p ** (k - n) for n in range(k + 1)]
        expected = [expected[0] + expected[1], *expected[2:]]  # the last one is never dropped
        assert number[0] == 0
        if index == 0 or k == 1:
            assert number[k] == DRAWS
        else:
            assert chisquare(number[1:], [DRAWS * e for e in expected]).pvalue > 0.001
        chance = 1 - p + p**k / k
        sigma = (chance * (1 - chance) / DRAWS) ** 0.5
        assert all(abs(s / DRAWS - chance) <= 4 * sigma + 1e-12 for s in survived)
        # the mean of each weight is 1/k; its standard deviation is below 1/2
        assert (weight[:, i, :k].mean(0) - 1 / k).abs().max() <= 4 * 0.5 / DRAWS**0.5 * (index > 0) + 1e-12
        assert (weight[:, i, k:] == 0).all()


def test_weights_are_equal_among_the_survivors_and_sum_to_one():
    architect = path_dropout(small_space())
    seen = set()
    for index in range(50):
        gates = architect.gates(Step(0, index, 50))
        for row, active in zip(gates.weight, gates.active, strict=True):
            assert row.nonzero()[:, 0].tolist() == list(active)
            assert torch.allclose(row[list(active)], torch.tensor(1 / len(active)))
            seen.add(len(active))
    assert {2, 8} <= seen


def test_rates_at_their_bounds():
    last = Step(0, 9, 10)
    assert all(len(a) == 8 for a in path_dropout(small_space(), 0.0).gates(last).active)
    assert all(len(a) == 1 for a in path_dropout(small_space(), 1.0).gates(last).active)
    assert all(len(a) == 8 for a in path_dropout(small_space(), 1.0).gates(Step(0, 0, 1)).active)


def test_draws_are_functions_of_seed_step_and_draw():
    steps = [Step(s, i, 100, n) for s in range(3) for i in (80, 90) for n in (0, 1)]
    drawn = [path_dropout(small_space()).gates(step).active for step in steps]
    assert len(set(drawn)) == len(steps)
    assert [path_dropout(small_space()).gates(step).active for step in steps] == drawn


def test_the_supernet_computes_the_survivors_alone(double):
    torch.manual_seed(0)
    space = small_space()
    architect, supernet = path_dropout(space), space.supernet()
    x, y = torch.randn(4, 1, 8, 8), torch.randint(10, (4,))
    step = Step(0, 90, 100)
    loss = architect.loss(supernet, (x + 1, y), (x, y), None, step)
    everything = supernet(x, Gates(architect.gates(step).weight))
    assert torch.allclose(loss, functional.cross_entropy(everything, y), atol=1e-12)


def test_nothing_to_learn():
    architect = path_dropout(Ragged())
    assert not list(architect.parameters()) and not architect.state_dict() and architect.optimizer is None
    expected = torch.tensor([[4, 4, 4, 0], [6, 6, 0, 0], [12, 0, 0, 0], [3, 3, 3, 3]]) / 12
    assert torch.allclose(architect.scores(), expected)
    assert architect.entropy() == 1


@pytest.mark.parametrize("schedule", [Schedule(architecture_steps=0), Schedule(joint=True)])
def test_a_search_trains_the_weights(data, schedule):
    torch.manual_seed(0)
    space = small_space(data)
    search = Search(space, path_dropout(space), data, schedule=schedule, selection=BestOf(3))
    before = [p.clone() for p in search.supernet.parameters()]
    pl.Trainer(max_epochs=2, **QUIET).fit(search)
    assert all(not torch.equal(a, b) for a, b in zip(before, search.supernet.parameters(), strict=True))
    assert search.scores[0] == search.scores[-1]
    assert space.is_valid(search.found.decisions)


@pytest.mark.parametrize("rate", [-0.1, 1.1])
def test_bad_arguments(rate):
    with pytest.raises(InputError, match=f"architect.rate={rate}"):
        path_dropout(Ragged(), rate)
