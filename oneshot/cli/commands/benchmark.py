"""Time the supernet against the papers' plain loops.

Measured are the steps of every architect, memory, operations and overheads.
The reference is a loop of this package that computes one candidate after the
other, as the papers' code does.

--quick is short for quick=true.

Examples:
    oneshot benchmark --quick
    oneshot benchmark 'architects=[darts,snas]' threads=2 out=FILE.json
    oneshot benchmark 'architects=[darts]' processes=5 freed_memory=both
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
from ..benchmark.processes import check_processes, figures_of_all, several
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
    check_processes(config)
    bench = Benchmark(config, device)  # checks the settings
    figures = figures_of_all(config, console) if several(config) else list(bench.figures(console))
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
    for figure in figures:
        reference = "" if figure.reference is None else f"{figure.reference:,.1f}"
        ratio = f"{figure.ratio:.2f}" if figure.ratio else ""
        if figure.low is not None and figure.low != figure.high:
            ratio += f" ({figure.low:.2f} to {figure.high:.2f})"
        screen.add_row(figure.name, figure.unit, f"{figure.ours:,.1f}", reference, ratio)
    return screen
