"""What the two LightningModules share: their own count of updates, rows of metrics, and a state for exact resume."""

import operator
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, ClassVar, TypeVar

import pytorch_lightning as pl
import torch
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor

from ..data import Part
from ..errors import InputError, check_integer, is_number, one_line
from .habits import check_trainer
from .metrics import FiniteCheck, Means

T = TypeVar("T")

MAX_ROWS = 10_000_000


class Fit(pl.LightningModule):
    """Trains under a pytorch_lightning Trainer with max_epochs, and resumes after any of its updates.

    An update depends only on its number and on the state. A checkpoint therefore holds the state and the number, but no
    random state. Lightning's own loop counters are not restored: its `global_step` is set to the number of updates, of
    whatever optimizer. A checkpoint after the last update of an epoch resumes with the end of that epoch, and one after
    the end of the last epoch resumes with the end of the fit.

    What a trainer's settings mean here, and which are refused, is in `habits.py`. With `fast_dev_run=n` a fit is a
    trial: an epoch of n batches, measured on n batches. It leaves the module as it was.

    Args:
        log_every: Number of updates from one row of metrics to the next, at least 1.
        seed: Seed of the fit. A checkpoint must have the same.
        record: Called with each row, a dict of numbers.

    Attributes:
        rows: All rows so far.
        done: Number of updates so far.
        ended: Number of epochs that have ended.
        fresh: Whether this fit has loaded no checkpoint.
        ready: Whether this fit has loaded all that it starts from.
        over: Whether this fit has come to its end.
        trial: Batches of an epoch of a trial; 0: this is none.

    Raises:
        InputError: If `log_every` is out of range.
    """

    instead: ClassVar[Mapping[str, str]] = {}  # what is to be used in the place of Trainer.validate, test and predict

    def __init__(self, log_every: int, seed: int, record: Callable[[Mapping[str, Any]], None] | None) -> None:
        super().__init__()
        check_integer("log_every", log_every, 1)
        self.automatic_optimization = False
        self.log_every, self.seed, self.record = log_every, seed, record
        self.rows: list[dict[str, Any]] = []
        self.means, self.watch = Means(), FiniteCheck()
        self.done = self.ended = self.trial = 0
        self.fresh, self.ready, self.over = True, False, False

    @property
    def trainer(self) -> Any:
        """The trainer. Raises InputError if one is attached that this module cannot be used with."""
        return super().trainer

    @trainer.setter
    def trainer(self, trainer: Any) -> None:
        """Attach the module to a trainer. Lightning does it at the start of a fit, a validation, ..."""
        pl.LightningModule.trainer.fset(self, trainer)  # type: ignore[attr-defined]
        if trainer is None or trainer.state.fn is None:
            return
        check_trainer(trainer, self)  # here, as Lightning replaces max_epochs=None before it calls the first hook
        self.trial = int(trainer.fast_dev_run)
        if trainer.state.fn == TrainerFn.FITTING:
            self.fresh, self.ready, self.over = True, False, False
            trainer.fit_loop.epoch_progress.reset()  # of what this trainer has fitted before
            if self.trial:  # Lightning would end it after `trial` updates, before each kind had its turn
                trainer.fit_loop.epoch_loop.max_steps, trainer.limit_train_batches = -1, 1.0

    @property
    def epochs(self) -> int:
        """Epochs of the whole fit, by the trainer."""
        return self.trainer.max_epochs or 1

    @property
    def total(self) -> int:
        """Updates of the whole fit."""
        return self.updates_of(self.epochs)

    @property
    def epoch_is_over(self) -> bool:
        """Whether the last update of the epoch is done."""
        return self.done >= self.updates_of(self.ended + 1)

    @property
    def epoch(self) -> int:
        """Number of the epoch of the last update, from 1; 0 before the first."""
        return self.ended + (self.done > self.updates_of(self.ended))

    @abstractmethod
    def configure_optimizers(self) -> Any:
        """Return all optimizers, the weights' first, and a list with the weights' schedule by epochs."""

    @abstractmethod
    def updates_of(self, epochs: int) -> int:
        """Return the number of updates in this number of epochs."""

    @abstractmethod
    def remaining(self) -> Iterator[Any]:
        """Yield what is left of the epoch. Lightning passes each item to `training_step`."""

    def state(self) -> dict[str, Any]:
        """Return what a subclass adds to a checkpoint: numbers, strings, and lists and dicts of them."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore the state that `state` returned.

        Args:
            state: The content of a checkpoint, perhaps with other keys too.

        Raises:
            KeyError: If a part is missing.
            TypeError: If a part has another type.
            ValueError: If a part has an impossible value.
        """

    def at_most(self, batches: int) -> int:
        """Return a number of batches, for a trial no more than it has.

        Args:
            batches: The number.
        """
        return min(batches, self.trial) if self.trial else batches

    def few(self, batches: Iterable[T]) -> Iterable[T]:
        """Return batches, for a trial the first of them.

        Args:
            batches: All batches.
        """
        return islice(batches, self.trial) if self.trial else batches

    def train_dataloader(self) -> "Updates":
        """Return the updates that are left of the epoch."""
        return Updates(self)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the progress and the state of the fit. Raises Diverged if the last update was not finite."""
        self.watch.settle()
        progress = {
            "seed": self.seed,
            "epochs": self.epochs,
            "done": self.done,
            "ended": self.ended,
            "rows": self.rows,
            "means": self.means.state(),
        }
        checkpoint["fit"] = {**progress, **self.state()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Check a checkpoint and restore its progress and its state. Raises InputError if it does not fit."""
        checkpoint.pop("loops", None)
        try:
            state = checkpoint["fit"]
            if state["seed"] != self.seed:
                raise ValueError(f"seed is {state['seed']!r:.40}, here {self.seed}")
            if state.get("epochs", self.epochs) != self.epochs:  # learning rates and temperatures follow them
                raise ValueError(f"epochs is {state['epochs']!r:.40}, here {self.epochs}")
            for name in ("done", "ended"):
                if type(state[name]) is not int or state[name] < 0:
                    raise ValueError(f"{name} is {state[name]!r:.40}")
            _check_rows(state["rows"])
            self.means.load_state(state["means"])
            self.load_state(state)
            self.done, self.ended, self.rows = state["done"], state["ended"], state["rows"]
            if not self.updates_of(self.ended) <= self.done <= min(self.total, self.updates_of(self.ended + 1)):
                raise ValueError(f"{self.done} updates, {self.ended} epochs")
            _check_weights(self.state_dict(), checkpoint["state_dict"])
            optimizers, (schedule,) = self.configure_optimizers()
            for optimizer, loaded in zip(optimizers, checkpoint["optimizer_states"], strict=True):
                _check_optimizer(optimizer, loaded)
            _check_alike("lr_schedulers", [schedule.state_dict()], checkpoint["lr_schedulers"])
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError) as error:
            raise InputError(f"the checkpoint does not fit this run ({one_line(error, 120)})") from None
        self.fresh = False

    def on_fit_start(self) -> None:
        """Note that what the fit starts from is loaded."""
        self.ready = True

    def on_train_start(self) -> None:
        """Let Lightning count the epochs that have ended and the updates that were done before.

        Raises:
            InputError: If the module was trained before, and no checkpoint has brought back its optimizers.
        """
        if self.fresh and (self.done or self.rows):
            kind = type(self).__name__
            raise InputError(
                f"module: was trained before, {self.done} updates; make a new {kind}, or give fit a ckpt_path"
            )
        loop: Any = self.trainer.fit_loop
        loop.epoch_progress.current.processed = loop.epoch_progress.current.completed = self.ended
        loop.epoch_loop._batches_that_stepped = self.done  # the step of Lightning's own rows in loggers
        self.count(self.done)
        if self.trial:
            self.before = {name: tensor.clone() for name, tensor in self.state_dict().items()}

    def count(self, done: int) -> None:
        """Set the number of updates so far, for Lightning too: it would count the steps of each optimizer.

        Args:
            done: The number.
        """
        self.done = done
        total = self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress.total
        total.ready = total.completed = done

    def teardown(self, stage: str) -> None:
        """End the processes that read images, as Lightning calls it at the end of a fit."""
        trainer: Any = self._trainer
        if trainer is not None and trainer.fast_dev_run and stage == "fit":
            trainer.fit_loop.epoch_loop.max_steps = trainer.limit_train_batches = int(trainer.fast_dev_run)
        for value in vars(self).values():
            if isinstance(value, Part):
                value.close()

    def on_train_epoch_end(self) -> None:
        """Step the learning rate and end the epoch. An epoch that the trainer cuts short is measured, but not ended."""
        if not self.epoch_is_over:
            self.cut_epoch()
            return
        with warnings.catch_warnings():  # a fit that resumes at an epoch's end has taken no step yet
            warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
            self.lr_schedulers().step()  # type: ignore[union-attr, call-arg]
        self.end_epoch()
        self.ended += 1

    def end_epoch(self) -> None:
        """Do what a subclass does at the end of an epoch. The learning rate has been stepped before."""

    def cut_epoch(self) -> None:
        """Do what a subclass does where the trainer stops within an epoch, as with `max_time`."""

    def on_train_end(self) -> None:
        """End the fit. A trial leaves everything as it was."""
        self.end()
        self.over = True
        if self.trial:
            self.watch.settle()
            self.load_state_dict(self.before)
            self.forget()

    def on_fit_end(self) -> None:
        """Raise InputError if the trainer was told to stop before the first update: it then skips the fit's end too."""
        if not self.over:
            raise InputError("the trainer was told to stop before the first update (max_time?); nothing was done")

    def end(self) -> None:
        """Do what a subclass does at the end of a fit, perhaps before its last epoch is over."""

    def forget(self) -> None:
        """Forget all progress. Weights are not touched."""
        self.rows, self.means = [], Means()
        self.count(0)
        self.ended, self.trial, self.before = 0, 0, {}

    def write(self, row: dict[str, Any]) -> None:
        """Keep a row of metrics, pass it to `record` and publish it.

        Args:
            row: Numbers by name; `step` is the number of updates so far.
        """
        self.rows.append(row)
        if self.record:
            self.record(row)
        self.publish(row)

    def publish(self, row: Mapping[str, Any]) -> None:
        """Give numbers to Lightning: to callbacks that monitor one, to the progress bar and to the trainer's loggers.

        This does what `self.log` does, with three differences. Each row comes to the loggers once, with its own step;
        `self.log` writes when `Trainer(log_every_n_steps=)` says, and then what it was given at an earlier step. It can
        be done at the end of a fit. It takes a tenth of the time, as nothing is averaged.

        Args:
            row: Numbers by name; `step` is the number of updates so far.
        """
        trainer = self.trainer
        numbers = {name: float(value) for name, value in row.items() if name not in ("epoch", "step")}
        tensors = {name: torch.tensor(value, dtype=torch.float64) for name, value in numbers.items()}
        trainer.callback_metrics.update(tensors)
        trainer.logged_metrics.update(tensors)
        trainer.progress_bar_metrics.update(numbers)
        for logger in trainer.loggers:
            logger.log_metrics({"epoch": row["epoch"], **numbers}, step=row["step"])
            logger.save()


class Updates:
    """What Lightning iterates over in an epoch: the updates that are left. The batches are on the device.

    Args:
        fit: The fit whose updates these are.
    """

    def __init__(self, fit: Fit) -> None:
        self.fit = fit

    def __iter__(self) -> Iterator[Any]:
        return iter(self.fit.remaining())


def _check_rows(rows: Any) -> None:
    """Raise ValueError unless these are rows of numbers, each with a step."""
    if not isinstance(rows, list) or len(rows) > MAX_ROWS:
        raise ValueError("rows")
    for row in rows:
        for name, value in row.items():
            if not isinstance(name, str) or not is_number(value):
                raise ValueError(f"rows: {name!r:.40}")
        if "step" not in row:
            raise ValueError("rows: one has no step")


def _check_weights(own: Mapping[str, Tensor], loaded: Mapping[str, Tensor]) -> None:
    """Raise ValueError unless the loaded tensors have the names, shapes and types of our own."""
    for name in {**own, **loaded}:
        kinds = [(tuple(w[name].shape), w[name].dtype) if name in w else None for w in (own, loaded)]
        if kinds[0] != kinds[1]:
            raise ValueError(f"{name:.80} is {kinds[1]}, here {kinds[0]}")


def _check_optimizer(optimizer: torch.optim.Optimizer, loaded: Mapping[str, Any]) -> None:
    """Raise unless `loaded` can be a state of this optimizer."""
    _check_alike("param_groups", optimizer.state_dict()["param_groups"], loaded["param_groups"])
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for i, state in loaded["state"].items():
        parameter = parameters[operator.index(i)]
        for name, value in state.items():
            if isinstance(value, Tensor) and value.numel() != 1 and value.shape != parameter.shape:
                raise ValueError(f"{name!r:.40} is {tuple(value.shape)}, its parameter {tuple(parameter.shape)}")


def _check_alike(name: str, own: Any, loaded: Any) -> None:
    """Raise ValueError unless both have the same names, lengths and kinds of values: no name comes from a file."""
    if isinstance(own, Mapping):
        if not isinstance(loaded, Mapping) or own.keys() != loaded.keys():
            raise ValueError(f"{name} has other names")
        for key in own:
            _check_alike(f"{name}.{key}", own[key], loaded[key])
    elif isinstance(own, list | tuple):
        if not isinstance(loaded, list | tuple) or len(own) != len(loaded):
            raise ValueError(f"{name} has another length")
        for i, value in enumerate(own):
            _check_alike(f"{name}.{i}", value, loaded[i])
    elif not (is_number(loaded) if is_number(own) else type(loaded) is type(own)):
        raise ValueError(f"{name} is {loaded!r:.40}, here {own!r:.40}")
