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
) -> ImageData:
    """A stratified fifth is held out for the test, the same for every seed. Grey levels 0-16 become 0-255.

    Arguments as of ImageData; the default augmentation is a shift by at most one pixel.
    Source: UCI optical recognition of handwritten digits (Alpaydin and Kaynak, 1998; CC BY 4.0).
    """

    def part(test: bool) -> LabelledImages:
        bunch = load_digits()
        images = torch.from_numpy(bunch.images * (255 / 16)).round().to(torch.uint8).unsqueeze(3)
        data = LabelledImages(images, torch.from_numpy(bunch.target).long())
        held_out = stratified(data.labels, round(TEST_SHARE * len(data.labels)))
        return data.take((held_out if test else ~held_out).nonzero().squeeze(1))

    splits = Splits(tuple(str(d) for d in range(10)), lambda: part(False), lambda: part(True))
    augmentation = augmentation or Augmentation([MEAN], [STD], pad=1)
    return ImageData(splits, batch_size, augmentation, architecture_fraction, train_size)
