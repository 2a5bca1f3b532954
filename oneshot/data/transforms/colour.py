"""Operations on the colours of images, each as Pillow defines it (ImageOps and ImageEnhance).

Images are uint8 (batch, height, width, channels) with 1 or 3 channels. Amounts are float (batch,), on the same device.
Nothing here is a matrix product or a convolution, so autocast has no effect.
"""

import torch
from torch import Tensor

RED, GREEN, BLUE = 19595, 38470, 7471  # ITU-R 601-2 in units of 2**-16
BINS = 256


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """Keep the highest bits of each value.

    Args:
        images: uint8 (batch, height, width, channels).
        bits: How many are kept, from 0 to 8, whole numbers, (batch,).

    Returns:
        uint8 (batch, height, width, channels).
    """
    unit = _each(torch.exp2(8 - bits)).to(torch.int32)
    return (images // unit * unit).to(torch.uint8)


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Invert the values that are not below a threshold.

    Args:
        images: uint8 (batch, height, width, channels).
        threshold: From 0 to 256, (batch,).

    Returns:
        uint8 (batch, height, width, channels).
    """
    return torch.where(images < _each(threshold), images, 255 - images)


def autocontrast(images: Tensor) -> Tensor:
    """Stretch each channel of each image so that its smallest value becomes 0 and its largest 255.

    Args:
        images: uint8 (batch, height, width, channels).

    Returns:
        uint8 (batch, height, width, channels). A channel with a single value is left as it is.
    """
    low = images.amin(dim=(1, 2), keepdim=True).to(torch.int32)
    spread = images.amax(dim=(1, 2), keepdim=True).to(torch.int32) - low
    stretched = (images - low) * 255 // spread.clamp(min=1)
    return torch.where(spread > 0, stretched.to(torch.uint8), images)


def equalize(images: Tensor) -> Tensor:
    """Make the values of each channel of each image nearly equally frequent.

    Args:
        images: uint8 (batch, height, width, channels).

    Returns:
        uint8 (batch, height, width, channels). A channel with hardly more than one value is left as it is.
    """
    n, height, width, channels = images.shape
    values = images.permute(0, 3, 1, 2).reshape(n, channels, height * width).long()
    counts = torch.zeros(n, channels, BINS, dtype=torch.int64, device=images.device)
    counts.scatter_add_(2, values, torch.ones_like(values))
    last = counts.gather(2, values.amax(dim=2, keepdim=True))  # of the largest value that occurs
    step = (height * width - last) // 255
    below = counts.cumsum(dim=2) - counts
    table = ((step // 2 + below) // step.clamp(min=1)).clamp(max=255)
    equal = table.gather(2, values).reshape(n, channels, height, width).permute(0, 2, 3, 1).to(torch.uint8)
    return torch.where(step[:, :, 0][:, None, None] > 0, equal, images)


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Multiply all values; 0 gives black, 1 the image.

    Args:
        images: uint8 (batch, height, width, channels).
        factor: At least 0, (batch,).

    Returns:
        uint8 (batch, height, width, channels).
    """
    return _blend(torch.zeros_like(images[:, :1, :1]), images, factor)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Scale the distance of all values to the mean grey of their image; 0 gives that grey, 1 the image.

    Args:
        images: uint8 (batch, height, width, channels).
        factor: At least 0, (batch,).

    Returns:
        uint8 (batch, height, width, channels).
    """
    pixels = images.shape[1] * images.shape[2]
    total = grey(images).sum(dim=(1, 2), keepdim=True, dtype=torch.int64)
    return _blend((2 * total + pixels) // (2 * pixels), images, factor)


def saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Scale the distance of all values to the grey of their pixel; 0 gives a grey image, 1 the image.

    Args:
        images: uint8 (batch, height, width, channels).
        factor: At least 0, (batch,).

    Returns:
        uint8 (batch, height, width, channels). Images of one channel stay as they are.
    """
    return images if images.shape[3] == 1 else _blend(grey(images), images, factor)


def sharpness(images: Tensor, factor: Tensor) -> Tensor:
    """Scale the distance of all values to the smoothed image; 0 gives the smoothed image, 1 the image.

    The smoothed image is the mean of 3x3 pixels, where the middle one counts five times. Pixels at the border stay.

    Args:
        images: uint8 (batch, height, width, channels).
        factor: At least 0, (batch,).

    Returns:
        uint8 (batch, height, width, channels).
    """
    height, width = images.shape[1:3]
    if min(height, width) < 3:
        return images
    whole = images.to(torch.int32)
    rows = whole[:, :-2] + whole[:, 1:-1] + whole[:, 2:]
    total = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:] + 4 * whole[:, 1:-1, 1:-1]
    smooth = whole.clone()
    smooth[:, 1:-1, 1:-1] = (2 * total + 13) // 26
    return _blend(smooth, images, factor)


def grey(images: Tensor) -> Tensor:
    """Compute the grey of each pixel by ITU-R 601-2, rounded.

    Args:
        images: uint8 (batch, height, width, channels), with 1 or 3 channels.

    Returns:
        int32 (batch, height, width, 1).
    """
    whole = images.to(torch.int32)
    if images.shape[3] == 1:
        return whole
    red, green, blue = whole.unbind(3)
    return ((red * RED + green * GREEN + blue * BLUE + (1 << 15)) >> 16)[..., None]


def _blend(start: Tensor, images: Tensor, factor: Tensor) -> Tensor:
    """start + factor (images - start), cut off to a whole number from 0 to 255."""
    start = start.to(torch.float32)
    return (start + _each(factor) * (images - start)).clamp(0, 255).to(torch.uint8)


def _each(amounts: Tensor) -> Tensor:
    """One number for each image: (batch, 1, 1, 1)."""
    return amounts.to(torch.float32)[:, None, None, None]
