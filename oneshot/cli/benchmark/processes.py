"""A benchmark that runs in several processes of its own, as figures differ from process to process."""

import statistics
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from ...errors import InputError, check_integer, unknown
from ...runs.files import parse_json, read_given
from .. import job
from ..jobs import run_script
from .measurements import Figure

KEPT, RETURNED, BOTH = FREED_MEMORY = ("kept", "returned", "both")


def check_processes(config: DictConfig) -> None:
    """Check the settings of the processes.

    Args:
        config: The settings of `oneshot benchmark`.

    Raises:
        InputError: If one is out of range.
    """
    check_integer("processes", config.processes, 1, 1000)
    if config.freed_memory not in FREED_MEMORY:
        raise unknown("freed_memory", str(config.freed_memory), FREED_MEMORY)


def several(config: DictConfig) -> bool:
    """Return whether processes of its own are started for a benchmark with these settings."""
    return config.processes > 1 or config.freed_memory == BOTH


def figures_of_all(config: DictConfig, console: Console) -> list[Figure]:
    """Return the figures of processes that run one after the other: medians, with the range of the ratios.

    With `both`, those of processes that return freed memory end with (returned); they are the times alone.

    Args:
        config: The settings of `oneshot benchmark`.
        console: Shows which process runs.

    Raises:
        InputError: If a process ends with an error.
    """
    found: list[Figure] = []
    for memory in (KEPT, RETURNED) if config.freed_memory == BOTH else (config.freed_memory,):
        runs = []
        for number in range(1, config.processes + 1):
            with console.status(f"process {number} of {config.processes}, freed memory {memory}"):
                runs.append(_figures_of_one(memory))
        figures = list(combined(runs))
        if config.freed_memory == BOTH and memory == RETURNED:  # of what freed memory matters to
            figures = [f._replace(name=f"{f.name} ({RETURNED})") for f in figures if f.unit == "ms" and f.ratio]
        found += figures
    return found


def _figures_of_one(memory: str) -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "report.json")
        words = [*job.own_overrides(), "processes=1", f"freed_memory={memory}"]
        code, said = run_script("benchmark", [w for w in words if job.names(w) != "out"], out, "benchmark")
        if code:
            raise InputError(f"a process of the benchmark ended with code {code}: {said}")
        return [Figure(**figure) for figure in parse_json(read_given(out))["figures"]]


def combined(runs: Sequence[Sequence[Figure]]) -> Iterator[Figure]:
    """Yield the medians of each figure, with the lowest and the highest ratio.

    Args:
        runs: The same figures of each process.
    """
    for same in zip(*runs, strict=True):
        ours, reference, ratio, low, high = statistics.median(figure.ours for figure in same), None, None, None, None
        if references := [figure.reference for figure in same if figure.reference is not None]:
            reference = statistics.median(references)
        if ratios := [figure.ratio for figure in same if figure.ratio is not None]:
            ratio, low, high = statistics.median(ratios), min(ratios), max(ratios)
        yield Figure(same[0].name, same[0].unit, ours, reference, ratio, low, high)
