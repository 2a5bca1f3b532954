"""Spaces for images on signals, which are images of one row: what the rows above and below see is padding alone."""

import random

import pytest
import torch
from helpers.groups import each, settings, small
from hydra.utils import instantiate
from torch.nn import functional

from oneshot.architecture import Gates
from oneshot.cost import candidate_costs, count_multiply_accumulates, network_cost
from oneshot.errors import InputError
from oneshot.spaces import DARTSCells
from oneshot.spaces.depthwise import Depthwise
from oneshot.spaces.operations import FactorizedReduce

SHAPE, CLASSES = (1, 1, 40), 10


def build(name, **sizes):
    make = instantiate(small(settings("space", name)), _partial_=True, _convert_="all")
    return make(image_shape=SHAPE, classes=CLASSES, **sizes)


@each("space")
def test_the_supernet_under_one_hot_gates_is_the_network(name):
    space, rng = build(name), random.Random(0)
    supernet = space.supernet().eval()  # in which noise is the same again
    x = torch.randn(4, *SHAPE)
    for architecture in (space.sample(rng) for _ in range(4)):
        expected = space.network(architecture, inherit=supernet).eval()(x)
        torch.testing.assert_close(supernet(x, Gates(space.one_hot(architecture))), expected, atol=1e-4, rtol=1e-4)


@each("space")
def test_a_signal_is_halved_in_its_length_alone(name):
    space = build(name)
    network = space.network(space.sample(random.Random(0)))
    shapes = []
    for module in network.modules():
        module.register_forward_hook(lambda m, x, y: shapes.append(tuple(y.shape[2:])) if torch.is_tensor(y) else None)
    network(torch.randn(2, *SHAPE))
    seen = {shape for shape in shapes if len(shape) == 2}
    assert len(seen) >= 2 and seen == {(1, 40 >> halvings) for halvings in range(len(seen))}


def test_costs_of_candidates_add_up():
    space, rng = build("nasbench201"), random.Random(0)
    table = candidate_costs(space, count_multiply_accumulates)
    first, second = space.used(space.sample(rng)), space.used(space.sample(rng))
    counted = [network_cost(space, a, SHAPE)["multiply_accumulates"] for a in (first, second)]
    listed = [sum(float(table[i, k]) for i, k in enumerate(a.decisions)) for a in (first, second)]
    assert counted[0] - counted[1] == listed[0] - listed[1]


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 2), (2, 2)])
@pytest.mark.parametrize("length", [9, 12])
def test_a_depthwise_convolution_of_one_row(kernel, stride, dilation, length):
    ours = Depthwise(3, kernel, stride, dilation).double()
    x = torch.randn(2, 3, 1, length, dtype=torch.float64, requires_grad=True)
    padding = dilation * (kernel - 1) // 2
    plain = functional.conv2d(x, ours.weight, None, stride, padding, dilation, 3)
    weight = torch.randn_like(plain)
    for y in (ours(x), plain):
        torch.testing.assert_close(y, plain)
    expected = torch.autograd.grad((plain * weight).sum(), [x, ours.weight])
    torch.testing.assert_close(torch.autograd.grad((ours(x) * weight).sum(), [x, ours.weight]), expected)
    second = Depthwise(3, kernel, stride, dilation).double()
    both = ours.several([ours.weight, second.weight], x)
    torch.testing.assert_close(both, torch.cat([ours(x), second(x)], dim=1))


def test_a_factorized_reduction_of_one_row_takes_even_and_odd_positions():
    module = FactorizedReduce(2, 4, affine=True).eval()
    x = torch.randn(1, 2, 1, 8)
    _, halves, _ = module
    pixels = functional.relu(x)
    even, odd = halves.even.weight[:, :, 0, 0], halves.odd.weight[:, :, 0, 0]
    expected = torch.cat(
        [torch.einsum("oc,bchw->bohw", w, pixels[..., at::2]) for w, at in ((even, 0), (odd, 1))], dim=1
    )
    torch.testing.assert_close(halves(pixels), expected)


@pytest.mark.parametrize("shape", [(1, 2, 40), (1, 1, 42), (1, 3, 12)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(InputError, match="divisible by 4"):
        DARTSCells(shape, CLASSES)


@pytest.mark.parametrize("name", ["darts", "nasbench201"])
def test_partial_channels_pass_the_row(name):
    space = build(name, partial_channels=2)
    logits = space.supernet()(torch.randn(4, *SHAPE), Gates(torch.full(space.shape, 0.2)))
    assert logits.shape == (4, CLASSES) and logits.isfinite().all()
