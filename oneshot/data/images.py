"""Image classification on the training device: decoded once, indexed and augmented there, in batch."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from ..draws import generator
from ..errors import InputError, check_integer, check_range
from .augmentation import Augmentation

SPLIT_SEED = 0  # the parts do not depend on a run's seed, so that methods and seeds share them


class Batch(NamedTuple):
    """One batch.

    Args:
        x: Inputs; for images float (batch, channels, height, width).
        y: Classes, int64 (batch,).
    """

    x: Tensor
    y: Tensor


class LabelledImages(NamedTuple):
    """Decoded images with their labels.

    Args:
        images: uint8 (n, height, width, channels).
        labels: int64 (n,).
    """

    images: Tensor
    labels: Tensor

    def take(self, indices: Tensor) -> "LabelledImages":
        """Return some of the images, by their indices or by a mask."""
        return LabelledImages(self.images[indices], self.labels[indices])


class Splits(NamedTuple):
    """A data set before it is decoded.

    Args:
        classes: Names of the classes.
        train: Decodes the training images.
        test: Decodes the test images.
        about: Lines that are said before a run: images and classes of a split, size, source, what was left out.
        notes: Gives further lines, on what has been decoded so far.
        preprocessing: What is done to an image file before its normalization, as plain data for JSON. None: the images
            come from no files.
    """

    classes: tuple[str, ...]
    train: Callable[[], LabelledImages]
    test: Callable[[], LabelledImages]
    about: tuple[str, ...] = ()
    notes: Callable[[], Sequence[str]] = tuple
    preprocessing: Mapping[str, Any] | None = None


class Part:
    """One part of a data set. A training batch is a pure function of (seed, stream, step).

    Each pass over the part is a permutation of its own. The last images of a pass that do not fill a batch are left
    out of that pass.

    Args:
        name: Name of the part: its stream of draws, and what messages call it.
        data: Its images.
        batch_size: Images of a training batch.
        augmentation: Of training batches.

    Raises:
        InputError: If the part is empty or smaller than a batch.
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
        """Return the number of images."""
        return len(self.data.labels)

    @property
    def batches(self) -> int:
        """Number of full batches of one pass."""
        return len(self) // self.batch_size

    def batch(self, seed: int, step: int) -> Batch:
        """Return an augmented training batch. There is no host wait: draws are made on the host and copied.

        Args:
            seed: Seed of the run.
            step: Number of the batch, from 0.
        """
        epoch, position = divmod(step, self.batches)
        device = self.data.labels.device
        if self._order is None or self._order[0] != (seed, epoch):
            order = torch.randperm(len(self), generator=generator(seed, f"{self.name}/order", epoch))
            self._order = (seed, epoch), order.to(device)
        chosen = self._order[1][position * self.batch_size : (position + 1) * self.batch_size]
        images, labels = self.data.take(chosen)
        return Batch(self.augmentation(images, generator(seed, f"{self.name}/augmentation", step)), labels)

    def first(self) -> Batch:
        """Return two images without augmentation, to try things on."""
        images, labels = self.data.take(torch.arange(2, device=self.data.labels.device))
        return Batch(self.augmentation.plain(images), labels)

    def passes(self, batch_size: int = 512) -> Iterator[Batch]:
        """Yield every image once, without augmentation, for evaluation.

        The order is random and fixed: a supernet's batch norm has no other statistics than the batch's, and data sets
        often come sorted by class.

        Args:
            batch_size: Largest size of a batch; all have nearly one size.
        """
        order = torch.randperm(len(self), generator=generator(SPLIT_SEED, f"{self.name}/passes", 0))
        for chosen in order.to(self.data.labels.device).tensor_split(-(-len(self) // batch_size)):
            images, labels = self.data.take(chosen)
            yield Batch(self.augmentation.plain(images), labels)

    def sample(self, size: int) -> "Part":
        """Return a part with some of the images, the same ones for every seed, on the same device.

        Args:
            size: Number of images; every class gives its share.
        """
        chosen = stratified(self.data.labels.cpu(), size).nonzero().squeeze(1).to(self.data.labels.device)
        return Part(self.name, self.data.take(chosen), min(self.batch_size, size), self.augmentation)

    def resized(self, side: int) -> "Part":
        """Return a part with the same images in another size, bilinear with antialiasing.

        Args:
            side: Pixels a side.
        """
        images = self.data.images.permute(0, 3, 1, 2).float()
        images = functional.interpolate(images, (side, side), mode="bilinear", antialias=True)
        pixels = images.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()
        return Part(self.name, LabelledImages(pixels, self.data.labels), self.batch_size, self.augmentation)

    def to(self, device: torch.device) -> None:
        """Move the images to a device; batches are then made there."""
        self.data = LabelledImages(*(tensor.to(device) for tensor in self.data))
        self._order = None


class TrainAndTest(NamedTuple):
    """Two parts in place of a data set, for `Retrain`.

    Args:
        training: What is trained on.
        testing: What is measured on.
    """

    training: Part
    testing: Part

    def train(self) -> Part:
        """Return the part to train on."""
        return self.training

    def test(self) -> Part:
        """Return the part to measure on."""
        return self.testing


class ImageData:
    """A data set in parts: weight and architecture part for a search, training and test images for a retraining.

    The split is stratified and the same for every seed. Parts are decoded when they are first used, so a search never
    reads the test images. `classes` is the number of classes.

    Args:
        splits: The data set before it is decoded.
        batch_size: Images of a step.
        augmentation: Of training batches.
        architecture_fraction: Share of the training images that moves the architecture, above 0 and at most 0.95.
        train_size: Use a stratified subset of so many training images; 0 for all.

    Raises:
        InputError: If a size is out of range. The parts raise it for labels outside the classes and for batches larger
            than a part.
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

    @property
    def about(self) -> tuple[str, ...]:
        """Lines that are said before a run. Some are known after the images of a split were decoded."""
        return (*self.splits.about, *self.splits.notes())

    def split(self) -> tuple[Part, Part]:
        """Return the weight part and the architecture part of the training images."""
        train = self._training_images()
        second = stratified(train.labels, round(self.architecture_fraction * len(train.labels)))
        return (
            Part("weight", train.take((~second).nonzero().squeeze(1)), self.batch_size, self.augmentation),
            Part("architecture", train.take(second.nonzero().squeeze(1)), self.batch_size, self.augmentation),
        )

    def train(self) -> Part:
        """Return all training images, for a retraining."""
        return Part("train", self._training_images(), self.batch_size, self.augmentation)

    def test(self) -> Part:
        """Return the test images. Only the end of a retraining reads them."""
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
    """Return `data` if all its labels are classes.

    Args:
        split: Name of the split, for the message.
        data: The images.
        classes: Names of the classes.

    Raises:
        InputError: If a label is outside the classes; the message names the first and its image.
    """
    wrong = ((data.labels < 0) | (data.labels >= len(classes))).nonzero()
    if len(wrong):
        i = int(wrong[0])
        raise InputError(
            f"{split} image {i} has label {int(data.labels[i])}: must be from 0 to {len(classes) - 1} "
            f"({len(classes)} classes)"
        )
    return data


def stratified(labels: Tensor, size: int) -> Tensor:
    """Return a mask (n,) of bool that takes `size` of n examples, from every class its share.

    Shares are rounded by largest remainder. The mask is a function of the labels alone.

    Args:
        labels: int64 (n,).
        size: Number of examples to take.
    """
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
