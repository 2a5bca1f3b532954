"""Augmentation and normalization of a whole batch at once, on the device that holds it."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import InputError, check_boolean, check_integer


class Augmentation:
    """Random crop after zero padding, horizontal flip, normalization and cutout, in the published order.

    Args:
        mean: Mean of each channel, for images scaled to [0, 1].
        std: Standard deviation of each channel, above 0, for images scaled to [0, 1].
        pad: Pixels added on each side before the crop, so that images shift by at most so many pixels; 0 for none.
        flip: Whether images are mirrored left to right with probability 1/2.
        cutout: Side of the square, in pixels, that becomes the mean colour; 0 for none. Its centre is uniform over
            the image, so part of it may lie outside.

    Raises:
        InputError: If a setting is out of range.

    Reference:
        DeVries and Taylor, Improved Regularization of Convolutional Neural Networks with Cutout, arXiv:1708.04552.
    """

    def __init__(
        self, mean: Sequence[float], std: Sequence[float], pad: int = 0, flip: bool = False, cutout: int = 0
    ) -> None:
        check_integer("data.augmentation.pad", pad, 0)
        check_integer("data.augmentation.cutout", cutout, 0)
        check_boolean("data.augmentation.flip", flip)
        if len(mean) != len(std) or not min(std, default=0) > 0 or not all(map(math.isfinite, [*mean, *std])):
            raise InputError(
                f"data.augmentation: mean={list(mean)} and std={list(std)} need one number above 0 a channel"
            )
        self.mean, self.std = torch.tensor(mean) * 255, torch.tensor(std) * 255
        self.pad, self.flip, self.cutout = pad, flip, cutout

    def check(self, shape: Sequence[int]) -> None:
        """Check that images of this shape can be augmented with these settings.

        Args:
            shape: (height, width, channels).

        Raises:
            InputError: If they cannot.
        """
        if shape[2] != len(self.mean):
            raise InputError(f"images have {shape[2]} channels, data.augmentation.mean has {len(self.mean)} numbers")
        for name, value in (("pad", self.pad), ("cutout", self.cutout)):
            if value > 2 * min(shape[:2]):
                raise InputError(
                    f"data.augmentation.{name}={value}: must be at most twice the images' side of {min(shape[:2])}"
                )

    def plain(self, images: Tensor) -> Tensor:
        """Normalize images, without random transforms.

        Args:
            images: uint8 (batch, height, width, channels).

        Returns:
            float (batch, channels, height, width), in channels-last memory format.
        """
        self.check(images.shape[1:])
        if self.mean.device != images.device:
            self.mean, self.std = self.mean.to(images.device), self.std.to(images.device)
        return ((images.to(torch.get_default_dtype()) - self.mean) / self.std).permute(0, 3, 1, 2)

    def __call__(self, images: Tensor, draws: torch.Generator) -> Tensor:
        """Normalize images, with the random transforms.

        Args:
            images: uint8 (batch, height, width, channels).
            draws: Generator on the host, so that all devices see the same batch.

        Returns:
            float (batch, channels, height, width), in channels-last memory format.
        """
        n, height, width = images.shape[:3]
        device = images.device

        def draw(high: int) -> Tensor:
            return torch.randint(high, (n, 1), generator=draws).to(device, non_blocking=True)

        rows = torch.arange(height, device=device) + draw(2 * self.pad + 1)
        columns = torch.arange(width, device=device) + draw(2 * self.pad + 1)
        if self.flip:
            columns = torch.where(draw(2) == 1, columns.flip(1), columns)
        if self.pad:
            images = functional.pad(images, (0, 0, self.pad, self.pad, self.pad, self.pad))
        if self.pad or self.flip:
            every = torch.arange(n, device=device)[:, None, None]
            images = images[every, rows[:, :, None], columns[:, None, :]]
        x = self.plain(images)
        if self.cutout:
            outside = _outside(height, draw(height), self.cutout)[:, :, None]
            outside = outside | _outside(width, draw(width), self.cutout)[:, None, :]
            x = x * outside[:, None]
        return x


def _outside(size: int, centre: Tensor, cutout: int) -> Tensor:
    """(batch, size): which positions do not lie in [centre - cutout // 2, centre + cutout - cutout // 2)."""
    distance = torch.arange(size, device=centre.device) - centre
    return (distance < -(cutout // 2)) | (distance >= cutout - cutout // 2)
