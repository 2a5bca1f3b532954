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
