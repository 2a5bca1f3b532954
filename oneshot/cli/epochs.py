"""How well a supernet ranks at the ends of the epochs of its training."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig
from torch import nn

from ..architecture import Architecture, Query
from ..errors import InputError, check_integer
from ..estimators import Estimator, LoggedEstimator
from ..runs.files import make_folder
from ..runs.folder import Run
from ..spaces import SearchSpace
from .estimates import wanted

FOLDER = "epochs"  # of a ranking: a log of scores for each epoch


class EpochScores(pl.Callback):
    """Scores architectures with a supernet at the ends of epochs of its training, and keeps the scores in logs.

    The training is the same as without it.

    Args:
        every: Epochs from one time to the next. The last epoch counts too.
        estimator: Makes an estimator that scores architectures with the weights that `supernet` has.
        supernet: Gets the weights of the supernet in training.
        space: The search space.
        architectures: What is scored.
        path: Folder of the logs.
        failures: Largest share of failed queries, as in `LoggedEstimator`.
    """

    def __init__(
        self,
        every: int,
        estimator: Callable[[], Estimator],
        supernet: nn.Module,
        space: SearchSpace,
        architectures: Sequence[Architecture],
        path: Path,
        failures: float,
    ) -> None:
        self.every, self.estimator, self.supernet, self.space = every, estimator, supernet, space
        self.architectures, self.path, self.failures = architectures, path, failures
        self.uncounted: Callable[[], AbstractContextManager[None]] = nullcontext

    def beside(self, run: Run) -> "EpochScores":
        """Return this callback; the seconds of its scores are then not among those of the training.

        Args:
            run: The run of the training.
        """
        self.uncounted = run.uncounted
        return self

    def on_train_epoch_end(self, trainer: pl.Trainer, module: Any) -> None:
        """Score the architectures with the present weights, where it is time to."""
        epoch = trainer.current_epoch + 1
        if epoch % self.every == 0 or epoch == trainer.max_epochs:
            with self.uncounted():
                self.supernet.load_state_dict(module.supernet.state_dict())
                self._rows(epoch)

    def rows(self) -> Iterator[tuple[int, list[dict[str, Any]]]]:
        """Yield each epoch with the row of each architecture in its log."""
        for epoch in sorted(int(log.stem) for log in self.path.glob("*.jsonl") if log.stem.isdigit()):
            yield epoch, self._rows(epoch)

    def _rows(self, epoch: int) -> list[dict[str, Any]]:
        """Score what the log of an epoch does not have yet."""
        log = make_folder(self.path) / f"{epoch}.jsonl"
        logged = LoggedEstimator(self.estimator(), self.space, log, self.failures)
        for architecture in self.architectures:
            logged([Query(architecture)])
        return logged.rows


def check_every(config: DictConfig) -> None:
    """Raise InputError if the setting `every` is no number of epochs, or no supernet is trained.

    Args:
        config: The settings of the command.
    """
    if config.every is None:
        return
    check_integer("every", config.every, 1, config.epochs)
    if "supernet" not in wanted(config.estimator):
        raise InputError(
            f"every={config.every}: {config.estimator._target_} has no supernet; estimator=one_shot has one"
        )
    if config.supernet is not None:
        raise InputError(f"every={config.every}: supernet={config.supernet} is trained already; leave out one of them")
