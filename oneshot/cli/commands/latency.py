"""Measure the latency of every candidate.

The table is for this device. `oneshot search` takes it with
cost=latency cost.table=FILE.

Examples:
    oneshot latency batch=1 dtype=float32
    oneshot latency device=cuda space=nasbench201 out=FILE.json
"""

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from ...cost import LatencyTable, measure_latency
from ...runs.files import write_text
from ..objects import data_for, make, new_file, prepare, read_device
from ..screen import cell, next_command, say


def main(config: DictConfig) -> None:
    """Measure all candidates, write the table to a new JSON file and show it."""
    console = Console()
    prepare(config)
    device = read_device(config.device)
    out = new_file(config, "latency")
    data = data_for(config)
    space = make(config.space, image_shape=data.image_shape, classes=data.classes)
    table = measure_latency(
        space, data.image_shape, device, config.dtype, config.batch, repeats=config.repeats, warmup=config.warmup
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, table.to_json())
    console.print(candidate_table(table))
    say(console, [f"{table.device}, {table.dtype}, batch {table.batch}", f"written to {out}"])
    say(console, [f"next: {next_command('search', 'cost.table', out, more=['cost=latency'])}"])


def candidate_table(table: LatencyTable) -> Table:
    """Return a table with one row for each candidate: its milliseconds, averaged over the choices."""
    screen = Table("candidate", "ms", "spread")
    for name in dict.fromkeys(name for row in table.rows.values() for name in row):
        rows = [row[name] for row in table.rows.values() if name in row]
        means = (sum(row[key] for row in rows) / len(rows) for key in ("median_ms", "spread_ms"))
        screen.add_row(cell(name), *(f"{mean:.3f}" for mean in means))
    return screen
