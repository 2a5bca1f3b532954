"""What the two LightningModules share: an own count of updates, rows, and a state that a fit resumes from exactly."""

import operator
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from ..errors import InputError, check_integer, is_number, one_line
from .metrics import FiniteCheck, Means

MAX_ROWS = 10_000_000


class Fit(pl.LightningModule):
    """Trains under a pytorch_lightning Trainer of max_epochs, and resumes behind any of its updates.

    An update is a pure function of its number and of the state, so a checkpoint holds the state and the number, and
    no random state. Lightning's own loop counters are not restored: a checkpoint behind an epoch's last update
    resumes with that epoch's end, one behind the last epoch's end with the end of the fit.
    log_every: updates between two rows. record: called with each row, a dict of numbers; rows are also kept in `rows`.
    done: updates so far. ended: epochs whose end is behind. fresh: no checkpoint was loaded.
    """

    def __init__(self, log_every: int, seed: int, record: Callable[[Mapping[str, Any]], None] | None) -> None:
        super().__init__()
        check_integer("log_every", log_every, 1)
        self.automatic_optimization = False
        self.log_every, self.seed, self.record = log_every, seed, record
        self.rows: list[dict[str, Any]] = []
        self.means, self.watch = Means(), FiniteCheck()
        self.done = self.ended = 0
        self.fresh = True

    @property
    def epochs(self) -> int:
        return self.trainer.max_epochs or 1

    @property
    def total(self) -> int:
        """Updates of the whole fit."""
        return self.updates_of(self.epochs)

    @property
    def epoch_is_over(self) -> bool:
        """Whether the epoch's last update is done."""
        return self.done >= self.updates_of(self.ended + 1)

    @abstractmethod
    def configure_optimizers(self) -> Any:
        """All optimizers, that of the weights first, and in a list its schedule by epochs."""

    @abstractmethod
    def updates_of(self, epochs: int) -> int:
        """Updates of so many epochs."""

    @abstractmethod
    def remaining(self) -> Iterator[Any]:
        """What is left of the epoch: what Lightning hands to training_step."""

    def state(self) -> dict[str, Any]:
        """What a subclass adds to a checkpoint: numbers, strings, lists and dicts of them."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` gave. Raises KeyError, TypeError or ValueError where it cannot be that."""

    def train_dataloader(self) -> "Updates":
        return Updates(self)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.watch.settle()
        progress = {
            "seed": self.seed,
            "done": self.done,
            "ended": self.ended,
            "rows": self.rows,
            "means": self.means.state(),
        }
        checkpoint["fit"] = {**progress, **self.state()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Raises InputError for a checkpoint that does not fit."""
        checkpoint.pop("loops", None)
        try:
            state = checkpoint["fit"]
            if state["seed"] != self.seed:
                raise ValueError(f"seed is {state['seed']!r:.40}, here {self.seed}")
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

    def on_train_start(self) -> None:
        current: Any = self.trainer.fit_loop.epoch_progress.current
        current.processed = current.completed = self.ended

    def on_train_epoch_end(self) -> None:
        with warnings.catch_warnings():  # of a fit that resumes at an epoch's end, where no step was taken yet
            warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
            self.lr_schedulers().step()  # type: ignore[union-attr, call-arg]
        self.end_epoch()
        self.ended += 1

    def end_epoch(self) -> None:
        """What a subclass does at an epoch's end, the learning rate stepped."""

    def write(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        if self.record:
            self.record(row)


class Updates:
    """What Lightning iterates in an epoch: the updates that are left of it. The batches are on the device."""

    def __init__(self, fit: Fit) -> None:
        self.fit = fit

    def __iter__(self) -> Iterator[Any]:
        return iter(self.fit.remaining())


def _check_rows(rows: Any) -> None:
    if not isinstance(rows, list) or len(rows) > MAX_ROWS:
        raise ValueError("rows")
    for row in rows:
        for name, value in row.items():
            if not isinstance(name, str) or not is_number(value):
                raise ValueError(f"rows: {name!r:.40}")
        if "step" not in row:
            raise ValueError("rows: one has no step")


def _check_weights(own: Mapping[str, Tensor], loaded: Mapping[str, Tensor]) -> None:
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
    """Raise ValueError unless these have the same names, lengths and kinds of values: no name comes from a file."""
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
