"""Chains of mobile inverted bottlenecks: the spaces of ProxylessNAS, FBNet and NAS-Bench-Macro."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from torch import Tensor, nn

from ..errors import InputError, check_integer, check_range, unknown
from .base import Images, ImageShape
from .model import ModelSpace
from .placeholders import Mixed

SKIP = "skip"  # the candidate that is no inverted bottleneck
BOTTLENECK = re.compile(r"mbconv_k(\d+)_e(\d+)(?:_g(\d+))?")  # kernel, expansion, groups of the 1x1 convolutions
DIVISOR = 8  # of channels

PROXYLESS = tuple(f"mbconv_k{kernel}_e{expansion}" for kernel in (3, 5, 7) for expansion in (3, 6))
FBNET = tuple(f"mbconv_k{kernel}_{size}" for kernel in (3, 5) for size in ("e1", "e1_g2", "e3", "e6"))


class Preset(NamedTuple):
    """A published chain.

    Args:
        stem: Channels and stride of the first convolution, 3x3.
        first: Channels of a fixed block after the stem, with expansion 1; 0: there is none.
        stages: Channels, number of blocks and stride of the first block of each stage.
        candidates: Of a block, besides `skip`.
        skips: "same": only a block that changes neither channels nor size can be skipped. "linear" and "relu": all can.
            One that changes them is replaced by a 1x1 convolution with batch norm, and with "relu" a ReLU.
        head: Channels of the last convolution, 1x1.
        relu6: Whether the ReLUs have the upper limit 6.
    """

    stem: tuple[int, int]
    first: int
    stages: Sequence[tuple[int, int, int]]
    candidates: Sequence[str]
    skips: str
    head: int
    relu6: bool


_WIDTHS = ((24, 4), (40, 4), (80, 4), (96, 4), (192, 4), (320, 1))  # channels and blocks of ProxylessNAS's stages


def _proxyless(stem_stride: int, strides: Sequence[int]) -> Preset:
    stages = [(*width, stride) for width, stride in zip(_WIDTHS, strides, strict=True)]
    return Preset((32, stem_stride), 16, stages, PROXYLESS, "same", 1280, True)


PRESETS: Mapping[str, Preset] = {
    # Cai, Zhu and Han, ProxylessNAS, arXiv:1812.00332; and the same chain for small images, which is ours
    "proxyless_imagenet": _proxyless(2, (2, 2, 2, 1, 2, 1)),
    "proxyless_cifar": _proxyless(1, (1, 2, 2, 1, 2, 1)),
    # Wu et al., FBNet, arXiv:1812.03443
    "fbnet": Preset(
        (16, 2),
        0,
        [(16, 1, 1), (24, 4, 2), (32, 4, 2), (64, 4, 2), (112, 4, 1), (184, 4, 2), (352, 1, 1)],
        FBNET,
        "relu",
        1984,
        False,
    ),
    # Su et al., Prioritized Architecture Sampling with Monto-Carlo Tree Search, arXiv:2103.11922
    "nasbench_macro": Preset(
        (32, 1),
        0,
        [(64, 2, 2), (128, 3, 2), (256, 3, 2)],
        ("mbconv_k3_e3", "mbconv_k5_e6"),
        "linear",
        1280,
        False,
    ),
}


def _notation(blocks: str) -> str:
    """NAME=CANDIDATE for each block, from words like k3e6, k5e1g2 and skip."""
    named = [SKIP if word == SKIP else f"mbconv_{word[:2]}_{re.sub('g', '_g', word[2:])}" for word in blocks.split()]
    return " ".join(f"block{i + 1}={name}" for i, name in enumerate(named))


FBNETS: Mapping[str, str] = {  # as in the authors' model zoo; FBNet-A has space.head=1504
    "fbnet_a": _notation(
        "skip k3e3 k3e1 skip skip k5e6 k3e3 k5e1 k3e3 k5e6 k5e3 k5e1g2 k5e6 k3e6 k5e1g2 k5e3 k3e1g2 k5e6 k5e6 k5e3 "
        "k5e6 k5e6"
    ),
    "fbnet_b": _notation(
        "k3e1 k3e6 k5e1 k3e1 k3e1 k5e6 k5e3 k3e6 k5e6 k5e6 k5e6 skip k5e3 k5e6 k3e1 k5e1 k5e3 k5e6 k5e1 k5e6 k5e6 k3e6"
    ),
    "fbnet_c": _notation(
        "k3e1 k3e6 skip k3e1 k3e1 k5e6 k5e3 k5e6 k3e6 k5e6 k5e3 k5e6 k5e6 k5e6 k5e6 k5e6 k5e3 k5e6 k5e6 k5e6 k5e6 k3e6"
    ),
}


class MBConvChain(ModelSpace):
    """A chain of blocks, each a mobile inverted bottleneck of some kernel and expansion, or skipped.

    Presets, with their published sizes:

    - proxyless_imagenet: 21 blocks, kernels 3, 5, 7 and expansions 3, 6; a block is skipped only where it changes
      neither channels nor size, which 15 do (ProxylessNAS).
    - proxyless_cifar: the same for images of 32x32 pixels: the stem and the first stage keep their size. The paper
      searched another space on CIFAR-10.
    - fbnet: 22 blocks, kernels 3, 5 and expansions 1 (also with two groups), 3, 6. All can be skipped, by a 1x1
      convolution where the shape changes, as in the authors' model zoo. In the paper's figures FBNet-A, B and C have
      5 million multiply-accumulates more than in the zoo and here.
    - nasbench_macro: 8 blocks, two bottlenecks or a skip.

    The result of a bottleneck includes its shortcut. Gates that sum to one mix the same function as with the shortcut
    outside of the mixture, as in the authors' code. Batch norms have torch's constants; ProxylessNAS has another one,
    1e-3.

    Args:
        image_shape: As in `DARTSCells`.
        classes: As in `DARTSCells`.
        preset: Name of the chain.
        width: Factor of all channels but those of the head, which are rounded to a multiple of 8, as in the authors'
            code. The head grows with a factor above 1.
        head: Channels of the last convolution; None is that of the preset.
        candidates: Bottlenecks of a block, as mbconv_k5_e6; None are those of the preset.

    Raises:
        InputError: If a setting is unknown or out of range.
    """

    name = "mbconv"
    trusted = True

    def __init__(
        self,
        image_shape: ImageShape | Images,
        classes: int | None = None,
        preset: str = "nasbench_macro",
        width: float = 1.0,
        head: int | None = None,
        candidates: Sequence[str] | None = None,
    ) -> None:
        if preset not in PRESETS:
            raise unknown("space.preset", preset, PRESETS)
        check_range("space.width", width, 0.05, 16.0)
        if head is not None:
            check_integer("space.head", head, 1)
        if candidates is not None:
            _check_candidates(candidates)
        arguments = {"preset": preset, "width": width, "head": head, "candidates": candidates}
        super().__init__(MBConvNet, image_shape, classes, arguments=arguments, dense=False)
        self.settings = {"preset": preset, "width": width, "head": head or PRESETS[preset].head}
        if preset == "fbnet" and candidates is None:
            self.published = FBNETS


def _check_candidates(candidates: Sequence[str]) -> None:
    if isinstance(candidates, str) or not candidates or len({*candidates}) < len(candidates):
        raise InputError(f"space.candidates={candidates!s:.80}: must be a list of different bottlenecks")
    for name in candidates:
        found = BOTTLENECK.fullmatch(name) if isinstance(name, str) else None
        if found is None or int(found[1]) % 2 == 0 or not int(found[2]) or found[3] and int(found[3]) not in (2, 4, 8):
            raise InputError(
                f"space.candidates: {name!s:.40}: must be like mbconv_k5_e6 or mbconv_k3_e1_g2: an odd kernel, an "
                "expansion, and 2, 4 or 8 groups if there are any"
            )


class MBConvNet(nn.Module):
    """The chain with its placeholders, `block1` and so on.

    Args:
        channels: Channels of an image.
        classes: Number of logits.
        preset: As in `MBConvChain`.
        width: As in `MBConvChain`.
        head: As in `MBConvChain`.
        candidates: As in `MBConvChain`.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        preset: str,
        width: float = 1.0,
        head: int | None = None,
        candidates: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        own = PRESETS[preset]
        self.relu6, self.skips = own.relu6, own.skips
        size, stride = divisible(own.stem[0] * width), own.stem[1]
        self.stem = nn.Sequential(*_convolution(channels, size, 3, stride), self._relu())
        if own.first:
            first = divisible(own.first * width)
            self.stem.append(self._bottleneck("mbconv_k3_e1", size, first, 1))
            size = first
        self.blocks, before = nn.ModuleList(), own.first or own.stem[0]
        for wide, number, stride in own.stages:
            out = divisible(wide * width)
            for i in range(number):
                changes = i == 0 and (stride != 1 or wide != before)  # so that all widths are one space
                names = candidates or own.candidates
                self.blocks.append(self._block(names, size, out, stride if i == 0 else 1, changes))
                size, before = out, wide
        last = head or round(own.head * max(1.0, width))
        self.head = nn.Sequential(*_convolution(size, last, 1), self._relu())
        self.classifier = nn.Linear(last, classes)

    def _relu(self) -> nn.Module:
        return nn.ReLU6() if self.relu6 else nn.ReLU()

    def _bottleneck(self, name: str, size: int, out: int, stride: int) -> nn.Module:
        found = BOTTLENECK.fullmatch(name)
        assert found
        kernel, expansion, groups = (int(part or 1) for part in found.groups())
        return MBConv(size, out, kernel, stride, expansion, groups, self._relu)

    def _block(self, names: Sequence[str], size: int, out: int, stride: int, changes: bool) -> Mixed:
        kinds = {name: self._bottleneck(name, size, out, stride) for name in names}
        if not changes:
            kinds[SKIP] = nn.Identity()
        elif self.skips != "same":
            skip = _convolution(size, out, 1, stride)
            kinds[SKIP] = nn.Sequential(*skip, *([self._relu()] if self.skips == "relu" else []))
        return Mixed(f"block{len(self.blocks) + 1}", kinds)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (batch, classes) for images (batch, channels, height, width)."""
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.classifier(self.head(x).mean(dim=(2, 3)))
        return logits


class MBConv(nn.Module):
    """A mobile inverted bottleneck: a 1x1, a depthwise and a linear 1x1 convolution, each with batch norm.

    With expansion 1 there is no first convolution. The input is added where it has the shape of the result. Where 1x1
    convolutions have groups, channels are shuffled before the depthwise one.

    Args:
        size: Channels of the input.
        out: Channels of the result.
        kernel: Height and width of the depthwise convolution.
        stride: Its stride.
        expansion: Channels inside, in those of the input.
        groups: Groups of the 1x1 convolutions.
        relu: Makes the activation.
    """

    def __init__(
        self,
        size: int,
        out: int,
        kernel: int,
        stride: int,
        expansion: int,
        groups: int,
        relu: Callable[[], nn.Module],
    ) -> None:
        super().__init__()
        inside = size * expansion
        layers: list[nn.Module] = []
        if expansion > 1:
            layers += [*_convolution(size, inside, 1, groups=groups), relu()]
        if groups > 1:
            layers.append(nn.ChannelShuffle(groups))
        layers += [*_convolution(inside, inside, kernel, stride, inside), relu()]
        layers += _convolution(inside, out, 1, groups=groups)
        self.layers = nn.Sequential(*layers)
        self.shortcut = stride == 1 and size == out

    def forward(self, x: Tensor) -> Tensor:
        """Return the result (batch, channels, height, width), with the input where it has the same shape."""
        y: Tensor = self.layers(x)
        return x + y if self.shortcut else y


def _convolution(size: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """A convolution that keeps the size but for its stride, and batch norm."""
    layer = nn.Conv2d(size, out, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
    return [layer, nn.BatchNorm2d(out)]


def divisible(channels: float) -> int:
    """Return the nearest multiple of 8, at least 8, and never less than nine tenths of what is given.

    Args:
        channels: A number of channels, perhaps a fraction.
    """
    found = max(DIVISOR, int(channels + DIVISOR / 2) // DIVISOR * DIVISOR)
    return found + DIVISOR if found < 0.9 * channels else found
