"""SETN: uniform paths for the weights, first-order DARTS for alpha, and a selection that draws from alpha."""

from collections import Counter
from itertools import product
from types import SimpleNamespace

import pytest
import torch
from helpers.support import small_space
from scipy.stats import chisquare
from torch.nn import functional

from oneshot.architects.base import frozen
from oneshot.architects.darts import DARTS
from oneshot.architects.setn import SETN
from oneshot.errors import InputError
from oneshot.schedule import Schedule, Step
from oneshot.search import Search
from oneshot.spaces import DARTSCells
from oneshot.techniques import Composed, RandomPerturbation


def test_paths_of_weight_steps_are_uniform_over_the_valid_architectures():
    space = DARTSCells((1, 8, 8), 10, cells=3, channels=4, nodes=2, candidates=("none", "skip_connect"))
    architect = SETN(space)
    with torch.no_grad():
        architect.alpha[:, 0] += 3  # which they do not depend on
    valid = [a for a in product(range(2), repeat=10) if space.is_valid(a)]
    counts = Counter()
    for index in range(1800):
        (gates,) = architect.weight_gates(None, None, Step(0, index, 1800))
        decisions = tuple(k for (k,) in gates.active)
        assert torch.equal(gates.weight, space.one_hot(space.architecture(decisions)))
        counts[decisions] += 1
    assert set(counts) == set(valid) and chisquare(list(counts.values())).pvalue > 0.001


def test_the_gradient_of_alpha_is_that_of_first_order_darts(double):
    torch.manual_seed(0)
    space = small_space()
    ours, darts, supernet = SETN(space), DARTS(space), space.supernet()
    darts.load_state_dict(ours.state_dict())
    batches = [(torch.randn(8, 1, 8, 8), torch.randint(10, (8,))) for _ in range(2)]
    sgd = torch.optim.SGD(supernet.parameters(), lr=0.1)
    gradients = []
    for architect in (ours, darts):
        with frozen(supernet):
            loss = architect.loss(supernet, *batches, sgd, Step(0, 3, 9))
        gradients.append(torch.autograd.grad(loss, architect.alpha)[0])
    assert torch.equal(*gradients) and gradients[0].any()


def test_the_best_of_what_alpha_draws_is_kept():
    space = small_space()
    architect = SETN(space)
    with torch.no_grad():
        architect.alpha[:, 1:] = -30  # all choices are decided but for two edges a node
        architect.alpha[:, 3] = 0
        architect.alpha[0, 4] = 0
    asked = []

    def estimate(queries):
        asked.extend(query.architecture for query in queries)
        return [{"accuracy": float(query.architecture.decisions[0] == 4)} for query in queries]

    found = SETN.selection(space, architect, SimpleNamespace(estimate=estimate))
    assert {d for a in asked for d in a.decisions} <= {0, 3, 4} and found.decisions[0] == 4
    assert SETN.selection.samples == 100 and len(asked) == len(set(asked)) > 2


def test_its_weight_steps_are_no_joint_steps_and_take_no_perturbation(data):
    space = small_space(data)
    with pytest.raises(InputError, match="schedule.joint=true"):
        Search(space, SETN(space), data, Schedule(joint=True))
    with pytest.raises(InputError, match="random_perturbation: SETN has weight steps of its own"):
        Composed(SETN(space), perturbations=[RandomPerturbation()])
    assert functional.cross_entropy is SETN(space).criterion
