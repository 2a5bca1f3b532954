"""Strategies over a table: so quick that they run in the process of the comparison."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig
from rich.console import Console

from ...baseline import Baseline, Budget, check_needs
from ...estimators import LoggedEstimator, Priced, Tabular
from ...fitting.progress import QueryBar
from ...quantity import ACCURACY
from ...runs.files import make_folder, write_text
from ...runs.folder import read_json
from ...statistics import mean_interval
from ..objects import make

KEYS = {"decisions", "seconds", "regret"}  # in the file of a finished search


def search_table(
    node: DictConfig,
    table: Tabular,
    seed: int,
    queries: int,
    config: DictConfig,
    file: Path,
    console: Console,
) -> None:
    """Search a table with one strategy and one seed, or read what it has found before.

    Args:
        node: Settings of the strategy.
        table: Answers the queries.
        seed: Seed of the strategy.
        queries: Their number.
        config: The settings of the comparison.
        file: Where the result goes; it is written last and marks the search as finished. The queries are beside it.
        console: Where progress is shown.
    """
    if set(read_json(file)) >= KEYS:
        return
    metric = ACCURACY.name
    strategy = make(node, space=table.space, seed=seed, metric=metric)
    cost = make(config.cost, space=table.space) if config.cost else None
    check_needs(strategy, [metric, *(Priced.adds if cost else ())])
    make_folder(file.parent)
    answering = Priced(table, table.space, cost) if cost else table
    answers = LoggedEstimator(answering, table.space, file.with_suffix(".jsonl"), config.failures)
    baseline = Baseline(strategy, answers, Budget(queries))
    with QueryBar(console, baseline.total, f"{file.parent.name}, seed {seed}: ") as bar:
        baseline.record = lambda row: bar.show(row["step"], baseline.done, metric, row.get("best"))
        found = baseline.run()
    reached = [table.report(best)["validation_regret"] if best else None for best in baseline.incumbents]
    row = {"decisions": found.decisions, "seconds": baseline.answers.rows[-1]["elapsed"], "regret": reached}
    write_text(file, json.dumps(row) + "\n", root=file.parent.parent)


def regret_table(
    path: Path, names: Sequence[str], seeds: Sequence[int], at: Sequence[int]
) -> tuple[str, Mapping[str, list[list[float]]]]:
    """Return a Markdown table of the mean validation regret after some numbers of queries, and all curves by strategy.

    Args:
        path: Folder of the comparison.
        names: The strategies.
        seeds: Their seeds.
        at: Numbers of queries.
    """
    curves = {name: [_numbers(read_json(path / name / f"{seed}.json")["regret"]) for seed in seeds] for name in names}
    lines = [
        "**Validation regret of the best so far, percentage points**",
        "",
        f"| strategy | {' | '.join(f'{n} queries' for n in at)} |",
        f"|{'---|' * (1 + len(at))}",
    ]
    for name, own in curves.items():
        cells = [_interval([curve[n - 1] for curve in own]) for n in at]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n", curves


def _numbers(curve: Sequence[Any]) -> list[float]:
    return [float("nan") if value is None else value for value in curve]


def _interval(values: Sequence[float]) -> str:
    mean, half = mean_interval(list(values))
    return f"{mean:.2f}" if np.isnan(half) else f"{mean:.2f} ± {half:.2f}"
