"""`recompute`: the numbers of a supernet that keeps everything, for every architect, and less memory."""

import copy

import pytest
import pytorch_lightning as pl
import torch
from helpers.support import OWN, QUIET, SETTINGS, configured
from torch import nn
from torch.nn import functional

from oneshot.architecture import Gates
from oneshot.cli.benchmark.profiling import Alive
from oneshot.data import digits
from oneshot.errors import InputError
from oneshot.spaces import DARTSCells, NASBench201
from oneshot.spaces.recompute import recomputed

EXACT = "darts_second architect.hessian=exact"
CASES = [("nasbench201" if settings in {*SETTINGS} - {*OWN} else "darts", settings) for settings in [*SETTINGS, EXACT]]
CASES += [("nasbench201", "darts"), ("nasbench201", EXACT)]


@pytest.fixture(scope="module")
def data():
    return digits(batch_size=16, train_size=96)


def space_of(name, data, recompute):
    if name == "darts":
        return DARTSCells(data, cells=3, channels=4, nodes=1, recompute=recompute)
    return NASBench201(data, cells=1, channels=4, recompute=recompute)


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_a_search_is_the_same(data, name, settings):
    found = []
    for recompute in (False, True):
        module = configured(settings, data, 1, space=space_of(name, data, recompute))
        pl.Trainer(max_epochs=1, precision="64-true", **QUIET).fit(module)
        found.append(module)
    plain, again = (module.state_dict() for module in found)
    assert plain.keys() == again.keys() and again
    for key in plain:
        torch.testing.assert_close(again[key], plain[key], rtol=1e-10, atol=1e-10)
    assert found[0].found == found[1].found


class Noisy(nn.Module):
    """A part with weights, running statistics and random numbers."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.SiLU(), nn.Dropout(0.5))

    def forward(self, x):
        return self.layers(x) + torch.randn(4, 1, 1)


def test_buffers_and_random_numbers_are_those_of_one_pass():
    torch.manual_seed(0)
    plain, x = Noisy().double(), torch.randn(3, 2, 6, 6, dtype=torch.float64, requires_grad=True)
    again = copy.deepcopy(plain)
    results = []
    for part, run in ((plain, lambda x: plain(x)), (again, lambda x: recomputed(again, x))):
        torch.manual_seed(1)
        y = run(x)
        after = torch.rand(1)  # what follows draws as if nothing had been computed again
        gradients = torch.autograd.grad(y.square().sum(), [x, *part.parameters()])
        results.append([y, after, torch.rand(1), *gradients, *part.buffers()])
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)


def test_weights_of_the_first_pass_count():
    """Also where they were frozen or replaced for that pass alone."""
    torch.manual_seed(0)
    part, x = nn.Linear(3, 2).double(), torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    other = {name: torch.randn_like(p).requires_grad_() for name, p in part.named_parameters()}

    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            self.part = part

        def forward(self, x):
            return recomputed(self.part, x).square().sum()

    loss = torch.func.functional_call(Whole(), {f"part.{name}": p for name, p in other.items()}, (x,))
    expected = functional.linear(x, other["weight"], other["bias"]).square().sum()
    inputs = [x, *other.values()]
    for found, right in zip(torch.autograd.grad(loss, inputs), torch.autograd.grad(expected, inputs), strict=True):
        torch.testing.assert_close(found, right, rtol=1e-12, atol=1e-12)
    part.requires_grad_(False)
    loss = recomputed(part, x).square().sum()
    part.requires_grad_(True)
    loss.backward()
    assert part.weight.grad is None
    torch.testing.assert_close(x.grad, 2 * part(x) @ part.weight)


@pytest.mark.parametrize("name", ["darts", "nasbench201"])
@pytest.mark.parametrize("trains", [True, False], ids=["weights", "architecture"])
def test_memory_is_less(name, trains):
    kept = []
    for recompute in (False, True):
        torch.manual_seed(0)
        sizes = {"cells": 6 if name == "darts" else 3, "channels": 8, "recompute": recompute}
        space = (DARTSCells if name == "darts" else NASBench201)((3, 16, 16), 10, **sizes)
        supernet = space.supernet().requires_grad_(trains).to(memory_format=torch.channels_last)
        weight = (space.mask / space.mask.sum(1, keepdim=True)).float().requires_grad_(not trains)
        x = torch.randn(8, 3, 16, 16).to(memory_format=torch.channels_last)
        with Alive() as alive:
            supernet(x, Gates(weight)).sum().backward()
        kept.append(alive.peak)
    assert kept[1] < 0.5 * kept[0]


def test_nothing_is_kept_where_no_gradient_is_taken():
    space = NASBench201((3, 8, 8), 10, cells=1, channels=4, recompute=True)
    supernet = space.supernet()
    with torch.no_grad():
        assert not supernet(torch.zeros(2, 3, 8, 8), Gates(torch.ones(space.shape))).requires_grad


@pytest.mark.parametrize("space", [DARTSCells, NASBench201])
def test_another_value_is_refused(space):
    with pytest.raises(InputError, match=r"space.recompute=2: must be true or false"):
        space((3, 8, 8), 10, recompute=2)
