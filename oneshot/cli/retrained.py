"""A trained network of an earlier run: its settings, which are read as data, and its weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf, open_dict
from torch import nn

from ..errors import InputError, unknown
from ..runs.settings import CONFIG, is_plain, read_settings
from ..training.outcome import NETWORK
from . import job
from .check import PRECISIONS
from .conf import CONF, choices, load
from .folders import finished
from .supernets import load as load_weights

GROUPS = ("space", "data")


def take_settings(config: DictConfig) -> Path:
    """Copy space, data and precision of the run of run= into the configuration, and return the folder of the run.

    The settings of the run are read as data; nothing that they name is called. The classes of space and data come from
    the command line, or from the file in conf/ with the same `_target_`. Numbers and names are copied one by one,
    except those that the command line sets.

    Raises:
        InputError: If it is no finished retraining, or a setting cannot be copied.
    """
    folder = finished(config)
    file = folder / CONFIG
    settings = read_settings(file)
    given = job.given()
    for group in GROUPS:
        if f"{group}._target_" not in settings:
            raise InputError(f"{file}: not the settings of a retraining")
        node = template(config, group, settings[f"{group}._target_"], file)
        for name, value in settings.items():
            if name.startswith(f"{group}.") and name not in given:
                fill(node, name, value, file)
        with open_dict(config):
            config[group] = node
    take_task(config, settings, file)
    if "trainer.precision" not in given:
        precision = settings.get("trainer.precision")
        if precision not in PRECISIONS:
            raise InputError(f"{file}: {unknown('trainer.precision', str(precision)[:40], PRECISIONS)}")
        config.trainer.precision = precision
    return folder


def take_task(config: DictConfig, settings: Mapping[str, Any], file: Path) -> None:
    """Copy the task and its metric of a run into the configuration: the file of conf/task with the same `_target_`.

    Args:
        config: The settings of the command; it has `metric`.
        settings: Of the run, by dotted name.
        file: The settings file of the run, for messages.

    Raises:
        InputError: If no file in conf/task has this `_target_`.
    """
    target = settings.get("task._target_")
    known: Any = [OmegaConf.to_container(load(path)["task"]) for path in choices("task").values()]
    node = next((node for node in known if node["_target_"] == target), None)
    if node is None:
        raise InputError(f"{file}: task._target_={target!s:.80}: none of conf/task")
    with open_dict(config):
        config.task = node
        if config.metric is None:
            config.metric = settings.get("metric")


def template(config: DictConfig, group: str, target: Any, file: Path) -> DictConfig:
    """Return the settings of a group: the choice of the command line, or else the file in conf/ with this `_target_`.

    Args:
        config: The settings of the command.
        group: Name of the group.
        target: The `_target_` that the run had.
        file: The settings file of the run, for messages.

    Raises:
        InputError: If no file in conf/ has this `_target_`.
    """
    said = {key: value for key, value in config[group].items() if value is not None}
    if "_target_" in said:
        return OmegaConf.create(said)
    files: Any = [OmegaConf.to_container(load(path)) for path in sorted((CONF / group).glob("*.yaml"))]
    known = {settings["_target_"]: settings for settings in files if "_target_" in settings}  # others build on one
    if not isinstance(target, str) or target not in known:
        raise InputError(f"{file}: {group}._target_={target!s:.80}: none of conf/{group}; give {group}=NAME")
    return OmegaConf.create({**known[target], **said})


def fill(node: DictConfig, name: str, value: Any, file: Path) -> None:
    """Set a setting of the node to the value of the run.

    Args:
        node: The settings of a group.
        name: Dotted name of the setting, with the group.
        value: The value of the run.
        file: The settings file of the run, for messages.

    Raises:
        InputError: If the value could name code to call, or would replace settings that do.
    """
    place: Any = node
    *parents, key = name.split(".")[1:]
    for parent in parents:
        place = place.get(parent) if isinstance(place, DictConfig) else None
    now = place.get(key) if isinstance(place, DictConfig) and not OmegaConf.is_missing(place, key) else None
    if isinstance(place, DictConfig) and value == now:
        return
    plain = is_plain(value) and "${" not in str(value)
    if not plain or key.startswith("_") or isinstance(now, DictConfig) or not isinstance(place, DictConfig):
        raise InputError(
            f"{file}: {name}={value!s:.80} (here {now!s:.80}): could name code, which is taken from the command line "
            "alone; give it as `oneshot retrain` had it"
        )
    place[key] = value


def read_weights(network: nn.Module, folder: Path) -> None:
    """Load the weights of a retraining.

    Args:
        network: The module that gets them.
        folder: Folder of the retraining.

    Raises:
        InputError: If they do not fit or are not finite.
    """
    file = folder / NETWORK
    load_weights(network, file)
    for name, tensor in network.state_dict().items():
        if not bool(torch.isfinite(tensor).all()):
            raise InputError(f"{file}: {name} holds numbers that are not finite")
