"""A search or a retraining in a folder of its own: checkpoints, files, pictures and a result."""

import json
import logging
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch
import yaml
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from rich.console import Console
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from . import plots
from .architects.base import OptimizerFactory
from .architecture import Architecture
from .cost import ExpectedCost, count_parameters, network_cost
from .data import Part
from .errors import InputError, check_boolean, check_integer, one_line
from .fitting.acceleration import keep_freed_memory
from .fitting.base import Fit
from .fitting.checkpoints import Checkpointing, Checkpoints, interval
from .fitting.progress import ProgressBar
from .retrain import Retrain
from .runs.folder import METRICS, Run, read_rows, write_weights
from .runs.signals import Stopped, stoppable
from .search import Search
from .spaces.base import ImageShape, SearchSpace

ARCHITECTURE, SCORES = "architecture.json", "scores.json"
SUPERNET, ARCHITECT, NETWORK = "supernet.safetensors", "architect.safetensors", "network.safetensors"
SMALL = 16  # numbers of a tensor that is kept in config.yaml
INTERRUPT = 130  # exit code of Ctrl-C


def fit(
    module: Search | Retrain,
    epochs: int,
    out: str | Path,
    resume: bool = True,
    checkpoint_every: int | str | None = "5min",
    trainer: pl.Trainer | None = None,
    accelerator: str = "auto",
    devices: int | list[int] = 1,
    precision: str = "auto",
    show: bool = True,
) -> dict[str, Any]:
    """Run a search or a retraining in a folder, and continue it exactly after any interruption.

    The same call again takes up what is in the folder: it continues from the newest checkpoint, or it returns the
    result at once and gives the module what was found. The folder gets `config.yaml`, `metrics.jsonl`,
    `timings.jsonl`, `status.json`, `architecture.json`, the weights as safetensors, pictures, and last `result.json`.
    A search adds `scores.json`. Only one process at a time can write a folder.

    Args:
        module: A new `Search` or `Retrain`.
        epochs: Passes over the weight part of a search, or over all training images of a retraining.
        out: The folder. It is made if it does not exist.
        resume: If false, a folder that holds a run is refused.
        checkpoint_every: A number of updates, or a time as `"30s"`, `"5min"` or `"2h"`. None: only at each epoch's end.
        trainer: A new Lightning trainer of your own, with `max_epochs=epochs` and `enable_checkpointing=False`. It
            takes the place of the next three arguments.
        accelerator: `"auto"` (a GPU where there is one), `"cpu"` or `"gpu"`.
        devices: 1, or a list with the number of one device.
        precision: `"auto"` (bf16-mixed on a GPU that has it, else 32-true), `"32-true"`, `"bf16-mixed"` or `"64-true"`.
        show: Whether a progress bar is shown, or a line an epoch where there is no terminal.

    Returns:
        What `result.json` holds. A search: the architecture's decisions, `valid_accuracy` of the supernet,
        `found_valid_accuracy` of the found cell inside the supernet, cost of the network. A retraining:
        `test_accuracy` and cost. Both: `seconds` and `peak_memory_bytes`.

    Raises:
        InputError: If a setting is wrong, the folder was started with other settings (the message names them),
            another process writes there, or the module was trained before.
        Diverged: If a loss or a gradient is not finite.
    """
    if not isinstance(module, Search | Retrain):
        raise InputError(f"module: {type(module).__name__} cannot be fitted; must be a Search or a Retrain")
    check_integer("epochs", epochs, 1, 100_000)
    check_boolean("resume", resume)
    interval(checkpoint_every)
    if isinstance(module, Search):
        module.check(epochs)
    with _quiet(), _interruptible():
        trainer = trainer or _trainer(epochs, accelerator, devices, precision)
        _check_trainer(trainer, epochs)
        with Run(Path(out), settings_of(module, epochs, trainer), resume) as run:
            result = run.result()
            if result is not None:
                _restore(module, run, result, epochs)
                return result
            if trainer.strategy.root_device.type == "cpu":
                keep_freed_memory()
            if isinstance(module, Retrain) and module.space and module.architecture:
                run.write(ARCHITECTURE, module.space.to_json(module.architecture))
            before, module.record = module.record, _both(run.record, module.record)
            bar = [ProgressBar(Console())] if show else []
            trainer.callbacks.extend(bar)  # type: ignore[attr-defined]
            try:
                say = print if show else _silent
                train(trainer, module, run, checkpoint_every, run.begin, say=say, save_start=True)
            finally:
                module.record = before
                for callback in bar:
                    trainer.callbacks.remove(callback)  # type: ignore[attr-defined]
            if isinstance(module, Search):
                return write_search(run, module, _image_shape(module.weight_part))
            return write_retraining(run, module, module.space, module.architecture, _image_shape(module.part))


def train(
    trainer: pl.Trainer,
    module: Fit,
    run: Run,
    checkpoint_every: int | str | None,
    begin: Callable[[Sequence[Mapping[str, Any]]], None],
    say: Callable[[str], None] = print,
    save_start: bool = False,
) -> None:
    """Train a module from the newest checkpoint of its run, or from the start where there is none.

    Args:
        trainer: Its `max_epochs` are the epochs.
        module: The search or the retraining.
        run: The open run. Its checkpoints are in the folder `checkpoints`.
        checkpoint_every: As in `fit`.
        begin: Called with the rows of the checkpoint, or with none, before the first update.
        say: Called with a line when the run continues.
        save_start: Whether a checkpoint is written before the first update too. It is needed where weights start from a
            state that the next call does not have.

    Raises:
        InputError: If the checkpoint does not fit, or the module was trained before and there is no checkpoint.
    """
    checkpoints = Checkpoints(run.path / "checkpoints", say=lambda line: print(line, file=sys.stderr))
    newest = checkpoints.newest()
    if newest:
        say(f"continues {run.path} after update {int(newest.name.partition('-')[0])}")
    elif module.done or module.rows:
        raise InputError(f"module: was trained before, {module.done} updates; make a new {type(module).__name__}")
    own: list[pl.Callback] = [_SaveStart(checkpoints)] if save_start else []
    own.append(Checkpointing(checkpoints, checkpoint_every, begin))
    trainer.strategy.checkpoint_io = checkpoints
    trainer.callbacks.extend(own)  # type: ignore[attr-defined]
    try:
        trainer.fit(module, ckpt_path=newest)
    except InputError as error:
        if newest and module.fresh:  # it was not loaded
            raise InputError(f"{newest}: {error}") from None
        raise
    finally:
        for callback in own:
            trainer.callbacks.remove(callback)  # type: ignore[attr-defined]


class _SaveStart(pl.Callback):
    """Saves a fit before its first update."""

    def __init__(self, checkpoints: Checkpoints) -> None:
        self.checkpoints = checkpoints

    def on_train_epoch_start(self, trainer: pl.Trainer, module: Any) -> None:
        if module.fresh and module.done == 0:
            self.checkpoints.save(trainer, 0)


def write_search(run: Run, search: Search, image_shape: ImageShape) -> dict[str, Any]:
    """Write what a search found. `result.json` comes last and marks the run as finished.

    Args:
        run: The open run.
        search: The search after its fit.
        image_shape: (channels, height, width).

    Returns:
        What `result.json` holds.
    """
    space, found = search.space, search.found
    run.write(ARCHITECTURE, space.to_json(found))
    run.write(SCORES, json.dumps(search.scores) + "\n")
    write_weights(run.path / SUPERNET, search.supernet)
    write_weights(run.path / ARCHITECT, search.architect)
    pictures = {
        "cells": partial(plots.cells, space.graphs(found)),
        "scores": partial(plots.heat_maps, search.scores, space.choices, chosen=found.decisions),
        "curves": partial(plots.curves, search.rows),
    }
    for name, figure in pictures.items():
        plots.save(figure, run.path / name)
    return run.finish(
        {
            "architecture": json.loads(space.to_json(found))["decisions"],
            "valid_accuracy": search.valid_accuracy,
            "found_valid_accuracy": search.found_accuracy,
            **network_cost(space, found, image_shape),
            **candidates_cost(search),
        }
    )


def write_retraining(
    run: Run, retrain: Retrain, space: SearchSpace | None, architecture: Architecture | None, image_shape: ImageShape
) -> dict[str, Any]:
    """Write what was trained. `result.json` comes last and marks the run as finished.

    Args:
        run: The open run.
        retrain: The retraining after its fit.
        space: The space of the architecture. None: no cells are drawn, and only the parameters of the network as it
            was trained are counted.
        architecture: The architecture that was trained, or None.
        image_shape: (channels, height, width).

    Returns:
        What `result.json` holds.
    """
    write_weights(run.path / NETWORK, retrain.network)
    plots.save(partial(plots.curves, retrain.rows), run.path / "curves")
    accuracy = {"test_accuracy": retrain.test_accuracy}
    if space is None or architecture is None:
        return run.finish({**accuracy, "parameters": count_parameters(retrain.network, image_shape)})
    plots.save(partial(plots.cells, space.graphs(architecture)), run.path / "cells")
    decisions = json.loads(space.to_json(architecture))["decisions"]
    return run.finish({"architecture": decisions, **accuracy, **network_cost(space, architecture, image_shape)})


def score_rows(search: Search) -> list[dict[str, object]]:
    """Return the architect's probabilities over the epochs of a search, as rows of a table.

    Args:
        search: The search; its fit may be under way.

    Returns:
        A row for each epoch, choice and candidate, with the keys `epoch`, `choice`, `candidate` and `probability`.
        Epoch 0 is the start, epoch n the end of the nth.
    """
    return [
        {"epoch": epoch, "choice": choice.name, "candidate": name, "probability": probability}
        for epoch, scores in enumerate(search.scores)
        for choice, row in zip(search.space.choices, scores, strict=True)
        for name, probability in zip(choice.candidates, row, strict=False)
    ]


def candidates_cost(search: Search) -> dict[str, float]:
    """Return the cost of the candidates that a search's architect paid for, in the cost's own unit.

    Args:
        search: A search whose fit has ended.

    Returns:
        `expected_cost` under the scores, and `discretized_cost` of what was found; empty if the architect has no
        expected cost.
    """
    cost = search.architect.cost
    if not isinstance(cost, ExpectedCost):
        return {}
    expected = cost.expected(search.architect.scores()).item()
    return {"expected_cost": expected, "discretized_cost": cost.of(search.space.used(search.found).decisions)}


def auto_precision(accelerator: str) -> str:
    """Return bf16-mixed for a CUDA device that computes in bfloat16, and 32-true elsewhere.

    Args:
        accelerator: As Lightning's trainer takes it.
    """
    on_gpu = accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    return "bf16-mixed" if on_gpu and torch.cuda.is_bf16_supported() else "32-true"


def _trainer(epochs: int, accelerator: str, devices: int | list[int], precision: str) -> pl.Trainer:
    """A trainer that writes nothing of its own."""
    try:
        return pl.Trainer(
            max_epochs=epochs,
            accelerator=accelerator,
            devices=devices,
            precision=cast(Any, auto_precision(accelerator) if precision == "auto" else precision),
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
    except (MisconfigurationException, ValueError, TypeError) as error:
        raise InputError(f"trainer: {one_line(error)}") from None


def _check_trainer(trainer: pl.Trainer, epochs: int) -> None:
    if trainer.max_epochs != epochs:
        raise InputError(f"trainer: has max_epochs={trainer.max_epochs}, must have epochs={epochs}")
    if trainer.checkpoint_callbacks:
        raise InputError("trainer: must have enable_checkpointing=False; the folder has checkpoints of its own")
    if trainer.num_devices * trainer.num_nodes > 1:
        raise InputError(f"devices={trainer.num_devices}: one is used here; the commands with trainer=ddp use several")


def _restore(module: Search | Retrain, run: Run, result: Mapping[str, Any], epochs: int) -> None:
    """Give a module what its finished run has left."""
    try:
        if isinstance(module, Search):
            module.found = module.space.load(run.path / ARCHITECTURE)
            module.scores = json.loads((run.path / SCORES).read_text(encoding="utf-8"))
            module.valid_accuracy, module.found_accuracy = result["valid_accuracy"], result["found_valid_accuracy"]
            module.supernet.load_state_dict(load_file(run.path / SUPERNET))
            module.architect.load_state_dict(load_file(run.path / ARCHITECT))
        else:
            module.test_accuracy = result["test_accuracy"]
            module.network.load_state_dict(load_file(run.path / NETWORK))
    except (OSError, KeyError, ValueError, RuntimeError, SafetensorError) as error:
        raise InputError(f"{run.path}: is finished, but cannot be read ({one_line(error, 200)})") from None
    module.rows = read_rows(run.path / METRICS)
    module.done, module.ended = module.updates_of(epochs), epochs


def settings_of(module: Search | Retrain, epochs: int, trainer: pl.Trainer) -> str:
    """Return the settings that `fit` keeps in config.yaml: a run that continues must have them again.

    Args:
        module: The search or the retraining.
        epochs: Its epochs.
        trainer: Gives the precision.

    Returns:
        YAML: sizes of the data, classes and plain settings of space, architect, schedule, selection, optimizers and
        criterion.
    """
    settings: dict[str, Any] = {"made_by": "oneshot.fit", "run": type(module).__name__.lower()}
    settings |= {"epochs": epochs, "seed": module.seed, "precision": str(trainer.precision)}
    settings |= {"log_every": module.log_every}
    if module.space is not None:
        settings["space"] = {**_described(module.space), "fingerprint": module.space.fingerprint}
    if isinstance(module, Search):
        architect = module.architect
        settings["data"] = {part.name: _part(part) for part in (module.weight_part, module.architecture_part)}
        settings["architect"] = {
            **_described(architect),
            "optimizer": _optimizer(architect.optimizer),
            "criterion": _described(architect.criterion),
            "cost": _described(architect.cost),
        }
        settings["schedule"] = _described(module.schedule)
        settings["selection"] = _described(module.selection)
    else:
        settings["data"] = {part.name: _part(part) for part in (module.part, module.test)}
        settings["drop_path"], settings["auxiliary_weight"] = module.drop_path, module.auxiliary_weight
        settings["network"] = {"class": _name(type(module.network)), "parameters": _parameters(module.network)}
        if module.space and module.architecture:
            settings["architecture"] = json.loads(module.space.to_json(module.architecture))["decisions"]
    settings["weights"] = {
        "optimizer": _optimizer(module.optimizer),
        "minimum_learning_rate": module.minimum_learning_rate,
        "gradient_clip": module.gradient_clip,
    }
    settings["criterion"] = _described(module.criterion)
    return yaml.dump(settings, Dumper=_Tree, sort_keys=False, allow_unicode=True)


class _Tree(yaml.SafeDumper):
    """YAML without aliases, as a run's settings are read back without them, and with short lists on one line."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Tree.add_representer(
    list, lambda tree, items: tree.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=True)
)


def _part(part: Part) -> dict[str, Any]:
    """Sizes of a part of the data, and how it is augmented."""
    sizes = {"images": len(part), "image_shape": list(_image_shape(part)), "batch_size": part.batch_size}
    return {**sizes, "augmentation": _described(part.augmentation)}


def _optimizer(factory: OptimizerFactory | None) -> dict[str, Any] | None:
    """The class and the settings of the optimizers that a factory makes."""
    if factory is None:
        return None
    optimizer = factory([nn.Parameter(torch.zeros(1))])
    settings = {name: value for name, value in _plain(optimizer.defaults).items() if value is not False}
    return {"class": _name(type(optimizer)), **settings}


def _described(value: Any) -> Any:
    """An object as its class and its plain settings; a function as its name; None as None."""
    if value is None:
        return None
    if isinstance(value, type) or not hasattr(value, "__dict__") or hasattr(value, "__qualname__"):
        return _name(value)
    cached = {name for name in vars(value) if isinstance(getattr(type(value), name, None), cached_property)}
    return {"class": _name(type(value)), **_plain({k: v for k, v in vars(value).items() if k not in cached})}


def _name(value: Any) -> str:
    return f"{value.__module__}.{getattr(value, '__qualname__', type(value).__qualname__)}"


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Those values that YAML can hold: numbers, texts, and short lists of them."""
    found = {}
    for name, value in values.items():
        if isinstance(value, Tensor) and value.dim() == 1 and value.numel() <= SMALL:
            value = value.tolist()
        items = value if isinstance(value, list | tuple) else [value]
        if name[0] != "_" and name != "training" and all(isinstance(item, bool | int | float | str) for item in items):
            found[name] = list(value) if isinstance(value, tuple) else value
    return found


def _parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _image_shape(part: Part) -> ImageShape:
    channels, height, width = part.first().x.shape[1:]
    return channels, height, width


def _both(first: Callable[..., None], second: Callable[..., None] | None) -> Callable[..., None]:
    """What calls one function, and then the other where there is one."""

    def call(row: Mapping[str, Any]) -> None:
        first(row)
        if second is not None:
            second(row)

    return call


def _silent(line: str) -> None:
    """In the place of print."""


@contextmanager
def _quiet() -> Iterator[None]:
    """Inside, Lightning prints warnings alone."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")  # Lightning 2.6 with torch 2.13
        try:
            for logger in loggers:
                logger.setLevel(logging.WARNING)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Inside, Ctrl-C and SIGTERM take effect after the update that runs, with a checkpoint; then as Python has them."""
    try:
        with stoppable():
            yield
    except Stopped as stop:
        reason = f"{stop}; {stop.where}: the same call continues" if stop.where else str(stop)
        if stop.code == INTERRUPT:
            raise KeyboardInterrupt(reason) from None
        raise SystemExit(stop.code) from None
