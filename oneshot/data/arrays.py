"""Images and targets that come as arrays: which are meant, by type, range and shape, and which are refused."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError, one_line, unknown
from ..tasks.segmentation import LEFT_OUT
from .images import BY_CLASS, Task

AUTO, FIRST, LAST = "auto", "channels_first", "channels_last"
LAYOUTS = (AUTO, FIRST, LAST)
COLOURS = (1, 3)  # channels that are recognised
PIECE = 1024  # images that are converted at once
SNAP = 1e-3  # levels of 0 to 255: what float32 and float64 lose of k / 255
FAINT = 1.5 / 255  # float images that are nowhere brighter were divided by 255 twice
MOST_CLASSES = 100_000


def pixels(what: str, value: Any, layout: str = AUTO) -> Tensor:
    """Return images as this package holds them, or refuse them by type, range or shape.

    uint8 is taken as it is, bool as 0 and 255. Other whole numbers must be from 0 to 255. Floats must be in [0, 1] and
    are multiplied by 255: multiples of 1/255 become exactly the bytes that they were, all others stay float32. Nothing
    is rounded.

    Args:
        what: What messages call the images.
        value: (n, height, width), (n, height, width, channels) or (n, channels, height, width): a tensor, an array, or
            a list of such images.
        layout: `"channels_first"`, `"channels_last"`, or `"auto"`: where 1 or 3 channels can be in one place only.

    Returns:
        (n, height, width, channels), uint8 or float32 from 0 to 255.

    Raises:
        InputError: If they cannot be meant.
    """
    images = _array(what, value)
    if not images.numel():
        raise InputError(f"{what}: no images, the shape is {tuple(images.shape)}")
    images = arranged(what, images, layout)
    converted = [scaled(what, some, PIECE * k) for k, some in enumerate(images.split(PIECE))]
    if len({some.dtype for some in converted}) > 1:
        converted = [some.float() for some in converted]
    found = torch.cat(converted) if len(converted) > 1 else converted[0]
    check_range_of(what, found, images.dtype)
    return found


def arranged(what: str, images: Tensor, layout: str = AUTO) -> Tensor:
    """Return images with their channels last.

    Args:
        what: What messages call the images.
        images: (n, height, width), (n, height, width, channels) or (n, channels, height, width).
        layout: As in `pixels`.

    Raises:
        InputError: If the place of the channels is not clear.
    """
    if layout not in LAYOUTS:
        raise unknown("layout", layout, LAYOUTS)
    shape = tuple(images.shape)
    if images.dim() == 3:
        return images[..., None]
    if images.dim() != 4:
        raise InputError(f"{what}: has shape {shape}; must be (n, height, width) or (n, height, width, channels)")
    first, last = shape[1] in COLOURS, shape[3] in COLOURS
    if layout == AUTO and first == last:
        reason = (
            "is it (n, channels, height, width) or (n, height, width, channels)?" if first else "not 1 or 3 channels"
        )
        raise InputError(f"{what}: has shape {shape}; {reason} layout={FIRST} or {LAST} says it")
    return images.permute(0, 2, 3, 1).contiguous() if layout == FIRST or (layout == AUTO and first) else images


def scaled(what: str, images: Tensor, start: int = 0) -> Tensor:
    """Return images on the scale of 0 to 255, each number by itself.

    Args:
        what: What messages call the images.
        images: (n, ...) of any type.
        start: Number of the first image, for the message.

    Returns:
        The same shape, uint8, or float32 where a float is not a multiple of 1/255.

    Raises:
        InputError: If the type cannot be meant, or a number is outside the range of the type.
    """
    kind = str(images.dtype).removeprefix("torch.")
    if images.dtype == torch.uint8:
        return images
    if images.dtype == torch.bool:
        return images.to(torch.uint8) * 255
    if images.is_complex() or images.dtype in (torch.uint16, torch.uint32, torch.uint64):
        raise InputError(f"{what}: pixels are {kind}; give uint8, or floats in [0, 1] (as x / 65535)")
    if images.is_floating_point():
        wrong = (~images.isfinite()).flatten(1).any(1).nonzero()
        if len(wrong):
            raise InputError(f"{what}: image {start + int(wrong[0])} has a pixel that is not a finite number")
    low, high = images.min().item(), images.max().item()
    if not images.is_floating_point():
        if low < 0 or high > 255:
            raise InputError(f"{what}: {kind} pixels from {low} to {high}; whole numbers must be from 0 to 255")
        return images.to(torch.uint8)
    if low < 0 or high > 1:
        outside = ((images < 0) | (images > 1)).flatten(1).any(1).nonzero()
        hint = (
            "give them before they are normalised: data.augmentation does that" if low < 0 else "convert to uint8, or "
        )
        hint = (
            hint if low < 0 else f"{hint}divide by 255" if high <= 255 else f"divide by their largest value, {high:g}"
        )
        of = "they are" if len(images) == 1 else f"image {start + int(outside[0])} is not, and the images together have"
        raise InputError(f"{what}: float pixels must be in [0, 1]; {of} {low:g} to {high:g}; {hint}")
    levels = images.to(torch.float32) * 255
    whole = levels.round()
    levels = torch.where((levels - whole).abs() < SNAP, whole, levels)
    return levels.to(torch.uint8) if torch.equal(levels, whole) else levels


def check_range_of(what: str, images: Tensor, given: torch.dtype) -> None:
    """Refuse images that as a whole show that something went wrong before.

    Args:
        what: What messages call the images.
        images: (n, height, width, channels), as `scaled` returns them.
        given: The type that they had.

    Raises:
        InputError: If bytes are 0 and 1 alone, or floats nowhere brighter than 1/255.
    """
    high = float(images.max())
    if given.is_floating_point and high <= 255 * FAINT:
        raise InputError(f"{what}: float pixels are at most {high / 255:.2g}; were they divided by 255 twice?")
    if not given.is_floating_point and given != torch.bool and high <= 1:
        raise InputError(
            f"{what}: all pixels are 0 or 1 of 255; were floats in [0, 1] converted to {str(given)[6:]}? "
            "Multiply by 255 before, or give the floats"
        )


def labels(what: str, value: Any, names: Sequence[str] | None = None, task: Task | None = None) -> Tensor:
    """Return targets as a task has them, or refuse them.

    Args:
        what: What messages call the targets.
        value: Of classes: whole numbers (floats that are whole too), booleans, one-hot rows, or names; of other tasks:
            numbers of the shape of the task.
        names: Names of the classes, where they are known.
        task: What the targets are. None: classes.

    Returns:
        int64 (n,) of classes, and as `LabelledImages` says for other tasks.

    Raises:
        InputError: If a target is missing or cannot be meant.
    """
    values, name = _listed(what, value), (task or BY_CLASS).name
    if isinstance(values, list):
        if name != "classification":
            raise InputError(f"{what}: targets are names, such as {one_line(values[0], 40)!r}; task={name} has numbers")
        return _from_names(what, values, names)
    found = values
    if found.dim() == 0:
        raise InputError(f"{what}: are the single number {found.item()}; must be one target for each image")
    if found.is_complex():
        raise InputError(f"{what}: targets are complex numbers")
    if found.is_floating_point() and not found.isfinite().all():
        i = int((~found.isfinite()).flatten(1 if found.dim() > 1 else 0).reshape(len(found), -1).any(1).nonzero()[0])
        raise InputError(f"{what}: the target of image {i} is not a finite number")
    if name == "classification":
        return _classes(what, found, names)
    if name in ("multilabel", "regression"):
        return (found[:, None] if found.dim() == 1 else found).to(torch.float32)
    if name != "segmentation":
        return _whole(what, found)
    if found.dim() == 4 and found.shape[1] == 1:
        found = found[:, 0]
    if found.dim() != 3:
        raise InputError(
            f"{what}: targets have shape {tuple(found.shape)}; task=segmentation has a class for each pixel, "
            "(n, height, width)"
        )
    return _whole(what, found)


def class_names(
    what: str, found: Tensor, classes: int | Sequence[str] | None, task: Task | None = None
) -> tuple[str, ...]:
    """Return the names of classes, or of the labels or numbers of another task.

    Args:
        what: What messages call the targets.
        found: The targets, as `labels` returns them.
        classes: Names, or their number. None: as many as there are in the targets, which must then be 0, 1, 2, ...
        task: What the targets are. None: classes.

    Raises:
        InputError: If classes are missing in the targets and were not given.
    """
    if classes is not None and not isinstance(classes, int):
        return tuple(map(str, classes))
    if classes is not None:
        return tuple(map(str, range(classes)))
    if (task or BY_CLASS).name in ("multilabel", "regression"):
        return tuple(map(str, range(found.shape[1])))
    known = found[found != LEFT_OUT].unique().tolist()
    if not known:
        raise InputError(
            f"{what}: all are {LEFT_OUT}, which leaves a pixel out"
            if len(found)
            else f"{what}: are read with the images, so classes=N must give the number of classes"
        )
    if known and known[0] >= 0 and known != [*range(len(known))]:
        shown = ", ".join(map(str, known[:10])) + (", ..." if len(known) > 10 else "")
        raise InputError(
            f"{what}: labels are {shown}, not 0, 1, 2, ...; if that is meant, classes=N gives their number"
        )
    return tuple(map(str, range(max(known, default=-1) + 1)))


def _array(what: str, value: Any) -> Tensor:
    """A tensor of whatever holds numbers."""
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, list | tuple):
        try:
            arrays = [np.asarray(item) for item in value]
        except (ValueError, TypeError, RuntimeError) as error:
            raise InputError(f"{what}: are no arrays of numbers ({one_line(error, 80)})") from None
        shapes = {array.shape for array in arrays}
        if len(shapes) > 1:
            i = next(i for i, array in enumerate(arrays) if array.shape != arrays[0].shape)
            raise InputError(f"{what}: image {i} has shape {arrays[i].shape}, image 0 has {arrays[0].shape}")
        floats = [array.dtype.kind == "f" for array in arrays]
        if len(set(floats)) > 1:
            i = floats.index(not floats[0])
            raise InputError(f"{what}: image {i} is {arrays[i].dtype}, image 0 is {arrays[0].dtype}; must be one type")
        value = np.stack(arrays) if arrays else np.zeros((0, 0, 0))
    array = np.asarray(value)
    if array.dtype.kind not in "biufc":
        raise InputError(f"{what}: pixels are {array.dtype}, not numbers")
    return torch.from_numpy(np.array(array) if not array.flags.writeable else np.ascontiguousarray(array))


def _listed(what: str, value: Any) -> Tensor | list[str]:
    """Targets as a tensor of numbers, or as a list of names."""
    if value is None:
        raise InputError(f"{what}: there are no targets (None)")
    if isinstance(value, Tensor):
        return value.detach().cpu()
    items = list(value)
    missing = [i for i, item in enumerate(items) if item is None]
    if missing:
        raise InputError(f"{what}: image {missing[0]} has no label (None), as have {len(missing)} in all")
    if any(isinstance(item, str) for item in items):
        other = [i for i, item in enumerate(items) if not isinstance(item, str)]
        if other:
            raise InputError(f"{what}: image {other[0]} has label {items[other[0]]!r:.40} among names")
        return [str(item) for item in items]
    try:
        array = np.asarray([np.asarray(item) for item in items])
    except ValueError as error:
        raise InputError(f"{what}: targets have several shapes ({one_line(error, 80)})") from None
    if array.dtype.kind not in "biufc":
        raise InputError(f"{what}: targets are {array.dtype}, not numbers")
    return torch.from_numpy(array)


def _from_names(what: str, values: list[str], names: Sequence[str] | None) -> Tensor:
    index = {name: i for i, name in enumerate(names or sorted(set(values)))}
    for i, value in enumerate(values):
        if value not in index:
            raise InputError(f"{what}: image {i}: {unknown('label', value, index)}")
    return torch.tensor([index[value] for value in values])


def _classes(what: str, found: Tensor, names: Sequence[str] | None) -> Tensor:
    """Classes from numbers: whole, one for an image, or one-hot rows."""
    if found.dim() == 2 and found.shape[1] == 1:
        found = found[:, 0]
    if found.dim() == 2:
        if not ((found == 0) | (found == 1)).all():
            raise InputError(f"{what}: targets have {found.shape[1]} numbers an image; task=regression has that")
        wrong = (found.sum(1) != 1).nonzero()
        if len(wrong):
            raise InputError(
                f"{what}: image {int(wrong[0])} has {int(found[wrong[0]].sum())} labels; task=multilabel has that"
            )
        if names is not None and len(names) != found.shape[1]:
            raise InputError(f"{what}: one-hot rows have {found.shape[1]} columns, there are {len(names)} classes")
        return found.to(torch.uint8).argmax(1)
    if found.dim() != 1:
        raise InputError(f"{what}: targets have shape {tuple(found.shape)}; a classification has one an image, (n,)")
    whole = _whole(what, found)
    if len(whole) and int(whole.max()) >= MOST_CLASSES:
        raise InputError(f"{what}: a label is {int(whole.max())}; must be below {MOST_CLASSES}")
    return whole


def _whole(what: str, found: Tensor) -> Tensor:
    if found.is_floating_point():
        wrong = (found != found.round()).reshape(len(found), -1).any(1).nonzero()
        if len(wrong):
            i = int(wrong[0])
            shown = f" {found[i].item():g}" if found.dim() == 1 else ""
            raise InputError(f"{what}: image {i} has a target{shown} that is no whole number; task=regression has that")
        if len(found) and float(found.abs().max()) > 2**53:
            raise InputError(f"{what}: a label is {math.inf}; must be below {MOST_CLASSES}")
    return found.to(torch.int64)
