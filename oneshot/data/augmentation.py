"""Augmentation and normalization of a whole batch at once, on the device that holds it."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import InputError, check_boolean, check_integer, check_range
from .transforms import RandAugment, crops, erase, jitter, resized_crop, resized_targets
from .transforms.geometry import IGNORED
from .transforms.rand_augment import LARGEST


class Augmentation:
    """Random crop after zero padding, horizontal flip, normalization and cutout, in the published order.

    Other transforms are off unless they are asked for. The order is: random resized crop, crop after padding, flip,
    RandAugment, colour jitter, normalization, cutout, random erasing.

    Args:
        mean: Mean of each channel, for images scaled to [0, 1].
        std: Standard deviation of each channel, above 0, for images scaled to [0, 1].
        pad: Pixels added on each side before the crop, so that images shift by at most so many pixels; 0 for none.
        flip: Whether images are mirrored left to right with probability 1/2.
        cutout: Side of the square, in pixels, that becomes the mean colour; 0 for none. Its centre is uniform over
            the image, so part of it may lie outside.
        random_resized_crop: Smallest share of the image's area that a random crop keeps; the crop is enlarged to the
            image's size. 0 for none.
        randaugment: Random operations for each image; 0 for none. See `transforms.RandAugment`.
        magnitude: Their strength, from 0 to 30.
        colour_jitter: Largest change of the factors of brightness, contrast and saturation; 0 for none.
        random_erasing: Probability that a random rectangle of an image becomes the mean colour; 0 for none.

    Raises:
        InputError: If a setting is out of range.

    Reference:
        DeVries and Taylor, Improved Regularization of Convolutional Neural Networks with Cutout, arXiv:1708.04552.
        Those of the other transforms are beside each in `transforms`.
    """

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        pad: int = 0,
        flip: bool = False,
        cutout: int = 0,
        random_resized_crop: float = 0.0,
        randaugment: int = 0,
        magnitude: float = 9,
        colour_jitter: float = 0.0,
        random_erasing: float = 0.0,
    ) -> None:
        check_integer("data.augmentation.pad", pad, 0)
        check_integer("data.augmentation.cutout", cutout, 0)
        check_boolean("data.augmentation.flip", flip)
        check_range("data.augmentation.random_resized_crop", random_resized_crop, 0.0, 1.0)
        check_integer("data.augmentation.randaugment", randaugment, 0, 100)
        check_range("data.augmentation.magnitude", magnitude, 0, LARGEST)
        check_range("data.augmentation.colour_jitter", colour_jitter, 0.0)
        check_range("data.augmentation.random_erasing", random_erasing, 0.0, 1.0)
        if len(mean) != len(std) or not min(std, default=0) > 0 or not all(map(math.isfinite, [*mean, *std])):
            raise InputError(
                f"data.augmentation: mean={list(mean)} and std={list(std)} need one number above 0 a channel"
            )
        self.mean, self.std = torch.tensor(mean) * 255, torch.tensor(std) * 255
        self.pad, self.flip, self.cutout = pad, flip, cutout
        self.random_resized_crop, self.randaugment, self.magnitude = random_resized_crop, randaugment, magnitude
        self.colour_jitter, self.random_erasing = colour_jitter, random_erasing

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
        for name in ("randaugment", "colour_jitter"):
            if getattr(self, name) and shape[2] not in (1, 3):
                raise InputError(
                    f"data.augmentation.{name}={getattr(self, name)}: needs images of 1 or 3 channels, not {shape[2]}"
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
        return self._transformed(images, None, draws)[0]

    def pair(self, images: Tensor, targets: Tensor, draws: torch.Generator) -> tuple[Tensor, Tensor]:
        """Normalize images, with the random transforms, and move targets that lie on the pixels with them.

        Args:
            images: uint8 (batch, height, width, channels).
            targets: Of any task, (batch, ...). Those of int64 (batch, height, width) are moved, by the same draws; each
                takes the nearest one, or -100 if it comes from outside. Cutout and random erasing leave them.
            draws: Generator on the host, so that all devices see the same batch.

        Returns:
            Images as of a call, and the targets.
        """
        if targets.shape[1:] != images.shape[1:3]:
            return self(images, draws), targets
        x, moved = self._transformed(images, targets, draws)
        assert moved is not None
        return x, moved

    def _transformed(
        self, images: Tensor, targets: Tensor | None, draws: torch.Generator
    ) -> tuple[Tensor, Tensor | None]:
        """Images and targets of the pixels, if there are any, after all transforms."""
        n, height, width = images.shape[:3]
        device = images.device

        def draw(high: int) -> Tensor:
            return torch.randint(high, (n, 1), generator=draws).to(device, non_blocking=True)

        if self.random_resized_crop:
            kept = crops(n, (height, width), self.random_resized_crop, draws)
            images = resized_crop(images, kept)
            targets = None if targets is None else resized_targets(targets, kept)
        rows = torch.arange(height, device=device) + draw(2 * self.pad + 1)
        columns = torch.arange(width, device=device) + draw(2 * self.pad + 1)
        if self.flip:
            columns = torch.where(draw(2) == 1, columns.flip(1), columns)
        if self.pad:
            images = functional.pad(images, (0, 0, self.pad, self.pad, self.pad, self.pad))
        if self.pad or self.flip:
            every = torch.arange(n, device=device)[:, None, None]
            images = images[every, rows[:, :, None], columns[:, None, :]]
            if targets is not None:
                targets = functional.pad(targets, (self.pad, self.pad, self.pad, self.pad), value=IGNORED)
                targets = targets[every, rows[:, :, None], columns[:, None, :]]
        if self.randaugment:
            fill = self.mean.round().to(device, torch.uint8)
            images, targets = RandAugment(self.randaugment, self.magnitude)(images, targets, fill, draws)
        if self.colour_jitter:
            images = jitter(images, self.colour_jitter, draws)
        x = self.plain(images)
        if self.cutout:
            outside = _outside(height, draw(height), self.cutout)[:, :, None]
            outside = outside | _outside(width, draw(width), self.cutout)[:, None, :]
            x = x * outside[:, None]
        if self.random_erasing:
            x = erase(x, self.random_erasing, draws)
        return x, targets


def _outside(size: int, centre: Tensor, cutout: int) -> Tensor:
    """(batch, size): which positions do not lie in [centre - cutout // 2, centre + cutout - cutout // 2)."""
    distance = torch.arange(size, device=centre.device) - centre
    return (distance < -(cutout // 2)) | (distance >= cutout - cutout // 2)
