"""Any image classification set: a folder of images, or a set of Hugging Face `datasets` from the hub or from tables."""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import numpy as np
import torch
from pyarrow import compute
from torch import Tensor

from ..errors import InputError, check_boolean, check_range, named, unknown
from ..tasks import Classification, Task
from . import duplicates as same
from .augmentation import Augmentation
from .decoding import Encoded
from .duplicates import Content, file_size
from .folders import (
    TABLES,
    TEST,
    TRAIN,
    VALIDATION,
    Files,
    Folder,
    holds_images,
    metadata,
    read_folder,
)
from .images import ImageData, LabelledImages, Splits, stratified
from .labels import Labels, listed, read_targets
from .lists import Listed, read_lists
from .memory import fits
from .pixels import Pixels, quiet, shown
from .tree import Tree, suffix

HUB_TEST = (TEST, VALIDATION, "valid")  # names of splits, in their order
WHAT = {  # what images have, by task
    "classification": "in {} classes",
    "multilabel": "with {} labels",
    "regression": "with {} numbers each",
}
ROWS = 256  # of a table, that are in memory at a time


def huggingface(
    source: str,
    batch_size: int,
    augmentation: Augmentation,
    architecture_fraction: float = 0.5,
    train_size: int = 0,
    image_column: str = "",
    label_column: str | list[str] = "",
    image_size: int = 0,
    grey: bool = False,
    test_split: str = "",
    residence: str = "auto",
    workers: int | str = "auto",
    test_fraction: float = 0.0,
    fit: str = "squash",
    background: str | list[int] | tuple[int, ...] = "white",
    duplicates: str = "warn",
    skip_corrupt: bool = False,
    task: Task | None = None,
) -> ImageData:
    """Return any image classification set: a folder of images, or a set of Hugging Face `datasets`.

    It is trained on the split `train` and tested on the split `test`, or on `validation` if there is no `test`. A
    folder of images is read by the rules of `oneshot/data/folders.py`, one with a metadata.csv that lists images and
    labels by those of `oneshot/data/lists.py`. Folders of tables (parquet, arrow, csv) and names on the hub are read
    with `datasets`.

    Args:
        source: A name on the hub, or a folder.
        batch_size: Images of a step.
        augmentation: Of training batches.
        architecture_fraction: Share of the training images that moves the architecture.
        train_size: Use a stratified subset of so many training images; 0 for all.
        image_column: Column of the images; empty: found by its type. Not for folders of images.
        label_column: Column of the labels, or several: numbers of a regression, labels of 0 and 1. Empty: found by its
            type. Not for folders of images.
        image_size: Resize to this many pixels a side. 0 keeps the size, which must then be the same for all images.
        grey: Whether images have one channel instead of three.
        test_split: Name of the test split; empty: as said above.
        residence: Where the images are, as in `ImageData`.
        workers: Number of processes that read, as in `ImageData`.
        test_fraction: Share of each class that is held out as test images where there is no split for them. The same
            images for every seed.
        fit: How images that are not square are resized: `"squash"`, `"crop"` or `"pad"`, as in `Pixels`.
        background: Colour under transparent pixels and beside padded images, as in `Pixels`.
        duplicates: What happens if test images are among the training images, byte by byte: `"warn"` or `"refuse"`.
            They are compared when the test images are read, streamed or not: folders and tables are read once more
            where sizes agree, with a few numbers for each image in memory.
        skip_corrupt: Whether images that cannot be decoded are left out.
        task: What the targets are: classification, multilabel or regression. None: classes.

    Raises:
        InputError: If the folder is missing or cannot be read as meant, a split or a column is not there, labels are no
            classes, images cannot be decoded, or a setting is out of range.
    """
    options = Pixels(image_size, grey, fit, background)
    check_boolean("data.skip_corrupt", skip_corrupt)
    check_range("data.test_fraction", test_fraction, 0.0, 0.95)
    same.check_choice(duplicates)
    tree = _local(source)
    given: _Given
    of_task = (task or Classification()).name
    if tree is not None and holds_images(tree):
        if of_task != Classification.name:
            raise InputError(
                f"task={of_task}: {shown(source)} holds a folder for each class; for other targets put a metadata.csv "
                "with the columns file_name and the targets beside the images"
            )
        for kind, name in (("image_column", image_column), ("label_column", label_column)):
            if name:
                raise InputError(f"data.{kind}={name}: {shown(source)} is a folder of images, without columns")
        given = _files(read_folder(tree, options, test_split, test_fraction, skip_corrupt))
    else:
        table = _Table(
            source, tree, image_column, label_column, options, skip_corrupt, task or Classification(), test_split
        )
        given = table.given(test_fraction)
    lines: list[str] = []

    def decode(part: Encoded) -> LabelledImages | Encoded:
        if _streams(part, residence):
            return part
        images, said = part.decode_all()
        lines.extend(line for line in said if line not in lines)
        return images

    def test() -> LabelledImages | Encoded:
        if given.tests is None:
            held_out = "data.test_fraction=0.2 holds out a fifth of each class"
            raise InputError(f"data.source={source}: no split {test_split or TEST!r}{given.others}; {held_out}")
        part = given.test()
        images = decode(part)
        pairs = [(given.train.name(i), part.name(k)) for i, k in same.same_images(given.train, part)]
        lines.extend(same.report(pairs, len(part), duplicates))
        return images

    said = about(shown(source), given, train_size, test_fraction, of_task)

    def train() -> LabelledImages | Encoded:
        images = decode(_used(given.train, train_size, task or Classification()))
        if isinstance(images, LabelledImages):
            _check_left(given, images)
        return images

    splits = Splits(given.classes, train, test, said, notes=lambda: lines, preprocessing=options.describe())
    return ImageData(splits, batch_size, augmentation, architecture_fraction, train_size, residence, workers, task)


class _Given(NamedTuple):
    """A data set of which no test image and no label of one has been read.

    Args:
        classes: Names of the classes.
        train: The training images.
        tests: Number of test images; None if there is no split for them.
        test: Gives the test images.
        left_out: What was left out, in words.
        remarks: Further lines that are said before a run.
        others: Names of the splits, for a message.
    """

    classes: tuple[str, ...]
    train: Encoded
    tests: int | None
    test: Callable[[], Encoded]
    left_out: list[str]
    remarks: list[str]
    others: str = ""


def _files(folder: Folder) -> _Given:
    """A folder of images."""
    train, test = folder.train, folder.test

    def tests() -> Files:
        assert test is not None  # else it is not called
        return test

    number = None if test is None else len(test)
    return _Given(folder.classes, train, number, tests, folder.left_out, folder.remarks)


def about(source: str, given: _Given, train_size: int, test_fraction: float, task: str) -> tuple[str, ...]:
    """Return the lines that are said before a run.

    Args:
        source: What data.source names.
        given: The data.
        train_size: Number of training images that are used; 0: all.
        test_fraction: Share that was held out, or 0.
        task: Name of the task.
    """
    subset = f" ({train_size:,} are used: data.train_size)" if train_size else ""
    held_out = f" (data.test_fraction={test_fraction})" if test_fraction else ""
    tests = "no test images" if given.tests is None else f"{given.tests:,} test images{held_out}"
    what = WHAT[task].format(len(given.classes))
    line = (
        f"data: {len(given.train):,} training images{subset}{_size(given.train)} {what} "
        f"({listed(given.classes)}), {tests}; {source}"
    )
    left_out = f"; left out: {', '.join(given.left_out)}" if given.left_out else ""
    lacking = "data: without test images a retraining needs data.test_fraction; 0.2 holds out a fifth of each class"
    return (line + left_out, *([lacking] if given.tests is None else []), *given.remarks)


def _used(train: Encoded, size: int, task: Task) -> Encoded:
    """The images that data.train_size leaves, so that no other is decoded: those that `ImageData` would take.

    Where corrupt images are left out, all are decoded, because the subset is one of those that are left.
    """
    if not size or size >= len(train) or train.skip_corrupt:
        return train
    return train.take(TRAIN, stratified(task.strata(train.targets), size))


def _streams(part: Encoded, residence: str) -> bool:
    """Whether images are decoded only when a batch needs them, which needs one size for all.

    Raises:
        InputError: If they are and have no size, or corrupt ones are to be left out.
    """
    streams = residence == "stream"
    if residence == "auto" and len(part):
        try:
            with quiet():
                size = math.prod(part.read(0).shape)
        except InputError:  # which is said later, with all others
            return False
        streams = not fits(len(part) * size, torch.device("cpu"))
    if streams and part.skip_corrupt:
        raise InputError(
            f"data.skip_corrupt=true: {part.split} images are streamed (data.residence), so it is not known before "
            "which are corrupt; remove these files"
        )
    if streams and not part.options.size:
        raise InputError(
            f"data.image_size=0: {part.split} images are streamed (data.residence); data.image_size=N gives all one "
            "size"
        )
    return streams


def _check_left(given: _Given, images: LabelledImages) -> None:
    """Raise if no training image of a class could be decoded."""
    if images.labels.dim() > 1:
        return  # there are no classes
    before, after = (torch.bincount(t.clamp(0), minlength=len(given.classes)) for t in (given.train.targets, images[1]))
    lost = [name for name, b, a in zip(given.classes, before, after, strict=False) if b and not a]
    if lost:
        raise InputError(f"data.skip_corrupt=true: no image is left of the class {lost[0]!r}: none can be decoded")


def _size(train: Encoded) -> str:
    """The size that the first image has or gets; empty if it cannot be decoded, which is said later."""
    try:
        with quiet():
            height, width = train.read(0).shape[:2]
    except InputError:
        return ""
    return f" of {width}x{height} pixels"


def _local(source: str) -> Tree | None:
    """The folder that a source names; None if it is a name on the hub."""
    if not isinstance(source, str) or not source:
        raise InputError(f"data.source={source!r}: must be the name of a data set or a folder")
    path = Path(source).expanduser()
    looks_local = source.startswith((".", "/", "~")) or source.count("/") > 1
    if (looks_local or path.exists()) and not path.is_dir():
        raise InputError(f"data.source={source}: {'is no folder' if path.exists() else 'there is no such folder'}")
    return Tree(path) if path.is_dir() else None


class _Table:
    """A data set of `datasets`: its splits, of which one column holds images and one labels."""

    def __init__(
        self,
        source: str,
        tree: Tree | None,
        image: str,
        label: str | Sequence[str],
        options: Pixels,
        skip_corrupt: bool,
        task: Task,
        test_split: str = "",
    ) -> None:
        self.source, self.options, self.skip_corrupt, self.task = source, options, skip_corrupt, task
        self.test_split = test_split
        self.splits, self.left_out, self.remarks = _load(source, tree, test_split)
        if TRAIN not in self.splits:
            raise InputError(f"data.source={source}: no split 'train'; there are: {', '.join(self.splits)}")
        features = self.splits[TRAIN].features
        self.image = image or _column(source, features, datasets.Image, "image", ("image", "img"), self.left_out)
        found = label or _column(source, features, datasets.ClassLabel, "label", ("label", "labels"))
        columns = [found] if isinstance(found, str) else list(found)
        for kind, name in (("image_column", self.image), *(("label_column", name) for name in columns)):
            if name not in features:
                raise InputError(f"data.{kind}: {unknown('column', name, features)}")
        if not _is_image(features[self.image]):
            raise InputError(f"data.image_column={self.image}: holds {features[self.image]}, not images")
        self._check_size(TRAIN)
        self.labels = read_targets(self.splits[TRAIN], columns, task.name)
        if task.name == Classification.name and len(self.labels.classes) < 2:
            only = listed(self.labels.classes)
            raise InputError(
                f"data.source={source}: data.label_column={columns[0]} has one class, {only!r}; at least 2 are needed"
            )
        self.columns = columns
        self._test: _Cells | None = None

    def given(self, test_fraction: float) -> _Given:
        """Training images and test images."""
        name = self.test_split or next((name for name in HUB_TEST if name in self.splits), "")
        if test_fraction and name:
            raise InputError(f"data.test_fraction={test_fraction}: is for data without a test split; there is {name!r}")
        train = self._cells(TRAIN)
        tests = len(self.splits[name]) if name in self.splits else None
        if test_fraction:
            chosen = stratified(self.task.strata(train.targets), round(test_fraction * len(train)))
            if not chosen.any():
                raise InputError(f"data.test_fraction={test_fraction}: there would be no test images")
            train, self._test, tests = train.take(TRAIN, ~chosen), train.take(TEST, chosen), int(chosen.sum())
        self.left_out += [f"split {other}" for other in self.splits if other not in (TRAIN, name)]
        others = f"; there are: {', '.join(self.splits)}"
        classes, remarks = self.labels.classes, self.remarks + self.labels.remarks
        return _Given(classes, train, tests, lambda: self._tests(name), self.left_out, remarks, others)

    def _tests(self, name: str) -> Encoded:
        if self._test is None:
            self._check_size(name)
            self._test = self._cells(name)
        return self._test

    def _check_size(self, split: str) -> None:
        if len(self.splits[split]) == 0:
            raise InputError(f"data.source={self.source}, split {split}: no images")

    def _cells(self, split: str) -> "_Cells":
        rows, where = self.splits[split], f"data.source={self.source}, split {split}"
        labels = self.labels
        for name in (self.image, *self.columns):
            if name not in rows.features:
                raise InputError(f"{where}: {unknown('column', name, rows.features)}")
        targets = labels.targets(where, rows[self.columns[0]][:] if isinstance(labels, Labels) else rows)
        column = rows.cast_column(self.image, datasets.Image(decode=False)).select_columns([self.image])
        return _Cells(split, where, column, targets, self.options, self.skip_corrupt)


class _Cells(Encoded):
    """Images in the only column of a table.

    Args:
        split: Name of the split, for messages.
        where: What messages call the table.
        rows: The table.
        targets: int64 (n,), the class of each.
        options: What an image becomes.
        skip_corrupt: Whether `decode_all` leaves out images that cannot be decoded.
        numbers: int64 (n,), the row of each in the whole table, for messages. None: the table is whole.
    """

    def __init__(
        self,
        split: str,
        where: str,
        rows: Any,
        targets: Tensor,
        options: Pixels,
        skip_corrupt: bool,
        numbers: Tensor | None = None,
    ) -> None:
        super().__init__(split, targets, options, skip_corrupt)
        self.where, self.rows = where, rows
        self.numbers = torch.arange(len(targets)) if numbers is None else numbers

    def content(self, index: int) -> bytes | str:
        (cell,) = self.rows[index].values()
        return _content(cell)

    def contents(self) -> Iterator[bytes | str]:
        for rows in self.rows.iter(ROWS):
            (cells,) = rows.values()
            yield from map(_content, cells)

    def sizes(self) -> np.ndarray:
        sizes = [np.zeros(0, np.int64)]
        for contents, paths in self._columns():
            inside = compute.fill_null(compute.binary_length(contents), 0).to_numpy(zero_copy_only=False)
            files = (0 if size else file_size(path.as_py() or "") for size, path in zip(inside, paths, strict=True))
            sizes.append(inside + np.fromiter(files, np.int64, len(inside)))
        return np.concatenate(sizes)

    def some(self, chosen: np.ndarray) -> Iterator[Content]:
        start = 0
        for contents, paths in self._columns():
            inside = slice(*np.searchsorted(chosen, (start, start + len(paths))))
            for index in (chosen[inside] - start).tolist():
                content = contents[index].as_buffer()  # no copy: what is not compared is not read from the disk
                yield memoryview(content) if content else paths[index].as_py()
            start += len(paths)

    def _columns(self) -> Iterator[tuple[Any, Any]]:
        """The content and the path of ROWS images at a time, as arrays of Arrow."""
        for rows in self.rows.with_format("arrow").iter(ROWS):
            cells = rows.column(0).combine_chunks()
            yield compute.struct_field(cells, "bytes"), compute.struct_field(cells, "path")

    def name(self, index: int) -> str:
        content = self.content(index)
        return shown(content) if isinstance(content, str) else f"{self.where}: image {self.numbers[index]}"

    def take(self, split: str, chosen: Tensor) -> "_Cells":
        """Some of the images as another split."""
        rows = self.rows.select(chosen.nonzero().squeeze(1).tolist())
        numbers = self.numbers[chosen]
        return _Cells(split, self.where, rows, self.targets[chosen], self.options, self.skip_corrupt, numbers)


def _content(cell: dict[str, Any] | None) -> bytes | str:
    """The bytes or the path of an image; no bytes if it is missing."""
    return (cell["bytes"] or cell["path"] or b"") if cell else b""


def _load(source: str, tree: Tree | None, test_split: str) -> Listed:
    """The splits, and what is not read, in words."""
    levels = [] if tree is None else list(tree.everything())
    images = [path for level in levels for path in level.images]
    tables = [path for level in levels for path in level.others if suffix(path) in TABLES]
    lists = [] if tree is None else metadata(tree)
    if tree is not None and lists and images:
        return read_lists(tree, test_split)
    shown_before = datasets.utils.logging.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    try:
        splits = dict(datasets.load_dataset(source if tree is None else tree.root))
    except Exception as error:  # whatever a loader, a parser or the hub's client raises: the data cannot be had
        wrapped = isinstance(error, datasets.exceptions.DatasetGenerationError)
        cause = error.__cause__ if wrapped and error.__cause__ else error  # the first does not say what is wrong
        missing = "there is no such folder, and as a name on the hub it " if tree is None else ""
        raise InputError(f"data.source={source}: {missing}cannot be loaded ({named(cause)})") from error
    finally:
        if shown_before:
            datasets.enable_progress_bars()
    if lists or not (images and tables):
        return Listed(splits, [], [])
    if any(split.info.builder_name not in TABLES for split in splits.values()):
        raise InputError(
            f"data.source={source}: holds tables (first: {shown(tables[0])}) beside images (first: "
            f"{shown(images[0])}); move away those that are not the data set"
        )
    return Listed(splits, [f"{len(images):,} image files beside tables (first: {shown(images[0])})"], [])


def _is_image(feature: Any) -> bool:
    """Whether a column can be read as one of images: it is one, or holds their bytes."""
    plain = isinstance(feature, datasets.Value) and feature.dtype in ("binary", "large_binary")
    return (
        plain or isinstance(feature, datasets.Image) or (isinstance(feature, dict) and {"bytes", "path"} == {*feature})
    )


def _column(
    source: str, features: Any, kind: type, what: str, usual: tuple[str, ...], left_out: Sequence[str] = ()
) -> str:
    typed = [name for name, feature in features.items() if isinstance(feature, kind)]
    for name in [n for n in typed if n in usual] + typed + [n for n in usual if n in features]:
        return name
    unread = f"; not read: {', '.join(left_out)}" if left_out else ""
    raise InputError(
        f"data.source={source}: no {what} column among {', '.join(features)} (data.{what}_column=NAME names it){unread}"
    )
