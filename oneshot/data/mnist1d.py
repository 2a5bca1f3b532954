"""MNIST-1D: 5,000 signals of 40 numbers, made from 10 templates by drawn distortions, so nothing is downloaded."""

from functools import cache

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d

from .augmentation import Augmentation
from .images import ImageData, LabelledImages, Splits

SEED = 42  # of the published data set
SIGNALS, TRAIN = 5000, 4000
TEMPLATES = (  # height of the pen while it draws the digit
    (5, 6, 6.5, 6.75, 7, 7, 7, 7, 6.75, 6.5, 6, 5),
    (5, 3, 3, 3.4, 3.8, 4.2, 4.6, 5, 5.4, 5.8, 5, 5),
    (5, 6, 6.5, 6.5, 6, 5.25, 4.75, 4, 3.5, 3.5, 4, 5),
    (5, 6, 6.5, 6.5, 6, 5, 5, 6, 6.5, 6.5, 6, 5),
    (5, 4.4, 3.8, 3.2, 2.6, 2.6, 5, 5, 5, 5, 5, 5),
    (5, 3, 3, 3, 3, 5, 6, 6.5, 6.5, 6, 4.5, 5),
    (5, 4, 3.5, 3.25, 3, 3, 3, 3, 3.25, 3.5, 4, 5),
    (5, 7, 7, 6.6, 6.2, 5.8, 5.4, 5, 4.6, 4.2, 5, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 4, 3.5, 3.5, 4, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 5, 5, 4.7, 4.3, 5),
)
PADDING = (36, 60)  # numbers that follow the template: the fewest and the most
LENGTH = 72  # of a signal while it is distorted: 12 numbers and the longest padding
SHORT = 40  # at the end
SCALE, TRANSLATION, SHEAR = 0.4, 48, 0.75  # largest distortions
SMOOTH_NOISE, WIDTH, NOISE = 0.25, 2, 0.02  # of the noise: size, width in positions, and size without correlation
OFFSET = 1e-8  # tells a template's 0 from the padding's


def mnist1d(
    batch_size: int = 64,
    architecture_fraction: float = 0.5,
    train_size: int = 0,
    residence: str = "auto",
) -> ImageData:
    """Return MNIST-1D: 4,000 training signals and 1,000 test signals of 40 numbers in 10 classes.

    Each signal is a template of a digit, of 12 numbers, that is padded, scaled, moved, covered with noise, sheared and
    resampled. The distortions are drawn from the seed of the published data set, and in its order: the numbers are
    those of the package mnist1d 0.0.2 (a test compares them), rounded to float32. They have mean 0 and standard
    deviation 1. A signal is an image of one row, (1, 1, 40), so that spaces for images have their operations on it.

    There is no augmentation: a digit that is read from its end is another digit, and the signals are moved already.

    Args:
        batch_size: Signals of a step.
        architecture_fraction: Share of the training signals that moves the architecture.
        train_size: Use a stratified subset of so many training signals; 0 for all.
        residence: Where the signals are, as in `ImageData`.

    Raises:
        InputError: If a setting is out of range.

    Reference:
        Greydanus and Kobak, Scaling Down Deep Learning with MNIST-1D, ICML 2024, arXiv:2011.14439.
    """

    def part(test: bool) -> LabelledImages:
        numbers, digits = signals()
        chosen = slice(TRAIN, None) if test else slice(TRAIN)
        pixels = torch.from_numpy(numbers[chosen]).float()[:, None, :, None] * 255  # as images are, and scaled back
        return LabelledImages(pixels, torch.from_numpy(digits[chosen]))

    names = tuple(str(digit) for digit in range(len(TEMPLATES)))
    splits = Splits(names, lambda: part(False), lambda: part(True))
    plain = Augmentation([0.0], [1.0])
    return ImageData(splits, batch_size, plain, architecture_fraction, train_size, residence)


@cache
def signals() -> tuple[np.ndarray, np.ndarray]:
    """Make the signals, training signals first.

    Returns:
        The signals, float64 (5000, 40), and their digits, int64 (5000,).
    """
    draws = np.random.RandomState(SEED)
    heights = np.array(TEMPLATES)
    heights = heights - heights.mean(axis=1, keepdims=True)
    heights = heights / heights.std(axis=1, keepdims=True)
    heights = (heights - heights[:, :1]) / 6
    digits = np.arange(len(heights)).repeat(SIGNALS // len(heights))
    made = _distorted(heights[digits], draws)
    order = draws.permutation(SIGNALS)
    made = made[order]
    return (made - made.mean()) / made.std(), digits[order]


def _distorted(heights: np.ndarray, draws: np.random.RandomState) -> np.ndarray:
    """Signals (n, 40) of templates (n, 12). The order of the draws is part of the data set."""
    moved, noise, white, shears = [], [], [], []
    fewest, most = PADDING
    for height in heights + OFFSET:
        padding = fewest + int(draws.rand() * (most - fewest + 1))
        x = _resampled(np.concatenate([height, np.zeros(padding)]), LENGTH)
        x = x * (1 + SCALE * (draws.rand() - 0.5))
        moved.append(np.roll(x, draws.randint(TRANSLATION)))
        noise.append(draws.randn(LENGTH))
        white.append(draws.randn(LENGTH))
        shears.append(SHEAR * (draws.rand() - 0.5))
    x = np.stack(moved)
    x = np.where(x == 0, gaussian_filter1d(SMOOTH_NOISE * np.stack(noise), WIDTH), x) + NOISE * np.stack(white)
    x = x - np.array(shears)[:, None] * np.linspace(-0.5, 0.5, LENGTH)
    return np.stack([_resampled(row, SHORT) for row in x])


def _resampled(x: np.ndarray, length: int) -> np.ndarray:
    return np.interp(np.linspace(0, 1, length), np.linspace(0, 1, len(x)), x)
