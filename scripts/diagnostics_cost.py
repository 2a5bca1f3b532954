"""Measure what the diagnostics of a search cost, in processor time: whole epochs, and each number of `full` alone.

    python scripts/diagnostics_cost.py
    python scripts/diagnostics_cost.py pairs=10 data.train_size=512

Epochs of searches with `none` and with `light` take turns in one process. Prints medians. Other settings are those of
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


class Clock(pl.Callback):
    """Processor time of an epoch, with all that the search does at its end."""

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.started = time.process_time()

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.seconds = time.process_time() - self.started


def epoch(words: list[str], level: str | Diagnostics) -> tuple[float, Search]:
    """Seconds of one epoch, and the search."""
    config = configuration("search", ["logger=none", "epochs=1", *words])
    torch.manual_seed(0)
    search = search_for(config, *space_and_data(config))
    search.diagnostics = level if isinstance(level, Diagnostics) else Diagnostics(level)
    search.end = lambda: None  # type: ignore[method-assign]  # no selection
    clock = Clock()
    pl.Trainer(max_epochs=1, callbacks=[clock], **QUIET).fit(search)
    return clock.seconds, search


def main() -> None:
    """Measure and print."""
    given = dict(word.split("=", 1) for word in sys.argv[1:] if word.startswith("pairs="))
    words = [word for word in sys.argv[1:] if not word.startswith("pairs=")]
    torch.set_num_threads(1)
    epoch(words, "none")  # the first one is slower
    found: dict[str, list[float]] = {"none": [], "light": []}
    for _ in range(int(given.get("pairs", 5))):
        for level, own in found.items():
            own.append(epoch(words, level)[0])
    none, light = (statistics.median(own) for own in found.values())
    ratios = [b / a for a, b in zip(*found.values(), strict=True)]
    print(f"an epoch: none {none:.3f} s, light {light:.3f} s; median ratio {statistics.median(ratios):.4f}", flush=True)
    print({name: [round(one, 3) for one in own] for name, own in found.items()}, flush=True)
    for name in ("alpha_eigenvalue_largest", "gradient_cosine", "discretization_gap", "flatness"):
        diagnostics = Diagnostics("none")
        diagnostics.also([name])
        search = epoch(words, diagnostics)[1]
        started = time.process_time()
        search.ended = 0
        diagnostics.measure(search)
        print(f"{name}: {time.process_time() - started:.3f} s", flush=True)


if __name__ == "__main__":
    main()
