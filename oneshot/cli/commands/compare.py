"""Compare architects over several seeds.

Every architect is searched and retrained with every seed.
The results are one table and one picture.

Examples:
    oneshot compare 'architects=[darts,snas,random,largest]' seeds=[0,1,2]
    oneshot compare "settings=['space.channels=8']" out=FOLDER
"""

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from rich.console import Console

from ... import plots
from ...errors import InputError, check_integer
from ...quantity import of_result
from ...runs.folder import Run, read_result
from ...statistics import mean_interval
from .. import job as running
from ..check import ALL, RANDOM
from ..conf import choices
from ..faults import BAD_INPUT
from ..folders import FREE, run_folder
from ..jobs import run_script, wait_for
from ..screen import say

SETTINGS = ("settings", "search_settings", "retrain_settings")
COLUMNS = {  # of the table, after the test metric: name -> (result, scale, format)
    "search, s": ("seconds", 1.0, ".0f"),
    "peak memory, MiB": ("peak_memory_bytes", 2.0**-20, ".0f"),
    "parameters": ("parameters", 1.0, ",.0f"),
}


def main(config: DictConfig) -> None:
    """Run all searches and retrainings, write table and picture and show the table."""
    if config.architects == ALL:
        config.architects = [*architects(), RANDOM]
    check(config)
    console = Console()
    settings = OmegaConf.to_yaml(config, resolve=True)
    with Run(run_folder(config, "compare"), settings, config.resume, (*FREE, "architects", "seeds")) as run:
        results = [
            compare_one(name, seed, config, run.path, console) for seed in config.seeds for name in config.architects
        ]
        run.write("results.json", json.dumps(results, indent=2) + "\n")
        text = table(results)
        run.write("table.md", text)
        written = plots.save(plots.comparison(columns(results)), run.path / "comparison")
        run.finish({"jobs": len(results)})
    say(console, [text, f"written to {run.path}: results.json, table.md, {', '.join(p.name for p in written)}"])


def architects() -> list[str]:
    """Return the names of the architects in conf/ and in the user's folders of settings."""
    return list(choices("architect", running.folders()))


def check(config: DictConfig) -> None:
    """Check the settings.

    Raises:
        InputError: If one is not a list of known architects, of seeds or of settings.
    """
    for key in ("architects", "seeds", *SETTINGS):
        if OmegaConf.is_missing(config, key):
            raise InputError(f"{key}: must be given, {key}=[...]")
        if not isinstance(config[key], ListConfig):
            raise InputError(f"{key}={config[key]!r}: must be a list, as {key}=[...]")
    if config.out is not None and not (isinstance(config.out, str) and config.out):
        raise InputError(f"out={config.out!r}: must be the path of a folder")
    for seed in config.seeds:
        check_integer("seeds", seed, 0, 2**32 - 1)
    for key in ("architects", "seeds"):
        if not config[key] or len(set(config[key])) < len(config[key]):
            raise InputError(f"{key}={list(config[key])}: must hold at least one, and each once")
    for key in SETTINGS:
        for setting in config[key]:
            if not isinstance(setting, str) or "=" not in setting:
                raise InputError(f"{key}: {setting!r} is no setting; as \"{key}=['epochs=2']\"")


def compare_one(name: str, seed: int, config: DictConfig, folder: Path, console: Console) -> dict[str, Any]:
    """Search and retrain with one architect and one seed, and return the row of the results.

    Finished jobs are read, not repeated.
    """
    shared = [*config.settings, f"seed={seed}"]
    path = folder / name / str(seed)
    search: Mapping[str, Any] = {}
    architecture = RANDOM
    if name != RANDOM:
        search = job("search", [f"architect={name}", *shared, *config.search_settings], path / "search", console)
        architecture = str(path / "search")
    settings = [f"architecture={architecture}", *shared, *config.retrain_settings]
    retrain = job("retrain", settings, path / "retrain", console)
    metric = of_result(retrain)
    return {
        "architect": name,
        "seed": seed,
        f"test_{metric.name}": retrain[f"test_{metric.name}"],
        "metric": metric._asdict(),
        "seconds": search.get("seconds"),
        "peak_memory_bytes": search.get("peak_memory_bytes"),
        "parameters": retrain["parameters"],
        "architecture": retrain["architecture"],
    }


def job(script: str, arguments: Sequence[str], out: Path, console: Console) -> dict[str, Any]:
    """Run a command in a process of its own, so that its peak memory is its own, and return its result.json.

    A job that was cut off is continued; a finished job is only read. The process ends when this one ends. If it fails,
    this process ends with the same line and exit code.

    Args:
        script: Name of the command.
        arguments: Its settings, without out=.
        out: Folder of its run.
        console: Where the command line is shown.

    Raises:
        InputError: If the job refuses its settings or leaves no result.
    """
    wait_for(out)
    if read_result(out) is None:
        say(console, [shlex.join(["oneshot", script, *arguments])])
        code, line = run_script(script, arguments, out, out.parents[2].name)  # out: COMPARISON/ARCHITECT/SEED/KIND
        if code:
            reason = f"{shlex.join(['oneshot', script, *arguments])}: {line}"
            if code == BAD_INPUT:
                raise InputError(reason)
            print(f"error: {reason}", file=sys.stderr)
            sys.exit(abs(code))
    result = read_result(out)
    if result is None:
        raise InputError(f"{out}: holds no result")
    return result


def shown_columns(results: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, float, str]]:
    """Return the columns of the table, as in COLUMNS, with the test metric first."""
    metric = of_result(results[0])
    return {metric.titled("test"): (f"test_{metric.name}", metric.scale, metric.format), **COLUMNS}


def columns(results: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, list[float]]]:
    """Return column -> architect -> values of its seeds. The list is empty if the architect has no such value."""
    names = list(dict.fromkeys(result["architect"] for result in results))
    by_column: dict[str, dict[str, list[float]]] = {}
    for column, (key, scale, _) in shown_columns(results).items():
        by_column[column] = {name: [] for name in names}
        for result in results:
            if result[key] is not None:
                by_column[column][result["architect"]].append(result[key] * scale)
    return by_column


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """Return a Markdown table with a row for each architect: mean metric with a 95 % interval, other means."""
    by_column, shown_by = columns(results), shown_columns(results)
    lines = [f"| architect | {' | '.join(shown_by)} |", f"|---{'|---' * len(shown_by)}|"]
    for name in next(iter(by_column.values())):
        cells = []
        for n, (column, (_, _, shown)) in enumerate(shown_by.items()):
            values = by_column[column][name]
            mean, half = mean_interval(values) if values else (None, None)
            interval = f" ± {half:{shown}}" if n == 0 and len(values) > 1 else ""
            cells.append("" if mean is None else f"{mean:{shown}}{interval}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
