"""Time the supernet against the papers' plain loops.

Measured are the steps of every architect, memory, operations and overheads.
The reference is a loop of this package that computes one candidate after the
other, as the papers' code does.

--quick is short for quick=true.

Examples:
    oneshot benchmark --quick
    oneshot benchmark 'architects=[darts,snas]' threads=2 out=FILE.json
"""

import json
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table

from ... import plots
from ...cost.timing import device_name
from ...runs.files import write_text
from .. import job
from ..benchmark.measurements import Benchmark, Figure
from ..conf import choices
from ..objects import new_file, prepare, read_device
from ..screen import say


def main(config: DictConfig) -> None:
    """Measure, write the figures to a new JSON file and show them."""
    console = Console()
    prepare(config)
    device = read_device(config.device)
    if config.architects == "all":
        config.architects = list(choices("architect", job.folders()))
    out = new_file(config, "benchmark", beside=(".png", ".svg", ".pdf"))
    figures = list(Benchmark(config, device).figures(console))
    report = {
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version()} | {n: version(n) for n in ("torch", "pytorch-lightning")},
        "settings": OmegaConf.to_container(config, resolve=True),
        "figures": [figure._asdict() for figure in figures],
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, json.dumps(report, indent=1) + "\n")
    chart = plots.bars({f.name: f.ratio for f in figures if f.ratio}, "reference / ours (above 1: ours takes less)")
    written: list[Path] = [out, *plots.save(chart, out.with_suffix(""))]
    console.print(table(figures))
    say(console, [f"{report['device']}, torch {torch.__version__}"])
    say(console, [f"written to {', '.join(map(str, written))}"])


def table(figures: Sequence[Figure]) -> Table:
    """Return a table with one row per figure."""
    screen = Table("figure", "unit")
    for heading in ("ours", "reference", "ratio"):
        screen.add_column(heading, justify="right")
    for name, unit, ours, reference, ratio in figures:
        numbers = (f"{ours:,.1f}", "" if reference is None else f"{reference:,.1f}", f"{ratio:.2f}" if ratio else "")
        screen.add_row(name, unit, *numbers)
    return screen
