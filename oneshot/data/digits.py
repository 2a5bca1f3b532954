"""scikit-learn's handwritten digits: 1,797 grey images of 8x8, part of the package, so nothing is downloaded."""

import torch
from sklearn.datasets import load_digits

from .augmentation import Augmentation
from .images import ImageData, LabelledImages, Splits, stratified

TEST_SHARE = 0.2
MEAN, STD = 0.3053, 0.3761


def digits(
    batch_size: int = 64,
    augmentation: Augmentation | None = None,
    architecture_fraction: float = 0.5,
    train_size: int = 0,
    residence: str = "auto",
    workers: int | str = "auto",
) -> ImageData:
    """Return scikit-learn's handwritten digits: 1,797 grey images of 8x8 pixels in 10 classes.

    A stratified fifth is held out for the test, the same for every seed. Grey levels 0-16 become 0-255. Nothing is
    downloaded.

    Args:
        batch_size: Images of a step.
        augmentation: Of training batches. None: a shift by at most one pixel.
        architecture_fraction: Share of the training images that moves the architecture.
        train_size: Use a stratified subset of so many training images; 0 for all.
        residence: Where the images are, as in `ImageData`.
        workers: Number of processes that read, as in `ImageData`.

    Raises:
        InputError: If a setting is out of range.

    Reference:
        Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998 (CC BY
        4.0).
    """

    def part(test: bool) -> LabelledImages:
        bunch = load_digits()
        images = torch.from_numpy(bunch.images * (255 / 16)).round().to(torch.uint8).unsqueeze(3)
        data = LabelledImages(images, torch.from_numpy(bunch.target).long())
        held_out = stratified(data.labels, round(TEST_SHARE * len(data.labels)))
        return data.take((held_out if test else ~held_out).nonzero().squeeze(1))

    splits = Splits(tuple(str(d) for d in range(10)), lambda: part(False), lambda: part(True))
    augmentation = augmentation or Augmentation([MEAN], [STD], pad=1)
    return ImageData(splits, batch_size, augmentation, architecture_fraction, train_size, residence, workers)
