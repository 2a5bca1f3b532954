"""What commands print at their end: the architecture, the numbers, the written files, the next command."""

import os
import shlex
import textwrap
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import networkx as nx
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ..architecture import Architecture
from ..errors import printable, visible
from ..fitting.progress import clock
from ..quantity import ACCURACY, Quantity, of_result, others_of
from ..report.summaries import ended_early
from ..runs.folder import Run
from ..spaces import SearchSpace
from ..tables.published import LONG, SHORT, TABLE, TEST_ACCURACY, TEST_RANK, VALIDATION_ACCURACY, VALIDATION_RANK
from . import job
from .arguments import shown
from .conf import choices
from .controls import control_rows

TRAINING = ("experiment", "data", "task", "metric", "criterion", "trainer", "logger", "seed", "threads", "space")
# command -> settings of this run that it takes over when it comes next
PASSED_ON = {"search": TRAINING, "retrain": TRAINING, "evaluate": ("logger", "threads")}
SEARCH_ONLY = ("space.cells", "space.channels", "data.train_size", "data.architecture_fraction")
HELD_OUT = "data.test_fraction=0.2"
WIDTH = 80  # columns
NAME = 80  # characters of a table's name from a file


def architecture_table(space: SearchSpace, architecture: Architecture) -> Table:
    """Return a table with a row for each node and a column for each cell: the operations that enter the node."""
    graphs = space.graphs(architecture)
    table = Table("node", *map(escape, map(printable, graphs)))
    nodes = dict.fromkeys(node for graph in graphs.values() for node in graph if _entering(graph, node))
    for node in nodes:
        columns = []
        for graph in graphs.values():
            columns.append("\n".join(printable(f"{name} of {source}") for source, name in _entering(graph, node)))
        table.add_row(cell(node), *map(Text, columns))
    return table


def _entering(graph: nx.DiGraph, node: str) -> list[tuple[str, str]]:
    """The edges into a node that have an operation: (source, operation)."""
    edges = graph.in_edges(node, data="operation") if node in graph else []
    return [(source, name) for source, _, name in edges if name]


def cell(text: str) -> Text:
    """Return a name, perhaps from a stranger, as a cell of a table: its brackets are no markup."""
    return Text(printable(text))


def csv_cell(text: str) -> str:
    """Return a name, perhaps from a stranger, as a cell of a CSV file that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def say(console: Console, lines: Iterable[str]) -> None:
    """Print lines as they are, without wrapping and colours."""
    for line in lines:
        console.print(
            "\n".join(map(visible, line.split("\n"))), markup=False, emoji=False, highlight=False, soft_wrap=True
        )


PARTS = {  # what a metric was measured on -> its label on the screen
    "valid": "supernet, validation {}",
    "found_valid": "found network inside the supernet, not retrained",
    "validation": "validation {}",
    "test": "test {}",
    "best": "best {}",
}
SIZES = ("parameters", "multiply_accumulates")
LABELS = {  # number of a result, or the name of a table -> its label on the screen
    TABLE: "the cell in a published table",
    VALIDATION_ACCURACY: f"  validation accuracy after {SHORT} epochs",
    VALIDATION_RANK: "  its rank, 1 is best",
    TEST_ACCURACY: f"  test accuracy after {LONG} epochs",
    TEST_RANK: "  its rank, 1 is best",
    "control_seconds": "  time of this comparison",
    "parameters": "parameters of the network",
    "multiply_accumulates": "multiply-accumulates for one image",
    "expected_cost": "expected cost that the search paid for",
    "discretized_cost": "the same cost of the found network",
    "search_seconds": "time of the queries",
    "supernet_seconds": "time of the supernet's training",
    "seconds": "time in all",
    "process_seconds": "time of the processor, all threads",
    "peak_memory_bytes": "peak memory",
}


def summary(result: Mapping[str, object]) -> str:
    """Return the numbers of a result, one in each line."""
    measured: dict[str, tuple[str, Quantity]] = {}  # name of a number -> its label and what it is
    for one in (ACCURACY, *others_of(result), of_result(result)):  # the last of a name counts
        for part, label in PARTS.items():
            measured[f"{part}_{one.name}"] = label.format(one.label), one
    rows, limit = [], result.get("limit")
    for name, value in result.items():
        if name == "controls":
            rows += control_rows(result)
        label, quantity = measured.get(name, (LABELS.get(name, name.replace("_", " ")), None))
        if name in SIZES and isinstance(limit, dict) and limit.get("final"):  # whose network has other sizes
            label += ", with the search's sizes"
        rows.append((label, _number(name, value, quantity)))
    rows.append(("ended early", ended_early(result)))
    shown = [(label, text) for label, text in rows if text]
    width = max((len(label) for label, _ in shown), default=0)
    return "\n".join(f"{label:{width}}  {text}" for label, text in shown)


def _number(name: str, value: object, quantity: Quantity | None) -> str:
    """A number with its unit, and the name of a table; an empty text for anything else."""
    if name == TABLE and isinstance(value, str):
        return value[:NAME]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    if quantity:
        return quantity.text(value)
    if name in (VALIDATION_ACCURACY, TEST_ACCURACY):
        return ACCURACY.text(value)
    if name.endswith("seconds"):
        return f"{clock(value)} ({value:.1f} s)"
    if name == "peak_memory_bytes":
        return f"{value / 2**20:,.0f} MiB"
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"


def started(file: str, new: Sequence[str], outputs: int) -> list[str]:
    """Return a line about the weights that a run starts from.

    Args:
        file: The file.
        new: Names of the tensors that are not from the file.
        outputs: Number of logits.
    """
    kept = f"; new, for {outputs} logits: {', '.join(new)}" if new else ""
    return [f"starts from the weights of {file}{kept}"]


def answered(run: Run, console: Console) -> bool:
    """Return whether this run finished before, and show its result if it did."""
    result = run.result()
    if result is not None:
        say(console, [f"finished before: {run.path} (resume=false starts anew in a new folder)", summary(result)])
    return result is not None


def written(run: Run) -> str:
    """Return lines with the folder of the run and the files in it."""
    names = sorted(path.name for path in run.path.iterdir() if path.name[0] != ".")
    kept = [name for name in names if name.endswith((".json", ".png", ".safetensors", ".csv", ".onnx", ".pt2"))]
    more = f" and {len(names) - len(kept)} more" if len(kept) < len(names) else ""
    listed = textwrap.fill(", ".join(kept) + more, WIDTH, initial_indent="  ", subsequent_indent="  ")
    return f"written to {run.path}:\n{listed}"


def next_command(
    command: str,
    setting: str,
    path: Path,
    adopted: Sequence[str] = (),
    more: Sequence[str] = (),
    dropped: Collection[str] = (),
) -> str:
    """Return the command that comes next, with the settings of this run that it needs too.

    Args:
        command: Its name.
        setting: Its setting for the result of this run.
        path: Path of this result.
        adopted: Settings of this run that did not come from its command line.
        more: Other settings of the next command.
        dropped: Settings of this run that mean something else there.
    """
    shared = []
    left = (*SEARCH_ONLY, *dropped, setting)
    for override in [*job.overrides(), *adopted]:
        key = job.names(override)
        if key.split(".")[0] in PASSED_ON[command] and key not in left:
            shared.append(override)
    words = [*job.program(), command, *job.flags, *shared, *more, shown(setting, str(path))]
    return " ".join(map(typed, words))


def same_command(command: str, setting: str, value: str, dropped: Collection[str] = ()) -> str:
    """Return this command with another value of one setting, to be run in a folder of its own.

    Args:
        command: Its name.
        setting: The setting.
        value: Its value there.
        dropped: Other settings of this run that are left out.
    """
    left = (setting, "out", "resume", *dropped)
    kept = [override for override in job.overrides() if job.names(override) not in left]
    return " ".join(map(typed, [*job.program(), command, *job.flags, *kept, shown(setting, value)]))


def could_name_code() -> list[str]:
    """Return the settings of space and data that an evaluation takes from its own command line alone.

    These are those of a space or data set that is not the package's, and of one with a setting that makes an object.
    """
    found = []
    for group in ("space", "data"):
        own = [word for word in job.overrides() if job.names(word).partition(".")[0] == group]
        makes = [word for word in own if word.partition("=")[2].startswith("{") or "_target_" in job.names(word)]
        choice = job.choices().get(group)
        if choice and (makes or choice not in choices(group)):
            found += [f"{group}={choice}", *makes]
    return found


def held_out_next(about: Iterable[str], source: str | None) -> tuple[list[str], list[str]]:
    """Return what a training needs where a search had no test images: lines for the reader, and settings.

    Args:
        about: Lines that say what the data are.
        source: Where they are; None for data without such a setting.
    """
    if source is None or not any("without test images" in line for line in about):
        return [], []
    line = (
        "these data have no test images, so the next command holds out a fifth. This run has seen it: the test will be "
        f"too good. A run with {HELD_OUT} from the start does not see it"
    )
    return [line], [HELD_OUT]


def typed(word: str) -> str:
    """Return a word as a shell reads it, with what cannot be printed as escapes.

    Args:
        word: The word. Bytes of a path that are no UTF-8 are surrogates in it, as Python has them.
    """
    if word.isprintable():
        return shlex.quote(word)
    escaped = ("".join(f"\\x{byte:02x}" for byte in os.fsencode(c)) if not c.isprintable() else c for c in word)
    return "$'" + "".join("\\'" if part == "'" else "\\\\" if part == "\\" else part for part in escaped) + "'"
