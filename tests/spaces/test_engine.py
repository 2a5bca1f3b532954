"""The whole supernet against the naive reference of the benchmark: numbers, memory and operations."""

import pytest
import torch
from torch.nn import functional

from oneshot.architects.base import frozen
from oneshot.architecture import Gates
from oneshot.cli.benchmark.naive import naive
from oneshot.cli.benchmark.profiling import Operations, saved_bytes
from oneshot.spaces import DARTSCells, NASBench201


def published(size=16, execution="auto", batch=2):
    """The published supernet."""
    torch.manual_seed(0)
    space = DARTSCells((3, size, size), 10, execution=execution)
    net = space.supernet().to(memory_format=torch.channels_last)
    weight = torch.softmax(torch.randn(space.shape), 1)
    return net, weight, torch.randn(batch, 3, size, size), torch.randint(10, (batch,))


def computed(net, weight, x, y):
    """Logits and all gradients."""
    weight = weight.clone().requires_grad_()
    logits = net(x, Gates(weight))
    gradients = torch.autograd.grad(functional.cross_entropy(logits, y), [weight, *net.parameters()])
    return [logits.detach(), *gradients]


@pytest.mark.parametrize("execution", ["grouped", "edges"])
def test_equals_the_naive_reference(double, execution):
    net, weight, x, y = published(execution=execution)
    for ours, expected in zip(computed(net, weight, x, y), computed(naive(net), weight, x, y), strict=True):
        assert (ours - expected).abs().max() <= 1e-10 * expected.abs().max().clamp(min=1)


@pytest.mark.parametrize("execution", ["grouped", "edges"])
def test_cells_of_another_space_equal_the_naive_reference(double, execution):
    torch.manual_seed(0)
    net = NASBench201((3, 8, 8), 10, cells=1, channels=4, execution=execution).supernet()
    net = net.to(memory_format=torch.channels_last)
    weight, x, y = torch.randn(6, 5), torch.randn(3, 3, 8, 8), torch.tensor([1, 2, 3])
    for ours, expected in zip(computed(net, weight, x, y), computed(naive(net), weight, x, y), strict=True):
        assert (ours - expected).abs().max() <= 1e-10


def test_memory_is_at_most_six_tenths():
    """Of a weight step; an architecture step needs less still. Small batches would show grouped copies of weights."""
    net, weight, x, y = published(32, batch=8)
    grouped = published(32, "grouped")[0]
    reference = naive(net)

    def bytes_of(net, gate):
        gates = Gates(weight.clone().requires_grad_(gate))
        return saved_bytes(lambda: functional.cross_entropy(net(x, gates), y), net.parameters())

    step, architecture = bytes_of(reference, False), bytes_of(reference, True)
    for ours in (net, grouped):
        assert bytes_of(ours, False) <= 0.6 * step
        with frozen(ours):
            assert bytes_of(ours, True) <= 0.5 * architecture


def test_operations_are_at_most_four_tenths_when_grouped():
    net, weight, x, y = published(execution="grouped")

    def operations(net):
        with Operations() as counter:
            functional.cross_entropy(net(x, Gates(weight)), y).backward()
        return counter.total

    assert operations(net) <= 0.4 * operations(naive(net))


def test_the_reference_takes_all_gradients():
    net, weight, x, y = published(8)
    reference = naive(net)
    with frozen(reference):
        functional.cross_entropy(reference(x, Gates(weight.requires_grad_())), y).backward()
    assert all(p.grad is not None for p in reference.parameters()) and weight.grad is not None


def test_the_reference_takes_the_gradients_of_gates_that_want_none():
    net, weight, x, y = published(8)
    reference = naive(net)
    with Operations() as detached:
        functional.cross_entropy(reference(x, Gates(weight.clone())), y).backward()
    reference.zero_grad()
    with Operations() as attached:
        functional.cross_entropy(reference(x, Gates(weight.clone().requires_grad_())), y).backward()
    assert abs(detached.total - attached.total) <= 1  # the copy
