"""Random erasing."""

import torch
from torch import Tensor

from .rectangles import draw_rectangles

AREA, ASPECT = (0.02, 1 / 3), (0.3, 3.3)


def erase(x: Tensor, probability: float, draws: torch.Generator) -> Tensor:
    """Set a random rectangle of an image to the mean colour, with a probability.

    The rectangle has 2 % to a third of the area and a width / height from 0.3 to 3.3. The paper fills it with random
    values or with the mean colour (its variant RE-M, which is used here: it needs no draw for each pixel).

    Args:
        x: Normalized images, float (batch, channels, height, width).
        probability: Of each image.
        draws: Generator on the host.

    Returns:
        float (batch, channels, height, width).

    Reference:
        Zhong et al., Random Erasing Data Augmentation, arXiv:1708.04896.
    """
    n, _, height, width = x.shape
    wanted = torch.rand(n, generator=draws, dtype=torch.float64) < probability
    found, fits = draw_rectangles(n, (height, width), AREA, ASPECT, (height - 1, width - 1), draws)
    row, column = torch.arange(height), torch.arange(width)
    rows = (row >= found.top[:, None]) & (row < (found.top + found.height)[:, None]) & (wanted & fits)[:, None]
    columns = (column >= found.left[:, None]) & (column < (found.left + found.width)[:, None])
    rows, columns = (side.to(x.device, non_blocking=True) for side in (rows, columns))
    return x * ~(rows[:, :, None] & columns[:, None, :])[:, None]
