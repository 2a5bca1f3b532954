"""The DARTS cell space against a plain loop, against itself as discrete networks, and against the paper."""

import random

import pytest
import torch
from helpers.plain import plain_supernet
from torch import nn

from oneshot.architecture import Gates
from oneshot.cost import network_cost
from oneshot.errors import InputError
from oneshot.spaces import DARTSCells, set_drop_path

V2_NORMAL = "sep_conv_3x3 0, sep_conv_3x3 1, sep_conv_3x3 0, sep_conv_3x3 1, sep_conv_3x3 1, skip_connect 0, skip_connect 0, dil_conv_3x3 2"  # noqa: E501
V2_REDUCE = "max_pool_3x3 0, max_pool_3x3 1, skip_connect 2, max_pool_3x3 1, max_pool_3x3 0, skip_connect 2, skip_connect 2, max_pool_3x3 1"  # noqa: E501


@pytest.mark.parametrize(
    ("cells", "nodes", "candidates"),
    [(3, 4, None), (5, 2, None), (8, 1, None), (4, 3, ["skip_connect", "none", "dil_conv_5x5"])],
)
def test_supernet_equals_a_plain_loop(double, cells, nodes, candidates):
    torch.manual_seed(0)
    options = {"candidates": candidates} if candidates else {}
    space = DARTSCells((3, 8, 12), 5, cells=cells, channels=3, nodes=nodes, **options)
    supernet = space.supernet()
    nn.init.normal_(supernet.stem[1].weight)
    nn.init.normal_(supernet.stem[1].bias)
    x = torch.randn(4, 3, 8, 12)
    weight = torch.rand(space.shape).requires_grad_()
    parameters = dict(supernet.named_parameters())
    probe = torch.randn(4, 5)

    ours = supernet(x, Gates(weight))
    plain = plain_supernet(space, parameters, x, weight)
    assert (ours - plain).abs().max() < 1e-10
    inputs = [weight, *parameters.values()]
    gradients = (torch.autograd.grad((logits * probe).sum(), inputs, allow_unused=True) for logits in (ours, plain))
    for name, a, b in zip(["gates", *parameters], *gradients, strict=True):
        if a is None or b is None:
            assert a is b, name
        else:
            assert (a - b).abs().max() < 1e-10, name


@pytest.mark.parametrize("seed", range(6))
def test_one_hot_gates_equal_the_discrete_path(double, seed):
    torch.manual_seed(seed)
    space = DARTSCells((1, 8, 8), 10, cells=4, channels=4)
    architecture = space.sample(random.Random(seed))
    supernet = space.supernet()
    network = space.network(architecture, inherit=supernet)
    x = torch.randn(4, 1, 8, 8)
    one_hot = space.one_hot(architecture)
    active = tuple((decision,) for decision in architecture.decisions)
    for gates in (Gates(one_hot), Gates(one_hot, active)):
        assert (supernet(x, gates) - network(x)).abs().max() < 1e-12


def test_inactive_candidates_are_not_computed():
    space = DARTSCells((1, 8, 8), 10, cells=3, channels=4, nodes=2)
    architecture = space.sample(random.Random(0))
    supernet = space.supernet()
    active = tuple((decision,) for decision in architecture.decisions)
    supernet(torch.randn(4, 1, 8, 8), Gates(space.one_hot(architecture), active)).sum().backward()
    names = {".".join(name.split(".")[:6]) for name, p in supernet.named_parameters() if p.grad is not None}
    computed = {name for name in names if ".edges." in name}
    network = space.network(architecture, inherit=supernet)
    expected = {".".join(n.split(".")[:6]) for n, _ in network.named_parameters() if ".edges." in n}
    assert computed == expected


def test_a_node_without_active_candidates_is_zero():
    space = DARTSCells((1, 8, 8), 10, cells=3, channels=4, nodes=2)
    nothing = tuple(() for _ in space.choices)
    logits = space.supernet()(torch.randn(4, 1, 8, 8), Gates(torch.ones(space.shape), nothing))
    assert logits.shape == (4, 10) and (logits - logits[0]).abs().max() == 0


@pytest.mark.parametrize("affine", [True, False])
def test_only_the_stem_of_a_supernet_has_affine_batch_norm(affine):
    supernet = DARTSCells((1, 8, 8), 10, cells=3, channels=4, affine_skeleton=affine).supernet()
    norms = {name: m for name, m in supernet.named_modules() if isinstance(m, nn.BatchNorm2d)}
    assert {name for name, m in norms.items() if m.affine} == ({"stem.1"} if affine else set())
    assert len(norms) > 1 and not any(m.track_running_stats for m in norms.values())
    assert not list(supernet.buffers())


def scores(space, rows):
    """Uniform scores but for the rows given by name."""
    table = torch.full(space.shape, 1 / space.shape[1])
    names = [choice.name for choice in space.choices]
    for name, row in rows.items():
        table[names.index(name)] = torch.tensor(row)
    return table


def test_discretization_by_hand():
    space = DARTSCells((1, 8, 8), 10, nodes=2, candidates=["none", "skip_connect", "max_pool_3x3"])
    table = scores(
        space,
        {
            "normal/c_{k-2}->0": [0.8, 0.1, 0.1],  # both edges of node 0 are kept, however likely none is
            "normal/c_{k-1}->0": [0.1, 0.2, 0.7],
            "normal/c_{k-2}->1": [0.0, 0.6, 0.4],
            "normal/c_{k-1}->1": [0.5, 0.1, 0.4],  # loses: its best operation has 0.4
            "normal/0->1": [0.4, 0.1, 0.5],
        },
    )
    decisions = space.discretize(table).decisions
    assert [space.candidates[k] for k in decisions[:5]] == [
        "skip_connect", "max_pool_3x3", "skip_connect", "none", "max_pool_3x3",
    ]  # fmt: skip
    # ties go to the earlier edge and the earlier candidate
    assert [space.candidates[k] for k in decisions[5:]] == ["skip_connect"] * 4 + ["none"]


def test_discretization_compares_probabilities_not_logits():
    space = DARTSCells((1, 8, 8), 10, nodes=2, candidates=["none", "skip_connect", "max_pool_3x3"])
    logits = torch.zeros(space.shape)
    names = [choice.name for choice in space.choices]
    logits[names.index("normal/c_{k-2}->1")] = torch.tensor([9.0, 5.0, 0.0])  # largest logit, probability 0.018
    decisions = space.discretize(torch.softmax(logits, 1)).decisions
    by_name = dict(zip(names, (space.candidates[k] for k in decisions), strict=True))
    assert by_name["normal/c_{k-2}->1"] == "none"
    by_logit = dict(zip(names, (space.candidates[k] for k in space.discretize(logits).decisions), strict=True))
    assert by_logit["normal/c_{k-2}->1"] == "skip_connect"  # the fault this guards against would do this


def genotype(space, normal, reduce):
    """An architecture from the published (operation, source) pairs."""
    decisions = []
    for cell in (normal, reduce):
        pairs = [pair.split() for pair in cell.split(", ")]
        for node in range(space.nodes):
            kept = {int(source): name for name, source in pairs[2 * node : 2 * node + 2]}
            decisions += [space.candidates.index(kept.get(source, "none")) for source in range(node + 2)]
    return space.architecture(decisions)


def test_published_network_has_the_published_size():
    """DARTS (second order), 20 cells of 36 channels: the paper and the authors' log state 3.3 M, 3.349342 M."""
    space = DARTSCells((3, 32, 32), 10, cells=20, channels=36, auxiliary=True)
    cost = network_cost(space, genotype(space, V2_NORMAL, V2_REDUCE), (3, 32, 32))
    assert cost["parameters"] == 3_349_342


def test_multiply_accumulates_by_hand():
    space = DARTSCells((1, 8, 8), 10, cells=3, channels=4, nodes=1, candidates=["none", "skip_connect", "dil_conv_3x3"])
    dil = space.candidates.index("dil_conv_3x3")
    cost = network_cost(space, space.architecture((dil,) * 4), (1, 8, 8))
    stem = 64 * 9 * 12
    # (inputs: channels of c_{k-2} and c_{k-1}, pixels; two edges: depthwise 9 C and pointwise C^2 a pixel out)
    cells = 64 * 4 * (12 + 12) + 2 * 64 * (9 * 4 + 4 * 4)
    cells += 64 * 8 * (12 + 4) + 2 * 16 * (9 * 8 + 8 * 8)
    cells += 16 * 16 * 4 + 16 * 16 * 8 + 2 * 4 * (9 * 16 + 16 * 16)
    assert cost["multiply_accumulates"] == stem + cells + 16 * 10


@pytest.mark.parametrize("seed", range(8))
def test_network_has_nothing_unused(seed):
    space = DARTSCells((3, 32, 32), 10, cells=6, channels=4, auxiliary=True)
    network = space.network(space.sample(random.Random(seed)))
    logits, auxiliary = network(torch.randn(4, 3, 32, 32))
    (logits.sum() + auxiliary.sum()).backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []
    assert all(m.affine and m.track_running_stats for m in network.modules() if isinstance(m, nn.BatchNorm2d))
    assert network.eval()(torch.randn(4, 3, 32, 32)).shape == (4, 10)


def test_auxiliary_head_takes_small_images():
    space = DARTSCells((1, 8, 8), 10, cells=3, channels=4, auxiliary=True)
    logits, auxiliary = space.network(space.sample(random.Random(0)))(torch.randn(2, 1, 8, 8))
    assert logits.shape == auxiliary.shape == (2, 10)


def test_drop_path_is_scheduled_and_unbiased():
    space = DARTSCells((1, 8, 8), 10, cells=3, channels=4)
    network = space.network(space.sample(random.Random(0)))
    drops = [m for m in network.modules() if type(m).__name__ == "DropPath"]
    assert drops and drops[0](x := torch.ones(8, 2, 3, 3)) is x
    set_drop_path(network, 0.4)
    torch.manual_seed(0)
    y = drops[0](torch.ones(4000, 1, 1, 1)).flatten()
    assert sorted(set(y.tolist())) == pytest.approx([0.0, 1 / 0.6])
    assert abs(y.mean() - 1) < 4 * (0.4 / 0.6 / 4000) ** 0.5
    network.eval()
    assert drops[0](x) is x


def test_own_operation_is_added_by_name():
    def conv_1x1(channels, stride, affine):
        return nn.Sequential(nn.ReLU(), nn.Conv2d(channels, channels, 1, stride, bias=False))

    names = ["none", "skip_connect", "conv_1x1"]
    space = DARTSCells((1, 8, 8), 10, cells=3, channels=4, candidates=names, operations={"conv_1x1": conv_1x1})
    x = torch.randn(2, 1, 8, 8)
    assert space.supernet()(x, Gates(torch.full(space.shape, 1 / 3))).shape == (2, 10)
    assert space.network(space.sample(random.Random(0)))(x).shape == (2, 10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cells": 2}, "space.cells=2: must be a whole number, from 3"),
        ({"channels": 0}, "space.channels=0"),
        ({"nodes": 0}, "space.nodes=0"),
        ({"classes": 0}, "classes=0"),
        ({"image_shape": (1, 30, 30)}, "1x30x30.*divisible by 4"),
        ({"candidates": ["none", "skip_conect"]}, "'skip_conect'.*did you mean 'skip_connect'"),
        ({"candidates": ["none"]}, "at least one operation besides 'none'"),
        ({"candidates": ["none", "skip_connect", "skip_connect"]}, "each name once"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(InputError, match=message):
        DARTSCells(**{"image_shape": (1, 8, 8), "classes": 10, **options})


def test_architecture_of_another_space_is_refused():
    other = DARTSCells((1, 8, 8), 10, nodes=2)
    with pytest.raises(InputError, match="architecture of space"):
        DARTSCells((1, 8, 8), 10).network(other.sample(random.Random(0)))
