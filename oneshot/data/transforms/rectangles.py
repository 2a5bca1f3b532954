"""Random rectangles in images: what a crop keeps, what is erased."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

TRIES = 10


class Rectangles(NamedTuple):
    """One rectangle for each image, in pixels.

    Args:
        top: First row, int64 (batch,).
        left: First column, int64 (batch,).
        height: Number of rows, int64 (batch,).
        width: Number of columns, int64 (batch,).
    """

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor


def draw_rectangles(
    n: int,
    size: tuple[int, int],
    area: tuple[float, float],
    aspect: tuple[float, float],
    largest: tuple[int, int],
    draws: torch.Generator,
) -> tuple[Rectangles, Tensor]:
    """Draw rectangles with a uniform area and a uniform logarithm of width / height, at a uniform place.

    Of ten tries the first that fits counts.

    Args:
        n: How many.
        size: Height and width of the image.
        area: Smallest and largest share of the image's area.
        aspect: Smallest and largest width / height.
        largest: Largest height and width of a rectangle.
        draws: Generator on the host.

    Returns:
        The rectangles, and which of them fit, bool (n,), on the host.
    """
    height, width = size
    uniform = torch.rand(4, n, TRIES, generator=draws, dtype=torch.float64)
    areas = height * width * (area[0] + (area[1] - area[0]) * uniform[0])
    low, high = math.log(aspect[0]), math.log(aspect[1])
    aspects = torch.exp(low + (high - low) * uniform[1])
    heights, widths = (areas / aspects).sqrt().round().long(), (areas * aspects).sqrt().round().long()
    fits = (heights > 0) & (widths > 0) & (heights <= largest[0]) & (widths <= largest[1])
    first = fits.to(torch.uint8).argmax(dim=1, keepdim=True)
    h, w, down, right = (t.gather(1, first)[:, 0] for t in (heights, widths, uniform[2], uniform[3]))
    found = Rectangles((down * (height - h + 1)).long(), (right * (width - w + 1)).long(), h, w)
    return found, fits.any(dim=1)


def crops(n: int, size: tuple[int, int], smallest: float, draws: torch.Generator) -> Rectangles:
    """Draw what a random resized crop keeps: from `smallest` to all of the area, width / height from 3/4 to 4/3.

    Where no try fits, it is the largest rectangle in the middle with a width / height in these limits.

    Args:
        n: How many.
        size: Height and width of the image.
        smallest: Smallest share of the image's area.
        draws: Generator on the host.

    Reference:
        Szegedy et al., Going Deeper with Convolutions, arXiv:1409.4842, section 6; limits and tries as in torchvision.
    """
    height, width = size
    found, fits = draw_rectangles(n, size, (smallest, 1.0), (3 / 4, 4 / 3), size, draws)
    h, w = min(height, round(width * 4 / 3)), min(width, round(height * 4 / 3))
    middle = ((height - h) // 2, (width - w) // 2, h, w)
    return Rectangles(*(torch.where(fits, part, value) for part, value in zip(found, middle, strict=True)))
