"""Compare architects: search and retrain with each and every seed, one table and one picture."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from launch import CONF, run_folder, script
from omegaconf import DictConfig
from rich.console import Console
from screen import say

from oneshot import plots
from oneshot.analysis import mean_interval
from oneshot.errors import InputError, check_integer, unknown
from oneshot.runs import write_text

RANDOM = "random"
COLUMNS = {  # of the table: name -> (result, scale, format)
    "test accuracy, %": ("test_accuracy", 100.0, ".2f"),
    "search, s": ("seconds", 1.0, ".0f"),
    "peak memory, MiB": ("peak_memory_bytes", 2.0**-20, ".0f"),
    "parameters": ("parameters", 1.0, ",.0f"),
}


@script("compare")
def main(config: DictConfig) -> None:
    known = [*(path.stem for path in (CONF / "architect").glob("*.yaml")), RANDOM]
    for name in config.architects:
        if name not in known:
            raise unknown("architect", name, known)
    for seed in config.seeds:
        check_integer("seeds", seed, 0)
    console = Console()
    folder = run_folder(config, "compare")
    results = []
    for seed in config.seeds:
        for name in config.architects:
            results.append(compare_one(name, seed, config, folder, console))
    write_text(folder / "results.json", json.dumps(results, indent=2) + "\n")
    text = table(results)
    write_text(folder / "table.md", text)
    by_name: dict[str, list[float]] = {}
    for result in results:
        by_name.setdefault(result["architect"], []).append(result["test_accuracy"])
    written = plots.save(plots.comparison(by_name), folder / "comparison")
    say(console, [text, f"written to {folder}: results.json, table.md, {', '.join(p.name for p in written)}"])


def compare_one(name: str, seed: int, config: DictConfig, folder: Path, console: Console) -> dict[str, Any]:
    """Search and retrain with one architect and seed. Finished jobs are read, not repeated."""
    shared = [*config.settings, f"seed={seed}"]
    path = folder / name / str(seed)
    search: Mapping[str, Any] = {}
    architecture = RANDOM
    if name != RANDOM:
        search = job("search.py", [f"architect={name}", *shared, *config.search], path / "search", console)
        architecture = str(path / "search")
    retrain = job("retrain.py", [f"architecture={architecture}", *shared, *config.retrain], path / "retrain", console)
    return {
        "architect": name,
        "seed": seed,
        "test_accuracy": retrain["test_accuracy"],
        "seconds": search.get("seconds"),
        "peak_memory_bytes": search.get("peak_memory_bytes"),
        "parameters": retrain["parameters"],
        "architecture": retrain["architecture"],
    }


def job(script: str, arguments: Sequence[str], out: Path, console: Console) -> dict[str, Any]:
    """Run a script in a process of its own, so that its peak memory is its own; returns its result.json."""
    result = out / "result.json"
    if not result.is_file():
        say(console, [" ".join([script, *arguments])])
        command = [sys.executable, str(Path(__file__).with_name(script)), *arguments, f"out={out}"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            reason = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise InputError(f"{script} {' '.join(arguments)}: {reason[-1]}")
    return json.loads(result.read_text(encoding="utf-8"))


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """A Markdown table: a row an architect, mean and 95 % interval of the accuracy, means of the rest."""
    lines = [f"| architect | {' | '.join(COLUMNS)} |", f"|---{'|---' * len(COLUMNS)}|"]
    for name in dict.fromkeys(result["architect"] for result in results):
        rows = [result for result in results if result["architect"] == name]
        cells = []
        for key, scale, shown in COLUMNS.values():
            values = [row[key] * scale for row in rows if row[key] is not None]
            mean, half = mean_interval(values) if values else (None, None)
            interval = f" ± {half:{shown}}" if key == "test_accuracy" and len(values) > 1 else ""
            cells.append("" if mean is None else f"{mean:{shown}}{interval}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
