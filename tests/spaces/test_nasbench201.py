"""The NAS-Bench-201 cell space against a plain loop, its discrete networks, the published sizes and the table."""

import csv
import random

import pytest
import torch
from helpers.support import ROOT, build
from torch.nn import functional as F

from oneshot.architects.base import Step
from oneshot.architecture import Gates
from oneshot.cost import candidate_costs, count_multiply_accumulates, network_cost
from oneshot.errors import InputError
from oneshot.spaces import NASBench201

TABLE = ROOT.parent / "shared" / "data" / "nasbench201" / "accuracies.csv"
ALL_3X3 = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|"


def norm(x, state=None, key=""):
    """Batch norm over the batch, with the weights of this key where the state has them."""
    weight, bias = ((state or {}).get(f"{key}.{name}") for name in ("weight", "bias"))
    return F.batch_norm(x, None, None, weight, bias, training=True)


def convolved(x, state, key, stride=1):
    weight = state[f"{key}.1.weight"]
    return norm(F.conv2d(F.relu(x), weight, None, stride, weight.shape[2] // 2), state, f"{key}.2")


def apply(name, x, state, key):
    if name == "none":
        return torch.zeros_like(x)
    if name == "skip_connect":
        return x
    if name == "avg_pool_3x3":
        return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
    return convolved(x, state, key)


def plain_supernet(space, state, x, weight):
    """The published skeleton, one edge and one candidate after the other."""
    x = norm(F.conv2d(x, state["stem.0.weight"], padding=1), state, "stem.1")
    block = 0
    for stage in range(3):
        if stage:
            key = f"blocks.{block}"
            y = convolved(convolved(x, state, f"{key}.residual.0", 2), state, f"{key}.residual.1")
            x = F.conv2d(F.avg_pool2d(x, 2), state[f"{key}.shortcut.1.weight"]) + y
            block += 1
        for _ in range(space.cells):
            nodes = [x, 0, 0, 0]
            for i, (source, target) in enumerate([(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)]):
                for k, name in enumerate(space.choices[i].candidates):
                    y = apply(name, nodes[source], state, f"blocks.{block}.edges.{i}.{name}")
                    nodes[target] = nodes[target] + weight[i, k] * y
            x = nodes[3]
            block += 1
    return F.linear(F.relu(norm(x, state, "tail.0")).mean((2, 3)), state["classifier.weight"], state["classifier.bias"])


def scatter(net):
    """Draw the weights of the batch norms, which start at 1 and 0."""
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d) and module.affine:
            torch.nn.init.normal_(module.weight)
            torch.nn.init.normal_(module.bias)


@pytest.mark.parametrize("affine", [True, False])
def test_the_norms_outside_the_cells_are_affine_as_asked(affine):
    net = NASBench201((3, 8, 8), 10, 1, 4, affine_skeleton=affine).supernet()
    found = {name for name, module in net.named_modules() if isinstance(module, torch.nn.BatchNorm2d) and module.affine}
    outside = {"stem.1", "tail.0", *(f"blocks.{b}.residual.{i}.2" for b in (1, 3) for i in (0, 1))}
    assert found == (outside if affine else set())
    assert not list(net.buffers())


@pytest.mark.parametrize("execution", ["edges", "grouped"])
@pytest.mark.parametrize("cells", [1, 2])
def test_the_supernet_equals_the_plain_loop(double, cells, execution):
    torch.manual_seed(0)
    space = NASBench201((3, 8, 8), 10, cells, 4, execution)
    net, x = space.supernet().to(memory_format=torch.channels_last), torch.randn(4, 3, 8, 8)
    scatter(net)
    weight = torch.rand(6, 5, requires_grad=True)
    leaves = [weight, *net.parameters()]
    ours, state = net(x, Gates(weight)), dict(net.named_parameters())
    expected = plain_supernet(space, state, x, weight)
    assert torch.allclose(ours, expected, atol=1e-10)
    y = torch.tensor([1, 2, 3, 4])
    found, wanted = (torch.autograd.grad(F.cross_entropy(logits, y), leaves) for logits in (ours, expected))
    assert all(torch.allclose(a, b, atol=1e-10) for a, b in zip(found, wanted, strict=True))


def test_one_hot_gates_equal_the_discrete_network(double):
    torch.manual_seed(0)
    space = NASBench201((3, 8, 8), 10, 1, 4)
    net, x = space.supernet(), torch.randn(4, 3, 8, 8)
    samples = [space.sample(random.Random(seed)) for seed in range(20)]
    for found in [space.architecture([0] * 6), space.architecture([3, 0, 0, 1, 0, 0]), *samples]:
        network = space.network(found, inherit=net)
        for active in (None, tuple((k,) for k in found.decisions)):
            assert torch.allclose(network(x), net(x, Gates(space.one_hot(found), active)), atol=1e-10)


def test_nothing_unused_is_in_a_network():
    """Edge 0->1 leads nowhere when the edges that leave node 1 are none."""
    space = NASBench201((3, 8, 8), 10, 1, 4)
    network = space.network(space.architecture([3, 2, 0, 1, 0, 2]))
    network(torch.randn(4, 3, 8, 8)).sum().backward()
    assert all(p.grad is not None for p in network.parameters())
    assert not any("edges.0" in name for name, _ in network.named_parameters())


def test_published_sizes():
    """The largest and the smallest cell of the paper's table, 5 cells a stage, 16 channels, CIFAR-10."""
    space = NASBench201((3, 32, 32), 10)
    cost = network_cost(space, space.from_notation(ALL_3X3), (3, 32, 32))
    assert (cost["parameters"], cost["multiply_accumulates"]) == (1_531_546, 220_119_680)
    cost = network_cost(space, space.architecture([0] * 6), (3, 32, 32))
    assert (cost["parameters"], cost["multiply_accumulates"]) == (73_306, 7_783_040)


def test_every_cell_of_the_table_is_read_and_written():
    if not TABLE.is_file():
        pytest.skip("NAS-Bench-201's table is not there")
    space = NASBench201((3, 8, 8), 10)
    with TABLE.open() as file:
        notations = [row["arch"] for row in csv.DictReader(file)]
    architectures = {space.from_notation(text) for text in notations}
    assert len(architectures) == 5**6 == len(notations)
    assert [space.notation(space.from_notation(text)) for text in notations] == notations


@pytest.mark.parametrize(
    "text",
    ["", "|none~0|", ALL_3X3 + "|", ALL_3X3.replace("~2", "~1"), ALL_3X3.replace("3x3~0", "5x5~0", 1), "|" * 10_000],
)
def test_other_notations_are_refused(text):
    with pytest.raises(InputError, match="must be like .none~0.") as error:
        NASBench201((3, 8, 8), 10).from_notation(text)
    assert len(str(error.value)) < 400


def test_none_is_discretized_like_the_others():
    space = NASBench201((3, 8, 8), 10)
    scores = torch.full((6, 5), 0.1)
    scores[torch.arange(6), torch.tensor([0, 1, 2, 3, 4, 0])] = 0.6
    assert space.discretize(scores).decisions == (0, 1, 2, 3, 4, 0)
    with pytest.raises(InputError, match="not finite"):
        space.discretize(scores.fill_(float("nan")))


@pytest.mark.parametrize("settings", [{"cells": 0}, {"channels": 0}, {"execution": "fast"}, {"image_shape": (3, 6, 6)}])
def test_bad_settings(settings):
    with pytest.raises(InputError):
        NASBench201(**{"image_shape": (3, 8, 8), "classes": 10, **settings})


def test_costs_of_candidates_add_up():
    """Expected cost of one-hot gates = the network's, but for the skeleton, in a cell without unused edges."""
    space = NASBench201((3, 32, 32), 10)
    found, least = space.from_notation(ALL_3X3), space.architecture([1] * 6)
    table = candidate_costs(space, count_multiply_accumulates)
    added = float((table * space.one_hot(found)).sum())
    costs = [network_cost(space, a, (3, 32, 32))["multiply_accumulates"] for a in (found, least)]
    assert added == costs[0] - costs[1]


@pytest.mark.parametrize("settings", ["darts", "darts_second", "snas", "enas", "proxyless", "uniform", "path_dropout"])
def test_every_architect_works_on_it(settings):
    space = NASBench201((3, 8, 8), 10, 1, 4)
    architect, supernet = build(settings, space), space.supernet()
    x, y = torch.randn(4, 3, 8, 8), torch.tensor([1, 2, 3, 4])
    sgd = torch.optim.SGD(supernet.parameters(), lr=0.1)
    loss = architect.loss(supernet, (x, y), (x, y), sgd, Step(0, 0, 1))
    assert loss.isfinite() and supernet(x, architect.gates(Step(0, 1, 1))).isfinite().all()
    assert space.is_valid(space.discretize(architect.scores()).decisions)


def test_used_writes_the_same_network():
    torch.manual_seed(0)
    space = NASBench201((1, 8, 8), 10, cells=1, channels=2)
    supernet, x = space.supernet(), torch.randn(4, 1, 8, 8)
    changed = 0
    for seed in range(60):
        architecture = space.sample(random.Random(seed))
        kept = space.used(architecture)
        logits = [supernet(x, Gates(space.one_hot(a), tuple((k,) for k in a.decisions))) for a in (architecture, kept)]
        assert torch.allclose(*logits, atol=1e-6) and space.used(kept) == kept
        assert network_cost(space, kept, (1, 8, 8)) == network_cost(space, architecture, (1, 8, 8))
        assert all(
            a == b or space.choices[0].candidates[b] == "none"
            for a, b in zip(architecture.decisions, kept.decisions, strict=True)
        )
        changed += kept != architecture
    assert changed > 5
