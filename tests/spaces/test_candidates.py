"""Spaces whose edges have candidates of their own, and in which `none` is no part of the mixture: S1 to S4."""

import itertools
import random
from collections import Counter

import pytest
import torch
from helpers.groups import settings
from helpers.plain import plain_supernet
from hydra.utils import instantiate

from oneshot.architects import DARTS, DrNAS, Step
from oneshot.architects.uniform import Uniform
from oneshot.architecture import Architecture, Gates
from oneshot.errors import InputError
from oneshot.spaces import DARTSCells
from oneshot.spaces.operations import Noise

ROBUST = ["darts_s1", "darts_s2", "darts_s3", "darts_s4"]
PER_EDGE = [["skip_connect", "max_pool_3x3"], ["none", "sep_conv_3x3"], ["max_pool_3x3", "skip_connect"],
            ["dil_conv_3x3"], ["none", "sep_conv_3x3", "skip_connect"]]  # fmt: skip
REDUCE = ["dil_conv_5x5", "skip_connect"]


def robust(name, **sizes):
    """A space of conf/space with the published candidates."""
    make = instantiate(settings("space", name), _partial_=True, _convert_="all")
    return make(image_shape=(3, 8, 8), classes=5, **{"cells": 3, "channels": 4, **sizes})


def mixed(**sizes):
    """A space with lists of different lengths, in different orders, with and without none."""
    sizes = {"cells": 4, "channels": 4, **sizes}
    return DARTSCells((3, 8, 8), 5, nodes=2, candidates=PER_EDGE, reduce_candidates=REDUCE, **sizes)


def plain(**sizes):
    """A space with one list for all edges, without none."""
    return DARTSCells((3, 8, 8), 5, cells=3, channels=4, nodes=2, candidates=REDUCE, **sizes)


def test_candidates_are_the_published_ones():
    """Facts of src/spaces.py in the authors' repository."""
    space = robust("darts_s1")
    rows = {choice.name: choice.mixed for choice in space.choices}
    assert len(rows) == 28 and all(len(row) == 2 for row in rows.values())
    assert rows["normal/c_{k-2}->0"] == ("skip_connect", "dil_conv_3x3")
    assert rows["normal/c_{k-1}->1"] == ("skip_connect", "sep_conv_3x3")
    assert rows["normal/c_{k-2}->2"] == rows["normal/c_{k-1}->3"] == ("max_pool_3x3", "skip_connect")
    assert rows["normal/1->3"] == rows["normal/2->3"] == ("dil_conv_3x3", "dil_conv_5x5")
    assert rows["reduce/c_{k-1}->0"] == ("max_pool_3x3", "dil_conv_3x3")
    assert rows["reduce/c_{k-1}->2"] == ("max_pool_3x3", "sep_conv_3x3")
    assert rows["reduce/0->2"] == ("skip_connect", "dil_conv_3x3")
    assert rows["reduce/2->3"] == ("skip_connect", "dil_conv_5x5")
    cells = [Counter(name for choice in space.choices[half] for name in choice.mixed) for half in (slice(14), slice(14, 28))]  # fmt: skip # noqa: E501
    assert cells[0] == {"skip_connect": 12, "dil_conv_3x3": 6, "sep_conv_3x3": 4, "dil_conv_5x5": 4, "max_pool_3x3": 2}
    assert cells[1] == {"max_pool_3x3": 8, "avg_pool_3x3": 6, "skip_connect": 6, "dil_conv_5x5": 5, "dil_conv_3x3": 2,
                        "sep_conv_3x3": 1}  # fmt: skip
    for name, candidates in (
        ("darts_s2", {"skip_connect", "sep_conv_3x3"}),
        ("darts_s3", {"none", "skip_connect", "sep_conv_3x3"}),
        ("darts_s4", {"noise", "sep_conv_3x3"}),
    ):
        assert all(set(choice.mixed) == candidates for choice in robust(name).choices)


@pytest.mark.parametrize("name", ROBUST)
def test_masks(name):
    space = robust(name)
    for choice, gates, decisions in zip(space.choices, space.mask.tolist(), space.decidable.tolist(), strict=True):
        assert "none" in choice.candidates and all(decisions)
        mixes_none = name == "darts_s3"
        assert gates == [candidate != "none" or mixes_none for candidate in choice.candidates]


@pytest.mark.parametrize("execution", ["edges", "grouped"])
def test_the_supernet_equals_a_plain_loop(double, execution):
    torch.manual_seed(0)
    space = mixed(execution=execution)
    supernet, x = space.supernet(), torch.randn(4, 3, 8, 8)
    state = dict(supernet.named_parameters())
    weight = torch.rand(space.shape).requires_grad_()
    ours, plain = supernet(x, Gates(weight)), plain_supernet(space, state, x, weight)
    assert (ours - plain).abs().max() < 1e-10
    inputs, probe = [weight, *state.values()], torch.randn_like(ours)
    for a, b in zip(*(torch.autograd.grad((y * probe).sum(), inputs) for y in (ours, plain)), strict=True):
        assert (a - b).abs().max() < 1e-10


@pytest.mark.parametrize("make", [*(lambda n=n: robust(n) for n in ROBUST), mixed], ids=[*ROBUST, "mixed"])
def test_one_hot_gates_equal_the_network(double, make):
    """In evaluation mode, where noise is the same in both."""
    torch.manual_seed(0)
    space, rng = make(), random.Random(0)
    supernet, x = space.supernet().eval(), torch.randn(4, 3, 8, 8)
    for _ in range(4):
        architecture = space.sample(rng)
        network, one_hot = space.network(architecture, inherit=supernet).eval(), space.one_hot(architecture)
        expected = network(x)
        for active in (None, tuple((k,) for k in architecture.decisions)):
            assert (supernet(x, Gates(one_hot, active)) - expected).abs().max() < 1e-12


def enumerated(space):
    """Every decision in which two edges of each node are not none."""
    edges = [(choice, choice.group) for choice in space.choices]
    for names in itertools.product(*(choice.candidates for choice in space.choices)):
        kept = Counter(group for (_, group), name in zip(edges, names, strict=True) if name != "none")
        if set(kept.values()) == {2} and len(kept) == 2 * space.nodes:
            yield tuple(choice.candidates.index(name) for (choice, _), name in zip(edges, names, strict=True))


def test_architectures_are_those_of_the_definition():
    space = mixed()
    expected = list(enumerated(space))
    # normal: node 0 has 2 * 1, node 1 2 * 1 + 2 * 2 + 1 * 2; reduction: node 0 2^2, node 1 3 * 2^2
    assert len(expected) == (2 * 8) * (4 * 12)
    found = space._options((), len(space.choices))
    assert set(found) == set(expected)
    drawn = Counter(space.sample(random.Random(n)).decisions[:5] for n in range(4000))
    each = 4000 / 16  # of the normal cell
    assert len(drawn) == 16 and sum((n - each) ** 2 / each for n in drawn.values()) < 45  # chi-square, 15 degrees
    neighbours = list(space.neighbours(space.architecture(expected[0])))
    assert {a.decisions for a in neighbours} <= set(expected) and len(neighbours) > 10


def test_s2_and_s3_have_the_same_architectures():
    first, second = robust("darts_s2", nodes=2), robust("darts_s3", nodes=2)
    sets = [{tuple(space.names(Architecture("", d))) for d in enumerated(space)} for space in (first, second)]
    assert sets[0] == sets[1] and len(sets[0]) == (4 * 12) ** 2


def test_a_smaller_cell_takes_the_first_lists():
    small, whole = robust("darts_s1", nodes=2), robust("darts_s1")
    rows = {choice.name: choice.candidates for choice in whole.choices}
    assert len(small.choices) == 10 and all(rows[choice.name] == choice.candidates for choice in small.choices)


def test_one_list_and_the_same_list_for_each_edge_are_one_space():
    names = ["skip_connect", "none", "dil_conv_3x3"]
    one, each, both = (
        DARTSCells((3, 8, 8), 5, cells=3, channels=4, nodes=2, candidates=candidates, reduce_candidates=reduce)
        for candidates, reduce in ((names, None), ([names] * 5, None), (names, [names] * 5))
    )
    outputs = []
    for space in (one, each, both):
        torch.manual_seed(0)
        supernet = space.supernet()
        outputs.append(supernet(torch.ones(2, 3, 8, 8), Gates(torch.full(space.shape, 0.3))))
    assert one.fingerprint == each.fingerprint == both.fingerprint
    assert torch.equal(outputs[0], outputs[1]) and torch.equal(outputs[0], outputs[2])


def test_a_decision_that_is_not_mixed_has_no_score():
    space = plain()
    table = torch.softmax(torch.randn(space.shape, generator=torch.Generator().manual_seed(1)), 1) * space.mask
    found = space.discretize(table)
    assert space.is_valid(found.decisions)
    for node in range(2):
        rows = [i for i, choice in enumerate(space.choices) if choice.group == f"normal/{node}"]
        kept = {i for i in rows if space.names(found)[i] != "none"}
        assert kept == set(sorted(rows, key=lambda i: -table[i].max())[:2])


def test_sampling_by_scores_takes_the_product_of_the_kept_edges():
    space = plain()
    table = torch.rand(space.shape, generator=torch.Generator().manual_seed(0)) * space.mask
    products = Counter()
    for decisions in space._options((), len(space.choices)):
        kept = [float(table[i, k]) for i, k in enumerate(decisions[:5]) if k != 2]
        products[decisions[:5]] = torch.tensor(kept).prod().item()
    total, draws = sum(products.values()), 6000
    rng, rows = random.Random(0), table.tolist()
    drawn = Counter(space.sample_by(rows, rng).decisions[:5] for _ in range(draws))
    chi = sum((drawn[d] - draws * p / total) ** 2 / (draws * p / total) for d, p in products.items())
    assert len(products) == 48 and chi < 90  # 47 degrees: 0.9998


def test_fair_rounds_have_every_mixed_candidate_once_and_none_never():
    space = plain()
    architect = Uniform(space, fairness=True)
    for first in (0, 2, 4):
        rounds = [architect.gates(Step(0, first + i, 20)) for i in range(2)]
        for i, choice in enumerate(space.choices):
            assert sorted(gates.active[i][0] for gates in rounds) == [0, 1] and choice.candidates[2] == "none"


def test_gates_of_a_mixture_sum_to_one_over_the_mixed_candidates():
    space = mixed()
    for architect in (DARTS(space), DrNAS(space)):
        weight = architect.gates(Step(0, 0, 10)).weight
        assert torch.allclose(weight.sum(1), torch.ones(len(space.choices))) and not weight[~space.mask].any()


@pytest.mark.parametrize("stride", [1, 2])
def test_noise(stride):
    """It depends on nothing of the input but its shape, and is N(0, 1)."""
    torch.manual_seed(0)
    noise, x = Noise(stride), torch.full((64, 8, 15, 16), 100.0, requires_grad=True)
    y = noise(x)
    assert y.shape == (64, 8, 15 if stride == 1 else 8, 16 // stride)
    n = y.numel()
    assert abs(y.mean()) < 4 / n**0.5 and abs(y.var() - 1) < 4 * (2 / n) ** 0.5 and abs((y**4).mean() - 3) < 0.2
    assert not torch.equal(y, noise(x))
    torch.manual_seed(0)
    Noise(stride)
    assert torch.equal(y, noise(x))  # a function of torch's generator
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert not gradient.any()


def test_noise_in_evaluation_mode_is_the_same_twice_and_differs_between_modules():
    x = torch.zeros(2, 3, 4, 4)
    first, second = Noise(1).eval(), Noise(1).eval()
    state = torch.get_rng_state()
    assert torch.equal(first(x), first(x)) and not torch.equal(first(x), second(x))
    assert torch.equal(state, torch.get_rng_state()) and abs(first(x.repeat(9, 9, 9, 9)).var() - 1) < 0.01
    y = first(x)
    second.load_state_dict(first.state_dict())
    assert torch.equal(second(x), y)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"candidates": [["skip_connect"]] * 4}, "space.candidates: 4 lists; must be one for each of the 5 edges"),
        ({"candidates": [["skip_connect"]] * 6}, "space.candidates: 6 lists"),
        ({"candidates": [["skip_connect"]] * 4 + ["none"]}, r"space.candidates\[4\]='none': must be a list of names"),
        ({"candidates": [["skip_connect"]] * 4 + [["none"]]}, r"space.candidates\[4\]=\['none'\]: must hold at least"),
        ({"reduce_candidates": [["skip_conect"]] * 5}, r"operation in space.reduce_candidates\[0\] 'skip_conect'"),
        ({"reduce_candidates": "noise"}, "space.reduce_candidates='noise': must be a list"),
        ({"reduce_candidates": []}, r"space.reduce_candidates=\[\]: must hold at least one operation"),
        ({"candidates": ["noise", 3]}, "unknown operation in space.candidates '3'"),
        ({"candidates": [[["noise"]]] * 5}, r"unknown operation in space.candidates\[0\] .*noise"),
    ],
)
def test_bad_lists_are_named(options, message):
    with pytest.raises(InputError, match=message):
        DARTSCells((3, 8, 8), 5, nodes=2, **options)
