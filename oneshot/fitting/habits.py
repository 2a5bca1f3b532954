"""Which of a Lightning trainer's settings cannot be used with a search or a retraining, and what to use instead.

What would be ignored, or would change an update or a schedule without a word, is refused. docs/lightning.md has a table
of what works and what does not.
"""

from collections.abc import Iterator
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning import callbacks
from pytorch_lightning.strategies import SingleDeviceStrategy
from pytorch_lightning.trainer.states import TrainerFn

from ..distributed.strategy import SharedBatches
from ..errors import InputError

PRECISIONS = ("32-true", "bf16-mixed", "64-true")
PASS = "an epoch is a pass over the data, as learning rates and temperatures follow it; give less data (train_size=)"
ALL = "the numbers are those of all images, as they decide what is found; give less data (train_size=)"
TEST = "the test is of all test images, as its number is what is reported"
ENDS = "the numbers are measured at the end of each epoch, and only then"
BY_EPOCHS = "learning rates and temperatures follow the epochs; give max_epochs"
CALLBACKS = {  # class -> why it is refused
    "StochasticWeightAveraging": "it changes learning rates and epochs; Retrain(average=0.999) averages weights",
    "WeightAveraging": "it exchanges weights in checkpoints, which then do not continue; use Retrain(average=0.999)",
    "GradientAccumulationScheduler": "each batch is an update; give the data a larger batch_size",
    "LearningRateFinder": "its trial steps are none of this fit; set the rate in optimizer=",
    "BatchSizeFinder": "its trial steps are none of this fit; set batch_size= of the data",
    "ModelPruning": "it renames weights, which then fit no checkpoint",
    "BaseFinetuning": "it freezes weights that a step here moves",
    "OnExceptionCheckpoint": "an error may come within an update, which no checkpoint can continue; "
    "ModelCheckpoint saves after updates, and so does oneshot.fit",
}


def check_trainer(trainer: pl.Trainer, module: Any) -> None:
    """Check that a trainer that a module is attached to does with it what its settings say.

    Args:
        trainer: The trainer.
        module: The search or the retraining, a Fit.

    Raises:
        InputError: If one of its settings cannot be used. The message names it, and what to use instead.
    """
    doing = trainer.state.fn
    if doing in (TrainerFn.VALIDATING, TrainerFn.TESTING, TrainerFn.PREDICTING):
        name = {TrainerFn.VALIDATING: "validate", TrainerFn.TESTING: "test"}.get(doing, "predict")
        raise InputError(f"Trainer.{name}: {module.instead.get(name, 'a module is fitted here')}")
    loops = (trainer.fit_loop, trainer.fit_loop.epoch_loop.val_loop)
    if any(loop._data_source.instance is not module for loop in loops):
        kind = type(module).__name__
        raise InputError(f"Trainer.fit: data is given to {kind}(data=...), not to fit; oneshot.data.own takes yours")
    check_settings(trainer)


def check_settings(trainer: pl.Trainer) -> None:
    """Check the settings of a trainer that a search or a retraining will be fitted with.

    Args:
        trainer: The trainer.

    Raises:
        InputError: If one cannot be used. The message names it, and what to use instead.
    """
    for setting, reason in _refused(trainer):
        raise InputError(f"Trainer({setting}): {reason}")


def _refused(trainer: Any) -> Iterator[tuple[str, str]]:
    """Yield what cannot be used, the setting and the reason."""
    yield from _places(trainer)
    yield from _lengths(trainer)
    for name, usual, reason in (
        ("accumulate_grad_batches", 1, "each batch is an update; give the data a larger batch_size"),
        ("gradient_clip_val", None, "gradients are clipped here; use gradient_clip="),
        ("gradient_clip_algorithm", None, "gradients are clipped by their norm; use gradient_clip="),
        ("check_val_every_n_epoch", 1, ENDS),
        ("val_check_interval", 1.0, ENDS),
        ("reload_dataloaders_every_n_epochs", 0, "data is read once, by whatever was given as data="),
    ):
        value = getattr(trainer, name, usual)
        value = getattr(value, "value", value)  # of an enumeration
        if value != usual or type(value) is not type(usual):
            yield f"{name}={value!r}", reason
    if (seconds := getattr(trainer, "_val_check_time_interval", None)) is not None:
        yield f"val_check_interval={seconds:g} seconds", ENDS
    if trainer.precision not in PRECISIONS:
        yield (
            f"precision={trainer.precision!r}",
            f"must be one of {', '.join(PRECISIONS)}; 16 bits lose small updates of weights, and scaled "
            "gradients would be clipped and checked before they are scaled back",
        )
    yield from _callbacks(trainer)


def _places(trainer: Any) -> Iterator[tuple[str, str]]:
    """Where it computes."""
    if isinstance(trainer.strategy, SharedBatches):
        return
    if (number := trainer.num_devices * trainer.num_nodes) > 1:
        yield f"devices={number}", "one is used here; the commands with trainer=ddp use several"
    if not isinstance(trainer.strategy, SingleDeviceStrategy):
        name = type(trainer.strategy).__name__
        yield f"strategy={name}", "must be auto: it splits batches and gradients of its own"


def _lengths(trainer: Any) -> Iterator[tuple[str, str]]:
    """How long it trains and on how much."""
    if trainer.overfit_batches:
        yield f"overfit_batches={trainer.overfit_batches}", PASS
    if trainer.fast_dev_run:
        return
    if type(trainer.max_epochs) is not int or trainer.max_epochs < 1:
        yield (
            f"max_epochs={trainer.max_epochs}",
            "must be a number, at least 1, as learning rates and temperatures follow the epochs",
        )
    if trainer.max_steps != -1:
        yield f"max_steps={trainer.max_steps}", BY_EPOCHS
    for name, reason in (("limit_train_batches", PASS), ("limit_val_batches", ALL), ("limit_test_batches", TEST)):
        value = getattr(trainer, name)
        if value != 1.0 or isinstance(value, int):
            yield f"{name}={value}", reason


def _callbacks(trainer: Any) -> Iterator[tuple[str, str]]:
    """What else acts on the fit."""
    for callback in trainer.callbacks:
        for name, reason in CALLBACKS.items():
            kind = getattr(callbacks, name, None)  # which there are depends on the version
            if kind is not None and isinstance(callback, kind):
                yield f"callbacks=[{type(callback).__name__}]", reason
        if getattr(callback, "save_on_exception", False):
            yield "callbacks=[ModelCheckpoint(save_on_exception=True)]", CALLBACKS["OnExceptionCheckpoint"]
        if isinstance(callback, callbacks.ModelCheckpoint) and callback._train_time_interval is not None:
            reason = "Lightning saves none by time here; use every_n_train_steps=, or oneshot.fit(checkpoint_every=)"
            yield "callbacks=[ModelCheckpoint(train_time_interval=...)]", reason
