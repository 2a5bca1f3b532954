"""Measure the latency of every candidate.

The table is for this device. `oneshot search` takes it with
cost=latency cost.table=FILE.

Examples:
    oneshot latency batch=1 dtype=float32
    oneshot latency device=cuda space=nasbench201 out=FILE.json
"""

from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from ...cost import LatencyTable, measure_latency
from ...errors import InputError
from ...runs.files import write_text
from ..limits import POOR
from ..objects import new_file, prepare, read_device, space_and_data
from ..screen import cell, next_command, say


def main(config: DictConfig) -> None:
    """Measure all candidates, write the table to a new JSON file and show it."""
    console = Console()
    prepare(config)
    device = read_device(config.device)
    out = new_file(config, "latency")
    space, data = space_and_data(config)
    table = measure_latency(
        space,
        data.image_shape,
        device,
        config.dtype,
        config.batch,
        repeats=config.repeats,
        warmup=config.warmup,
        networks=config.networks,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, table.to_json())
    console.print(candidate_table(table))
    say(console, [f"{table.device}, {table.dtype}, batch {table.batch}", *networks(table, out), f"written to {out}"])
    say(console, [f"next: {next_command('search', 'cost.table', out, more=['cost=latency', *limit(table)])}"])


def networks(table: LatencyTable, path: Path) -> list[str]:
    """Return lines with the latencies of the whole networks of a table, and how well it predicts them."""
    if not table.networks:
        return []
    found = sorted(row["median_ms"] for row in table.networks)
    lines = [f"{len(found)} whole networks: {found[0]:.3g} to {found[-1]:.3g} ms"]
    try:
        fixed, scale, error = table.fit(str(path))
    except InputError as unfit:
        return [*lines, f"warning: {unfit}"]
    predicted = f"predicted as {fixed:.3g} ms + {scale:.3g} x the sum over the candidates"
    poor = ["warning: a limit cannot be kept with these errors; measure again where nothing else runs"]
    return [*lines, f"{predicted}; largest error {100 * error:.0f} %", *(poor if error > POOR else [])]


def limit(table: LatencyTable) -> list[str]:
    """Return a limit to begin with, in the middle of the latencies of the whole networks; empty without networks."""
    found = sorted(row["median_ms"] for row in table.networks)
    return [f"cost.limit={(found[0] + found[-1]) / 2:.2g}ms"] if found else []


def candidate_table(table: LatencyTable) -> Table:
    """Return a table with one row for each candidate: its milliseconds, averaged over the choices."""
    screen = Table("candidate", "ms", "spread")
    for name in dict.fromkeys(name for row in table.rows.values() for name in row):
        rows = [row[name] for row in table.rows.values() if name in row]
        means = (sum(row[key] for row in rows) / len(rows) for key in ("median_ms", "spread_ms"))
        screen.add_row(cell(name), *(f"{mean:.3f}" for mean in means))
    return screen
