"""Gaps, flatness and cosines against hand-written ones, and that measuring leaves everything as it was."""

import copy

import pytest
import torch
from helpers.support import build, small_space
from torch import nn
from torch.nn import functional

from oneshot.architecture import Gates
from oneshot.diagnostics import (
    Landscape,
    architecture_parameter,
    cosine,
    directions,
    flatness,
    gap,
    gap_by_choice,
    mean_gates,
    measuring,
)
from oneshot.draws import generator
from oneshot.fitting.acceleration import compile_regions
from oneshot.fitting.evaluation import one_path
from oneshot.fitting.graphs import capture_graphs
from oneshot.schedule import Step

STEP = Step(0, 3, 10)
MASK = torch.tensor([[True, True, True], [True, True, False], [True, False, False]])


def table(*rows):
    return Gates(torch.tensor(rows, dtype=torch.float64))


def quadratic(A):
    """L(p) = p A p / 2 over all entries of the gates."""
    return lambda gates: 0.5 * gates.weight.flatten() @ A @ gates.weight.flatten()


def test_gap_on_one_choice_by_hand():
    """L = 2 p_0 + 3 p_1 with p = (0.25, 0.75): 2.75 mixed, 3 decided."""
    loss = lambda gates: 2 * gates.weight[0, 0] + 3 * gates.weight[0, 1]  # noqa: E731
    gates, decided = table((0.25, 0.75)), table((0.0, 1.0))
    assert gap(loss, gates, decided) == 0.25
    assert gap_by_choice(loss, gates, [1]) == [0.25] and gap_by_choice(loss, gates, [0]) == [-0.75]


def test_gap_by_choice_leaves_the_others_mixed():
    """L = (p_00 + p_10)^2 is not additive over choices."""
    loss = lambda gates: (gates.weight[0, 0] + gates.weight[1, 0]) ** 2  # noqa: E731
    gates = table((0.5, 0.5), (0.25, 0.75))
    assert gap_by_choice(loss, gates, [0, 1]) == [1.25**2 - 0.75**2, 0.5**2 - 0.75**2]
    assert gap(loss, gates, table((1, 0), (0, 1))) == 1 - 0.75**2
    assert gates.weight.tolist() == [[0.5, 0.5], [0.25, 0.75]]


def test_gap_of_a_supernet_is_that_of_two_plain_passes():
    torch.manual_seed(0)
    space = small_space(nodes=1)
    architect, net = build("darts", space), space.supernet()
    x, y = torch.randn(6, 1, 8, 8), torch.arange(6)
    found = space.discretize(architect.scores().detach())
    with torch.no_grad():
        decided = functional.cross_entropy(space.network(found, inherit=net)(x), y)
        mixed = functional.cross_entropy(net(x, Gates(torch.softmax(architect.alpha, 1))), y)
    with measuring(net):
        loss = Landscape(net, functional.cross_entropy, (x, y))
        ours = gap(loss, mean_gates(architect, STEP), one_path(space, found, x.device))
    assert ours == pytest.approx(float(decided - mixed), abs=1e-5)


def test_directions_lie_in_the_simplex_and_are_uniform():
    draws = torch.Generator().manual_seed(0)
    many = torch.stack([directions(MASK, draws) for _ in range(4000)])
    assert torch.allclose(many.sum(2), torch.zeros(()).double(), atol=1e-12) and bool((many[:, ~MASK] == 0).all())
    lengths = many.norm(dim=2)
    assert torch.allclose(lengths[:, :2], torch.ones(()).double()) and bool((lengths[:, 2] == 0).all())
    first = many[:, 0]
    covariance = first.T @ first / len(first)  # of a uniform direction: the projection on the simplex, over 2
    assert torch.allclose(covariance, (torch.eye(3).double() - 1 / 3) / 2, atol=0.03)
    assert torch.allclose(first.mean(0), torch.zeros(3).double(), atol=0.05)


def test_flatness_of_a_quadratic_is_half_its_mean_curvature():
    """Exact for one choice of two candidates, whose simplex has one direction; a slope cancels."""
    A = torch.tensor([[3.0, 1.0], [1.0, 2.0]], dtype=torch.float64)
    u = torch.tensor([1.0, -1.0], dtype=torch.float64) / 2**0.5
    gates, mask = table((0.3, 0.7)), torch.ones(1, 2, dtype=torch.bool)
    found = flatness(quadratic(A), gates, mask, generator(0, "test", 0), epsilon=0.2, pairs=1)
    assert found == pytest.approx(0.5 * 0.2**2 * float(u @ A @ u), rel=1e-9)
    assert flatness(lambda g: 5 * g.weight[0, 0], gates, mask, generator(0, "test", 0)) == pytest.approx(0, abs=1e-12)


def test_flatness_of_several_choices_in_expectation():
    draws = torch.Generator().manual_seed(2)
    A = torch.randn(9, 9, generator=draws, dtype=torch.float64)
    A = A + A.T
    expected = 0.0
    for choice, size in ((0, 3), (1, 2)):
        block = A[3 * choice : 3 * choice + size, 3 * choice : 3 * choice + size]
        inside = torch.eye(size, dtype=torch.float64) - 1 / size
        expected += 0.5 * 0.1**2 * float((inside @ block).trace()) / (size - 1)
    gates = table((0.2, 0.3, 0.5), (0.5, 0.5, 0), (1, 0, 0))
    found = flatness(quadratic(A), gates, MASK, generator(0, "test", 1), epsilon=0.1, pairs=4000)
    assert found == pytest.approx(expected, abs=0.05 * 0.1**2 * float(A.norm()))


def test_cosine_by_hand():
    assert float(cosine(torch.tensor([[3.0, 0.0]]), torch.tensor([[3.0, 4.0]]))) == pytest.approx(0.6)
    assert float(cosine(torch.tensor([1.0, 1.0]), torch.tensor([-2.0, -2.0]))) == pytest.approx(-1)
    assert float(cosine(torch.zeros(2), torch.ones(2))) == 0


def test_gates_without_draws():
    """Those of an architect that does not draw; the mean of one that does; after the transforms in both."""
    space = small_space(nodes=1)
    for settings in ("darts", "fair_darts", "setn", "pc_darts", "darts_minus", "lambda_darts"):
        architect = build(settings, space)
        assert torch.equal(mean_gates(architect, STEP).weight, architect.gates(STEP).weight), settings
    for settings in ("snas", "drnas", "gdas", "proxyless", "reinmax", "enas"):
        architect = build(settings, space)
        gates = mean_gates(architect, STEP)
        assert torch.equal(gates.weight, architect.scores()) and gates.active is None, settings
        assert not torch.equal(gates.weight, architect.gates(STEP).weight), settings


@pytest.mark.parametrize(
    ("settings", "name"),
    [("darts", "alpha"), ("gaea", "log_p"), ("pc_darts", "alpha"), ("proxyless architect.variant=reinforce", "alpha")]
    + [("enas", None), ("uniform", None), ("largest", None), ("path_dropout", None)],
)
def test_the_parameter_of_an_architect(settings, name):
    architect = build(settings, small_space(nodes=1))
    inner = getattr(architect, "architect", architect)
    found = architecture_parameter(architect)
    assert found is (getattr(inner, name) if name else None)


class Noisy(nn.Module):
    """A supernet that draws, has buffers that a forward pass moves, and counts what it is asked."""

    def __init__(self):
        super().__init__()
        self.norm, self.dropout, self.linear = nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 3)

    def forward(self, x, gates):
        return self.linear(self.dropout(self.norm(x * gates.weight.sum())))


def test_measuring_leaves_a_supernet_as_it_was():
    torch.manual_seed(0)
    net, weight = Noisy(), torch.ones(1, 1, requires_grad=True)
    net.linear.bias.requires_grad_(False)
    functional.cross_entropy(net(torch.randn(8, 4), Gates(weight)), torch.arange(8) % 3).backward()
    before = copy.deepcopy(net.state_dict()), [None if p.grad is None else p.grad.clone() for p in net.parameters()]
    state, needs = torch.get_rng_state(), [p.requires_grad for p in net.parameters()]
    with measuring(net):
        loss = Landscape(net, functional.cross_entropy, (torch.randn(8, 4), torch.arange(8) % 3), seed=3)
        assert torch.equal(loss(Gates(weight)), loss(Gates(weight)))  # the same masks of dropout
        assert net.training and not any(p.requires_grad for p in net.parameters())
    assert torch.equal(state, torch.get_rng_state()) and needs == [p.requires_grad for p in net.parameters()]
    assert all(torch.equal(value, before[0][name]) for name, value in net.state_dict().items())
    for p, g in zip(net.parameters(), before[1], strict=True):
        assert (p.grad is None) if g is None else torch.equal(p.grad, g)


def test_measuring_goes_past_graphs_and_compiled_code():
    space = small_space(nodes=1)
    net = space.supernet()
    compile_regions(net, backend="eager")
    capture_graphs(net, silent=True)
    forwards = [vars(module).get("forward") for module in net.modules()]
    assert sum(forward is not None for forward in forwards) == 1 + 3
    with measuring(net):
        assert vars(net)["forward"].__func__ is type(net).forward
        assert not any(hasattr(vars(module).get("forward"), "eager") for module in net.modules())
    assert all(vars(m).get("forward") is f for m, f in zip(net.modules(), forwards, strict=True))
