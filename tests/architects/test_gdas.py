"""GDAS is a setting of SNAS: its gradient against the formula of the paper in a plain loop over edges."""

import math

import pytest
import torch
from helpers.support import build, composed
from torch.nn import functional

from oneshot.architects.base import Step, frozen
from oneshot.architecture import Gates
from oneshot.cli.benchmark.naive import naive
from oneshot.spaces import NASBench201


@pytest.mark.parametrize("index", [0, 3, 7])
def test_the_gradient_is_that_of_one_hot_plus_relaxed_minus_constant(double, index):
    """Of alpha, with everything about the gates in scalars and the supernet as one edge after the other."""
    space, step = NASBench201((1, 8, 8), 10, cells=1, channels=4), Step(5, index, 11)
    architect = build("gdas", space)
    architect.alpha.data = torch.randn(space.shape)
    supernet = space.supernet()
    x, y = torch.randn(8, 1, 8, 8), torch.randint(10, (8,))
    with frozen(supernet):
        loss = architect.loss(supernet, (x + 1, y), (x, y), None, step)
    loss.backward()

    alpha = architect.alpha.detach().clone().requires_grad_()
    noise = torch.empty(space.shape).exponential_(generator=step.generator("snas"))
    tau = 10 - (10 - 0.1) * index / 10
    rows, active = [], []
    for i in range(space.shape[0]):
        e = [torch.exp((alpha[i, k] - math.log(noise[i, k])) / tau) for k in range(space.shape[1])]
        Z = [value / sum(e) for value in e]
        drawn = max(range(len(Z)), key=lambda k: Z[k].item())  # noqa: B023
        rows.append(torch.stack([(k == drawn) + Z[k] - Z[k].detach() for k in range(len(Z))]))
        active.append((drawn,))
    plain = functional.cross_entropy(naive(supernet)(x, Gates(torch.stack(rows), tuple(active))), y)
    (expected,) = torch.autograd.grad(plain, alpha)
    assert abs(loss.item() - plain.item()) < 1e-12
    assert (architect.alpha.grad - expected).abs().max() < 1e-12 and expected.abs().max() > 1e-6


def test_the_published_setting():
    config = composed("gdas experiment=darts_cifar10")
    assert not config.schedule.joint and config.architect.straight_through
    assert (config.architect.temperature, config.architect.minimum_temperature) == (10.0, 0.1)
    optimizer = config.architect.optimizer
    assert (optimizer.lr, list(optimizer.betas), optimizer.weight_decay) == (3e-4, [0.5, 0.999], 1e-3)
