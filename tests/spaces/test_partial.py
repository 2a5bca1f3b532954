"""Partial channels against a plain loop over edges and candidates."""

import random

import pytest
import torch
from torch.nn import functional

from oneshot.architecture import Gates
from oneshot.cli.benchmark.naive import naive
from oneshot.errors import InputError
from oneshot.spaces import DARTSCells, NASBench201
from oneshot.spaces.cell import Edge, MixedCell
from oneshot.spaces.operations import OPERATIONS

EDGES = (Edge(0, 2, 2), Edge(1, 2, 2), Edge(0, 3, 2), Edge(1, 3, 2), Edge(2, 3, 1))
CANDIDATES = ("none", "max_pool_3x3", "skip_connect", "sep_conv_3x3")


def loop(cell, inputs, weight, k, active):
    """What PC-DARTS computes: first 1/k of the channels mixed, the rest passed, concatenated, shuffled, summed."""
    states = list(inputs)
    for target in (2, 3):
        total = 0
        for i, edge in enumerate(EDGES):
            if edge.target != target:
                continue
            x = states[edge.source]
            c = x.shape[1] // k
            mixed, rest = 0, functional.max_pool2d(x[:, c:], 2, 2) if edge.stride == 2 else x[:, c:]
            for j, name in enumerate(CANDIDATES):
                if name != "none" and j in active[i]:
                    mixed = mixed + weight[i, j] * cell.edges[str(i)][name](x[:, :c])
            if not set(active[i]) - {0}:
                continue
            passed = weight[i].sum() if len(active[i]) == len(CANDIDATES) else sum(weight[i, j] for j in active[i] if j)
            y = torch.cat([mixed, passed * rest], 1)
            b, channels, h, w = y.shape
            total = total + y.view(b, k, channels // k, h, w).transpose(1, 2).reshape(b, channels, h, w)
        states.append(total)
    return states


@pytest.mark.parametrize("paths", [False, True])
@pytest.mark.parametrize("execution", ["grouped", "edges"])
@pytest.mark.parametrize("k", [2, 4])
def test_a_cell_equals_the_plain_loop(double, k, execution, paths):
    torch.manual_seed(k)
    cell = MixedCell(EDGES, CANDIDATES, OPERATIONS, 8, execution, k)
    inputs = [torch.randn(3, 8, 8, 8).to(memory_format=torch.channels_last).requires_grad_() for _ in range(2)]
    active = ((3,), (0, 2), (1,), (0,), (2,)) if paths else tuple((0, 1, 2, 3) for _ in EDGES)
    weight = torch.rand(5, 4, requires_grad=True)
    if paths:
        used = torch.tensor([[float(j in row) for j in range(4)] for row in active])
        weight = (weight.detach() * used).requires_grad_()
    ours = cell(inputs, Gates(weight, active if paths else None))
    expected = loop(cell, inputs, weight, k, active)
    wanted = [weight, *inputs, *cell.parameters()]
    probe = [torch.randn_like(state) for state in expected[2:]]
    gradients = [
        torch.autograd.grad(
            sum((s * p).sum() for s, p in zip(states[2:], probe, strict=True)), wanted, materialize_grads=True
        )
        for states in (ours, expected)
    ]
    for a, b in zip((*ours, *gradients[0]), (*expected, *gradients[1]), strict=True):
        assert torch.allclose(a, b, atol=1e-10)


@pytest.mark.parametrize("space", [DARTSCells, NASBench201])
def test_supernet_networks_and_refusals(space):
    sizes = {"cells": 3, "channels": 8}
    part, whole = (space((1, 8, 8), 10, **sizes, partial_channels=k) for k in (4, 1))
    assert part.fingerprint == whole.fingerprint
    found = part.sample(random.Random(0))
    supernet, x = part.supernet(), torch.randn(2, 1, 8, 8)
    assert supernet(x, Gates(part.one_hot(found))).shape == (2, 10)
    shapes = [[p.shape for p in one.network(found).parameters()] for one in (part, whole)]
    assert shapes[0] == shapes[1]
    assert sum(p.numel() for p in supernet.parameters()) < sum(p.numel() for p in whole.supernet().parameters())
    with pytest.raises(InputError, match="space.partial_channels=4: no network can inherit"):
        part.network(found, inherit=supernet)
    with pytest.raises(InputError, match="space.partial_channels=3: must divide the channels"):
        space((1, 8, 8), 10, **sizes, partial_channels=3)
    with pytest.raises(InputError, match="space.partial_channels=0"):
        space((1, 8, 8), 10, **sizes, partial_channels=0)


def test_memory_falls():
    """What a step keeps for its backward pass, in DARTS cells of the published size."""
    from oneshot.cli.benchmark.profiling import saved_bytes

    kept = []
    for k in (1, 4):
        space = DARTSCells((3, 32, 32), 10, cells=3, partial_channels=k)
        torch.manual_seed(0)
        net = space.supernet().to(memory_format=torch.channels_last)
        x, y = torch.randn(4, 3, 32, 32), torch.randint(10, (4,))
        gates = Gates(torch.softmax(torch.randn(space.shape), 1))
        kept.append(
            saved_bytes(lambda net=net, x=x, y=y, g=gates: functional.cross_entropy(net(x, g), y), net.parameters())
        )
    assert kept[1] <= 0.5 * kept[0]


@pytest.mark.parametrize("space", [DARTSCells, NASBench201])
def test_the_loop_of_the_benchmark_gives_the_same(double, space):
    torch.manual_seed(0)
    sizes = {"cells": 3, "channels": 8, "nodes": 2} if space is DARTSCells else {"cells": 1, "channels": 8}
    space = space((1, 8, 8), 10, partial_channels=4, **sizes)
    net, x, rng = space.supernet(), torch.randn(4, 1, 8, 8), random.Random(0)
    path = space.sample(rng)
    for gates in (
        Gates(torch.rand(space.shape) * space.mask),
        Gates(space.one_hot(path).double(), tuple((k,) for k in path.decisions)),
    ):
        assert torch.allclose(net(x, gates), naive(net)(x, gates), rtol=1e-9)
