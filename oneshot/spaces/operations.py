"""The candidate operations of the DARTS cell, by their published names (Liu et al., arXiv:1806.09055).

An operation is a function (channels, stride, affine) -> module that keeps the number of channels and divides
height and width by the stride. `affine` is False in a supernet (batch norm without affine parameters and
without running statistics, so that it cannot compete with the gates) and True in a network trained from
scratch. One line in OPERATIONS adds an operation; a candidate list names it.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..distributed.collectives import for_each_example
from .depthwise import Depthwise
from .layout import EVEN, joined, pixels

Operation = Callable[[int, int, bool], nn.Module]


def batch_norm(channels: int, affine: bool, running: bool | None = None) -> nn.BatchNorm2d:
    """Return the batch norm of a network (affine, with running statistics) or of a supernet (neither).

    Args:
        channels: Channels of the input.
        affine: Whether it has weights.
        running: Whether it has running statistics; None: if it is affine.
    """
    return nn.BatchNorm2d(channels, affine=affine, track_running_stats=affine if running is None else running)


def relu_conv_norm(
    inputs: int, outputs: int, affine: bool, kernel: int = 1, stride: int = 1, running: bool | None = None
) -> nn.Module:
    """Return ReLU, convolution and batch norm.

    Args:
        inputs: Channels that enter.
        outputs: Channels that leave.
        affine: As in `batch_norm`.
        kernel: Side of the kernel, odd, in pixels.
        stride: Of the convolution.
        running: As in `batch_norm`.
    """
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(nn.ReLU(), convolution, batch_norm(outputs, affine, running))


class FactorizedReduce(nn.Sequential):
    """Halve height and width by two pointwise convolutions of stride 2, one of them shifted by one pixel.

    Args:
        inputs: Channels that enter.
        outputs: Channels that leave.
        affine: As in `batch_norm`.
    """

    def __init__(self, inputs: int, outputs: int, affine: bool) -> None:
        super().__init__(nn.ReLU(), _Halves(inputs, outputs), batch_norm(outputs, affine))


class StridedPointwise(nn.Conv2d):
    """A 1x1 convolution of stride 2 without bias.

    With fewer than 8 input channels in channels-last, the weight gradient of oneDNN 3.12 (torch 2.13) writes past the
    end of a buffer on CPUs that have AVX2 and not AVX-512. There the pixels are picked first, which gives the same
    numbers.

    Args:
        inputs: Channels that enter.
        outputs: Channels that leave.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 1, stride=2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, outputs, height / 2, width / 2), rounded up, for x (batch, inputs, height, width)."""
        if x.device.type == "cpu" and self.in_channels < 8:
            return functional.conv2d(pixels(x, EVEN, EVEN), self.weight)
        return super().forward(x)


class _Halves(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.even = StridedPointwise(inputs, outputs // 2)
        self.odd = StridedPointwise(inputs, outputs - outputs // 2)

    def forward(self, x: Tensor) -> Tensor:
        below = min(1, x.shape[2] - 1)  # the single row of a signal stays
        return joined([self.even(x), self.odd(pixels(x, slice(below, None), slice(1, None)))])


def max_pool(channels: int, stride: int, affine: bool) -> nn.Module:
    """Return a 3x3 max pool; in a supernet, batch norm follows.

    Args:
        channels: Channels of the input and the output.
        stride: 1, or 2 to halve height and width.
        affine: False in a supernet; True in a network trained from scratch, where no batch norm follows.
    """
    return _pool(nn.MaxPool2d(3, stride, padding=1), channels, affine)


def average_pool(channels: int, stride: int, affine: bool) -> nn.Module:
    """Return a 3x3 average pool that leaves out the padding; in a supernet, batch norm follows.

    Args:
        channels: Channels of the input and the output.
        stride: 1, or 2 to halve height and width.
        affine: False in a supernet; True in a network trained from scratch, where no batch norm follows.
    """
    return _pool(nn.AvgPool2d(3, stride, padding=1, count_include_pad=False), channels, affine)


def _pool(pool: nn.Module, channels: int, affine: bool) -> nn.Module:
    """Batch norm follows in a supernet only, as published: without it the pool's larger outputs would win."""
    return pool if affine else nn.Sequential(pool, batch_norm(channels, affine))


def skip_connect(channels: int, stride: int, affine: bool) -> nn.Module:
    """Return the identity, or with stride 2 a `FactorizedReduce`.

    Args:
        channels: Channels of the input and the output.
        stride: 1, or 2 to halve height and width.
        affine: As in `batch_norm`, for the `FactorizedReduce`.
    """
    return nn.Identity() if stride == 1 else FactorizedReduce(channels, channels, affine)


class Noise(nn.Module):
    """Draws from N(0, 1) in place of the input, as in space S4 of RobustDARTS: a candidate that is of no use.

    In training mode they are draws of torch's generator. In evaluation mode the authors' code draws anew, too. Here the
    draw is then a function of the module and of the shape, so that a network gives the same numbers twice; a supernet
    hands the number of its draw on, with its weights. The input gets the gradient 0, so that no layer in front of
    it is without a gradient.

    Args:
        stride: 1, or 2 to halve height and width.

    Reference:
        Zela, Elsken, Saikia, Marrakchi, Brox and Hutter, Understanding and Robustifying Differentiable Architecture
        Search, arXiv:1909.09656.
    """

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self._number = int(torch.randint(2**62, (), device="cpu"))  # of the draw in evaluation mode

    def get_extra_state(self) -> Tensor:
        """Return the number of the draw in evaluation mode, for the state of the module."""
        return torch.tensor(self._number)

    def set_extra_state(self, state: Tensor) -> None:
        """Take the number of the draw from the state of a module."""
        self._number = int(state)

    def forward(self, x: Tensor) -> Tensor:
        """Return noise (batch, channels, height / stride, width / stride), rounded up."""
        x = x[:, :, :: self.stride, :: self.stride]
        fixed = not self.training and x.device.type != "meta"
        generator = torch.Generator(x.device).manual_seed(self._number) if fixed else None

        def draw(number: int) -> Tensor:
            shape = (number, *x.shape[2:], x.shape[1])  # channels-last
            return torch.randn(shape, generator=generator, dtype=x.dtype, device=x.device)

        return for_each_example(draw, len(x)).permute(0, 3, 1, 2) + 0 * x


def noise(channels: int, stride: int, affine: bool) -> nn.Module:
    """Return noise in place of the input; see `Noise`.

    Args:
        channels: Channels of the input and the output; noise does not need to know.
        stride: 1, or 2 to halve height and width.
        affine: Has no effect, as there is no batch norm.
    """
    return Noise(stride)


def _relu_depthwise_pointwise(channels: int, kernel: int, stride: int, dilation: int, affine: bool) -> list[nn.Module]:
    pointwise = nn.Conv2d(channels, channels, 1, bias=False)
    return [nn.ReLU(), Depthwise(channels, kernel, stride, dilation), pointwise, batch_norm(channels, affine)]


def separable(kernel: int) -> Operation:
    """Return the operation of a depthwise-separable convolution, applied twice. The second one has stride 1.

    Args:
        kernel: Side of the kernel, in pixels.
    """

    def build(channels: int, stride: int, affine: bool) -> nn.Module:
        first = _relu_depthwise_pointwise(channels, kernel, stride, 1, affine)
        second = _relu_depthwise_pointwise(channels, kernel, 1, 1, affine)
        return nn.Sequential(*first, *second)

    return build


def dilated(kernel: int) -> Operation:
    """Return the operation of a depthwise-separable convolution with dilation 2, applied once.

    Args:
        kernel: Side of the kernel, in pixels.
    """

    def build(channels: int, stride: int, affine: bool) -> nn.Module:
        return nn.Sequential(*_relu_depthwise_pointwise(channels, kernel, stride, 2, affine))

    return build


OPERATIONS: dict[str, Operation] = {
    "max_pool_3x3": max_pool,
    "avg_pool_3x3": average_pool,
    "skip_connect": skip_connect,
    "sep_conv_3x3": separable(3),
    "sep_conv_5x5": separable(5),
    "dil_conv_3x3": dilated(3),
    "dil_conv_5x5": dilated(5),
    "noise": noise,
}
"""The operations of DARTS cells, by their published names: (channels, stride, affine) -> module."""
