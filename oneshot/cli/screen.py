"""What the scripts print at their end: the architecture, the paths written, the next command."""

import shlex
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import networkx as nx
from rich.console import Console
from rich.table import Table

from ..architecture import Architecture
from ..fitting.progress import clock
from ..runs.folder import Run
from ..spaces import SearchSpace
from . import job
from .arguments import shown

TRAINING = ("experiment", "data", "trainer", "logger", "seed", "threads", "space")
PASSED_ON = {"search": TRAINING, "retrain": TRAINING, "evaluate": ("logger", "threads")}  # settings of the next command
SEARCH_ONLY = ("space.cells", "space.channels", "data.batch_size", "data.train_size", "data.architecture_fraction")
WIDTH = 80  # columns


def architecture_table(space: SearchSpace, architecture: Architecture) -> Table:
    """A row a node, a column a cell: the operations that enter the node and where they come from."""
    graphs = space.graphs(architecture)
    table = Table("node", *graphs)
    nodes = dict.fromkeys(node for graph in graphs.values() for node in graph if _entering(graph, node))
    for node in nodes:
        columns = []
        for graph in graphs.values():
            columns.append("\n".join(f"{name} of {source}" for source, name in _entering(graph, node)))
        table.add_row(node, *columns)
    return table


def _entering(graph: nx.DiGraph, node: str) -> list[tuple[str, str]]:
    """The edges into a node that have an operation: (source, operation)."""
    edges = graph.in_edges(node, data="operation") if node in graph else []
    return [(source, name) for source, _, name in edges if name]


def say(console: Console, lines: Iterable[str]) -> None:
    """Lines as they are: not wrapped, not coloured by their content."""
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


LABELS = {  # of the numbers of a result
    "valid_accuracy": "supernet, validation accuracy",
    "found_valid_accuracy": "found cell inside the supernet, not retrained",
    "test_accuracy": "test accuracy",
    "parameters": "parameters of the network",
    "multiply_accumulates": "multiply-accumulates for one image",
    "expected_cost": "expected cost that the search paid for",
    "discretized_cost": "the same cost of the found cell",
    "search_seconds": "time of the queries",
    "supernet_seconds": "time of the supernet's training",
    "seconds": "time in all",
    "peak_memory_bytes": "peak memory",
}


def summary(result: Mapping[str, object]) -> str:
    """The numbers of a result, a line each."""
    rows = [(LABELS.get(name, name.replace("_", " ")), _number(name, value)) for name, value in result.items()]
    shown = [(label, text) for label, text in rows if text]
    width = max((len(label) for label, _ in shown), default=0)
    return "\n".join(f"{label:{width}}  {text}" for label, text in shown)


def _number(name: str, value: object) -> str:
    """A number with its unit; nothing for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    if name.endswith("accuracy") or name == "best_accuracy":
        return f"{100 * value:.2f} %"
    if name.endswith("seconds"):
        return f"{clock(value)} ({value:.1f} s)"
    if name == "peak_memory_bytes":
        return f"{value / 2**20:,.0f} MiB"
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"


def answered(run: Run, console: Console) -> bool:
    """Whether this run has finished before; its result is then shown."""
    result = run.result()
    if result is not None:
        say(console, [f"finished before: {run.path} (resume=false starts anew in a new folder)", summary(result)])
    return result is not None


def written(run: Run) -> str:
    """The run's folder and what is in it to read and to look at."""
    names = sorted(path.name for path in run.path.iterdir() if path.name[0] != ".")
    kept = [name for name in names if name.endswith((".json", ".png", ".safetensors", ".csv", ".onnx", ".pt2"))]
    more = f" and {len(names) - len(kept)} more" if len(kept) < len(names) else ""
    listed = textwrap.fill(", ".join(kept) + more, WIDTH, initial_indent="  ", subsequent_indent="  ")
    return f"written to {run.path}:\n{listed}"


def next_command(command: str, setting: str, path: Path, adopted: Sequence[str] = (), more: Sequence[str] = ()) -> str:
    """The command that goes on from here, with those of this run's settings that it shares.

    Args:
        command: Its name.
        setting: The setting that names what this run has left.
        path: Where that is.
        adopted: Settings that this run did not have from the command line.
        more: Settings that the next command needs besides.
    """
    shared = []
    for override in [*job.overrides(), *adopted]:
        key = job.names(override)
        if key.split(".")[0] in PASSED_ON[command] and key not in SEARCH_ONLY and key != setting:
            shared.append(override)
    return shlex.join([*job.program(), command, *job.flags, *shared, *more, shown(setting, str(path))])
