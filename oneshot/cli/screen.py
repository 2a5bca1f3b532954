"""What the scripts print at their end: the architecture, the paths written, the next command."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import networkx as nx
from rich.console import Console
from rich.table import Table

from ..architecture import Architecture
from ..runs.folder import Run
from ..spaces import SearchSpace
from . import job
from .arguments import shown

PASSED_ON = ("experiment", "data", "trainer", "logger", "seed", "threads", "space")
SEARCH_ONLY = ("space.cells", "space.channels", "data.batch_size", "data.train_size", "data.architecture_fraction")


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


def summary(result: Mapping[str, object]) -> str:
    """The numbers of a result in one line."""
    parts = []
    for name, value in result.items():
        label = name.replace("_", " ")
        if isinstance(value, float) and name.endswith("accuracy"):
            parts.append(f"{label} {value:.2%}")
        elif isinstance(value, float):
            parts.append(f"{label} {value:.6g}")
        elif name == "peak_memory_bytes" and isinstance(value, int):
            parts.append(f"peak memory {value / 2**20:,.0f} MiB")
        elif isinstance(value, int):
            parts.append(f"{label} {value:,}")
    return ", ".join(parts)


def answered(run: Run, console: Console) -> bool:
    """Whether this run has finished before; its result is then shown."""
    result = run.result()
    if result is not None:
        say(console, [f"finished before: {run.path} (resume=false starts anew in a new folder)", summary(result)])
    return result is not None


def written(run: Run) -> str:
    """The run's folder and what is in it for the eye."""
    return f"written to {run.path}: {', '.join(sorted(p.name for p in run.path.iterdir() if p.name[0] != '.'))}"


def next_command(command: str, setting: str, path: Path, adopted: Sequence[str] = ()) -> str:
    """The command that goes on from here, with those of this run's settings that it shares.

    Args:
        command: Its name.
        setting: The setting that names what this run has left.
        path: Where that is.
        adopted: Settings that this run did not have from the command line.
    """
    shared = []
    for override in [*job.overrides(), *adopted]:
        key = override.partition("=")[0].lstrip("+~")
        if key.split(".")[0] in PASSED_ON and key not in SEARCH_ONLY:
            shared.append(override)
    return shlex.join([*job.program(), command, *job.flags, *shared, shown(setting, str(path))])
