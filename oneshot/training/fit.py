"""A search or a retraining from Python, in a folder of its own, which the same call continues."""

import logging
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from rich.console import Console

from ..errors import InputError, check_boolean, check_integer, named, one_line
from ..fitting.acceleration import keep_freed_memory
from ..fitting.base import Fit
from ..fitting.checkpoints import Checkpointing, Checkpoints, interval
from ..fitting.habits import check_settings
from ..fitting.progress import ProgressBar
from ..retrain import Retrain
from ..runs.folder import Run
from ..runs.signals import Stopped, stoppable
from ..search import Search
from .outcome import ARCHITECTURE, restore, write_retraining, write_search
from .settings import image_shape, settings_of

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
            takes the place of the next three arguments. If a callback such as `EarlyStopping` stops it earlier, the
            result says when (`stopped`). States of callbacks are in the checkpoints.
        accelerator: `"auto"` (a GPU where there is one), `"cpu"` or `"gpu"`.
        devices: 1, or a list with the number of one device.
        precision: `"auto"` (bf16-mixed on a GPU that has it, else 32-true), `"32-true"`, `"bf16-mixed"` or `"64-true"`.
        show: Whether a progress bar is shown, or a line an epoch where there is no terminal.

    Returns:
        What `result.json` holds. A search: the architecture's decisions, `valid_accuracy` of the supernet,
        `found_valid_accuracy` of the found architecture inside the supernet, cost of the network. A retraining:
        `test_accuracy` and cost. Another metric has its own name in the place of `accuracy`. Both: `metric`, `seconds`
        and `peak_memory_bytes`.

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
    module.check(epochs)
    with _quiet(), _interruptible():
        trainer = trainer or _trainer(epochs, accelerator, devices, precision)
        _check_trainer(trainer, epochs)
        with Run(Path(out), settings_of(module, epochs, trainer), resume) as run:
            result = run.result()
            if result is not None:
                restore(module, run, result, epochs)
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
                return write_search(run, module, image_shape(module.weight_part))
            return write_retraining(run, module, module.space, module.architecture, image_shape(module.part))


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
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        if newest and not module.fresh and not module.ready:
            raise InputError(f"{newest}: does not fit the callbacks of the trainer ({named(error, 120)})") from error
        raise
    finally:
        module.teardown("fit")  # Lightning calls it only after a fit that has not failed
        for callback in own:
            trainer.callbacks.remove(callback)  # type: ignore[attr-defined]


class _SaveStart(pl.Callback):
    """Saves a fit before its first update."""

    def __init__(self, checkpoints: Checkpoints) -> None:
        self.checkpoints = checkpoints

    def on_train_epoch_start(self, trainer: pl.Trainer, module: Any) -> None:
        if module.fresh and module.done == 0:
            self.checkpoints.save(trainer, 0)


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


def _check_trainer(trainer: Any, epochs: int) -> None:
    if trainer.max_epochs != epochs:
        raise InputError(f"trainer: has max_epochs={trainer.max_epochs}, must have epochs={epochs}")
    if trainer.checkpoint_callbacks:
        raise InputError("trainer: must have enable_checkpointing=False; the folder has checkpoints of its own")
    if trainer.fast_dev_run:
        raise InputError("trainer: fast_dev_run gives no result to keep in a folder; call trainer.fit(module) for it")
    if trainer.num_devices * trainer.num_nodes > 1:
        raise InputError(f"devices={trainer.num_devices}: one is used here; the commands with trainer=ddp use several")
    check_settings(trainer)


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
