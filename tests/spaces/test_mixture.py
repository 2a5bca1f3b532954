"""The mixed cell against a loop over edges and candidates: any gates, active sets, candidates and shapes."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from oneshot.architecture import Gates
from oneshot.spaces.cell import Edge, MixedCell
from oneshot.spaces.depthwise import Depthwise
from oneshot.spaces.operations import OPERATIONS


class Scaled(nn.Module):
    """An operation of a user's that is no nn.Sequential and has a parameter of its own."""

    def __init__(self, channels, stride):
        super().__init__()
        self.scale = nn.Parameter(torch.rand(channels, 1, 1))
        self.stride = stride

    def forward(self, x):
        return torch.tanh(self.scale * x[:, :, :: self.stride, :: self.stride])


def bottleneck(channels, stride, affine):
    """Convolutions with bias, another width inside, a norm with parameters, an activation at the end."""
    return nn.Sequential(
        nn.Conv2d(channels, channels + 2, 3, stride, padding=1, groups=1),
        nn.BatchNorm2d(channels + 2, affine=True, track_running_stats=False),
        nn.SiLU(),
        nn.Conv2d(channels + 2, channels, 1),
        nn.Hardtanh(-0.5, 2.0),
    )


def grouped_first(channels, stride, affine):
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(channels, channels, 3, stride, padding=1, groups=channels, padding_mode="reflect"),
        nn.Conv2d(channels, 2 * channels, 1, groups=2),
        nn.Conv2d(2 * channels, channels, 3, padding="same", groups=2),
        nn.BatchNorm2d(channels, affine=False, track_running_stats=False),
    )


def strided(channels, stride, affine):
    return nn.AvgPool2d(stride, stride)


FACTORIES = {
    **OPERATIONS,
    "scaled": lambda channels, stride, affine: Scaled(channels, stride),
    "bottleneck": bottleneck,
    "grouped_first": grouped_first,
    "strided": strided,
}


def plain(module, x):
    """A candidate, its depthwise convolutions as nn.Conv2d computes them."""
    if isinstance(module, nn.Sequential):
        for layer in module:
            x = plain(layer, x)
        return x
    return nn.Conv2d.forward(module, x) if isinstance(module, Depthwise) else module(x)


def loop(cell, inputs, gates):
    """The states, one edge and one candidate after the other."""
    states = list(inputs)
    for target in sorted({edge.target for edge in cell.graph}):
        total = 0.0
        for i, edge in enumerate(cell.graph):
            if edge.target == target:
                total = total + 0 * states[edge.source][:, :, :: edge.stride, :: edge.stride]
                for k, name in enumerate(cell.candidates):
                    if name != "none" and (gates.active is None or k in gates.active[i]):
                        total = total + gates.weight[i, k] * plain(cell.edges[str(i)][name], states[edge.source])
        states.append(total)
    return states


def computed(forward, cell, inputs, weight, active, silent=None):
    """The last state, and the gradients of a functional of all: of inputs, gates and weights."""
    states = forward(inputs, Gates(weight, active, silent))
    torch.manual_seed(5)
    memory = torch.contiguous_format if inputs[0].is_contiguous() else torch.channels_last
    value = sum((state * torch.randn(state.shape).to(memory_format=memory)).sum() for state in states)
    leaves = [*inputs, weight, *cell.parameters()]
    gradients = torch.autograd.grad(value, leaves, allow_unused=True)
    filled = [torch.zeros_like(x) if g is None else g for x, g in zip(leaves, gradients, strict=True)]
    return states[-1].detach(), filled


@st.composite
def cases(draw):
    names = draw(st.lists(st.sampled_from(sorted(FACTORIES)), min_size=1, max_size=5, unique=True))
    names.insert(draw(st.integers(0, len(names))), "none")
    nodes, reduces = draw(st.integers(1, 3)), draw(st.booleans())
    edges = [Edge(s, t, 2 if reduces and s < 2 else 1) for t in range(2, nodes + 2) for s in range(t)]
    candidates = range(len(names))
    subsets = st.tuples(*(st.lists(st.sampled_from(candidates), unique=True).map(tuple) for _ in edges))
    active = draw(st.none() | subsets)
    size = draw(st.sampled_from([(8, 8), (4, 12), (10, 6)]))
    memory = draw(st.sampled_from([torch.contiguous_format, torch.channels_last]))
    return names, edges, active, (*size, memory), draw(st.integers(0, 2**31)), draw(st.sampled_from([2, 4]))


def build(case, execution):
    names, edges, active, (*size, memory), seed, channels = case
    torch.manual_seed(seed)
    cell = MixedCell(edges, names, FACTORIES, channels, execution)
    inputs = [torch.randn(3, channels, *size).to(memory_format=memory).requires_grad_() for _ in range(2)]
    weight = torch.randn(len(edges), len(names), requires_grad=True)
    return cell, inputs, weight


def largest_difference(ours, expected):
    """Over the last state and all gradients, relative where a value is above 1."""
    pairs = zip([ours[0], *ours[1]], [expected[0], *expected[1]], strict=True)
    return max(((a - b).abs().max() / b.abs().max().clamp(min=1)).item() for a, b in pairs)


@pytest.mark.parametrize("execution", ["edges", "grouped"])
def test_equals_the_loop(double, execution):
    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(cases())
    def check(case):
        cell, inputs, weight = build(case, execution)
        ours = computed(cell, cell, inputs, weight, case[2])
        expected = computed(lambda x, g: loop(cell, x, g), cell, inputs, weight, case[2])
        assert largest_difference(ours, expected) < 1e-10

    check()


NAMES = ["none", *OPERATIONS, "scaled", "strided"]  # no bias in front of a norm: its gradient is zero and rounding
EDGES = [Edge(s, t, 2 if s < 2 else 1) for t in range(2, 5) for s in range(t)]


def float32_case():
    torch.manual_seed(0)
    images = (torch.randn(8, 4, 8, 8).to(memory_format=torch.channels_last) for _ in range(2))
    inputs = [x.requires_grad_() for x in images]
    weight = torch.rand(len(EDGES), len(NAMES), requires_grad=True)
    return inputs, weight


@pytest.mark.parametrize("execution", ["edges", "grouped"])
def test_single_precision_and_bfloat16(execution):
    """float32 within 1e-5 of the loop, gradients too; bfloat16 within 4 % of the largest number."""
    inputs, weight = float32_case()
    cell = MixedCell(EDGES, NAMES, FACTORIES, 4, execution)
    expected, gradients = computed(lambda x, g: loop(cell, x, g), cell, inputs, weight, None)
    ours = computed(cell, cell, inputs, weight, None)
    assert largest_difference(ours, (expected, gradients)) < 1e-5
    with torch.autocast("cpu", torch.bfloat16):
        low = cell(inputs, Gates(weight))[-1]
    assert (low - expected).abs().max() < 0.04 * expected.abs().max()
    low.float().sum().backward()
    assert all(p.grad.isfinite().all() for p in cell.parameters()) and weight.grad.dtype == torch.float32


@pytest.mark.parametrize("execution", ["edges", "grouped"])
def test_silent_candidates_give_the_gates_their_gradient_and_nothing_else(double, execution):
    torch.manual_seed(0)
    names = ["none", "skip_connect", "sep_conv_3x3", "max_pool_3x3", "scaled"]
    cell = MixedCell(EDGES, names, FACTORIES, 3, execution)
    inputs = [torch.randn(2, 3, 8, 8, requires_grad=True) for _ in range(2)]
    active = tuple(tuple({1 + i % 4, 1 + (i + 1) % 4}) for i in range(len(EDGES)))
    silent = tuple((pair[i % 2],) for i, pair in enumerate(active))
    weight = torch.ones(len(EDGES), len(names))
    for i, (k,) in enumerate(silent):
        weight[i, k] = 0.0
    weight.requires_grad_()
    ours = computed(cell, cell, inputs, weight, active, silent)
    expected = computed(lambda x, g: loop(cell, x, g), cell, inputs, weight, active)
    assert largest_difference(ours, expected) < 1e-10
    computed(cell, cell, inputs, weight, active, silent)
    sum(s.sum() for s in cell(inputs, Gates(weight, active, silent))).backward()
    for i, (k,) in enumerate(silent):
        assert all(p.grad is None for p in cell.edges[str(i)][names[k]].parameters())


def test_auto_groups_small_states_on_the_cpu():
    cell = MixedCell(EDGES, NAMES, FACTORIES, 4)
    assert cell._groups(torch.zeros(8, 4, 8, 8)) and not cell._groups(torch.zeros(64, 16, 32, 32))
    assert cell._groups(torch.zeros(64, 16, 32, 32, device="meta"))  # as any accelerator


def test_a_copy_computes_with_its_own_weights():
    inputs, weight = float32_case()
    cell = MixedCell(EDGES, NAMES, FACTORIES, 4)
    twin = copy.deepcopy(cell)
    with torch.no_grad():
        for p in twin.parameters():
            p.mul_(2).add_(1)
    changed = twin(inputs, Gates(weight))[-1]
    assert not torch.equal(changed, cell(inputs, Gates(weight))[-1])
    cell.load_state_dict(twin.state_dict())
    assert torch.equal(changed, cell(inputs, Gates(weight))[-1])


class Shifted(nn.AvgPool2d):
    """A user's subclass, with draws of its own."""

    def forward(self, x):
        return super().forward(x) + torch.randn(1)


@pytest.mark.parametrize("execution", ["edges", "grouped"])
@pytest.mark.parametrize("noisy", [lambda: nn.Dropout(0.5), lambda: Shifted(1), lambda: nn.Sequential(nn.Dropout(0.5))])
def test_an_operation_that_draws_does_so_on_every_edge(execution, noisy):
    edges = [Edge(0, 1, 1), Edge(0, 2, 1)]
    cell = MixedCell(edges, ["none", "noisy"], {"noisy": lambda *_: noisy()}, 2, execution)
    _, first, second = cell([torch.ones(2, 2, 4, 4)], Gates(torch.ones(2, 2)))
    assert not torch.equal(first, second)
