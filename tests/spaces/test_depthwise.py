"""Depthwise convolutions against nn.Conv2d's own forward and gradients, the second ones too."""

import itertools

import pytest
import torch
from torch import nn

from oneshot.spaces.depthwise import Depthwise

CHANNELS = 3


def results(y, inputs):
    """y, the gradients of a fixed functional of y, and the gradients of a fixed functional of those."""
    torch.manual_seed(1)
    first = torch.autograd.grad(y, inputs, torch.randn(y.shape), create_graph=True)
    second = torch.autograd.grad(first, inputs, [torch.randn(g.shape) for g in first], allow_unused=True)
    return [y, *first, *(torch.zeros_like(i) if g is None else g for i, g in zip(inputs, second, strict=True))]


@pytest.mark.parametrize("size", [(8, 8), (6, 12), (5, 7), (2, 2), (1, 3)])
@pytest.mark.parametrize(
    ("kernel", "stride", "dilation"),
    [*itertools.product((1, 3, 5, 7), (1, 2), (1, 2)), (3, 1, 3), (5, 1, 4), (3, 2, 3)],
)
@pytest.mark.parametrize("format", [torch.contiguous_format, torch.channels_last])
def test_one_and_several_equal_the_plain_convolution(double, size, kernel, stride, dilation, format):
    torch.manual_seed(0)
    modules = [Depthwise(CHANNELS, kernel, stride, dilation) for _ in range(3)]
    weights = [m.weight for m in modules]
    x = torch.randn(2, CHANNELS, *size).contiguous(memory_format=format).requires_grad_()
    wide = torch.randn(2, 3 * CHANNELS, *size).contiguous(memory_format=format).requires_grad_()
    cases = [
        (modules[0](x), nn.Conv2d.forward(modules[0], x), [x, weights[0]]),
        (modules[0].several(weights, x), torch.cat([nn.Conv2d.forward(m, x) for m in modules], 1), [x, *weights]),
        (
            modules[0].several(weights, wide),
            torch.cat([nn.Conv2d.forward(m, part) for m, part in zip(modules, wide.chunk(3, 1), strict=True)], 1),
            [wide, *weights],
        ),
    ]
    for ours, plain, inputs in cases:
        for a, b in zip(results(ours, inputs), results(plain, inputs), strict=True):
            assert a.shape == b.shape and (a - b).abs().max() < 1e-10


def test_only_the_gradients_that_are_asked_for():
    module = Depthwise(CHANNELS, 5, 1, 2).requires_grad_(False)
    x = torch.randn(2, CHANNELS, 8, 8, requires_grad=True)
    module(x).sum().backward()
    assert x.grad is not None and module.weight.grad is None
    module.requires_grad_(True)
    module(x.detach()).sum().backward()
    assert module.weight.grad is not None


def test_mixed_precision_is_that_of_a_convolution():
    torch.manual_seed(0)
    module, x = Depthwise(CHANNELS, 5, 1, 1), torch.randn(2, CHANNELS, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        ours, plain = module(x), nn.Conv2d.forward(module, x)
    assert ours.dtype == plain.dtype == torch.bfloat16
    assert (ours - plain).abs().max() <= 2**-7 * plain.abs().max()
    ours.float().sum().backward()
    assert module.weight.grad.dtype == torch.float32


def test_double_precision_is_left_alone_by_mixed_precision(double):
    module, x = Depthwise(CHANNELS, 5, 1, 1), torch.randn(2, CHANNELS, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(module(x), nn.Conv2d.forward(module, x)) and module(x).dtype == torch.float64
