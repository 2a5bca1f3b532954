"""Measure what the diagnostics of a search cost, in processor time: whole epochs, and each number of `full` alone.

    python scripts/diagnostics_cost.py
    python scripts/diagnostics_cost.py pairs=10 data.train_size=512

Epochs with `none` and with `light` take turns in one search. Prints medians. Other settings are those of
`oneshot search`.
"""

import statistics
import sys
import time
from typing import Any

import pytorch_lightning as pl
import torch

from oneshot.cli.commands.search import search_for
from oneshot.cli.composition import configuration
from oneshot.cli.objects import space_and_data
from oneshot.diagnostics import Diagnostics
from oneshot.search import Search

QUIET: Any = dict(
    logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, accelerator="cpu"
)


class Turns(pl.Callback):
    """Lets the epochs of one search be measured at two levels in turns, and takes the processor time of each.

    The first pair is left out: a search counts its operations once.
    """

    def __init__(self) -> None:
        self.levels = {name: Diagnostics(name) for name in ("none", "light")}
        self.seconds: dict[str, list[float]] = {name: [] for name in self.levels}

    def on_train_epoch_start(self, trainer: pl.Trainer, module: Any) -> None:
        self.take(module)
        self.now = list(self.levels)[trainer.current_epoch % 2]
        module.diagnostics = self.levels[self.now]
        self.started = time.process_time()

    def on_train_end(self, trainer: pl.Trainer, module: Any) -> None:
        self.take(module)

    def take(self, module: Any) -> None:
        if module.ended > len(self.levels):
            self.seconds[self.now].append(time.process_time() - self.started)


def fitted(words: list[str], epochs: int, callback: pl.Callback | None = None) -> Search:
    """A search without selection."""
    config = configuration("search", ["logger=none", f"epochs={epochs}", *words])
    torch.manual_seed(0)
    search = search_for(config, *space_and_data(config))
    search.end = lambda: None  # type: ignore[method-assign]
    pl.Trainer(max_epochs=epochs, callbacks=[callback] if callback else [], **QUIET).fit(search)
    return search


def main() -> None:
    """Measure and print."""
    given = dict(word.split("=", 1) for word in sys.argv[1:] if word.startswith("pairs="))
    words = [word for word in sys.argv[1:] if not word.startswith("pairs=")]
    torch.set_num_threads(1)
    turns = Turns()
    search = fitted(words, 2 + 2 * int(given.get("pairs", 6)), turns)
    none, light = (statistics.median(own) for own in turns.seconds.values())
    pairs = [b / a for a, b in zip(*turns.seconds.values(), strict=True)]
    print(
        f"an epoch: none {none:.3f} s, light {light:.3f} s; median of ratios {statistics.median(pairs):.4f}", flush=True
    )
    diagnostics, started = turns.levels["light"], time.process_time()
    for _ in range(1000):
        diagnostics.note(search.architect)
    noted, started = (time.process_time() - started) / 1000, time.process_time()
    diagnostics.measure(search)
    print(f"light: {1000 * noted:.3f} ms a step, {1000 * (time.process_time() - started):.2f} ms an epoch", flush=True)
    for name in ("flatness", "gradient_cosine", "discretization_gap", "alpha_eigenvalue_largest"):
        diagnostics = Diagnostics("none")
        diagnostics.also([name])
        started = time.process_time()
        diagnostics.measure(search)
        print(f"{name}: {time.process_time() - started:.3f} s", flush=True)


if __name__ == "__main__":
    main()
