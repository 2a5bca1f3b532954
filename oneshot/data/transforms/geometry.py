"""Operations that move pixels: affine maps and resized crops, with the same map for targets that lie on the pixels."""

import torch
from torch import Tensor
from torch.nn import functional

from .rectangles import Rectangles

IGNORED = -100  # target of pixels that came from outside; cross-entropy leaves it out


def rotation(degrees: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the maps that turn images about their middle.

    Args:
        degrees: Counterclockwise, (batch,).
        size: Height and width of the image.

    Returns:
        float64 (batch, 2, 3), for `affine`.
    """
    angle = torch.deg2rad(degrees.double())
    cosine, sine = angle.cos(), angle.sin()
    y, x = size[0] / 2, size[1] / 2
    rows = [cosine, -sine, x - cosine * x + sine * y, sine, cosine, y - sine * x - cosine * y]
    return torch.stack(rows, dim=1).reshape(-1, 2, 3)


def affine(images: Tensor, maps: Tensor, fill: Tensor) -> Tensor:
    """Move the pixels of each image by an affine map, bilinear.

    Args:
        images: uint8 (batch, height, width, channels).
        maps: From a place (x, y, 1) in the result to the place (x, y) in the image, float (batch, 2, 3). The middle of
            the first pixel is (0.5, 0.5), as for Pillow.
        fill: Value of each channel for what comes from outside the image, uint8 (channels,).

    Returns:
        uint8 (batch, height, width, channels).
    """
    height, width = images.shape[1:3]
    x, y, inside = _sources(maps.to(images.device, non_blocking=True), (height, width))
    return torch.where(inside[..., None], _bilinear(images, x, y), fill)


def moved_targets(targets: Tensor, maps: Tensor) -> Tensor:
    """Move targets as `affine` moves the pixels; each takes the nearest one.

    Args:
        targets: int64 (batch, height, width).
        maps: float (batch, 2, 3), as for `affine`.

    Returns:
        int64 (batch, height, width), -100 where it came from outside.
    """
    height, width = targets.shape[1:]
    x, y, inside = _sources(maps.to(targets.device, non_blocking=True), (height, width))
    rows, columns = y.floor().long().clamp(0, height - 1), x.floor().long().clamp(0, width - 1)
    every = torch.arange(len(targets), device=targets.device)[:, None, None]
    return torch.where(inside, targets[every, rows, columns], IGNORED)


def resized_crop(images: Tensor, kept: Rectangles) -> Tensor:
    """Cut a rectangle out of each image and enlarge it to the image's size, bilinear.

    Args:
        images: uint8 (batch, height, width, channels).
        kept: What is cut out, on the host.

    Returns:
        uint8 (batch, height, width, channels).
    """
    height, width = images.shape[1:3]
    y, x = _enlarged(kept.top, kept.height, height), _enlarged(kept.left, kept.width, width)
    y, x = (side.to(images.device, non_blocking=True) for side in (y, x))
    return _bilinear(images, x[:, None, :].expand(-1, height, -1), y[:, :, None].expand(-1, -1, width))


def resized_targets(targets: Tensor, kept: Rectangles) -> Tensor:
    """Cut and enlarge targets as `resized_crop` does with the pixels; each takes the nearest one.

    Args:
        targets: int64 (batch, height, width).
        kept: What is cut out, on the host.

    Returns:
        int64 (batch, height, width).
    """
    height, width = targets.shape[1:]
    rows = kept.top[:, None] + (2 * torch.arange(height) + 1) * kept.height[:, None] // (2 * height)
    columns = kept.left[:, None] + (2 * torch.arange(width) + 1) * kept.width[:, None] // (2 * width)
    rows, columns = (side.to(targets.device, non_blocking=True) for side in (rows, columns))
    every = torch.arange(len(targets), device=targets.device)[:, None, None]
    return targets[every, rows[:, :, None], columns[:, None, :]]


def _sources(maps: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """x and y in the image of each pixel's middle, float (batch, height, width), and whether they are inside."""
    height, width = size
    right, down = (torch.arange(side, device=maps.device, dtype=torch.float32) + 0.5 for side in (width, height))
    down = down[:, None]
    m = maps.to(torch.float32)[:, :, :, None, None]
    x = m[:, 0, 0] * right + m[:, 0, 1] * down + m[:, 0, 2]
    y = m[:, 1, 0] * right + m[:, 1, 1] * down + m[:, 1, 2]
    return x, y, (x >= 0) & (x < width) & (y >= 0) & (y < height)


def _enlarged(start: Tensor, length: Tensor, size: int) -> Tensor:
    """Where each pixel of an enlarged side lies in the image, float (batch, size), on the host.

    It stays half a pixel inside the rectangle, so that no pixel beyond it counts.
    """
    start, length = start[:, None], length[:, None]
    place = (torch.arange(size, dtype=torch.float64) + 0.5) * length / size
    return (start + place.clamp(min=0.5).minimum(length - 0.5)).float()


def _bilinear(images: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """The values at these places, uint8; x and y are float (batch, height, width)."""
    height, width = images.shape[1:3]
    grid = torch.stack([2 * x / width - 1, 2 * y / height - 1], dim=3)
    values = images.permute(0, 3, 1, 2).to(torch.float32)
    found = functional.grid_sample(values, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return found.round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()
