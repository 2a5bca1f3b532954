"""The time around the updates: Lightning, logging and progress bar against a bare loop; and a checkpoint."""

import io
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path

import pytorch_lightning as pl
import torch
from rich.console import Console
from torch.nn import functional

from ...architects import DARTS
from ...architects.base import Step
from ...data import digits
from ...draws import seed_of
from ...fitting.checkpoints import Checkpointing, Checkpoints
from ...fitting.progress import ProgressBar
from ...fitting.updates import Components, architecture_step, weight_step
from ...runs.folder import Run
from ...search import Search
from ...spaces import DARTSCells

UPDATES = 60
SAVES = 7


def milliseconds_an_update(device: torch.device) -> tuple[float, float]:
    """Return the mean milliseconds of an update of a tiny search: under Lightning, and in a bare loop."""
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder, "run"))
        clock = Clock()
        screen = ProgressBar(Console(file=io.StringIO(), force_terminal=True))
        trainer = trainer_of(device, UPDATES, [screen, clock])
        trainer.fit(tiny_search(run.record))
    return clock.milliseconds(), bare_loop(tiny_search(), device)


def milliseconds_a_checkpoint(search: Search) -> float:
    """Return the median milliseconds of a checkpoint of this search, with the states of both optimizers.

    The file is written, synced and renamed, as in a run.
    """
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = TimedCheckpoints(Path(folder))
        trainer = trainer_of(search.device, SAVES + 2, [Checkpointing(checkpoints, 1)])
        trainer.strategy.checkpoint_io = checkpoints
        trainer.fit(search)
        return 1000 * statistics.median(checkpoints.seconds[2:])  # after the first steps the optimizers have states


class TimedCheckpoints(Checkpoints):
    """Checkpoints that measure how many seconds each took.

    Args:
        folder: Where checkpoints are written.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.seconds: list[float] = []

    def save(self, trainer: pl.Trainer, done: int) -> None:
        """Write a checkpoint and keep the seconds that it took."""
        start = time.perf_counter()
        super().save(trainer, done)
        self.seconds.append(time.perf_counter() - start)


def trainer_of(device: torch.device, updates: int, callbacks: list[pl.Callback]) -> pl.Trainer:
    """Return a trainer for so many updates, which shows and writes nothing of its own."""
    return pl.Trainer(
        max_epochs=1,
        accelerator="cpu" if device.type == "cpu" else "auto",
        devices=1,
        callbacks=[*callbacks, StopAfter(updates)],
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
    )


def tiny_search(record: Callable[..., None] | None = None) -> Search:
    """Return a DARTS search on digits with 3 cells of 2 channels. record: gets the rows."""
    torch.manual_seed(0)
    data = digits(batch_size=16)
    space = DARTSCells(data.image_shape, data.classes, cells=3, channels=2, nodes=1)
    architect = DARTS(space, partial(torch.optim.Adam, lr=3e-4), functional.cross_entropy)
    return Search(space, architect, data, record=record)


def bare_loop(search: Search, device: torch.device) -> float:
    """Make the first updates of a search without Lightning, with the same batches, seeds and steps.

    Returns:
        Mean milliseconds of an update.
    """
    search.to(device)
    for part in (search.weight_part, search.architecture_part):
        part.to(device)
    architect, supernet = search.architect, search.supernet
    weights = search.optimizer(supernet.parameters())
    moving = [architect.optimizer(architect.parameters())] if architect.optimizer else []
    parts = Components(supernet, architect, search.criterion, weights, moving, search.gradient_clip)
    clock, batches = Clock(), search.weight_part.batches
    for update in islice(search.schedule.epoch(0, batches), UPDATES):
        clock.tick()
        torch.manual_seed(seed_of(search.seed, "step", update.index))
        step = Step(search.seed, update.index, search.schedule.total(1, batches))
        train = search.weight_part.batch(search.seed, update.weight)
        if update.kind == "architecture":
            valid = search.architecture_part.batch(search.seed, update.architecture)
            architecture_step(parts, train, valid, step)
        else:
            compares = architect.compares_gradients
            weight_step(
                parts, train, step, search.architecture_part.batch(search.seed, update.weight) if compares else None
            )
    return clock.milliseconds()


class StopAfter(pl.Callback):
    """Stops a fit after so many updates.

    Args:
        updates: The number.
    """

    def __init__(self, updates: int) -> None:
        self.updates = updates

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: object) -> None:
        """Tell the trainer to stop if it is time."""
        trainer.should_stop = trainer.global_step >= self.updates


class Clock(pl.Callback):
    """Notes when each update starts."""

    def __init__(self) -> None:
        self.starts: list[float] = []

    def tick(self) -> None:
        """Note the start of an update."""
        self.starts.append(time.perf_counter())

    def on_train_batch_start(self, *_: object) -> None:
        """Note the start of an update, as Lightning's callback."""
        self.tick()

    def milliseconds(self) -> float:
        """Return the mean milliseconds between two starts."""
        return 1000 * (self.starts[-1] - self.starts[0]) / (len(self.starts) - 1)
