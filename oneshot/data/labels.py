"""Which classes a column of labels means: the values that occur in it, whatever their type."""

import math
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import datasets
import torch
from torch import Tensor

from ..errors import InputError, unknown

MOST_CLASSES = 100_000
SHOWN = 8  # values that a message lists
ALLOWED = f"labels are names, whole numbers, or true and false, of at most {MOST_CLASSES} classes, and none is missing"


class Labels(NamedTuple):
    """What the values of a column of labels mean.

    Args:
        classes: Names of the classes, in their order.
        numbers: From a value to its class; None: the values are numbers of classes already.
        remarks: Lines on what a user should know before a run.
    """

    classes: tuple[str, ...]
    numbers: dict[Any, int] | None
    remarks: list[str]

    def targets(self, where: str, column: Iterable[Any]) -> Tensor:
        """Return the class of each label, int64 (n,).

        Args:
            where: What messages call the column's images.
            column: The labels.

        Raises:
            InputError: If a label is missing, or none of the training images has it.
        """
        labels = list(column)
        for i, value in enumerate(labels):
            if value is None or value != value:
                raise InputError(f"{where}: image {i} has no label")
            if self.numbers is not None and value not in self.numbers:
                raise InputError(f"{where}: image {i}: {unknown('label', value, map(str, self.numbers))}")
        if self.numbers is not None:
            labels = [self.numbers[value] for value in labels]
        return torch.tensor(labels, dtype=torch.int64)


def read_labels(split: Any, name: str) -> Labels:
    """Find the classes of the training split of a data set of `datasets`.

    Args:
        split: The training split.
        name: Its column of labels.

    Raises:
        InputError: If the column holds no classes: numbers with a fraction, numbers below 0 other than -1 beside 1, a
            value of its own for each image, names that differ in spaces around them alone, or no single values.
    """
    feature = split.features[name]
    if isinstance(feature, datasets.ClassLabel):
        return _named(split, name, feature)
    if not isinstance(feature, datasets.Value):
        raise InputError(f"data.label_column={name}: holds {feature!s:.60}; {ALLOWED}")
    values = split.unique(name)
    wrong = [value for value in values if not isinstance(value, bool | int | float | str) or value != value]
    wrong += [v for v in values if isinstance(v, float) and v == v and (math.isinf(v) or v != int(v))]
    if wrong or len(values) > MOST_CLASSES:
        what = f"{wrong[0]!r:.40}" if wrong else f"{len(values):,} values"
        if None in wrong:
            what = f"None (image {split[name][:].index(None)})"
        raise InputError(f"data.label_column={name}: holds {what}; {ALLOWED}")
    return _texts(name, values, len(split)) if isinstance(values[0], str) else _numbers(name, values, len(split))


def _named(split: Any, name: str, feature: Any) -> Labels:
    """Labels that bring the names of their classes."""
    seen = set(split.unique(name))
    empty = [label for i, label in enumerate(feature.names) if i not in seen]
    lines = [f"data: {len(empty)} of the {len(feature.names)} classes have no training images: {listed(empty)}"]
    return Labels(tuple(feature.names), None, lines if empty else [])


def _numbers(name: str, values: Sequence[bool | int | float], count: int) -> Labels:
    """Labels that are numbers."""
    values = sorted(values)
    if isinstance(values[0], bool):
        return Labels(tuple(map(str, values)), {value: i for i, value in enumerate(values)}, [])
    whole = [int(value) for value in values]
    if whole == [*range(len(whole))]:
        return Labels(tuple(map(str, whole)), {value: i for i, value in enumerate(whole)}, [])
    if whole[0] < 0 and whole != [-1, 1]:
        raise InputError(f"data.label_column={name}: holds {whole[0]}; a number of a class is at least 0")
    _check_repeated(name, whole, count)
    lines = [f"data: data.label_column={name} holds {listed(whole)}; these {len(whole)} values are the classes"]
    return Labels(tuple(map(str, whole)), {value: i for i, value in enumerate(whole)}, lines)


def _texts(name: str, values: Sequence[str], count: int) -> Labels:
    """Labels that are names. One name in two forms of Unicode is one class."""
    _check_repeated(name, values, count)
    forms = {value: unicodedata.normalize("NFC", value) for value in values}
    classes = sorted(set(forms.values()))
    lines = []
    near: dict[str, str] = {}
    for value in classes:
        other = near.setdefault(value.strip().casefold(), value)
        if other.casefold() != value.casefold():
            raise InputError(f"data.label_column={name}: {other!r} and {value!r} differ in spaces alone")
        if other != value:
            lines.append(f"data: the classes {other!r} and {value!r} differ in capital letters alone")
    number = {name: i for i, name in enumerate(classes)}
    return Labels(tuple(classes), {value: number[form] for value, form in forms.items()}, lines)


def _check_repeated(name: str, values: Sequence[object], count: int) -> None:
    if 2 < count == len(values):
        raise InputError(
            f"data.label_column={name}: holds {listed(values)}, another value for each of {count:,} images; {ALLOWED}"
        )


def listed(values: Sequence[object]) -> str:
    """Return some values as a text, at most SHOWN of them."""
    return ", ".join(f"{value!s:.40}" for value in values[:SHOWN]) + (", ..." if len(values) > SHOWN else "")


class Numbers(NamedTuple):
    """Columns of numbers as targets of a regression, or of 0 and 1 as those of a multi-label task.

    Args:
        columns: Names of the columns.
        binary: Whether only 0 and 1 (false and true) are allowed.
        remarks: Lines on what a user should know before a run.
    """

    columns: tuple[str, ...]
    binary: bool
    remarks: list[str]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the numbers."""
        return self.columns

    def targets(self, where: str, rows: Any) -> Tensor:
        """Return the numbers of each image, float32 (n, numbers).

        Args:
            where: What messages call the images.
            rows: The split.

        Raises:
            InputError: If a value is missing or not allowed; the message names it.
        """
        found = []
        for name in self.columns:
            values = rows[name][:]
            for i, value in enumerate(values):
                good = isinstance(value, bool | int | float) and math.isfinite(value)
                if not good or (self.binary and value not in (0, 1)):
                    allowed = "0 or 1" if self.binary else "a finite number"
                    raise InputError(f"{where}: image {i}: column {name!r} holds {value!r:.40}; must be {allowed}")
            found.append(torch.tensor(values, dtype=torch.float32))
        return torch.stack(found, dim=1)


class Sets(NamedTuple):
    """A column of lists of labels.

    Args:
        column: Its name.
        classes: Names of the labels, in their order.
        numbers: From a value to its label.
        remarks: Lines on what a user should know before a run.
    """

    column: str
    classes: tuple[str, ...]
    numbers: dict[Any, int]
    remarks: list[str]

    def targets(self, where: str, rows: Any) -> Tensor:
        """Return for each image which labels it has, float32 (n, labels) of 0 and 1.

        Args:
            where: What messages call the images.
            rows: The split.

        Raises:
            InputError: If a list is missing, or holds what no training image has.
        """
        lists = rows[self.column][:]
        found = torch.zeros(len(lists), len(self.classes))
        for i, labels in enumerate(lists):
            if not isinstance(labels, list):
                raise InputError(f"{where}: image {i}: column {self.column!r} holds {labels!r:.40}; must be a list")
            for label in labels:
                if label not in self.numbers:
                    raise InputError(f"{where}: image {i}: {unknown('label', label, map(str, self.numbers))}")
                found[i, self.numbers[label]] = 1
        return found


def read_targets(split: Any, names: Sequence[str], task: str) -> "Labels | Numbers | Sets":
    """Find what the columns of targets of the training split mean.

    Args:
        split: The training split of a data set of `datasets`.
        names: Its columns of targets. A classification has one. A regression has one for each number. A multi-label
            task has one for each label, of 0 and 1, or a single one of lists of labels.
        task: Name of the task.

    Raises:
        InputError: If the columns cannot be meant; the message names one and what it holds.
    """
    if task == "regression":
        return Numbers(tuple(names), False, [])
    if task == "multilabel" and not (len(names) == 1 and isinstance(next(iter(split[names[0]][:1]), None), list)):
        return Numbers(tuple(names), True, [])
    if task == "multilabel":
        return _sets(split, names[0])
    if task != "classification":
        raise InputError(f"task={task}: targets in columns are for classification, multilabel and regression; data=own")
    if len(names) > 1:
        raise InputError(
            f"data.label_column={list(names)}: a classification has one column; task=multilabel has several"
        )
    return read_labels(split, names[0])


def _sets(split: Any, name: str) -> Sets:
    lists = split[name][:]
    for i, labels in enumerate(lists):
        if not isinstance(labels, list) or not all(isinstance(label, str | int) for label in labels):
            raise InputError(
                f"data.label_column={name}: image {i} has {labels!r:.40}; must be a list of names or numbers"
            )
    lengths, values = {len(labels) for labels in lists}, {label for labels in lists for label in labels}
    if len(lengths) == 1 and lengths != {1} and values <= {0, 1}:
        raise InputError(
            f"data.label_column={name}: all its lists hold {lengths.pop()} times 0 or 1; a list names the labels of an "
            "image. Give each label a column of 0 and 1"
        )
    inner = getattr(split.features[name], "feature", None)
    if isinstance(inner, datasets.ClassLabel):
        return Sets(name, tuple(inner.names), {n: n for n in range(len(inner.names))}, [])
    if not values:
        raise InputError(f"data.label_column={name}: no image has a label")
    known = sorted(values, key=lambda value: (isinstance(value, str), value))
    return Sets(name, tuple(map(str, known)), {value: n for n, value in enumerate(known)}, [])
