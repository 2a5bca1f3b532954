"""Images with targets, in parts, augmented on the training device in batch.

They are decoded once and held there, or in host memory, or streamed: decoded when a batch needs them.
"""

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..draws import generator, seed_of
from ..errors import InputError, check_integer, check_range
from ..tasks import Classification, Metric, Task
from .augmentation import Augmentation
from .memory import check_residence, fits, worker_number
from .streaming import InMemory, Joined, Reader, Source, Streamed, resize, resize_targets

PIECE = 512  # images that are resized at once
SPLIT_SEED = 0  # the parts do not depend on a run's seed, so that methods and seeds share them
HOST = torch.device("cpu")
say = logging.getLogger(__name__).warning  # shown on the screen


BY_CLASS = Classification()
ACCURACY = BY_CLASS.metric(2)


class Batch(NamedTuple):
    """One batch.

    Args:
        x: Inputs; for images float (batch, channels, height, width).
        y: Targets as the task has them; classes: int64 (batch,).
    """

    x: Tensor
    y: Tensor


class LabelledImages(NamedTuple):
    """Decoded images with their targets.

    Args:
        images: uint8 (n, height, width, channels); or float32 on the same scale of 0 to 255.
        labels: As the task has them: classes int64 (n,); several labels float32 (n, labels) of 0 and 1; numbers float32
            (n, numbers); a class a pixel int64 (n, height, width).
    """

    images: Tensor
    labels: Tensor

    @property
    def size(self) -> int:
        """Number of images."""
        return len(self.images)

    def take(self, indices: Tensor) -> "LabelledImages":
        """Return some of the images, by their indices or by a mask."""
        return LabelledImages(self.images[indices], self.labels[indices])


class Splits(NamedTuple):
    """A data set before it is decoded.

    Args:
        classes: Names of the classes, or of the labels or numbers of another task.
        train: Gives the training images: decoded, or a source that reads them one by one.
        test: Gives the test images.
        about: Lines that are said before a run: images and classes of a split, size, source, what was left out.
        valid: Gives the images of the architecture part, where the data set has a split for it. `train` is then the
            weight part, and a retraining trains on both.
        notes: Gives further lines, on what has been decoded so far.
        preprocessing: What is done to an image file before its normalization, as plain data for JSON. None: the images
            come from no files.
    """

    classes: tuple[str, ...]
    train: Callable[[], LabelledImages | Source]
    test: Callable[[], LabelledImages | Source]
    about: tuple[str, ...] = ()
    valid: Callable[[], LabelledImages | Source] | None = None
    notes: Callable[[], Sequence[str]] = tuple
    preprocessing: Mapping[str, Any] | None = None


class Part:
    """One part of a data set. A training batch is a pure function of (seed, stream, step), wherever images are held.

    Each pass over the part is a permutation of its own. The last images of a pass that do not fill a batch are left
    out of that pass.

    Args:
        name: Name of the part: its stream of draws, and what messages call it.
        data: Its images, decoded or streamed.
        batch_size: Images of a training batch.
        augmentation: Of training batches.
        residence: `"device"`: `to` moves decoded images. `"host"`: they stay in host memory, and batches are copied.
            `"auto"`: they move if they take at most a quarter of what is free there.
        task: What its targets are. None: classes.
        metric: Measures what a network makes of it. None: the accuracy of classes.

    Raises:
        InputError: If the part is empty or smaller than a batch.
    """

    def __init__(
        self,
        name: str,
        data: LabelledImages | Streamed,
        batch_size: int,
        augmentation: Augmentation,
        residence: str = "device",
        task: Task | None = None,
        metric: Metric | None = None,
    ) -> None:
        if data.size == 0:
            raise InputError(f"the {name} part of the data is empty (data.train_size, data.architecture_fraction)")
        if batch_size > data.size:
            raise InputError(f"data.batch_size={batch_size}: must be at most {data.size}, the size of the {name} part")
        self.name, self.data, self.batch_size, self.augmentation = name, data, batch_size, augmentation
        self.residence, self.task, self.metric = residence, task or BY_CLASS, metric or ACCURACY
        self.device = data.labels.device if isinstance(data, LabelledImages) else HOST  # of the batches
        self._order: tuple[tuple[int, int], Tensor] | None = None
        self._reader: tuple[tuple[int, int], Reader] | None = None  # what it gives next
        self._last: tuple[tuple[int, int], tuple[Tensor, Tensor]] | None = None  # a search asks for a batch twice

    def __len__(self) -> int:
        """Return the number of images."""
        return self.data.size

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
        if isinstance(self.data, LabelledImages):
            images, labels = self._taken(self.data, self._chosen(seed, step, self.data.labels.device))
        else:
            images, labels = self._streamed(self.data, seed, step)
        return Batch(*self.augmentation.pair(images, labels, generator(seed, f"{self.name}/augmentation", step)))

    def first(self) -> Batch:
        """Return two images without augmentation, to try things on."""
        if isinstance(self.data, LabelledImages):
            images, labels = self._taken(self.data, torch.arange(2, device=self.data.labels.device))
        else:
            images, labels = self._sent(*self.data.few(2))
        return Batch(self.augmentation.plain(images), labels)

    def passes(self, batch_size: int = 512) -> Iterator[Batch]:
        """Yield every image once, without augmentation, for evaluation.

        The order is random and fixed: a supernet's batch norm has no other statistics than the batch's, and data sets
        often come sorted by class.

        Args:
            batch_size: Largest size of a batch; all have nearly one size.
        """
        order = torch.randperm(len(self), generator=generator(SPLIT_SEED, f"{self.name}/passes", 0))
        parts = -(-len(self) // batch_size)
        if isinstance(self.data, LabelledImages):
            for chosen in order.to(self.data.labels.device).tensor_split(parts):
                images, labels = self._taken(self.data, chosen)
                yield Batch(self.augmentation.plain(images), labels)
            return
        pieces = [chosen.split(self.batch_size) for chosen in order.tensor_split(parts)]  # as little memory as a step
        with closing(self.data.read((few for some in pieces for few in some), pin=self._pins)) as reader:
            for some in pieces:
                read = [next(reader) for _ in some]
                images, labels = self._sent(torch.cat([x for x, _ in read]), torch.cat([y for _, y in read]))
                yield Batch(self.augmentation.plain(images), labels)

    def sample(self, size: int) -> "Part":
        """Return a part with some of the images, the same ones for every seed, on the same device.

        Args:
            size: Number of images; every class gives its share.
        """
        chosen = stratified(_strata(self.data, self.task), size).nonzero().squeeze(1)
        if isinstance(self.data, LabelledImages):
            chosen = chosen.to(self.data.labels.device)
        return self._with(self.data.take(chosen), min(self.batch_size, size))

    def resized(self, side: int) -> "Part":
        """Return a part with the same images in another size, bilinear with antialiasing.

        Args:
            side: Pixels a side.
        """
        if isinstance(self.data, Streamed):
            return self._with(self.data.resized(side), self.batch_size)
        pixels = torch.cat([resize(some, side) for some in self.data.images.split(PIECE)])
        return self._with(LabelledImages(pixels, resize_targets(self.data.labels, side)), self.batch_size)

    def to(self, device: torch.device) -> None:
        """Let batches be made on a device. Decoded images move there, unless `residence` keeps them on the host.

        Args:
            device: The device.
        """
        self.close()
        self.device = torch.empty(0, device=device).device  # `cuda` is `cuda:0`, as tensors say it
        self._order = None
        if not isinstance(self.data, LabelledImages) or self.residence == "host":
            return
        size = self.data.images.nbytes
        if self.residence == "auto" and self.data.images.device != device and not fits(size, device):
            say(
                f"data.residence=auto: the {self.name} part takes {size / 1e9:.1f} GB, more than a quarter of the free "
                f"memory of {device}; it stays in host memory"
            )
            return
        self.data = LabelledImages(*(tensor.to(device) for tensor in self.data))

    def close(self) -> None:
        """End the processes that read images, if there are any. The next batch starts them again."""
        reader, self._reader, self._last = self._reader, None, None
        if reader is not None:
            reader[1].close()

    @property
    def _pins(self) -> bool:
        return self.device.type == "cuda"

    def _with(self, data: LabelledImages | Streamed, batch_size: int) -> "Part":
        part = Part(self.name, data, batch_size, self.augmentation, self.residence, self.task, self.metric)
        part.device = self.device
        return part

    def _chosen(self, seed: int, step: int, device: torch.device) -> Tensor:
        """The positions of a training batch."""
        epoch, position = divmod(step, self.batches)
        if self._order is None or self._order[0] != (seed, epoch):
            order = torch.randperm(len(self), generator=generator(seed, f"{self.name}/order", epoch))
            self._order = (seed, epoch), order.to(device)
        return self._order[1][position * self.batch_size : (position + 1) * self.batch_size]

    def _taken(self, data: LabelledImages, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Some decoded images, on the device of the batches."""
        if data.images.device == self.device or not self._pins:
            return self._sent(*data.take(chosen))
        found = []
        for tensor in data:  # into page-locked memory, from which a copy does not wait
            buffer = torch.empty((len(chosen), *tensor.shape[1:]), dtype=tensor.dtype, pin_memory=True)
            found.append(torch.index_select(tensor, 0, chosen, out=buffer))
        return self._sent(*found)

    def _sent(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        return images.to(self.device, non_blocking=True), labels.to(self.device, non_blocking=True)

    def _streamed(self, data: Streamed, seed: int, step: int) -> tuple[Tensor, Tensor]:
        """The images of a training batch from the reader, which starts anew where this step is not its next."""
        if self._last is not None and self._last[0] == (seed, step):
            return self._last[1]
        if self._reader is None or self._reader[0] != (seed, step):
            self.close()
            order = (self._chosen(seed, s, HOST) for s in _from(step))
            read = data.read(order, lambda n: seed_of(seed, f"{self.name}/read", step + n), self._pins)
            self._reader = (seed, step), read
        reader = self._reader[1]
        try:
            found = self._sent(*next(reader))
        except BaseException:
            self._reader = None
            reader.close()
            raise
        self._reader, self._last = ((seed, step + 1), reader), ((seed, step), found)
        return found


def _from(step: int) -> Iterator[int]:
    while True:
        yield step
        step += 1


class TrainAndTest(NamedTuple):
    """Two parts in place of a data set, for `Retrain`.

    Args:
        training: What is trained on.
        testing: What is measured on.
    """

    training: Part
    testing: Part

    @property
    def task(self) -> Task:
        """What is learned."""
        return self.testing.task

    @property
    def metric(self) -> Metric:
        """The metric that decides."""
        return self.testing.metric

    def train(self) -> Part:
        """Return the part to train on."""
        return self.training

    def test(self) -> Part:
        """Return the part to measure on."""
        return self.testing


class ImageData:
    """A data set in parts: weight and architecture part for a search, training and test images for a retraining.

    The split is stratified and the same for every seed. Parts are decoded when they are first used, so a search never
    reads the test images. `classes` is the number of classes, or of the labels or numbers of another task.

    Args:
        splits: The data set before it is decoded.
        batch_size: Images of a step.
        augmentation: Of training batches.
        architecture_fraction: Share of the training images that moves the architecture, above 0 and at most 0.95. A
            data set with a split of its own for this has no use for it.
        train_size: Use a stratified subset of so many training images; 0 for all.
        residence: Where the images are. `"device"`: decoded once, on the training device. `"host"`: decoded once, in
            host memory; batches are copied. `"stream"`: each batch is decoded when it is needed. `"auto"`: the first of
            these where the decoded images take at most a quarter of the memory that is free.
        workers: Number of processes that decode, for each part in use. 0: this process does. `"auto"`: one for each CPU
            core but one, from 1 to 8.
        task: What the targets are. None: classes.

    Raises:
        InputError: If a setting is out of range. The parts raise it for targets that the task refuses and for batches
            larger than a part.
    """

    def __init__(
        self,
        splits: Splits,
        batch_size: int,
        augmentation: Augmentation,
        architecture_fraction: float = 0.5,
        train_size: int = 0,
        residence: str = "auto",
        workers: int | str = "auto",
        task: Task | None = None,
    ) -> None:
        check_integer("data.batch_size", batch_size, 2)
        check_integer("data.train_size", train_size, 0)
        check_range("data.architecture_fraction", architecture_fraction, 0.0, 0.95, open_low=True)
        check_residence(residence, workers)
        self.splits, self.batch_size, self.augmentation = splits, batch_size, augmentation
        self.architecture_fraction, self.train_size = architecture_fraction, train_size
        self.residence, self.workers, self.task = residence, worker_number(workers), task or BY_CLASS
        self.classes = len(splits.classes)
        if self.classes < 2 and isinstance(self.task, Classification):
            raise InputError(f"the data has {self.classes} class: at least 2 are needed")
        self.measure(None)
        self._train: LabelledImages | Streamed | None = None
        self._valid: Tensor | None = None  # which training images are the architecture part, if the data says it

    def measure(self, name: str | None) -> None:
        """Choose the metric that decides. Parts that were taken before keep theirs.

        Args:
            name: One of the task's metrics; None is the task's own choice.

        Raises:
            InputError: If the task has no such metric.
        """
        self.metric = self.task.metric(self.classes, name)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of a training batch."""
        height, width, channels = _shape(self._training_images())
        return channels, height, width

    @property
    def about(self) -> tuple[str, ...]:
        """Lines that are said before a run. Some are known after the images of a split were decoded."""
        return (*self.splits.about, *self.splits.notes())

    def split(self) -> tuple[Part, Part]:
        """Return the weight part and the architecture part of the training images."""
        train = self._training_images()
        second = self._valid
        if second is None:
            second = stratified(_strata(train, self.task), round(self.architecture_fraction * train.size))
        return self._part("weight", train, ~second), self._part("architecture", train, second)

    def train(self) -> Part:
        """Return all training images, for a retraining."""
        return self._part("train", self._training_images())

    def test(self) -> Part:
        """Return the test images. Only the end of a retraining reads them."""
        test = self._resolved("test", self.splits.test())
        shapes = [_shape(data) for data in (test, self._training_images())] if test.size else []
        if len(set(shapes)) > 1:
            sizes = ("x".join(map(str, shape)) for shape in shapes)
            raise InputError("test images are {} (height, width, channels), training images {}".format(*sizes))
        return self._part("test", test, batch_size=min(self.batch_size, max(1, test.size)))

    def _part(
        self, name: str, data: LabelledImages | Streamed, mask: Tensor | None = None, batch_size: int | None = None
    ) -> Part:
        chosen = data if mask is None else data.take(mask.nonzero().squeeze(1))
        size = batch_size or self.batch_size
        return Part(name, chosen, size, self.augmentation, self.residence, self.task, self.metric)

    def _training_images(self) -> LabelledImages | Streamed:
        if self._train is not None:
            return self._train
        parts = [self.splits.train()]
        if self.splits.valid is not None:
            parts.append(self.splits.valid())
        train = self._resolved("train", joined(*parts))
        if self.train_size > train.size:
            raise InputError(f"data.train_size={self.train_size}: there are {train.size} training images")
        self.augmentation.check(_shape(train))
        valid = torch.arange(train.size) >= _size(parts[0])
        if self.train_size:
            mask = stratified(_strata(train, self.task), self.train_size)
            train, valid = train.take(mask.nonzero().squeeze(1)), valid[mask]
        self._train, self._valid = train, valid if len(parts) > 1 else None
        return train

    def _resolved(self, split: str, data: LabelledImages | Source) -> LabelledImages | Streamed:
        found = held(split, data, self.residence, self.workers)
        if found.labels is not None:
            self.task.check(split, found.labels, self.splits.classes)
            if self.task.dense and found.labels.shape[1:] != _shape(found)[:2]:
                raise InputError(
                    f"{split} targets are {'x'.join(map(str, found.labels.shape[1:]))} (height, width), images "
                    f"{'x'.join(map(str, _shape(found)[:2]))}; a {self.task.name} has a class for each pixel"
                )
        return found


def held(split: str, data: LabelledImages | Source, residence: str, workers: int) -> LabelledImages | Streamed:
    """Decode a split or leave it to be streamed, as data.residence says.

    Args:
        split: Its name, for the message.
        data: The images, decoded or to be read.
        residence: `"auto"`, `"device"`, `"host"` or `"stream"`.
        workers: Number of processes that decode.

    Raises:
        InputError: If an image cannot be read.
    """
    if isinstance(data, LabelledImages):
        return Streamed(InMemory(*data), workers) if residence == "stream" else data
    streamed = Streamed(data, workers)
    if streamed.size == 0 or residence == "stream":
        return streamed
    size = streamed.size * math.prod(streamed.shape)
    if residence == "auto" and not fits(size, HOST):
        say(
            f"data.residence=auto: the decoded {split} images take {size / 1e9:.1f} GB, more than a quarter of the "
            f"free memory; they are streamed ({workers} processes; data.workers)"
        )
        return streamed
    return LabelledImages(*streamed.decoded())


def joined(first: LabelledImages | Source, *more: LabelledImages | Source) -> LabelledImages | Source:
    """Return images one after the other, decoded if all are.

    Args:
        first: Images.
        more: Others, of the same size.

    Raises:
        InputError: If they have other sizes.
    """
    if not more:
        return first
    every = [first, *more]
    decoded = [data for data in every if isinstance(data, LabelledImages)]
    if len(decoded) == len(every):
        shapes = {tuple(data.images.shape[1:]) for data in decoded}
        if len(shapes) > 1:
            raise InputError(
                f"images are {' and '.join('x'.join(map(str, s)) for s in sorted(shapes))} (height, width, channels); "
                "all must have one size"
            )
        return LabelledImages(torch.cat([d.images for d in decoded]), torch.cat([d.labels for d in decoded]))
    return Joined(*(InMemory(*data) if isinstance(data, LabelledImages) else data for data in every))


def check_labels(split: str, data: LabelledImages, classes: Sequence[str]) -> LabelledImages:
    """Return `data` if all its labels are classes.

    Args:
        split: Name of the split, for the message.
        data: The images.
        classes: Names of the classes.

    Raises:
        InputError: If a label is outside the classes; the message names the first and its image.
    """
    BY_CLASS.check(split, data.labels, classes)
    return data


def _shape(data: LabelledImages | Streamed) -> tuple[int, ...]:
    """(height, width, channels)."""
    return tuple(data.images.shape[1:]) if isinstance(data, LabelledImages) else data.shape


def _size(data: LabelledImages | Source) -> int:
    return data.size if isinstance(data, LabelledImages) else len(data)


def _strata(data: LabelledImages | Streamed, task: Task) -> Tensor:
    """The stratum of each example, on the host. Targets that are not in memory are one stratum."""
    if data.labels is None:
        return torch.zeros(data.size, dtype=torch.int64)
    return task.strata(data.labels.cpu())


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
