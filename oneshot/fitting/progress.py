"""What a run shows while it runs: a live bar on a terminal, otherwise one line for each epoch."""

import time
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from ..quantity import Quantity

LOSSES, OF_METRIC = ("weight_loss", "train_loss"), ("valid", "train", "test")  # what of a row is shown


class ProgressBar(pl.Callback):
    """Shows the progress over all updates of a search or a retraining, with numbers from the module's rows.

    The module is a Fit. Nothing here reads the device.

    Args:
        console: Where to print.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.bar: Progress | None = None
        self.shown = 0
        self.latest: dict[str, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, module: Any) -> None:
        """Start the clock, and the bar on a terminal."""
        self.started = time.monotonic()
        self.begun = module.done
        if self.console.is_terminal:
            columns = (BarColumn(bar_width=24), TextColumn("{task.description}"))
            self.bar = Progress(*columns, console=self.console, transient=True, refresh_per_second=4)
            self.task = self.bar.add_task(self._line(module), total=module.total, completed=module.done)
            self.bar.start()

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, *_: Any) -> None:
        """Move the bar on."""
        self._take(module)
        if self.bar:
            self.bar.update(self.task, advance=1, description=self._line(module))

    def on_train_epoch_start(self, trainer: pl.Trainer, module: Any) -> None:
        """Print the line of the epoch before, as its last row is written after on_train_epoch_end."""
        if module.rows and module.done > self.begun:
            self._print_epoch(module)

    def on_train_end(self, trainer: pl.Trainer, module: Any) -> None:
        """Remove the bar and print the last line."""
        self._stop()
        self._print_epoch(module)

    def on_exception(self, trainer: pl.Trainer, module: Any, exception: BaseException) -> None:
        """Remove the bar."""
        self._stop()

    def _stop(self) -> None:
        if self.bar:
            self.bar.stop()

    def _print_epoch(self, module: Any) -> None:
        self._take(module)
        if not self.bar:
            self.console.print(self._line(module), markup=False, emoji=False, highlight=False, soft_wrap=True)

    def _take(self, module: Any) -> None:
        for row in module.rows[self.shown :]:
            self.latest |= row
        self.shown = len(module.rows)

    def _line(self, module: Any) -> str:
        epoch = min(self.latest.get("epoch", 1), module.epochs)
        parts = [f"epoch {epoch}/{module.epochs}", *numbers(self.latest, module.metric.quantity)]
        if "stage" in self.latest:
            parts.insert(1, f"stage {self.latest['stage']}/{len(module.stages.all)}")
        if done := module.done - self.begun:
            left = (time.monotonic() - self.started) / done * (module.total - module.done)
            parts.append(f"{clock(left)} left")
        return "  ".join(parts)


class QueryBar:
    """Shows the progress of a baseline with the best score so far. Without a terminal, prints a line for each tenth.

    Args:
        console: Where to print.
        total: The budget in queries, or in seconds if only these are limited.
        one_of: Text at the start of the line if this is one of many baselines. Then nothing stays on the screen.
    """

    def __init__(self, console: Console, total: float, one_of: str = "") -> None:
        self.console, self.total, self.one_of = console, total, one_of
        self.started = time.monotonic()
        self.tenths = 0
        self.bar: Progress | None = None
        self.line = ""

    def __enter__(self) -> "QueryBar":
        if self.console.is_terminal:
            columns = (BarColumn(bar_width=24), TextColumn("{task.description}"))
            self.bar = Progress(*columns, console=self.console, transient=True, refresh_per_second=4)
            self.task = self.bar.add_task("", total=self.total)
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar:
            self.bar.stop()
            self._print()

    def show(self, queries: int, done: float, metric: str, best: float | None, share: bool = False) -> None:
        """Show the state of the search.

        Args:
            queries: Number of queries so far.
            done: What is used of the budget, in its unit.
            metric: Name of the score.
            best: Best score so far; None if no query has succeeded yet.
            share: Whether the score is shown in percent.
        """
        left = (time.monotonic() - self.started) / max(done, 1e-9) * max(0.0, self.total - done)
        value = "none" if best is None else f"{best:.2%}" if share else f"{best:.4g}"
        self.line = f"{self.one_of}query {queries}  best {metric.replace('_', ' ')} {value}  {clock(left)} left"
        tenths = int(10 * done / self.total)
        if self.bar:
            self.bar.update(self.task, completed=done, description=self.line)
        elif tenths > self.tenths:
            self._print()
        self.tenths = tenths

    def _print(self) -> None:
        if not self.one_of:
            self.console.print(self.line, markup=False, emoji=False, highlight=False, soft_wrap=True)


def numbers(row: Mapping[str, Any], metric: Quantity) -> list[str]:
    """Format the numbers of a row that belong on the screen.

    Args:
        row: Numbers by name.
        metric: That of the task.
    """
    parts = [f"{name.replace('_', ' ')} {row[name]:.3f}" for name in LOSSES if name in row]
    for part in OF_METRIC:
        if part == "test" and "entropy" in row:
            parts.append(f"entropy {row['entropy']:.3f}")
        if (name := f"{part}_{metric.name}") in row:
            parts.append(f"{part} {metric.label} " + (f"{row[name]:.1%}" if metric.share else f"{row[name]:.4g}"))
    return parts


def clock(seconds: float) -> str:
    """Format seconds as 1:02:03 or 2:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
