"""Single paths: uniform over the valid architectures, and fair rounds."""

from itertools import product

import pytest
import pytorch_lightning as pl
import torch
from helpers.support import QUIET, small_space
from scipy.stats import chisquare
from torch.nn import functional

from oneshot.architects.base import Step
from oneshot.architects.uniform import Uniform
from oneshot.architecture import Architecture, Choice, Gates
from oneshot.data import digits
from oneshot.errors import InputError
from oneshot.fitting.updates import Components, weight_step
from oneshot.search import Schedule, Search
from oneshot.selection import BestOf
from oneshot.spaces import DARTSCells, SearchSpace

SIZES = (3, 2, 3, 1)


class Ragged(SearchSpace):
    """One to three candidates a choice, all allowed."""

    name = "ragged"
    choices = tuple(Choice(f"cell/{i}->{i + 1}", tuple("abc"[:m]), f"cell/{i + 1}") for i, m in enumerate(SIZES))
    settings = {}

    def allowed(self, prefix):
        return tuple(range(SIZES[len(prefix)]))

    def supernet(self):
        raise NotImplementedError

    def network(self, architecture, inherit=None):
        raise NotImplementedError

    def discretize(self, scores):
        raise NotImplementedError


def uniform(space, **options):
    return Uniform(space, functional.cross_entropy, **options)


def decisions(gates):
    assert torch.equal(gates.weight.nonzero()[:, 1], torch.tensor([d for (d,) in gates.active]))
    assert (gates.weight.sum(1) == 1).all()
    return tuple(d for (d,) in gates.active)


def test_draws_are_uniform_over_the_valid_architectures():
    space = DARTSCells((1, 8, 8), 10, cells=3, channels=4, nodes=2, candidates=("none", "skip_connect"))
    valid = [a for a in product(range(2), repeat=10) if space.is_valid(a)]
    architect = uniform(space)
    counts = dict.fromkeys(valid, 0)
    for index in range(1800):
        counts[decisions(architect.gates(Step(0, index, 1800)))] += 1  # KeyError: not valid
    assert len(valid) == 9 and chisquare(list(counts.values())).pvalue > 0.001


def test_draws_are_functions_of_seed_step_and_draw():
    architect = uniform(small_space())
    drawn = {
        (s, i, n): decisions(architect.gates(Step(s, i, 9, n))) for s in range(3) for i in range(3) for n in (0, 1)
    }
    assert len(set(drawn.values())) == 18
    assert all(decisions(uniform(small_space()).gates(Step(s, i, 9, n))) == d for (s, i, n), d in drawn.items())


@pytest.mark.parametrize("space", [small_space(), Ragged()], ids=["darts", "ragged"])
def test_fair_rounds_cover_every_candidate(space):
    architect = uniform(space, fairness=True)
    m = space.shape[1]
    rounds = []
    for r in range(40):
        rows = [decisions(architect.gates(Step(0, r * m + t, 1000))) for t in range(m)]
        for choice, column in zip(space.choices, zip(*rows, strict=True), strict=True):
            k = len(choice.candidates)
            assert sorted(column[:k]) == list(range(k))  # exactly once
            assert all(column[t] == column[t % k] for t in range(m))  # fewer candidates: begins again
        rounds.append(tuple(rows))
    assert len(set(rounds)) > 20
    orders = {tuple(column) for rows in rounds for column in zip(*rows, strict=True)}
    assert len(orders) > 6  # choices and rounds have permutations of their own
    assert decisions(architect.gates(Step(0, 7, 9))) == decisions(uniform(space, fairness=True).gates(Step(0, 7, 9)))
    assert rounds[0] != tuple(decisions(architect.gates(Step(1, t, 1000))) for t in range(m))


@pytest.mark.parametrize("space", [small_space(), Ragged()], ids=["darts", "ragged"])
def test_a_summed_update_has_the_paths_of_a_round(space):
    summed, apart, m = uniform(space, summed=True), uniform(space, fairness=True), space.shape[1]
    for r in (0, 1, 7):
        several = summed.weight_gates(None, None, Step(0, r, 10))
        rows = [decisions(gates) for gates in several]
        assert rows == [decisions(apart.gates(Step(0, r * m + t, 1000))) for t in range(m)]
        for choice, column in zip(space.choices, zip(*rows, strict=True), strict=True):
            k = len(choice.candidates)
            assert sorted(column[:k]) == list(range(k))
        assert decisions(summed.gates(Step(0, r, 10))) == rows[0]


def test_a_summed_update_has_the_sum_of_the_gradients_of_its_paths(double):
    torch.manual_seed(0)
    space = small_space()
    architect, supernet = uniform(space, fairness=True, summed=True), space.supernet()
    x, y = torch.randn(8, 1, 8, 8), torch.randint(10, (8,))
    step, weights = Step(0, 3, 10), list(supernet.parameters())
    sums, losses = [torch.zeros_like(w) for w in weights], []
    for gates in architect.weight_gates(supernet, (x, y), step):
        found = [d for (d,) in gates.active]
        loss = functional.cross_entropy(supernet(x, Gates(space.one_hot(Architecture("", tuple(found))))), y)
        for total, g in zip(sums, torch.autograd.grad(loss, weights, materialize_grads=True), strict=True):
            total += g
        losses.append(loss.detach())
    sgd = torch.optim.SGD(weights, lr=0.1)
    loss, _ = weight_step(Components(supernet, architect, functional.cross_entropy, sgd, ()), (x, y), step)
    assert len(losses) == 8 and torch.allclose(loss, sum(losses) / 8)
    for w, total in zip(weights, sums, strict=True):
        assert torch.allclose(w.grad, total, atol=1e-12)


def test_fair_permutations_are_uniform():
    architect = uniform(Ragged(), fairness=True)
    firsts = torch.zeros(3)
    for r in range(900):
        firsts[decisions(architect.gates(Step(0, 3 * r, 3000)))[2]] += 1
    assert chisquare(firsts.double().numpy()).pvalue > 0.001


def test_fair_paths_need_not_be_valid_but_other_draws_are():
    space = small_space()
    architect = uniform(space, fairness=True)
    drawn = [decisions(architect.gates(Step(0, index, 100))) for index in range(30)]
    assert not all(space.is_valid(d) for d in drawn)
    others = [decisions(architect.gates(Step(0, 0, 100, draw=n))) for n in range(1, 31)]
    assert all(space.is_valid(d) for d in others) and len(set(others)) == 30


def test_nothing_to_learn():
    architect = uniform(Ragged())
    assert not list(architect.parameters()) and not architect.state_dict() and architect.optimizer is None
    expected = torch.tensor([[1, 1, 1], [1.5, 1.5, 0], [1, 1, 1], [3, 0, 0]]) / 3
    assert torch.allclose(architect.scores(), expected)
    assert architect.entropy() == 1


def test_the_loss_is_the_criterion_of_the_drawn_path_with_its_cost():
    torch.manual_seed(0)
    space = small_space()
    supernet = space.supernet()
    architect = uniform(space, cost=lambda loss, p: loss + 0.25 * p[:, 3].sum())
    x, y = torch.randn(4, 1, 8, 8), torch.randint(10, (4,))
    loss = architect.loss(supernet, (x + 1, y), (x, y), None, Step(0, 3, 9))
    found = space.architecture(decisions(architect.gates(Step(0, 3, 9))))
    logits = space.network(found, inherit=supernet)(x)
    expected = functional.cross_entropy(logits, y) + 0.25 * sum(d == 3 for d in found.decisions)
    assert torch.allclose(loss, expected, atol=1e-6)


@pytest.mark.parametrize("fairness", [False, True])
@pytest.mark.parametrize("schedule", [Schedule(architecture_steps=0), Schedule(), Schedule(joint=True)])
def test_a_search_of_any_schedule_trains_the_weights(data, fairness, schedule):
    torch.manual_seed(0)
    space = small_space(data)
    search = Search(space, uniform(space, fairness=fairness), data, schedule=schedule, selection=BestOf(3))
    before = [p.clone() for p in search.supernet.parameters()]
    pl.Trainer(max_epochs=2, **QUIET).fit(search)
    changed = [not torch.equal(a, b) for a, b in zip(before, search.supernet.parameters(), strict=True)]
    assert sum(changed) > len(changed) / 8
    assert search.scores[0] == search.scores[-1]
    assert space.is_valid(search.found.decisions)


def test_a_search_runs_fair_rounds_whatever_the_architecture_steps():
    """A round of weight steps: 8 candidates in 2 epochs of 4 batches, each one once."""
    data = digits(batch_size=16, train_size=128)
    space = small_space(data)
    search = Search(space, uniform(space, fairness=True), data, Schedule(architecture_steps=3), selection=BestOf(1))
    drawn = []
    search.supernet.register_forward_pre_hook(
        lambda supernet, inputs: drawn.append(decisions(inputs[1])) if supernet.training else None
    )
    pl.Trainer(max_epochs=2, **QUIET).fit(search)
    assert [sorted(column) for column in zip(*drawn, strict=True)] == [list(range(8))] * len(space.choices)


def test_a_summed_update_has_no_joint_step(data):
    space = small_space(data)
    with pytest.raises(InputError, match="schedule.joint=true"):
        Search(space, uniform(space, fairness=True, summed=True), data, Schedule(joint=True))


def test_bad_arguments():
    with pytest.raises(InputError, match="architect.summed=1"):
        uniform(Ragged(), fairness=True, summed=1)
    with pytest.raises(InputError, match="architect.fairness='yes'"):
        uniform(Ragged(), fairness="yes")
