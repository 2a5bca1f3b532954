"""What a run shares with the earlier one whose architecture or weights it takes: task, metric, images, classes."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ..data import ImageData
from ..errors import InputError, printable
from ..quantity import of_result
from ..runs.folder import read_result
from ..runs.settings import CONFIG, read_settings
from . import job
from .conf import choices, load

TASK = "task._target_"
TESTS = ("data.test_split", "data.test_fraction", "data.label_column")  # which images of a source are test images
SHOWN = 8  # classes that a message names


def settings_of(path: Path) -> dict[str, Any]:
    """Read the settings of the run that left a file or a folder.

    Args:
        path: The folder of a run, or a file in one.

    Returns:
        Each setting by its dotted name; empty if there is no run, or its settings cannot be read.
    """
    try:
        return read_settings((path if path.is_dir() else path.parent) / CONFIG)
    except InputError:
        return {}


def task_name(target: object) -> str:
    """Return the choice of the group `task` with a class, or the name of the class.

    Args:
        target: The `_target_` of a task.
    """
    name = str(target).rpartition(".")[2][:40]
    known: Any = {choice: load(path)["task"]["_target_"] for choice, path in choices("task").items()}
    return next((choice for choice, own in known.items() if own.rpartition(".")[2] == name), name)


def check_architecture(path: Path, config: DictConfig, data: ImageData) -> list[str]:
    """Compare a training with the run that found its architecture.

    Another task is refused, unless the command line names the task: a search for one task is then trained for another
    on purpose.

    Args:
        path: The folder of the run, or a file in one.
        config: The settings of the training.
        data: Its images.

    Returns:
        Lines on what differs.

    Raises:
        InputError: If the task differs and the command line does not name it.
    """
    theirs = settings_of(path)
    if TASK in theirs and (found := task_name(theirs[TASK])) != (own := task_name(config.task._target_)):
        if "task" not in job.given():
            raise InputError(
                f"task={own}: {path} was found with task={found}; give task={found}, or task={own} to change it"
            )
        lines = [f"task: the architecture was found with task={found}, and is trained with task={own}"]
    else:
        lines = _metric(path, data)
    return [*lines, *same_images(path, config, "the architecture was found on")]


def _metric(path: Path, data: ImageData) -> list[str]:
    """A line if what was found was measured by another metric."""
    folder = path if path.is_dir() else path.parent
    result = _result(folder)
    theirs, own = of_result(result), data.metric.quantity
    if "metric" not in result or theirs.name == own.name:
        return []
    return [f"metric: the architecture was found by {theirs.label}, and is trained and tested by {own.label}"]


def same_images(path: Path, config: DictConfig, what: str) -> list[str]:
    """Return a warning if test images may be among the images that an earlier run used.

    The images of one source are split in the same way in every run, whatever its seed, unless one of these settings
    differs.

    Args:
        path: The folder of the earlier run, or a file in one.
        config: The settings of this run.
        what: What the earlier run did with the images.
    """
    theirs = settings_of(path)
    node: Any = OmegaConf.to_container(config.data, resolve=True)
    own = {f"data.{name}": value for name, value in node.items()}
    if own.get("data.source") is None or _place(theirs.get("data.source")) != _place(own["data.source"]):
        return []
    apart = [name for name in TESTS if name in own and name in theirs and (own[name] or "") != (theirs[name] or "")]
    if not apart:
        return []
    before, now = (", ".join(f"{name}={values[name]!s:.40}" for name in apart) for values in (theirs, own))
    return [
        f"warning: test images may be among those that {what}: {path} had {before}, this run has {now}. The test is "
        "then too good"
    ]


def _place(source: object) -> object:
    """A folder by its real path, a name as it is."""
    path = os.path.expanduser(source) if isinstance(source, str) else ""
    return os.path.realpath(path) if os.path.exists(path) else source


def check_classes(folder: Path, data: ImageData, what: str) -> list[str]:
    """Compare the classes of the data with those that a network was trained on, names and order.

    Args:
        folder: Of the run that trained the network.
        data: The images for it now.
        what: Name and value of the setting that names the run.

    Returns:
        A line if one of the two has numbers in place of names, so that only the order can be taken as equal.

    Raises:
        InputError: If the names, or their order, differ.
    """
    theirs, own = classes_of(_result(folder)), data.splits.classes
    if not theirs or theirs == own:
        return []
    if len(theirs) == len(own) and (_numbered(theirs) or _numbered(own)):
        return [f"classes: {what} has {_named(theirs)}, the data have {_named(own)}; taken as the same, in this order"]
    raise InputError(f"{what}: was trained on {_named(theirs)}, and the data have {_named(own)}; {_apart(theirs, own)}")


def started_with_others(file: str, data: ImageData) -> list[str]:
    """Return a line if weights to start from were trained on as many classes with other names.

    Args:
        file: The file of the weights. Classes are known if it is in the folder of a run.
        data: The images for them now.
    """
    theirs, own = classes_of(_result(Path(file).parent)), data.splits.classes
    if len(theirs) != len(own) or theirs == own or _numbered(theirs) or _numbered(own):
        return []
    return [f"these weights were trained on {_named(theirs)}, and the data have {_named(own)}; {_apart(theirs, own)}"]


def classes_of(result: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the classes that a result holds; empty if it holds none.

    Args:
        result: What result.json holds, perhaps a stranger's.
    """
    found = result.get("classes")
    return tuple(found) if isinstance(found, list) and all(isinstance(name, str) for name in found) else ()


def _result(folder: Path) -> Mapping[str, Any]:
    try:
        return read_result(folder) or {}
    except InputError:  # a link, or too large: of a stranger
        return {}


def _numbered(classes: Sequence[str]) -> bool:
    """Whether the classes have numbers and no names."""
    return list(classes) == [str(n) for n in range(len(classes))]


def _named(classes: Sequence[str]) -> str:
    more = f" and {len(classes) - SHOWN} more" if len(classes) > SHOWN else ""
    return f"{len(classes)} classes ({', '.join(printable(name)[:40] for name in classes[:SHOWN])}{more})"


def _apart(theirs: Sequence[str], own: Sequence[str]) -> str:
    """Where two lists of classes differ."""
    lost = [name for name in theirs if name not in own]
    new = [name for name in own if name not in theirs]
    if not lost and not new:
        n = next(n for n, pair in enumerate(zip(theirs, own, strict=True)) if pair[0] != pair[1])
        return f"class {n} was {printable(theirs[n])[:40]} and is {printable(own[n])[:40]}"
    parts = [("only there", lost), ("only here", new)]
    return "; ".join(
        f"{where}: {', '.join(printable(n)[:40] for n in names[:SHOWN])}" for where, names in parts if names
    )
