"""What Lightning, logging and the progress bar take: a search under them, and a bare loop of the same updates."""

import io
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

from oneshot.architects import DARTS
from oneshot.architects.base import Step
from oneshot.callbacks import ProgressBar
from oneshot.data import digits
from oneshot.draws import seed_of
from oneshot.runs import Run
from oneshot.search import Search
from oneshot.spaces import DARTSCells
from oneshot.updates import Parts, architecture_step, weight_step

UPDATES = 60


def milliseconds_an_update(device: torch.device) -> tuple[float, float]:
    """Means over the first updates of a tiny search: under Lightning, and bare."""
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder, "run"))
        clock = Clock()
        screen = ProgressBar(Console(file=io.StringIO(), force_terminal=True))
        trainer = pl.Trainer(
            max_epochs=1,
            limit_train_batches=UPDATES,
            accelerator="cpu" if device.type == "cpu" else "auto",
            devices=1,
            callbacks=[screen, clock],
            logger=False,
            enable_progress_bar=False,
            enable_checkpointing=False,
            enable_model_summary=False,
        )
        trainer.fit(tiny_search(run.record))
    return clock.milliseconds(), bare_loop(tiny_search(), device)


def tiny_search(record: Callable[..., None] | None = None) -> Search:
    torch.manual_seed(0)
    data = digits(batch_size=16)
    space = DARTSCells(data.image_shape, data.classes, cells=3, channels=2, nodes=1)
    architect = DARTS(space, partial(torch.optim.Adam, lr=3e-4), functional.cross_entropy)
    return Search(space, architect, data, record=record)


def bare_loop(search: Search, device: torch.device) -> float:
    """The updates of the search's first epoch without its module: the same batches, seeds and steps."""
    search.to(device)
    for part in (search.weight_part, search.architecture_part):
        part.to(device)
    architect, supernet = search.architect, search.supernet
    weights = search.optimizer(supernet.parameters())
    moving = [architect.optimizer(architect.parameters())] if architect.optimizer else []
    parts = Parts(supernet, architect, search.criterion, weights, moving, search.gradient_clip)
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
            weight_step(parts, train, step)
    return clock.milliseconds()


class Clock(pl.Callback):
    """When updates start."""

    def __init__(self) -> None:
        self.starts: list[float] = []

    def tick(self) -> None:
        self.starts.append(time.perf_counter())

    def on_train_batch_start(self, *_: object) -> None:
        self.tick()

    def milliseconds(self) -> float:
        """The mean between two starts."""
        return 1000 * (self.starts[-1] - self.starts[0]) / (len(self.starts) - 1)
