"""A trained supernet for an estimator: read from a run, or trained first."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig, open_dict
from rich.console import Console
from torch import nn

from ..data import ImageData
from ..errors import InputError
from ..runs.files import is_file
from ..runs.folder import Run, read_result, read_shapes, read_weights, write_weights
from ..runs.settings import CONFIG, is_plain, read_settings
from ..search import by_scores
from ..spaces import SearchSpace
from ..training.outcome import stopped
from . import job
from .commands.search import search_for
from .earlier import TASK, task_name
from .objects import trainer_for
from .recorder import WEIGHTS, fit, open_run, recording
from .screen import say

FREE = (  # may differ from the run
    *("data.source", "data.batch_size", "data.augmentation", "data.residence", "data.workers"),
    "space.execution",
)


def take_settings(config: DictConfig) -> list[str]:
    """Copy the sizes and the split of the run of supernet= into the configuration, and return the changed settings.

    They are read as data; nothing that they name is called.

    Raises:
        InputError: If supernet= is no finished search, or the run has another task, space, data set or setting
            than the command line. Weights would not fit then, or validation images would not be new to the supernet.
    """
    if config.supernet is None:
        return []
    if not isinstance(config.supernet, str) or not is_file(Path(config.supernet) / WEIGHTS):
        inner = f"{config.supernet}/supernet"
        hint = f"; this run has its own: supernet={inner}" if is_file(Path(inner) / WEIGHTS) else ""
        raise InputError(
            f"supernet={config.supernet}: must be the folder of a finished search, which holds {WEIGHTS}{hint}"
        )
    result = read_result(Path(config.supernet))
    if result is None:
        raise InputError(f"supernet={config.supernet}: is no finished run")
    if "stages" in result:
        raise InputError(
            f"supernet={config.supernet}: its search left out candidates or changed sizes in stages, so this supernet "
            "cannot score the whole space; name a search without stages"
        )
    file = Path(config.supernet, CONFIG)
    run = read_settings(file)
    if not {"space._target_", "data._target_"} <= set(run):
        raise InputError(f"{file}: not the settings of a search")
    theirs, own = (task_name(target) for target in (run.get(TASK), config.task._target_))
    if TASK in run and theirs != own:
        raise InputError(
            f"task={own}: the supernet of {config.supernet} was trained with task={theirs}; give task={theirs}"
        )
    changed = []
    given = job.given()
    for name, value in run.items():
        group, _, key = name.partition(".")
        if group not in ("space", "data") or "." in key or name in FREE or value == config[group].get(key):
            continue
        if key == "_target_" or name in given or key not in config[group] or "${" in str(value):
            raise InputError(
                f"{name}={config[group].get(key)}: the supernet of {config.supernet} was trained with {value!s:.80}"
            )
        if is_plain(value):
            with open_dict(config):
                config[group][key] = value
            changed.append(f"{name}={value}".replace("'", "").replace(" ", ""))
    return changed


def train(
    supernet: nn.Module,
    config: DictConfig,
    space: SearchSpace,
    data: ImageData,
    run: Run,
    console: Console,
    callbacks: Callable[[Run], Sequence[pl.Callback]] | None = None,
) -> dict[str, Any]:
    """Train a supernet in RUN/supernet, unless that was done before, load its weights and return the result.

    Args:
        supernet: The module that gets the weights.
        config: The settings of the command.
        space: The search space.
        data: The images.
        run: The run that needs the supernet.
        console: Where lines and the progress bar are shown.
        callbacks: From the run of the training to callbacks of it; None: there are none.
    """
    folder = run.path / "supernet"
    result = read_result(folder)
    if result is None:
        search = search_for(config, space, data)
        if search.stages.given:
            raise InputError("stages: a supernet for an estimator is trained in one stage; use stages=null")
        search.selection = by_scores
        say(console, [f"training a supernet: {folder}"])
        with open_run(config, folder) as inner:  # it has a config.yaml, so that supernet=RUN/supernet can name it
            with recording(inner, config, "supernet") as record:
                trainer = trainer_for(config, console)
                trainer.callbacks.extend(callbacks(inner) if callbacks else ())  # type: ignore[attr-defined]
                fit(trainer, search, inner, config, record)
                write_weights(folder / WEIGHTS, search.supernet)
                quantity = search.metric.quantity
                valid = {f"valid_{quantity.name}": search.valid[quantity.name]}
                result = inner.finish(
                    {**valid, "metric": quantity._asdict(), "classes": list(search.classes), **stopped(search)}
                )
                record.finish(result)
    load(supernet, folder / WEIGHTS)
    return result


def load(module: nn.Module, file: Path) -> None:
    """Load the weights of a safetensors file.

    Args:
        module: The module that gets them.
        file: Path of the file.

    Raises:
        InputError: If the file cannot be read or its weights do not fit.
    """
    own = module.state_dict()
    theirs = read_shapes(file)  # first, so that a file that does not fit is not read
    for name in {**own, **theirs}:
        here = tuple(own[name].shape) if name in own else "nothing"
        if theirs.get(name, "nothing") != here:
            raise InputError(f"{file}: {name:.80} is {theirs.get(name, 'nothing')}, the configured space has {here}")
    module.load_state_dict(read_weights(file))
