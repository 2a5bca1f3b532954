"""Data of one's own: tensors, arrays, and the data sets, loaders and modules of torch and Lightning."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler, SequentialSampler, default_collate

from ..errors import InputError, check_integer, named, one_line
from . import arrays
from .augmentation import Augmentation
from .duplicates import WARN, report, same_images
from .images import ImageData, LabelledImages, Splits, Task, held
from .memory import SHARE, check_residence, free_memory, worker_number
from .streaming import Source, Streamed, drawing

IMAGE, LABEL = ("image", "img", "x", "pixel_values", "input"), ("label", "labels", "y", "target", "targets")
SPLITS = {"train": "train", "valid": "valid", "validation": "valid", "val": "valid", "test": "test"}
LOOKED_AT = 32  # images of a streamed data set that are looked at before a run
TRIES = 8  # images that are read twice, to see whether they change
TRUSTED = 64  # labels that must agree before `targets` of a data set is believed


def tensors(
    x: Any,
    y: Any,
    test: tuple[Any, Any] | None = None,
    batch_size: int = 64,
    augmentation: Augmentation | None = None,
    architecture_fraction: float = 0.5,
    train_size: int = 0,
    classes: int | Sequence[str] | None = None,
    layout: str = arrays.AUTO,
    residence: str = "auto",
    task: Task | None = None,
) -> ImageData:
    """Return images and targets that are tensors, numpy arrays or lists.

    Images are uint8 from 0 to 255 or floats in [0, 1]; targets of a classification are whole numbers, booleans, names
    or one-hot rows. Everything else is refused with its type and range; see `oneshot.data.arrays`.

    Args:
        x: Training images, (n, height, width), (n, height, width, channels) or (n, channels, height, width).
        y: Their targets, (n,), or as the task has them.
        test: Images and targets of the test; a search does without.
        batch_size: Images of a step.
        augmentation: Of training batches. None: pixels are scaled to [-2, 2], nothing else.
        architecture_fraction: Share of the training images that moves the architecture.
        train_size: Use a stratified subset of so many training images; 0 for all.
        classes: Names of the classes, or their number. None: as the targets have them.
        layout: `"channels_first"` or `"channels_last"`; `"auto"`: where only one can be meant.
        residence: Where the images are, as in `ImageData`.
        task: What the targets are. None: classes.

    Raises:
        InputError: If images or targets cannot be meant, or a setting is out of range.
    """
    return own(
        {"train": (x, y), "test": test},
        batch_size,
        augmentation,
        architecture_fraction,
        train_size,
        classes,
        layout,
        residence,
        0,
        task,
    )


def own(
    dataset: Any,
    batch_size: int = 64,
    augmentation: Augmentation | None = None,
    architecture_fraction: float = 0.5,
    train_size: int = 0,
    classes: int | Sequence[str] | None = None,
    layout: str = arrays.AUTO,
    residence: str = "auto",
    workers: int | str = "auto",
    task: Task | None = None,
    limit: int = 1_000_000,
) -> ImageData:
    """Return a data set that was made for torch or Lightning.

    Taken are: a map-style `Dataset` of pairs (image, target); an `IterableDataset`, which is read once into memory, as
    a run that continues must find any batch again; a `DataLoader`, whose data set is taken: order and batches are ours;
    a `LightningDataModule`, whose splits train, val and test become weight, architecture and test part; images with
    targets as arrays; a list of pairs; and `ImageData`, which is returned as it is. Several splits are a pair
    (training, test) or a mapping with `train`, `valid` and `test`.

    A data set that draws (random transforms) is drawn once where it is held in memory. Streamed, it is drawn anew in
    each pass, as a function of (seed, step).

    Test images that are training images too are said when the test is read, but not where data sets are streamed.

    Args:
        dataset: One of these.
        batch_size: Images of a step.
        augmentation: Of training batches. None: pixels are scaled to [-2, 2], nothing else.
        architecture_fraction: Share of the training images that moves the architecture, if no split of its own does.
        train_size: Use a stratified subset of so many training images; 0 for all.
        classes: Names of the classes, or their number. None: as the targets or `classes` of the data set have them.
        layout: `"channels_first"` or `"channels_last"`; `"auto"`: where only one can be meant.
        residence: Where the images are, as in `ImageData`.
        workers: Number of processes that read, as in `ImageData`.
        task: What the targets are. None: classes.
        limit: Largest number of images of an iterable data set: one without an end is refused.

    Raises:
        InputError: If it is none of these, its images or targets cannot be meant, or a setting is out of range.
    """
    if isinstance(dataset, ImageData):
        return dataset
    check_integer("limit", limit, 1)
    check_residence(residence, workers)
    found = _splits(dataset)
    taking = _Taking(classes, layout, residence, worker_number(workers), task, limit)
    train = taking.split("train", found["train"]())
    valid = None if "valid" not in found else taking.split("valid", found["valid"]())
    test = found.get("test")

    def read_test() -> LabelledImages | Source:
        given = test() if test else None
        if given is None:
            raise InputError("the data has no test split, which a retraining and an evaluation need")
        images = taking.split("test", given)
        for part, of in ((train, "training"), (valid, "valid")):
            if isinstance(part, LabelledImages) and isinstance(images, LabelledImages):
                pairs = same_images(_Pixels(part), _Pixels(images))
                names = [(f"{of} image {i}", f"test image {k}") for i, k in pairs]
                said.extend(line for line in report(names, images.size, WARN) if line not in said)
        return images

    said: list[str] = []
    if valid is not None:
        taking.about.append("the architecture learns from the split valid; a retraining trains on train and valid")
    names = taking.names
    assert names is not None
    channels = train.images.shape[3] if isinstance(train, LabelledImages) else Streamed(train, 0).shape[2]
    augmentation = augmentation or Augmentation([0.5] * channels, [0.25] * channels)
    valid_images = None if valid is None else lambda: valid
    splits = Splits(names, lambda: train, read_test, tuple(taking.about), valid_images, lambda: said)
    return ImageData(splits, batch_size, augmentation, architecture_fraction, train_size, residence, workers, task)


def _splits(dataset: Any) -> dict[str, Any]:
    """From the name of each split to a function that gives it: the test is not touched before it is needed."""
    if _is(dataset, "LightningDataModule"):
        return _of_module(dataset)
    if isinstance(dataset, Splits):
        more = {} if dataset.valid is None else {"valid": dataset.valid}
        return {"train": dataset.train, **more, "test": dataset.test}
    if isinstance(dataset, Mapping) and not _is(dataset, "Dataset"):
        return _of_mapping(dataset)
    if isinstance(dataset, list | tuple) and not isinstance(dataset, LabelledImages) and not _is_items(dataset):
        if len(dataset) == 4:
            return {"train": lambda: tuple(dataset[:2]), "test": lambda: tuple(dataset[2:])}
        if len(dataset) == 2 and (_is_set(dataset[0]) or isinstance(dataset[0], tuple) or _is_items(dataset[0])):
            return {"train": lambda: dataset[0], "test": lambda: dataset[1]}
    return {"train": lambda: dataset}


def _of_mapping(dataset: Mapping[Any, Any]) -> dict[str, Any]:
    """The splits of a mapping, by their names."""
    names = [name for name, given in dataset.items() if given is not None]
    if "train" not in names or any(name not in SPLITS for name in dataset):
        shown = one_line(", ".join(map(repr, names)), 100) or "no split"
        raise InputError(f"a mapping of splits has {shown}; must have train, valid, test")
    first: dict[str, Any] = {}
    for name in names:
        if (other := first.setdefault(SPLITS[name], name)) != name:
            raise InputError(f"a mapping of splits has {other!r} and {name!r}, which are one split; join them")
    return {SPLITS[name]: (lambda given=dataset[name]: given) for name in names}


def _of_module(module: Any) -> dict[str, Any]:
    """The splits of a LightningDataModule."""
    base = next(kind for kind in type(module).__mro__ if kind.__name__ == "LightningDataModule")
    ready: set[str] = set()

    def loader(name: str, stage: str) -> Any:
        def give() -> Any:
            if not ready:
                module.prepare_data()
            if stage not in ready:
                module.setup(stage)
            ready.add(stage)
            found = getattr(module, name)()
            if isinstance(found, list | tuple) and len(found) == 1:
                found = found[0]
            if not isinstance(found, DataLoader):
                kind = type(found).__name__
                raise InputError(f"{type(module).__name__}.{name} gives a {kind}; must give one DataLoader")
            return found

        return give

    known = {"train": "train_dataloader", "valid": "val_dataloader", "test": "test_dataloader"}
    stages = {"train": "fit", "valid": "fit", "test": "test"}
    has = {split: name for split, name in known.items() if getattr(type(module), name) is not getattr(base, name, None)}
    if "train" not in has:
        raise InputError(f"{type(module).__name__}: has no train_dataloader")
    return {split: loader(name, stages[split]) for split, name in has.items()}


class _Taking:
    """Takes the splits of one data set: what they say together.

    Args:
        classes: As in `own`, as the next arguments.
        layout: How channels lie.
        residence: Where the images are to be.
        workers: Number of processes.
        task: What the targets are.
        limit: Largest number of images of an iterable set.

    Attributes:
        names: Of the classes; known after the first split.
        about: Lines about what was done.
    """

    def __init__(
        self,
        classes: int | Sequence[str] | None,
        layout: str,
        residence: str,
        workers: int,
        task: Task | None,
        limit: int,
    ) -> None:
        if layout not in arrays.LAYOUTS:
            arrays.arranged("layout", torch.empty(0, 0, 0), layout)
        self.classes, self.layout, self.residence = classes, layout, residence
        self.workers, self.task, self.limit = workers, task, limit
        self.names: tuple[str, ...] | None = None
        self.about: list[str] = []

    def split(self, name: str, given: Any) -> LabelledImages | Source:
        """Return the images of a split, decoded or to be streamed, with targets as the task has them."""
        while isinstance(given, DataLoader):
            given = self._of_loader(name, given)
        if isinstance(given, LabelledImages):
            given = tuple(given)
        if isinstance(given, torch.utils.data.TensorDataset) and len(given.tensors) == 2:
            given = given.tensors
        if isinstance(given, Source):
            if given.targets is not None:
                self._name(name, given.targets, None)
            return given
        if _is_items(given):
            pairs = [_pair(f"{name}, item {i}", item) for i, item in enumerate(given)]
            images = [_image(f"{name}, item {i}", image) for i, (image, _) in enumerate(pairs)]
            return self._of_arrays(name, images, [target for _, target in pairs])
        if isinstance(given, list | tuple) and len(given) == 2:
            return self._of_arrays(name, *given)
        if isinstance(given, IterableDataset) or (_is_iterable(given) and not _is_map(given)):
            return self._of_arrays(name, *self._read_once(name, given))
        if _is_map(given):
            return self._of_dataset(name, given)
        raise InputError(
            f"{name}: {type(given).__name__} cannot be used as data; must be a Dataset, a DataLoader, a "
            "LightningDataModule, or images with their targets, (x, y)"
        )

    def _of_loader(self, name: str, loader: DataLoader[Any]) -> Any:
        if loader.collate_fn is not default_collate:
            raise InputError(
                f"{name}: the DataLoader has a collate_fn of its own; batches are made here, so what it does must be "
                "done in its data set"
            )
        if not isinstance(loader.dataset, IterableDataset):
            sampler = loader.sampler
            plain = isinstance(sampler, SequentialSampler) or (
                isinstance(sampler, RandomSampler) and not sampler.replacement and len(sampler) == len(loader.dataset)  # type: ignore[arg-type]
            )
            if not plain or type(loader.batch_sampler) is not torch.utils.data.BatchSampler:
                kind = type(sampler if not plain else loader.batch_sampler).__name__
                raise InputError(
                    f"{name}: the DataLoader has a {kind}; the order is a function of (seed, step) here, so give its "
                    "data set, as a Subset where only some are meant"
                )
        self.about.append(
            f"{name}: of the DataLoader its data set is used; its batch_size={loader.batch_size}, order and workers "
            "are data.batch_size, (seed, step) and data.workers here"
        )
        return loader.dataset

    def _of_arrays(self, name: str, x: Any, y: Any) -> LabelledImages:
        images = arrays.pixels(f"{name} images", x, self.layout)
        if not isinstance(y, Tensor | Iterable | None):
            raise InputError(f"{name} labels: are {one_line(repr(y), 40)}; must be one target for each image")
        values = list(y) if y is not None and not isinstance(y, Tensor) else y
        targets = arrays.labels(f"{name} labels", values, self._given(), self.task)
        if len(targets) != len(images):
            raise InputError(f"{name}: {len(images)} images, but {len(targets)} targets")
        self._name(name, targets, values)
        if isinstance(x, Tensor | np.ndarray) and images.dtype == torch.uint8 and "float" in str(x.dtype):
            self.about.append(f"{name}: floats in [0, 1] are all multiples of 1/255; held as uint8 without loss")
        elif images.dtype == torch.float32:
            self.about.append(f"{name}: floats in [0, 1] are kept as float32, four times the memory of uint8")
        return LabelledImages(images, targets)

    def _read_once(self, name: str, given: Any) -> tuple[list[Tensor], list[Any]]:
        """All pairs of an iterable data set."""
        images, targets, size, free = [], [], 0, free_memory(torch.device("cpu"))
        if self.residence == "stream":
            raise InputError(
                f"{name}: data.residence=stream needs a map-style data set; an iterable one cannot find a batch again"
            )
        with drawing(0):
            for i, item in enumerate(_items(name, given)):
                if i >= self.limit or SHARE * size > free:
                    raise InputError(
                        f"{name}: an iterable data set is read into memory once, so that a run can continue exactly; "
                        f"after {i} images ({size / 1e9:.2g} GB) it has not ended (limit={self.limit}, or a quarter "
                        "of the free memory); give a map-style data set"
                    )
                image, target = _pair(f"{name}, item {i}", item)
                images.append(_image(f"{name}, item {i}", image))
                targets.append(target)
                size += images[-1].nbytes
        if not images:
            raise InputError(f"{name}: the iterable data set has no items")
        self.about.append(f"{name}: the iterable data set was read once, {len(images)} images")
        return images, targets

    def _of_dataset(self, name: str, given: Any) -> LabelledImages | Source:
        dense = self.task is not None and self.task.dense
        source = _Items(name, given, self.layout, self._given(), dense)
        if len(source) == 0:
            raise InputError(f"{name}: {type(given).__name__} has no items")
        source.random = _changes(source)
        found = held(name, source, self.residence, self.workers)
        if source.random:
            how = (
                "drawn anew for each batch, from (seed, step)"
                if isinstance(found, Streamed)
                else ("drawn once, as the images are held in memory; data.residence=stream draws anew")
            )
            self.about.append(f"{name}: the items of {type(given).__name__} change from read to read: {how}")
        if isinstance(found, LabelledImages):
            arrays.check_range_of(f"{name} images", found.images, source.given)
            targets = arrays.labels(f"{name} labels", found.labels, self._given(), self.task)
            self._name(name, targets, None, given)
            return LabelledImages(found.images, targets)
        few = torch.linspace(0, len(source) - 1, min(LOOKED_AT, len(source))).long()
        arrays.check_range_of(f"{name} images", next(iter(found.read([few], workers=0)))[0], source.given)
        if self.task is not None and self.task.dense:
            self._name(name, torch.arange(0), None, given)
            return source
        raw = _known_targets(source, given)
        targets = arrays.labels(
            f"{name} labels", found.read_targets() if raw is None else raw, self._given(), self.task
        )
        self._name(name, targets, None, given)
        source.targets = targets
        return source

    def _given(self) -> tuple[str, ...] | None:
        """The names of the classes, where they are known before the targets are read."""
        if self.names is not None:
            return self.names
        if self.classes is None or isinstance(self.classes, int):
            return None
        return tuple(map(str, self.classes))

    def _name(self, name: str, targets: Tensor, values: Any, given: Any = None) -> None:
        """Set the names of the classes, by the first split."""
        if self.names is not None:
            return
        classes = self.classes
        texts = values if isinstance(values, list) and values and isinstance(values[0], str) else None
        if classes is None and texts:
            classes = sorted(set(texts))
        if classes is None and targets.dim() == 1:
            own = getattr(given, "classes", None)  # as torchvision's data sets have it
            classes = own if isinstance(own, list | tuple) and all(isinstance(c, str) for c in own) else None
        self.names = arrays.class_names(f"{name} labels", targets, classes, self.task)


class _Items(Source):
    """A map-style data set of pairs, or of mappings with an image and a label.

    Args:
        split: Its name, for messages.
        dataset: The data set.
        layout: How channels lie.
        names: Names of the classes, for labels that are names.
        dense: Whether there is a target for each pixel.
    """

    def __init__(self, split: str, dataset: Any, layout: str, names: tuple[str, ...] | None, dense: bool) -> None:
        self.split, self.dataset, self.layout, self.names, self.dense = split, dataset, layout, names, dense
        self.given = torch.uint8
        if len(self):
            image = self._item(0)[0]
            self.given = image.dtype
            if image.dim() == 3:
                last = arrays.arranged(self.name(0), image[None], layout)
                self.layout = arrays.LAST if last.shape[1:] == image.shape else arrays.FIRST

    def __len__(self) -> int:
        return len(self.dataset)

    def read(self, index: int) -> Any:
        image, target = self._item(index)
        pixels = arrays.scaled(self.name(index), arrays.arranged(self.name(index), image[None], self.layout))[0]
        if self.targets is not None:
            return pixels
        found = self._target(index, target)
        return pixels, self._mask(index, found, pixels.shape[:2]) if self.dense else found

    def name(self, index: int) -> str:
        return f"{self.split}, item {index}"

    def _mask(self, index: int, target: Tensor, size: torch.Size) -> Tensor:
        """A target for each pixel, (height, width)."""
        found = target[0] if target.dim() == 3 and len(target) == 1 else target
        if found.shape != size:
            raise InputError(
                f"{self.name(index)}: the target has shape {tuple(target.shape)}, the image {tuple(size)} (height, "
                "width); a segmentation has a class for each pixel"
            )
        return found

    def _item(self, index: int) -> tuple[Tensor, Any]:
        try:
            item = self.dataset[index]
        except InputError:
            raise
        except Exception as error:  # of a user's own code
            raise InputError(f"{self.name(index)}: cannot be read ({named(error)})") from error
        image, target = _pair(self.name(index), item)
        return _image(self.name(index), image), target

    def _target(self, index: int, target: Any) -> Tensor:
        if target is None:
            raise InputError(f"{self.name(index)}: has no label (None)")
        if isinstance(target, str):
            if self.names is None:
                raise InputError(f"{self.name(index)}: has label {target!r:.40}; classes=[NAME, ...] gives the names")
            return arrays.labels(self.name(index), [target], self.names)[0]
        try:
            return torch.as_tensor(target) if isinstance(target, Tensor) else torch.from_numpy(np.array(target))
        except (TypeError, ValueError) as error:
            raise InputError(
                f"{self.name(index)}: has target {one_line(repr(target), 40)} ({one_line(error, 60)})"
            ) from None


class _Pixels:
    """Decoded images as bytes that are compared."""

    def __init__(self, images: LabelledImages) -> None:
        pixels = np.ascontiguousarray(images.images.numpy()).reshape(images.size, -1)
        self.pixels = pixels.view(np.uint8)

    def sizes(self) -> np.ndarray:
        return np.full(len(self.pixels), self.pixels.shape[1])

    def some(self, chosen: np.ndarray) -> Iterator[memoryview]:
        return (self.pixels[index].data for index in chosen.tolist())


def _is_items(value: Any) -> bool:
    """Whether a list is one of pairs (image, target), and not of images or of splits, by its first item."""
    if not isinstance(value, list | tuple) or not value or isinstance(value, LabelledImages):
        return False
    first = value[0]
    if isinstance(first, Mapping):
        return isinstance(value, list)
    if not isinstance(first, list | tuple) or len(first) != 2 or isinstance(first, LabelledImages):
        return False
    image, target = first
    if isinstance(target, str | int | float | np.generic) or getattr(target, "ndim", None) == 0:
        return True
    return len(value) != 2 and isinstance(image, Tensor | np.ndarray | Image) and np.ndim(target) < 3


def _pair(what: str, item: Any) -> tuple[Any, Any]:
    if isinstance(item, Mapping):
        keys = [next((key for key in names if key in item), None) for names in (IMAGE, LABEL)]
        if None not in keys:
            return item[keys[0]], item[keys[1]]
        raise InputError(f"{what}: is a mapping of {', '.join(map(repr, item))}; must have image and label")
    if isinstance(item, list | tuple) and len(item) == 2:
        return item[0], item[1]
    size = f" of {len(item)}" if isinstance(item, list | tuple) else ""
    raise InputError(f"{what}: is a {type(item).__name__}{size}; must be a pair (image, target)")


def _image(what: str, image: Any) -> Tensor:
    """One image as a tensor of its own type, (height, width), (height, width, channels) or channels first."""
    if isinstance(image, Image):
        if image.mode not in ("L", "RGB", "1"):
            raise InputError(f"{what}: is a picture of mode {image.mode}; convert it to RGB or L")
        image = np.array(image)
    if isinstance(image, Tensor):
        found = image.detach().cpu()
    else:
        array = np.array(image)
        if array.dtype.kind not in "biufc":
            raise InputError(f"{what}: the image is a {type(image).__name__}; must be a tensor, an array or a picture")
        found = torch.from_numpy(array)
    if found.dim() not in (2, 3):
        raise InputError(f"{what}: the image has shape {tuple(found.shape)}; must have 2 or 3 dimensions")
    return found


def _changes(source: _Items) -> bool:
    """Whether an item is another when it is read again: the data set draws."""
    for index in range(min(TRIES, len(source))):
        reads = []
        for seed in (1, 2):
            with drawing(seed):
                reads.append(source.read(index)[0])
        if reads[0].shape != reads[1].shape or not torch.equal(*reads):
            return True
    return False


def _known_targets(source: _Items, dataset: Any) -> Any:
    """`targets` or `labels` of a data set, as those of torchvision have it, if they are what its items say."""
    for name in ("targets", "labels"):
        known = getattr(dataset, name, None)
        if isinstance(known, list | tuple | Tensor | np.ndarray) and len(known) == len(dataset):
            some = torch.linspace(0, len(dataset) - 1, min(TRUSTED, len(dataset))).long().tolist()
            with drawing(0):
                told = [source.read(i)[1] for i in some]
            if all(np.array_equal(np.asarray(known[i]), t.numpy()) for i, t in zip(some, told, strict=True)):
                return known
    return None


def _items(name: str, given: Iterable[Any]) -> Iterable[Any]:
    try:
        yield from given
    except InputError:
        raise
    except Exception as error:  # of a user's own code
        raise InputError(f"{name}: the data set cannot be read ({named(error)})") from error


def _is(value: Any, name: str) -> bool:
    """Whether a class of this name is among those of a value: `lightning` and `pytorch_lightning` both have one."""
    return any(kind.__name__ == name for kind in type(value).__mro__)


def _is_set(value: Any) -> bool:
    return isinstance(value, Dataset | DataLoader | Source) or _is_map(value)


def _is_map(value: Any) -> bool:
    numbers = isinstance(value, Tensor | np.ndarray | list | tuple | Mapping | str)
    return not numbers and hasattr(type(value), "__getitem__") and hasattr(type(value), "__len__")


def _is_iterable(value: Any) -> bool:
    return hasattr(type(value), "__iter__") and not isinstance(
        value, Tensor | np.ndarray | list | tuple | Mapping | str
    )
