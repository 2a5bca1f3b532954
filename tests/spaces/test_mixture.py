"""The mixed cell against a loop over edges and candidates: any gates, active sets, candidates and shapes."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from oneshot.architecture import Gates
from oneshot.errors import InputError
from oneshot.spaces.cell import Edge, MixedCell, by_edge
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


def reused(channels, stride, affine):
    """One ReLU in two places, and a norm with an epsilon of its own."""
    relu = nn.ReLU()
    return nn.Sequential(
        relu,
        nn.Conv2d(channels, channels, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(channels, eps=1e-2, affine=False, track_running_stats=False),
        relu,
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels, eps=1e-1, affine=False, track_running_stats=False),
    )


def in_place(channels, stride, affine):
    """A layer that writes into its input."""
    return nn.Sequential(nn.ReLU(), nn.Conv2d(channels, channels, 3, stride, padding=1), nn.ELU(inplace=True))


def flat(channels, stride, affine):
    """Layers that are no images in between."""
    convolution = nn.Conv2d(channels, channels, 3, stride, padding=1)
    return nn.Sequential(convolution, nn.Flatten(0, 1), nn.MaxPool2d(3, 1, 1), nn.Unflatten(0, (3, channels)))


FIXED = {name: operation for name, operation in OPERATIONS.items() if name != "noise"}  # which draws

FACTORIES = {
    **FIXED,
    "reused": reused,
    "in_place": in_place,
    "flat": flat,
    "scaled": lambda channels, stride, affine: Scaled(channels, stride),
    "bottleneck": bottleneck,
    "grouped_first": grouped_first,
    "strided": strided,
}


def plain(module, x):
    """A candidate, its depthwise convolutions as nn.Conv2d computes them."""
    if module._forward_hooks:
        return module(x)
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
                for k, name in enumerate(cell.candidates[i]):
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
    small = [] if "grouped_first" in names else [(1, 1)]  # one pixel cannot be reflected
    if draw(st.booleans()):  # each edge has its own
        names = [draw(st.permutations(names))[: draw(st.integers(1, len(names)))] for _ in edges]
    sizes = [len(row) for row in by_edge(names, len(edges))]
    subsets = st.tuples(*(st.lists(st.sampled_from(range(n)), unique=True).map(tuple) for n in sizes))
    active = draw(st.none() | subsets)
    size = draw(st.sampled_from([(8, 8), (4, 12), (10, 6)] if reduces else [(8, 8), (7, 9), *small]))
    memory = draw(st.sampled_from([torch.contiguous_format, torch.channels_last]))
    return names, edges, active, (*size, memory), draw(st.integers(0, 2**31)), draw(st.sampled_from([2, 4]))


def build(case, execution):
    names, edges, active, (*size, memory), seed, channels = case
    torch.manual_seed(seed)
    cell = MixedCell(edges, names, FACTORIES, channels, execution)
    inputs = [torch.randn(3, channels, *size).to(memory_format=memory).requires_grad_() for _ in range(2)]
    weight = torch.randn(len(edges), max(map(len, cell.candidates)), requires_grad=True)
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


NAMES = ["none", *FIXED, "scaled", "strided"]  # no bias in front of a norm: its gradient is zero and rounding
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
    assert not cell._groups(torch.zeros(8, 4, 8, 8, device="meta"))  # as any accelerator


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


def both_plans(edges, factories, change=lambda cell: None, names=None, channels=2):
    """The largest difference to the loop, of each plan, in float64; change: what happens to a cell before."""
    for execution in ("edges", "grouped"):
        torch.manual_seed(0)
        cell = MixedCell(edges, ["none", *(names or factories)], factories, channels, execution)
        change(cell)
        inputs = [torch.randn(3, channels, 8, 8, requires_grad=True) for _ in range(2)]
        weight = torch.randn(len(edges), len(cell.candidates[0]), requires_grad=True)
        torch.manual_seed(1)
        ours = computed(cell, cell, inputs, weight, None)
        torch.manual_seed(1)
        yield largest_difference(ours, computed(lambda x, g, c=cell: loop(c, x, g), cell, inputs, weight, None))


FLAT = [Edge(s, t, 1) for t in range(2, 5) for s in range(t)]


def norm(channels, eps=1e-5):
    return nn.BatchNorm2d(channels, eps=eps, affine=False, track_running_stats=False)


VARIED = {
    "dilation": lambda n, c: nn.Sequential(nn.ReLU(), nn.Conv2d(c, c, 3, 1, 1 + n % 2, dilation=1 + n % 2), norm(c)),
    "epsilon": lambda n, c: nn.Sequential(nn.Conv2d(c, c, 1), norm(c, 0.1 + n)),
    "pool": lambda n, c: nn.Sequential(nn.AvgPool2d(3 + 2 * (n % 2), 1, 1 + n % 2), norm(c)),
    "counted": lambda n, c: nn.AvgPool2d(3, 1, 1, count_include_pad=bool(n % 2)),
    "order": lambda n, c: nn.Sequential(*[nn.ReLU(), nn.Conv2d(c, c, 1)][:: 1 if n % 2 else -1], norm(c)),
    "length": lambda n, c: nn.Sequential(*[nn.Conv2d(c, c, 1) for _ in range(1 + n % 3)]),
    "bias": lambda n, c: nn.Sequential(nn.Conv2d(c, c, 1, bias=bool(n % 2))),
    "width": lambda n, c: nn.Sequential(nn.Conv2d(c, c + n, 1), nn.ReLU(), nn.Conv2d(c + n, c, 1)),
}


@pytest.mark.parametrize("name", VARIED)
def test_candidates_that_differ_from_edge_to_edge(double, name):
    built = iter(range(10_000))
    for difference in both_plans(FLAT, {name: lambda c, *_: VARIED[name](next(built), c)}):
        assert difference < 1e-10


def test_two_edges_between_the_same_states(double):
    for difference in both_plans([Edge(0, 2, 1), Edge(0, 2, 1), Edge(1, 2, 1), Edge(2, 3, 1)], OPERATIONS):
        assert difference < 1e-10


def negate(module, arguments, output):
    return -output


@pytest.mark.parametrize("place", [None, 0, 1, -1], ids=str)
def test_hooks_run(double, place):
    def change(cell):
        for edge in cell.edges.values():
            candidate = edge["sep_conv_3x3"]
            (candidate if place is None else candidate[place]).register_forward_hook(negate)

    for difference in both_plans(FLAT, OPERATIONS, change, ["sep_conv_3x3", "max_pool_3x3"]):
        assert difference < 1e-10


def test_hooked_weights(double):
    """Spectral norm of the old kind computes the weight in a hook."""

    def normed(channels, stride, affine):
        convolution = nn.utils.spectral_norm(nn.Conv2d(channels, channels, 1), n_power_iterations=1)
        return nn.Sequential(nn.ReLU(), convolution.eval(), norm(channels))

    for difference in both_plans(FLAT, {"normed": normed}):
        assert difference < 1e-10


def test_hooks_that_go_again(double):
    def change(cell):
        for edge in cell.edges.values():
            handle = edge["sep_conv_3x3"].register_forward_hook(negate)
            cell._branch(0, "sep_conv_3x3")
            handle.remove()

    for difference in both_plans(FLAT, OPERATIONS, change, ["sep_conv_3x3"]):
        assert difference < 1e-10


def test_modules_that_are_replaced(double):
    def change(cell):
        cell.edges["0"]["skip_connect"] = nn.AvgPool2d(3, 1, 1)
        cell.edges["1"]["sep_conv_3x3"][-1] = norm(2, eps=1.0)

    for difference in both_plans(FLAT, OPERATIONS, change, ["skip_connect", "sep_conv_3x3"]):
        assert difference < 1e-10


@pytest.mark.parametrize("execution", ["edges", "grouped"])
def test_a_layer_that_writes_behind_the_first_relu_writes_into_no_one_elses(double, execution):
    """Without gradients; with them torch refuses it."""

    def writes(channels, stride, affine):
        return nn.Sequential(nn.ReLU(), nn.Hardtanh(0.2, 0.5, inplace=True), nn.Conv2d(channels, channels, 1))

    torch.manual_seed(0)
    cell = MixedCell(FLAT, ["none", "writes", "sep_conv_3x3"], {**OPERATIONS, "writes": writes}, 2, execution)
    inputs, gates = [torch.randn(3, 2, 8, 8) for _ in range(2)], Gates(torch.randn(len(FLAT), 3))
    with torch.no_grad():
        for ours, expected in zip(cell(inputs, gates), loop(cell, inputs, gates), strict=True):
            assert (ours - expected).abs().max() < 1e-10


@pytest.mark.parametrize("execution", ["edges", "grouped"])
def test_sums_of_two_precisions_have_the_larger(execution):
    """Under autocast a convolution gives bfloat16, what is skipped is float32: the loop sums them in float32."""
    cell = MixedCell(FLAT, ["none", "bottleneck", "skip_connect"], FACTORIES, 2, execution)
    with torch.autocast("cpu", torch.bfloat16):
        states = cell([torch.randn(2, 2, 8, 8), torch.randn(2, 2, 8, 8)], Gates(torch.ones(len(FLAT), 3)))
    assert all(state.dtype == torch.float32 for state in states)


@pytest.mark.parametrize(
    ("operation", "message"),
    [(lambda *_: 1 / 0, "operation 'odd': ZeroDivisionError"), (lambda *_: 3, "operation 'odd': gives int, must give")],
)
def test_operations_that_fail_are_named(operation, message):
    with pytest.raises(InputError, match=message):
        MixedCell(FLAT, ["none", "odd"], {"odd": operation}, 2)
