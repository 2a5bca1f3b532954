"""scikit-learn's handwritten digits: 1,797 grey images of 8x8, part of the package, so nothing is downloaded."""

from functools import cache

import torch
from torch import Tensor

from ..errors import InputError
from ..tasks import Classification, Task
from .augmentation import Augmentation
from .images import ImageData, LabelledImages, Splits, stratified

TEST_SHARE = 0.2
MEAN, STD = 0.3053, 0.3761
HALF = 128  # grey level from which a pixel is ink
NAMES = {  # of the outputs, by task
    "classification": tuple(str(d) for d in range(10)),
    "multilabel": ("even", "above four", "prime", "closed loop"),
    "regression": ("digit",),
    "segmentation": ("background", "ink"),
}


def digits(
    batch_size: int = 64,
    augmentation: Augmentation | None = None,
    architecture_fraction: float = 0.5,
    train_size: int = 0,
    residence: str = "auto",
    workers: int | str = "auto",
    task: Task | None = None,
) -> ImageData:
    """Return scikit-learn's handwritten digits: 1,797 grey images of 8x8 pixels in 10 classes.

    A stratified fifth is held out for the test, the same for every seed. Grey levels 0-16 become 0-255. Nothing is
    downloaded. Other tasks than the classification have targets that are made from the digit or the image: a small
    example of each.

    - multilabel: whether the digit is even, is above four, is prime, and has a closed loop (0, 6, 8, 9)
    - regression: the digit as a number
    - segmentation: ink (at least half of the darkest grey) and background

    Args:
        batch_size: Images of a step.
        augmentation: Of training batches. None: a shift by at most one pixel.
        architecture_fraction: Share of the training images that moves the architecture.
        train_size: Use a stratified subset of so many training images; 0 for all.
        residence: Where the images are, as in `ImageData`.
        workers: Number of processes that read, as in `ImageData`.
        task: What the targets are. None: the classes.

    Raises:
        InputError: If a setting is out of range, or there are no such targets.

    Reference:
        Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998 (CC BY
        4.0).
    """

    name = task.name if task else Classification.name
    if name not in NAMES:
        raise InputError(f"task={name}: the digits have targets for {', '.join(NAMES)}")

    def part(test: bool) -> LabelledImages:
        images, digit = _all()
        held_out = stratified(digit, round(TEST_SHARE * len(digit)))
        data = LabelledImages(images, targets(name, digit, images))
        return data.take((held_out if test else ~held_out).nonzero().squeeze(1))

    splits = Splits(NAMES[name], lambda: part(False), lambda: part(True))
    augmentation = augmentation or Augmentation([MEAN], [STD], pad=1)
    return ImageData(splits, batch_size, augmentation, architecture_fraction, train_size, residence, workers, task)


@cache
def _all() -> tuple[Tensor, Tensor]:
    """All images, uint8 (n, 8, 8, 1), and their digits: read once, as scikit-learn parses a text file. Do not write."""
    from sklearn.datasets import load_digits  # here: it takes two seconds, and most data needs none of it

    bunch = load_digits()
    images = torch.from_numpy(bunch.images * (255 / 16)).round().to(torch.uint8).unsqueeze(3)
    return images, torch.from_numpy(bunch.target).long()


def targets(name: str, digit: Tensor, images: Tensor) -> Tensor:
    """Return the targets of a task.

    Args:
        name: Name of the task.
        digit: The digit of each image, int64 (n,).
        images: uint8 (n, height, width, 1).

    Returns:
        Targets as the task has them, (n, ...).
    """
    if name == "multilabel":
        sets = [(0, 2, 4, 6, 8), (5, 6, 7, 8, 9), (2, 3, 5, 7), (0, 6, 8, 9)]
        return torch.stack([torch.isin(digit, torch.tensor(own)) for own in sets], dim=1).float()
    if name == "regression":
        return digit[:, None].float()
    return (images.squeeze(3) >= HALF).long() if name == "segmentation" else digit
