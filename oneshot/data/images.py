"""Image classification on the training device: decoded once, indexed and augmented there, in batch."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from ..draws import generator
from ..errors import InputError, check_integer, check_range
from .augmentation import Augmentation

SPLIT_SEED = 0  # the parts do not depend on a run's seed, so that methods and seeds share them


class Batch(NamedTuple):
    """x: inputs, for images float (batch, channels, height, width); y: int64 classes (batch,)."""

    x: Tensor
    y: Tensor


class LabelledImages(NamedTuple):
    """images: uint8 (n, height, width, channels); labels: int64 (n,)."""

    images: Tensor
    labels: Tensor

    def take(self, indices: Tensor) -> "LabelledImages":
        return LabelledImages(self.images[indices], self.labels[indices])


class Splits(NamedTuple):
    """A data set before it is decoded: class names, and one call a split."""

    classes: tuple[str, ...]
    train: Callable[[], LabelledImages]
    test: Callable[[], LabelledImages]


class Part:
    """One part of a data set. A training batch is a pure function of (seed, stream, step).

    Each pass over the part is a permutation of its own; the last images of a pass that do not fill a
    batch are left out of that pass.
    """

    def __init__(self, name: str, data: LabelledImages, batch_size: int, augmentation: Augmentation) -> None:
        if len(data.labels) == 0:
            raise InputError(f"the {name} part of the data is empty (data.train_size, data.architecture_fraction)")
        if batch_size > len(data.labels):
            raise InputError(
                f"data.batch_size={batch_size}: must be at most {len(data.labels)}, the size of the {name} part"
            )
        self.name, self.data, self.batch_size, self.augmentation = name, data, batch_size, augmentation
        self._order: tuple[tuple[int, int], Tensor] | None = None

    def __len__(self) -> int:
        return len(self.data.labels)

    @property
    def batches(self) -> int:
        """Full batches in one pass."""
        return len(self) // self.batch_size

    def batch(self, seed: int, step: int) -> Batch:
        """Training batch number `step`, augmented. No host wait: the draws are made on the host and copied."""
        epoch, position = divmod(step, self.batches)
        device = self.data.labels.device
        if self._order is None or self._order[0] != (seed, epoch):
            order = torch.randperm(len(self), generator=generator(seed, f"{self.name}/order", epoch))
            self._order = (seed, epoch), order.to(device)
        chosen = self._order[1][position * self.batch_size : (position + 1) * self.batch_size]
        images, labels = self.data.take(chosen)
        return Batch(self.augmentation(images, generator(seed, f"{self.name}/augmentation", step)), labels)

    def first(self) -> Batch:
        """Two images without augmentation, to try things on."""
        images, labels = self.data.take(torch.arange(2, device=self.data.labels.device))
        return Batch(self.augmentation.plain(images), labels)

    def passes(self, batch_size: int = 512) -> Iterator[Batch]:
        """Every image once, without augmentation, for evaluation; batches of nearly one size, at most this.

        In a fixed random order: a supernet's batch norm has no other statistics than the batch's, and data
        sets often come sorted by class.
        """
        order = torch.randperm(len(self), generator=generator(SPLIT_SEED, f"{self.name}/passes", 0))
        for chosen in order.to(self.data.labels.device).tensor_split(-(-len(self) // batch_size)):
            images, labels = self.data.take(chosen)
            yield Batch(self.augmentation.plain(images), labels)

    def sample(self, size: int) -> "Part":
        """So many images of this part, every class its share, the same ones for every seed. It shares the device."""
        chosen = stratified(self.data.labels.cpu(), size).nonzero().squeeze(1).to(self.data.labels.device)
        return Part(self.name, self.data.take(chosen), min(self.batch_size, size), self.augmentation)

    def resized(self, side: int) -> "Part":
        """The same images with this many pixels a side, bilinear with antialiasing."""
        images = self.data.images.permute(0, 3, 1, 2).float()
        images = functional.interpolate(images, (side, side), mode="bilinear", antialias=True)
        pixels = images.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()
        return Part(self.name, LabelledImages(pixels, self.data.labels), self.batch_size, self.augmentation)

    def to(self, device: torch.device) -> None:
        """Move the images once; batches are then made on that device."""
        self.data = LabelledImages(*(tensor.to(device) for tensor in self.data))
        self._order = None


class TrainAndTest(NamedTuple):
    """Two parts that stand for a data set: one to train on, one to measure on."""

    training: Part
    testing: Part

    def train(self) -> Part:
        return self.training

    def test(self) -> Part:
        return self.testing


class ImageData:
    """A data set in parts: weight and architecture part for a search, all of train and test for a retraining.

    batch_size: images a step. augmentation: of training batches. architecture_fraction: of the training
    images, the share that moves the architecture. train_size: take a stratified subset of this many
    training images, 0 for all. The split is stratified and the same for every seed. Parts are decoded
    when first asked for: a search never reads the test images.
    Raises InputError for sizes out of range, labels outside the classes and batches larger than a part.
    """

    def __init__(
        self,
        splits: Splits,
        batch_size: int,
        augmentation: Augmentation,
        architecture_fraction: float = 0.5,
        train_size: int = 0,
    ) -> None:
        check_integer("data.batch_size", batch_size, 2)
        check_integer("data.train_size", train_size, 0)
        check_range("data.architecture_fraction", architecture_fraction, 0.0, 0.95, open_low=True)
        self.splits, self.batch_size, self.augmentation = splits, batch_size, augmentation
        self.architecture_fraction, self.train_size = architecture_fraction, train_size
        self.classes = len(splits.classes)
        if self.classes < 2:
            raise InputError(f"the data has {self.classes} class: at least 2 are needed")
        self._train: LabelledImages | None = None
        self._device = torch.device("cpu")

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of a training batch."""
        height, width, channels = self._training_images().images.shape[1:]
        return channels, height, width

    def split(self) -> tuple[Part, Part]:
        """The weight part and the architecture part of the training images."""
        train = self._training_images()
        second = stratified(train.labels, round(self.architecture_fraction * len(train.labels)))
        return (
            Part("weight", train.take((~second).nonzero().squeeze(1)), self.batch_size, self.augmentation),
            Part("architecture", train.take(second.nonzero().squeeze(1)), self.batch_size, self.augmentation),
        )

    def train(self) -> Part:
        """All training images, for a retraining."""
        return Part("train", self._training_images(), self.batch_size, self.augmentation)

    def test(self) -> Part:
        """The test images: for a retraining's last line and for nothing else."""
        test = check_labels("test", self.splits.test(), self.splits.classes)
        if test.images.shape[1:] != self._training_images().images.shape[1:]:
            shapes = ("x".join(map(str, data.images.shape[1:])) for data in (test, self._training_images()))
            raise InputError("test images are {} (height, width, channels), training images {}".format(*shapes))
        return Part("test", test, min(self.batch_size, max(1, len(test.labels))), self.augmentation)

    def _training_images(self) -> LabelledImages:
        if self._train is None:
            train = check_labels("train", self.splits.train(), self.splits.classes)
            if self.train_size > len(train.labels):
                raise InputError(f"data.train_size={self.train_size}: there are {len(train.labels)} training images")
            self.augmentation.check(train.images.shape[1:])
            if self.train_size:
                train = train.take(stratified(train.labels, self.train_size).nonzero().squeeze(1))
            self._train = train
        return self._train


def check_labels(split: str, data: LabelledImages, classes: Sequence[str]) -> LabelledImages:
    """Return `data`. Raises InputError that names the first label outside the classes, and its image."""
    wrong = ((data.labels < 0) | (data.labels >= len(classes))).nonzero()
    if len(wrong):
        i = int(wrong[0])
        raise InputError(
            f"{split} image {i} has label {int(data.labels[i])}: must be from 0 to {len(classes) - 1} "
            f"({len(classes)} classes)"
        )
    return data


def stratified(labels: Tensor, size: int) -> Tensor:
    """A mask (n,) that takes `size` of n, from every class its share, rounded by largest remainder."""
    order = torch.randperm(len(labels), generator=generator(SPLIT_SEED, "stratified", 0))
    counts = torch.bincount(labels)
    exact = [int(c) * size / max(1, len(labels)) for c in counts]
    quota = [math.floor(e) for e in exact]
    by_remainder = sorted(range(len(exact)), key=lambda c: quota[c] - exact[c])
    for c in by_remainder[: size - sum(quota)]:
        quota[c] += 1
    mask = torch.zeros(len(labels), dtype=torch.bool)
    for c, take in enumerate(quota):
        mask[order[labels[order] == c][:take]] = True
    return mask
