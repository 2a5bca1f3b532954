"""Colour jitter."""

import torch
from torch import Tensor

from .choosing import by_choice
from .colour import brightness, contrast, saturation

OPERATIONS = (brightness, contrast, saturation)


def jitter(images: Tensor, strength: float, draws: torch.Generator) -> Tensor:
    """Change brightness, contrast and saturation by random factors, in a random order for each image.

    The factors are uniform from 1 - strength (at least 0) to 1 + strength. The hue stays.

    Args:
        images: uint8 (batch, height, width, channels), with 1 or 3 channels.
        strength: Largest change of a factor.
        draws: Generator on the host.

    Returns:
        uint8 (batch, height, width, channels).

    Reference:
        As `ColorJitter` of torchvision. Krizhevsky et al., ImageNet Classification with Deep Convolutional Neural
        Networks, 2012, and Howard, arXiv:1312.5402, change colours at random too.
    """
    n = len(images)
    order, uniform = torch.rand(2, n, len(OPERATIONS), generator=draws, dtype=torch.float64)
    low, high = max(0.0, 1 - strength), 1 + strength
    factors = low + (high - low) * uniform
    for chosen in order.argsort(dim=1).unbind(1):
        images = by_choice(images, chosen, factors.gather(1, chosen[:, None])[:, 0], OPERATIONS)
    return images
