"""Chains of mobile inverted bottlenecks: published sizes, networks against the supernet, costs, and memory."""

import math
import random

import pytest
import torch
from helpers.support import SETTINGS, searches_or_refuses
from torch import nn

from oneshot.architecture import Gates
from oneshot.cli.benchmark.profiling import Alive
from oneshot.cost import candidate_costs, count_multiply_accumulates, count_parameters, network_cost
from oneshot.data import digits
from oneshot.errors import InputError
from oneshot.spaces import MBConvChain
from oneshot.spaces.mbconv import FBNETS, PRESETS, divisible

IMAGENET = ((3, 224, 224), 1000)
SMALL = {"nasbench_macro": 8, "proxyless_cifar": 8, "proxyless_imagenet": 16, "fbnet": 16}  # height and width


def small(preset, **settings):
    return MBConvChain((3, SMALL[preset], SMALL[preset]), 10, preset, **{"width": 0.25, "head": 16, **settings})


@pytest.mark.parametrize("preset", PRESETS)
def test_a_network_computes_what_the_supernet_does(preset, double):
    torch.manual_seed(0)
    space = small(preset)
    supernet, x = space.supernet(), torch.randn(3, *space.image_shape)
    rng = random.Random(0)
    for _ in range(5 if preset == "proxyless_imagenet" else 50):  # it differs from proxyless_cifar in two strides
        architecture = space.sample(rng)
        network = space.network(architecture, inherit=supernet)
        path = tuple((k,) for k in architecture.decisions)
        mixed = supernet(x, Gates(space.one_hot(architecture).double(), path))
        torch.testing.assert_close(mixed, network(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("preset", "number"),
    [
        ("proxyless_imagenet", 7**15 * 6**6),
        ("proxyless_cifar", 7**15 * 6**6),
        ("fbnet", 9**22),
        ("nasbench_macro", 3**8),
    ],
)
def test_the_spaces_have_their_published_sizes(preset, number):
    assert math.prod(len(choice.candidates) for choice in small(preset).choices) == number


@pytest.mark.parametrize(
    ("name", "head", "million_parameters", "millions"),
    [("fbnet_a", 1504, 4.3, 244.5), ("fbnet_b", None, 4.8, 291.1), ("fbnet_c", None, 5.5, 378.2)],
)
def test_fbnets_have_their_published_sizes(name, head, million_parameters, millions):
    """Parameters as in the paper, multiply-accumulates as in the authors' model zoo."""
    space = MBConvChain(*IMAGENET, "fbnet", head=head)
    found = network_cost(space, space.from_notation(FBNETS[name]), IMAGENET[0])
    assert found["parameters"] / 1e6 == pytest.approx(million_parameters, abs=0.08)
    assert found["multiply_accumulates"] / 1e6 == pytest.approx(millions, abs=0.1)


def test_a_bottleneck_by_hand():
    """Parameters and multiply-accumulates of the NAS-Bench-Macro chain of mbconv_k5_e6, written out."""
    space = MBConvChain((3, 32, 32), 10)
    parameters, work, size, side = 3 * 9 * 32 + 64, 3 * 9 * 32 * 32**2, 32, 32
    for out, blocks in ((64, 2), (128, 3), (256, 3)):
        for i in range(blocks):
            inside, before = 6 * size, side
            side = side // 2 if i == 0 else side
            parameters += inside * (size + 25 + out) + 2 * (2 * inside + out)
            work += inside * (size * before**2 + 25 * side**2 + out * side**2)
            size = out
    parameters += 256 * 1280 + 2 * 1280 + 1280 * 10 + 10
    work += 256 * 1280 * side**2 + 1280 * 10
    largest = space.architecture([1] * 8)
    assert space.largest() == largest
    assert network_cost(space, largest, (3, 32, 32)) == {"parameters": parameters, "multiply_accumulates": work}


def test_where_blocks_can_be_skipped():
    """Only blocks that change nothing; or all: a changing one becomes a 1x1 convolution, in FBNet with a ReLU."""
    skips = [choice.candidates[-1] == "skip" for choice in small("proxyless_cifar").choices]
    assert sum(skips) == 15 and [i for i, there in enumerate(skips) if not there] == [0, 4, 8, 12, 16, 20]
    for preset, kinds in (
        ("fbnet", [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]),
        ("nasbench_macro", [nn.Conv2d, nn.BatchNorm2d]),
    ):
        space = small(preset)
        network = space.network(space.architecture([len(c.candidates) - 1 for c in space.choices]))
        changing = [block for block in network.blocks if not isinstance(block, nn.Identity)]
        assert {tuple(map(type, block)) for block in changing} == {tuple(kinds)}


MEASURES = {"parameters": count_parameters, "multiply_accumulates": count_multiply_accumulates}


@pytest.mark.parametrize(("preset", "keys"), [("nasbench_macro", MEASURES), ("proxyless_cifar", ["parameters"])])
def test_costs_are_those_of_the_network(preset, keys):
    space, rng = small(preset), random.Random(1)
    for measure, key in ((MEASURES[key], key) for key in keys):
        table = candidate_costs(space, measure)
        some = [space.sample(rng) for _ in range(5)]
        fixed = {network_cost(space, a, space.image_shape)[key] - float((table * space.one_hot(a)).sum()) for a in some}
        assert len(fixed) == 1 and fixed.pop() > 0


def test_what_can_be_chosen():
    space = small("nasbench_macro", candidates=["mbconv_k7_e2", "mbconv_k3_e1_g2"])
    assert space.choices[0].candidates == ("mbconv_k7_e2", "mbconv_k3_e1_g2", "skip")
    assert small("nasbench_macro").fingerprint != space.fingerprint
    assert small("proxyless_cifar").fingerprint == small("proxyless_imagenet", width=0.5).fingerprint
    assert (divisible(8.7), divisible(12.1), divisible(3), divisible(92)) == (8, 16, 8, 96)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"preset": "proxyless"}, "unknown space.preset 'proxyless'"),
        ({"width": 0}, "space.width=0"),
        ({"head": 0}, "space.head=0"),
        ({"candidates": []}, "must be a list of different bottlenecks"),
        ({"candidates": "mbconv_k3_e3"}, "must be a list of different bottlenecks"),
        ({"candidates": ["mbconv_k4_e3"]}, "mbconv_k4_e3: must be like mbconv_k5_e6"),
        ({"candidates": ["mbconv_k3_e3_g3"]}, "mbconv_k3_e3_g3: must be like"),
        ({"candidates": ["sep_conv_3x3"]}, "sep_conv_3x3: must be like"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(InputError, match=message):
        MBConvChain((3, 8, 8), 10, **settings)


@pytest.mark.parametrize("settings", SETTINGS)
def test_every_architect_searches_it_or_refuses(settings):
    data = digits(batch_size=16, train_size=64)
    space = MBConvChain(data, width=0.1, head=16)
    refused = {
        "darts_minus": "technique.auxiliary_skip.skip='skip_connect': no choice has it",
        "lambda_darts": "needs a supernet with several cells that share their gates",
    }
    searches_or_refuses(settings, data, space, refused)


def peak(space, active, architecture):
    """Bytes of all tensors alive at the peak of an update of the weights, without the weights and their gradients."""
    supernet, x = space.supernet(), torch.randn(1, *space.image_shape)
    gates = Gates(space.one_hot(architecture), active)
    with Alive([*supernet.parameters(), x]) as alive:
        supernet(x, gates).sum().backward()
    own = sum(p.grad.numel() * p.grad.element_size() for p in supernet.parameters() if p.grad is not None)
    return alive.peak - own


def test_memory_of_one_path_is_flat_in_the_candidates():
    """At 224 pixels, as ProxylessNAS claims; with all paths it grows with their number."""
    peaks = {}
    for number in (2, 6):
        names = PRESETS["proxyless_imagenet"].candidates[-number:]
        space = MBConvChain((3, 224, 224), 10, "proxyless_imagenet", width=0.25, candidates=names)
        largest = space.architecture([number - 1] * len(space.choices))
        path = tuple((k,) for k in largest.decisions)
        peaks[number] = [peak(space, active, largest) for active in (path, None)]
    assert peaks[6][0] == pytest.approx(peaks[2][0], rel=0.02)
    assert peaks[6][1] > 2 * peaks[2][1] > 2 * peaks[2][0]
