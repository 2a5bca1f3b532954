"""Mixup and cutmix: a batch is mixed with itself, in another order."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ...errors import InputError, check_range


class Pair(NamedTuple):
    """With whom and how much a batch is mixed.

    Args:
        other: Index of each image's partner, int64 (batch,), on the host.
        share: Share of the image itself, from 0 to 1; the partner has the rest.
    """

    other: Tensor
    share: float


class Mixed(NamedTuple):
    """A mixed batch. Its loss is the mean of the losses of both targets, weighted by their shares.

    Args:
        x: Images, float (batch, channels, height, width).
        y: The targets with the larger share.
        other: The targets with the smaller share; None if the batch is not mixed.
        share: Share of `y`, from 0.5 to 1.
    """

    x: Tensor
    y: Tensor
    other: Tensor | None = None
    share: float = 1.0

    def loss(self, criterion: Callable[[Tensor, Tensor], Tensor], logits: Tensor) -> Tensor:
        """Return the loss of a network's output.

        For cross-entropy (also with label smoothing), binary cross-entropy and every other loss that is linear in the
        target, it is the loss of the mixed target. For the squared error it differs from that by a constant. The
        targets themselves stay classes, so any criterion and metric can be used.

        Args:
            criterion: Loss of (logits, targets), a scalar.
            logits: The output.
        """
        if self.other is None:
            return criterion(logits, self.y)
        return self.share * criterion(logits, self.y) + (1 - self.share) * criterion(logits, self.other)


class Mixing:
    """Mixes a batch with itself: by mixup, by cutmix, or by one of both with equal probability.

    There is one share a batch, as in the papers. It is drawn from Beta(alpha, alpha).

    - Mixup adds two images, x = share x + (1 - share) x'.
    - Cutmix pastes a rectangle of the other image. Its sides are sqrt(1 - share) of the image's, and its middle is
      uniform, so that a part of it may lie outside. The share is then that of the pixels that stay. Targets that lie on
      the pixels are pasted too, and not mixed.

    Args:
        mixup: alpha of mixup; 0 for none.
        cutmix: alpha of cutmix; 0 for none.

    Raises:
        InputError: If a number is out of range.

    References:
        Zhang et al., mixup: Beyond Empirical Risk Minimization, arXiv:1710.09412.
        Yun et al., CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features,
        arXiv:1905.04899.
    """

    def __init__(self, mixup: float = 0.0, cutmix: float = 0.0) -> None:
        check_range("mixup", mixup, 0.0)
        check_range("cutmix", cutmix, 0.0)
        self.mixup, self.cutmix = mixup, cutmix

    def check(self, x: Tensor) -> None:
        """Check that inputs `x` can be mixed.

        Raises:
            InputError: If they are no images.
        """
        if (self.mixup or self.cutmix) and (x.dim() != 4 or not x.is_floating_point()):
            raise InputError(f"mixup={self.mixup}, cutmix={self.cutmix}: only images can be mixed; both must be 0")

    def __call__(self, x: Tensor, y: Tensor, draws: torch.Generator) -> Mixed:
        """Mix a batch.

        Args:
            x: Images, float (batch, channels, height, width).
            y: Targets, (batch, ...).
            draws: Generator on the host.
        """
        if not self.mixup and not self.cutmix:
            return Mixed(x, y)
        cuts = bool(torch.randint(2, (), generator=draws)) if self.mixup and self.cutmix else bool(self.cutmix)
        pair = Pair(torch.randperm(len(x), generator=draws), beta(self.cutmix if cuts else self.mixup, draws))
        return cutmix(x, y, pair, draws) if cuts else mixup(x, y, pair)


def mixup(x: Tensor, y: Tensor, pair: Pair) -> Mixed:
    """Add to each image its partner.

    Args:
        x: Images, float (batch, channels, height, width).
        y: Targets, (batch, ...).
        pair: Partners and share.
    """
    other = pair.other.to(x.device, non_blocking=True)
    mixed = pair.share * x + (1 - pair.share) * x[other]
    return _ordered(mixed, y, y[other], pair.share)


def cutmix(x: Tensor, y: Tensor, pair: Pair, draws: torch.Generator) -> Mixed:
    """Paste into each image a rectangle of its partner, at the same place of all images.

    Args:
        x: Images, float (batch, channels, height, width).
        y: Targets, (batch, ...).
        pair: Partners, and the share that gives the sides of the rectangle.
        draws: Generator on the host, for the middle of the rectangle.
    """
    size = (x.shape[2], x.shape[3])
    middle = [int(torch.randint(side, (), generator=draws)) for side in size]
    halves = [int(side * math.sqrt(1 - pair.share)) // 2 for side in size]
    rows, columns = (
        slice(max(0, m - half), min(side, m + half)) for m, half, side in zip(middle, halves, size, strict=True)
    )
    other = pair.other.to(x.device, non_blocking=True)
    mixed = x.clone()
    mixed[:, :, rows, columns] = x[:, :, rows, columns][other]
    if y.dim() == 3 and y.shape[1:] == size:
        pasted = y.clone()
        pasted[:, rows, columns] = y[:, rows, columns][other]
        return Mixed(mixed, pasted)
    cut = (rows.stop - rows.start) * (columns.stop - columns.start)
    return _ordered(mixed, y, y[other], 1 - cut / (size[0] * size[1]))


def beta(alpha: float, draws: torch.Generator) -> float:
    """Draw from Beta(alpha, alpha).

    A gamma variate of shape alpha is one of shape alpha + 1 times U**(1 / alpha). The quotient is taken from their
    logarithms, as the variates themselves are 0 in floating point for a small alpha.

    Args:
        alpha: Above 0.
        draws: Generator on the host.
    """
    gamma = torch._standard_gamma(torch.full((2,), alpha + 1.0, dtype=torch.float64), generator=draws)
    uniform = 1 - torch.rand(2, generator=draws, dtype=torch.float64)
    first, second = (gamma.log() + uniform.log() / alpha).unbind()
    return float(torch.sigmoid(first - second))


def _ordered(x: Tensor, y: Tensor, other: Tensor, share: float) -> Mixed:
    """Put the targets with the larger share first."""
    return Mixed(x, y, other, share) if share >= 0.5 else Mixed(x, other, y, 1 - share)
