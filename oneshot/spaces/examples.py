"""Examples of models with placeholders, for `ModelSpace` (space=model)."""

import torch
from torch import Tensor, nn

from .placeholders import Inputs, Mixed, Repeat


def _block(channels: int, kernel: int, groups: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=groups, bias=False)
    return nn.Sequential(nn.ReLU(), convolution, nn.BatchNorm2d(channels))


class ResNet(nn.Module):
    """A small ResNet of three stages with two blocks each; a block is one of three kinds, or nothing but its shortcut.

    Args:
        channels: Channels of an image.
        classes: Number of logits.
        width: Channels of the first stage; each later stage doubles them.
    """

    def __init__(self, channels: int, classes: int, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))
        self.blocks, self.halves = nn.ModuleList(), nn.ModuleList()
        for stage in range(3):
            size = width << stage
            self.halves.append(nn.Conv2d(size // 2, size, 1, stride=2) if stage else nn.Identity())
            for number in range(2):
                kinds = {
                    "conv_3x3": _block(size, 3),
                    "conv_5x5": _block(size, 5, groups=size // 4),
                    "conv_1x1": _block(size, 1),
                    "skip": nn.Identity(),
                }
                self.blocks.append(Mixed(f"stage{stage + 1}_block{number + 1}", kinds))
        self.classifier = nn.Linear(4 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (batch, classes) for images (batch, channels, height, width)."""
        x = self.stem(x)
        for i, block in enumerate(self.blocks):
            x = self.halves[i // 2](x) if i % 2 == 0 else x
            x = x + block(x)
        return self.classifier(x.relu().mean(dim=(2, 3)))


class SignalNet(nn.Module):
    """A network for one-dimensional signals: how long its kernels are, how deep it is, and which results it joins.

    Args:
        channels: Channels of a signal, as of an image with a single row.
        classes: Number of logits.
        width: Channels inside.
    """

    def __init__(self, channels: int, classes: int, width: int = 16) -> None:
        super().__init__()

        def convolution(kernel: int) -> nn.Module:
            layer = nn.Conv1d(width, width, kernel, padding=kernel // 2, bias=False)
            return nn.Sequential(layer, nn.BatchNorm1d(width), nn.ReLU())

        self.stem = nn.Conv1d(channels, width, 5, stride=2, padding=2)
        self.kernels = nn.ModuleList(
            Mixed(f"layer{i + 1}", {f"conv_{k}": convolution(k) for k in (3, 7, 15)}) for i in range(2)
        )
        self.join = Inputs("join", 3, keep=None)
        self.depth = Repeat("depth", [convolution(3) for _ in range(3)], depths=[0, 1, 3])
        self.classifier = nn.Linear(2 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (batch, classes) for signals (batch, channels, length) or (batch, channels, 1, length)."""
        states = [self.stem(x.flatten(2))]
        for layer in self.kernels:
            states.append(layer(states[-1]))
        x = self.depth(self.join(states))
        return self.classifier(torch.cat([x.mean(dim=2), x.amax(dim=2)], dim=1))
