"""Depthwise convolution with the numbers of nn.Conv2d, through the kernels that are fast on the CPU.

Measured with torch 2.13 (oneDNN) in channels-last format: the gradient of a kernel wider than 3 and both gradients of
a dilated one run 6 to 40 times slower than those of a 3x3. So columns of a weight's gradient are taken three
at a time, and a dilated convolution runs undilated on the four grids of every other pixel.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .layout import EVEN, pixels

COLUMNS = 3  # of a kernel's gradient, at once


class Depthwise(nn.Conv2d):
    """Depthwise convolution with same padding and no bias. On the CPU it has neither vmap nor forward mode.

    Args:
        channels: Channels of input and output.
        kernel: Side of the kernel, odd, in pixels.
        stride: 1 or 2.
        dilation: 1 or 2.
    """

    def __init__(self, channels: int, kernel: int, stride: int, dilation: int) -> None:
        padding = dilation * (kernel - 1) // 2
        super().__init__(channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of x (batch, channels, height, width)."""
        if torch.compiler.is_exporting():  # other runtimes have kernels of their own
            return super().forward(x)
        return self.several([self.weight], x)

    def several(self, weights: list[Tensor], x: Tensor) -> Tensor:
        """Convolve with the weights of several such modules at once.

        Args:
            weights: The weight of each module.
            x: (batch, channels, height, width), the input of all, or (batch, modules * channels, height, width).

        Returns:
            (batch, modules * channels, height, width).
        """
        weight = weights[0] if len(weights) == 1 else torch.cat(weights)
        stride, dilation = self.stride[0], self.dilation[0]
        if x.shape[2] == 1:
            return _row(x, weight, stride, dilation)
        if stride == dilation == 2:  # reads even pixels only
            x, stride, dilation = pixels(x, EVEN, EVEN), 1, 1
        if x.device.type != "cpu":
            x, padding = _repeated(x, len(weight) // x.shape[1]), dilation * (weight.shape[2] // 2)
            return functional.conv2d(x, weight, None, stride, padding, dilation, len(weight))
        if torch.is_autocast_enabled("cpu") and x.dtype != torch.float64:
            dtype = torch.get_autocast_dtype("cpu")
            x, weight = x.to(dtype), weight.to(dtype)
        even = stride == 1 and x.shape[2] % 2 == x.shape[3] % 2 == 0
        if dilation == 1 or dilation == 2 and even:
            return _Convolution.apply(x, weight, stride, dilation == 2)
        padding = dilation * (weight.shape[2] // 2)
        return functional.conv2d(
            _repeated(x, len(weight) // x.shape[1]), weight, None, stride, padding, dilation, len(weight)
        )


def _row(x: Tensor, weight: Tensor, stride: int, dilation: int) -> Tensor:
    """Convolve a single row, with the middle row of each kernel: the others see the padding alone."""
    middle, padding = weight.shape[2] // 2, dilation * (weight.shape[3] // 2)
    x, weight = _repeated(x, len(weight) // x.shape[1]), weight[:, :, middle : middle + 1]
    return functional.conv2d(x, weight, None, (1, stride), (0, padding), (1, dilation), len(weight))


class _Convolution(torch.autograd.Function):
    """Undilated, or with dilation 2 and stride 1 on an even number of pixels. Differentiable twice.

    x is repeated where the weights are those of several modules; the copy and the grids are not kept for the
    backward pass but made again.
    """

    @staticmethod
    def forward(x: Tensor, weight: Tensor, stride: int, dilated: bool) -> Tensor:
        x = _repeated(_grids(x) if dilated else x, len(weight) // x.shape[1])
        y = functional.conv2d(x, weight, None, stride, weight.shape[2] // 2, 1, len(weight))
        return _joined(y) if dilated else y

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, weight, ctx.stride, ctx.dilated = inputs
        ctx.save_for_backward(x, weight)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        times = len(weight) // x.shape[1]
        if ctx.dilated:
            x, g = _grids(x), _grids(g)
        x = _repeated(x, times)
        gx = gw = None
        if ctx.needs_input_grad[0]:
            gx = _gradient(g, x, weight, ctx.stride, weight.shape[3] // 2, 0)
            gx = gx if times == 1 else gx.unflatten(1, (times, -1)).sum(1)
            gx = _joined(gx) if ctx.dilated else gx
        if ctx.needs_input_grad[1]:
            gw = _weight_gradient(g, x, weight, ctx.stride)
        return gx, gw, None, None


def _gradient(g: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int, which: int) -> Tensor:
    """Of input (which=0) or weight (1); `padding` at the left and the right, half the kernel above and below."""
    mask = [which == 0, which == 1, False]
    paddings = [weight.shape[2] // 2, padding]
    stride_2, ones, none = [stride, stride], [1, 1], [0, 0]
    return torch.ops.aten.convolution_backward(
        g, x, weight, None, stride_2, paddings, ones, False, none, len(weight), mask
    )[which]


def _weight_gradient(g: Tensor, x: Tensor, weight: Tensor, stride: int) -> Tensor:
    width = weight.shape[3]
    if width <= COLUMNS or x.shape[3] <= width // 2:
        return _gradient(g, x, weight, stride, width // 2, 1)
    columns: list[Tensor] = []
    last = (g.shape[3] - 1) * stride - x.shape[3] - width // 2  # what the last output reads, beyond x, at column 0
    for first in range(0, width, COLUMNS):
        n = min(COLUMNS, width - first)
        padded = functional.pad(x, (width // 2 - first, last + first + n))
        columns.append(_gradient(g, padded, weight[..., first : first + n], stride, 0, 1))
    return torch.cat(columns, dim=3)


def _repeated(x: Tensor, times: int) -> Tensor:
    """The channels so many times in a row; channels stay last in memory."""
    return x if times == 1 else x.permute(0, 2, 3, 1).repeat(1, 1, 1, times).permute(0, 3, 1, 2)


def _grids(x: Tensor) -> Tensor:
    """(batch, channels, h, w) -> (4 * batch, channels, h/2, w/2): pixels of one parity together."""
    n, c, h, w = x.shape
    x = x.permute(0, 2, 3, 1).reshape(n, h // 2, 2, w // 2, 2, c).permute(2, 4, 0, 1, 3, 5)
    return x.reshape(4 * n, h // 2, w // 2, c).permute(0, 3, 1, 2)


def _joined(x: Tensor) -> Tensor:
    """The inverse of _grids."""
    n, c, h, w = x.shape
    x = x.permute(0, 2, 3, 1).reshape(2, 2, n // 4, h, w, c).permute(2, 3, 0, 4, 1, 5)
    return x.reshape(n // 4, 2 * h, 2 * w, c).permute(0, 3, 1, 2)
