"""RandAugment."""

from collections.abc import Callable

import torch
from torch import Tensor

from .choosing import Operation, by_choice
from .colour import autocontrast, brightness, contrast, equalize, posterize, saturation, sharpness, solarize
from .geometry import affine, moved_targets, rotation

LARGEST = 30  # magnitude

COLOURS: dict[str, tuple[Operation, Callable[[Tensor, Tensor], Tensor]]] = {  # and its amount, by level and sign
    "brightness": (brightness, lambda level, sign: 1 + sign * 0.9 * level),
    "contrast": (contrast, lambda level, sign: 1 + sign * 0.9 * level),
    "colour": (saturation, lambda level, sign: 1 + sign * 0.9 * level),
    "sharpness": (sharpness, lambda level, sign: 1 + sign * 0.9 * level),
    "posterize": (posterize, lambda level, sign: 8 - torch.round(4 * level)),
    "solarize": (solarize, lambda level, sign: 255 * (1 - level)),
    "autocontrast": (lambda images, _: autocontrast(images), lambda level, sign: level),
    "equalize": (lambda images, _: equalize(images), lambda level, sign: level),
}
GEOMETRY = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")
NAMES = ("identity", *COLOURS, *GEOMETRY)


class RandAugment:
    """Some random operations for each image, each uniformly one of 14, all with one magnitude.

    The ranges are those of torchvision, whose magnitudes go up to 30: a rotation by at most 30 degrees, a shear by at
    most 0.3, a shift by at most 150/331 of the side, factors of brightness, colour, contrast and sharpness from 0.1 to
    1.9, 4 to 8 bits, a threshold of solarize from 255 to 0. The sign is random. Pixels are interpolated bilinearly.

    Args:
        operations: How many for each image.
        magnitude: Strength, from 0 to 30.

    Reference:
        Cubuk, Zoph, Shlens and Le, RandAugment: Practical Automated Data Augmentation with a Reduced Search Space,
        arXiv:1909.13719.
    """

    def __init__(self, operations: int = 2, magnitude: float = 9) -> None:
        self.operations, self.magnitude = operations, magnitude

    def draw(self, n: int, draws: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw the operations of n images.

        Args:
            n: Number of images.
            draws: Generator on the host.

        Returns:
            Indices into `NAMES`, int64 (operations, n), and signs, 1 or -1, float64 (operations, n).
        """
        chosen = torch.randint(len(NAMES), (self.operations, n), generator=draws)
        return chosen, 1.0 - 2.0 * torch.randint(2, (self.operations, n), generator=draws).double()

    def __call__(
        self, images: Tensor, targets: Tensor | None, fill: Tensor, draws: torch.Generator
    ) -> tuple[Tensor, Tensor | None]:
        """Apply the operations to each image, one after the other.

        Args:
            images: uint8 (batch, height, width, channels), with 1 or 3 channels.
            targets: Of the pixels, int64 (batch, height, width), which move with them. None: there are none.
            fill: Value of each channel for what comes from outside the image, uint8 (channels,).
            draws: Generator on the host.

        Returns:
            Images and targets.
        """
        size = (images.shape[1], images.shape[2])
        level = torch.tensor(self.magnitude / LARGEST, dtype=torch.float64)
        for chosen, signs in zip(*self.draw(len(images), draws), strict=True):
            amounts = torch.zeros(len(images), dtype=torch.float64)
            for k, (_, amount) in enumerate(COLOURS.values(), start=1):
                amounts = torch.where(chosen == k, amount(level, signs), amounts)
            colours = torch.where(chosen <= len(COLOURS), chosen - 1, -1)
            images = by_choice(images, colours, amounts, [operation for operation, _ in COLOURS.values()])
            moving = (chosen > len(COLOURS)).nonzero().squeeze(1)
            if len(moving):
                maps = moves(chosen[moving], self.magnitude / LARGEST * signs[moving], size)
                rows = moving.to(images.device, non_blocking=True)
                images[rows] = affine(images[rows], maps, fill)
                if targets is not None:
                    targets = targets.index_copy(0, rows, moved_targets(targets[rows], maps))
        return images, targets


def moves(chosen: Tensor, levels: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the map of each image that is moved.

    Args:
        chosen: Indices into `NAMES`, of operations of `GEOMETRY`, int64 (n,).
        levels: From -1 to 1, (n,).
        size: Height and width of the image.

    Returns:
        float64 (n, 2, 3), for `affine`.
    """
    height, width = size
    maps = rotation(30 * levels, size)
    for k, (i, j, amount) in enumerate(
        (
            (0, 1, 0.3 * levels),  # x' = x + s y
            (1, 0, 0.3 * levels),
            (0, 2, torch.trunc(150 / 331 * width * levels)),
            (1, 2, torch.trunc(150 / 331 * height * levels)),
        ),
        start=NAMES.index("shear_x"),
    ):
        one = torch.eye(2, 3, dtype=torch.float64).repeat(len(levels), 1, 1)
        one[:, i, j] = amount.double()
        maps = torch.where((chosen == k)[:, None, None], one, maps)
    return maps
