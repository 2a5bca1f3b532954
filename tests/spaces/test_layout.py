"""Layouts of gradients: dense in channels-last wherever they enter a backward pass, with the same numbers."""

from collections import Counter

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from oneshot.architects import DARTS, Step
from oneshot.fitting.updates import Components, architecture_step, weight_step
from oneshot.spaces import DARTSCells, NASBench201
from oneshot.spaces.layout import EVEN, dense_gradient, joined, pixels

SPACES = {
    "nasbench201": lambda: NASBench201((3, 16, 16), 10, cells=1, channels=8),
    "darts": lambda: DARTSCells((3, 16, 16), 10, cells=3, channels=8),
    "narrow": lambda: DARTSCells((3, 16, 16), 10, cells=3, channels=4),  # other kernels below 8 channels
    "partial": lambda: DARTSCells((3, 16, 16), 10, cells=3, channels=16, partial_channels=2),
}


class Strided(TorchDispatchMode):
    """Counts backward calls, and those whose gradient is not dense in channels-last."""

    def __init__(self):
        super().__init__()
        self.calls, self.strided = 0, Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function._schema.name.endswith("backward") and args[0].dim() == 4:
            self.calls += 1
            if not args[0].is_contiguous(memory_format=torch.channels_last):
                self.strided[function._schema.name, tuple(args[0].shape), args[0].stride()] += 1
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", SPACES)
def test_no_backward_call_gets_a_strided_gradient(name):
    torch.manual_seed(0)
    space = SPACES[name]()
    supernet, architect = space.supernet().to(memory_format=torch.channels_last), DARTS(space)
    weights = torch.optim.SGD(supernet.parameters(), lr=0.1)
    moving = [torch.optim.Adam(architect.parameters(), lr=0.1)]
    components = Components(supernet, architect, functional.cross_entropy, weights, moving)
    batch = torch.randn(4, 3, 16, 16).to(memory_format=torch.channels_last), torch.tensor([0, 1, 2, 3])
    for update in (
        lambda: architecture_step(components, batch, batch, Step(0, 0, 2)),
        lambda: weight_step(components, batch, Step(0, 1, 2)),
    ):
        with Strided() as counted:
            update()
        assert counted.calls > 60 and not counted.strided


@pytest.mark.parametrize(
    ("ours", "plain"),
    [
        (dense_gradient, lambda x: x),
        (lambda x: joined([x, 2 * x]), lambda x: torch.cat([x, 2 * x], dim=1)),
        (lambda x: pixels(x, EVEN, EVEN), lambda x: x[:, :, ::2, ::2]),
        (lambda x: pixels(x, slice(1, None), slice(0, 2)), lambda x: x[:, :, 1:, :2]),
    ],
)
def test_numbers_and_both_derivatives_are_the_same(ours, plain):
    x = torch.randn(2, 3, 5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.equal(ours(x), plain(x)) and gradcheck(ours, x) and gradgradcheck(ours, x)
    g = torch.randn_like(plain(x))
    (found,), (expected,) = (torch.autograd.grad(f(x), x, g) for f in (ours, plain))
    assert torch.equal(found, expected) and found.is_contiguous(memory_format=torch.channels_last)
