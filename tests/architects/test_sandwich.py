"""The sandwich rule: its paths against every network of small spaces, its gradient against the sum of single ones."""

from itertools import product

import pytest
import torch
from helpers.ragged import Ragged
from helpers.support import small_space
from torch.nn import functional

from oneshot.architects import Sandwich, Step
from oneshot.architecture import Gates
from oneshot.cost import network_cost
from oneshot.errors import InputError
from oneshot.fitting.updates import Components, weight_step
from oneshot.search import Schedule, Search
from oneshot.spaces import DARTSCells, NASBench201


def decisions(gates):
    assert torch.equal(gates.weight.nonzero()[:, 1], torch.tensor([d for (d,) in gates.active]))
    return tuple(d for (d,) in gates.active)


def paths(architect, step):
    return [decisions(gates) for gates in architect.weight_gates(None, None, step)]


def test_the_ends_are_those_of_all_networks():
    candidates = ("skip_connect", "none", "sep_conv_3x3")
    space = DARTSCells((1, 8, 8), 10, 3, 4, nodes=1, candidates=candidates)
    valid = [d for d in product(range(3), repeat=len(space.choices)) if space.is_valid(d)]
    sizes = {d: sum(network_cost(space, space.architecture(d), (1, 8, 8)).values()) for d in valid}
    largest, smallest, *_ = paths(Sandwich(space), Step(0, 0, 10))
    assert len(valid) == 16 and sizes[largest] == max(sizes.values()) > sizes[smallest] == min(sizes.values())


def test_the_smallest_cell_of_nasbench201_has_all_of_its_edges():
    space = NASBench201((1, 8, 8), 10, cells=1, channels=4)
    largest, smallest = paths(Sandwich(space, samples=0), Step(0, 0, 10))
    names = [{space.choices[0].candidates[k] for k in path} for path in (largest, smallest)]
    assert names == [{"nor_conv_3x3"}, {"skip_connect"}]


def test_random_paths_are_valid_and_functions_of_seed_and_step():
    space = small_space()
    architect, again, drawn = Sandwich(space, samples=3), Sandwich(space, samples=3), {}
    for seed, index in product(range(3), range(6)):
        largest, smallest, *others = paths(architect, Step(seed, index, 10))
        assert (largest, smallest) == architect.ends and len(others) == 3
        drawn[seed, index] = others
    assert all(space.is_valid(path) for others in drawn.values() for path in others)
    assert len({path for others in drawn.values() for path in others}) == 54
    assert all(paths(again, Step(*key, 10))[2:] == others for key, others in drawn.items())


def test_the_gradient_is_the_sum_of_those_of_the_paths(double):
    torch.manual_seed(0)
    space = small_space()
    architect, supernet = Sandwich(space), space.supernet()
    x, y = torch.randn(8, 1, 8, 8), torch.randint(10, (8,))
    step, weights = Step(0, 3, 10), list(supernet.parameters())
    sums, losses = [torch.zeros_like(w) for w in weights], []
    for path in paths(architect, step):
        loss = functional.cross_entropy(supernet(x, Gates(space.one_hot(space.architecture(path)))), y)
        for total, g in zip(sums, torch.autograd.grad(loss, weights, materialize_grads=True), strict=True):
            total += g
        losses.append(loss.detach())
    sgd = torch.optim.SGD(weights, lr=0.1)
    loss, _ = weight_step(Components(supernet, architect, functional.cross_entropy, sgd, ()), (x, y), step)
    assert len(losses) == 4 and torch.allclose(loss, sum(losses) / 4)
    for w, total in zip(weights, sums, strict=True):
        assert torch.allclose(torch.zeros_like(w) if w.grad is None else w.grad, total, atol=1e-12)


def test_sizes_of_a_space_of_its_own_decide():
    class Reversed(NASBench201):
        def sizes(self):
            return 5 - torch.arange(5.0, dtype=torch.float64).expand(6, 5)

    largest, smallest, *_ = paths(Sandwich(Reversed((1, 8, 8), 10, cells=1, channels=4)), Step(0, 0, 10))
    assert largest == (0,) * 6 and smallest == (4,) * 6


def test_what_has_no_meaning_is_refused(data):
    space = small_space(data)
    with pytest.raises(InputError, match="architect.samples=-1: must be a whole number, at least 0"):
        Sandwich(space, samples=-1)
    with pytest.raises(InputError, match="space 'ragged' does not say where its candidates are"):
        Sandwich(Ragged())
    with pytest.raises(InputError, match="schedule.joint=true: .*Sandwich changes weight steps alone"):
        Search(space, Sandwich(space), data, Schedule(joint=True))
