"""Compare strategies over several seeds.

Every strategy searches with every seed over one estimator.
The results are one table and a plot of regret over queries.

Examples:
    oneshot compare-strategies experiment=nb201_cifar10 strategies=all seeds=20
    oneshot compare-strategies 'strategies=[evolution,tpe]' seeds=10 space=nasbench201
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig
from rich.console import Console

from ... import plots
from ...baseline import Baseline, Budget, check_needs
from ...errors import InputError, check_integer, check_range
from ...estimators import LoggedEstimator, Priced, Tabular
from ...fitting.progress import QueryBar
from ...runs.files import make_folder, read_text, write_text
from ...runs.folder import Run, read_json, read_result
from ...spaces import SearchSpace
from ...statistics import mean_interval
from .. import job
from ..conf import choices, load
from ..estimates import EstimatorFactory, known_scores, wanted
from ..folders import run_folder
from ..objects import make, prepare, score_name, space_and_data, trainer_for
from ..recorder import open_run
from ..screen import say, written
from ..supernets import take_settings

ALL = "all"
KEYS = {"strategy", "seed", "seconds", "test_accuracy", "test_regret", "regret"}  # in the file of a finished search


def main(config: DictConfig) -> None:
    """Run all strategies, write table and plot and show the table."""
    console = Console()
    prepare(config)
    nodes = check(config)
    take_settings(config)
    estimated = config.get("estimator") or config.reference
    space, data = space_and_data(config, console)
    if wanted(config.reference) - {"space"}:
        raise InputError(f"reference: is {config.reference._target_}; must be a table, estimator@reference=tabular")
    metric = score_name(config, data)
    table = make(config.reference, space=space)
    cost = make(config.cost, space=space) if config.cost else None
    for node in nodes.values():
        check_needs(make(node, space=space, metric=metric), known_scores(config, estimated, data))
    found = {name: architecture_of(name, space, table) for name in config.runs}
    trainer_for(config, console)
    path = run_folder(config, "compare_strategies")
    parts = EstimatorFactory(config, space, data, path)
    estimator = parts.estimator(config.estimator) if config.get("estimator") else table
    answering = Priced(estimator, space, cost) if cost else estimator
    with open_run(config, path) as run:
        if run.result() is not None:
            say(console, [f"finished before: {run.path}", read_text(run.path / "table.md")])
            return
        more = parts.train(run, console)
        results = []
        for name, node in nodes.items():
            for seed in range(config.seeds):
                file = run.path / name / f"{seed}.json"
                if not set(read_json(file)) >= KEYS:
                    strategy = make(node, space=space, seed=seed, metric=metric)
                    make_folder(file.parent)
                    answers = LoggedEstimator(answering, space, file.with_suffix(".jsonl"), config.failures)
                    search(Baseline(strategy, answers, Budget(config.queries)), table, name, seed, file, console)
                results.append(read_json(file))
            last = _numbers([row["regret"][-1] for row in results[-config.seeds :]])
            say(console, [f"{name}: {config.seeds} seeds, validation regret {interval(last)}"])
        write_results(results, found, more, config, run, console)


def check(config: DictConfig) -> dict[str, DictConfig]:
    """Check the settings and return the settings of each strategy by name.

    Raises:
        InputError: If a setting is not as conf/compare_strategies.yaml describes it.
    """
    known = choices("strategy", job.folders())
    if config.strategies == ALL:
        config.strategies = list(known)
    for key in ("strategies", "runs", "regret_at"):
        if not isinstance(config[key], ListConfig):
            raise InputError(f"{key}={config[key]!r}: must be a list, as {key}=[...]")
    check_integer("seeds", config.seeds, 1, 100_000)
    check_integer("queries", config.queries, 1)
    check_range("failures", config.failures, 0.0, 1.0)
    if not config.strategies or len(set(config.strategies)) < len(config.strategies):
        raise InputError(f"strategies={list(config.strategies)}: must hold at least one, and each once")
    for at in config.regret_at:
        check_integer("regret_at", at, 1)
    nodes = {}
    for name in config.strategies:
        node = load(known[name])
        assert isinstance(node, DictConfig)
        nodes[name] = node
    return nodes


def architecture_of(run: str, space: SearchSpace, table: Tabular) -> dict[str, Any]:
    """Return what a search found, what the table knows of it, and how many seconds the search took.

    Args:
        run: Folder of the finished search.
        space: The search space.
        table: The table of accuracies.

    Raises:
        InputError: If the folder holds no finished run.
    """
    result = read_result(Path(run))
    if result is None:
        raise InputError(f"runs: {run} is no finished run")
    found = space.load(Path(run, "architecture.json"))
    return {"notation": space.notation(found), "seconds": result["seconds"], **table.report(found)}


def search(baseline: Baseline, table: Tabular, name: str, seed: int, file: Path, console: Console) -> None:
    """Search with one strategy and one seed. The file is written last and marks this search as finished."""
    with QueryBar(console, baseline.total, f"{name}, seed {seed}: ") as bar:
        baseline.record = lambda row: bar.show(row["step"], baseline.done, baseline.strategy.metric, row.get("best"))
        found = baseline.run()
    reached = [table.report(best)["validation_regret"] if best else None for best in baseline.incumbents]
    row = {
        "strategy": name,
        "seed": seed,
        "notation": baseline.strategy.space.notation(found),
        "best": baseline.best_score,
        "seconds": baseline.answers.rows[-1]["elapsed"],
        **table.report(found),
        "regret": reached,
    }
    write_text(file, json.dumps(row) + "\n", root=file.parent.parent)


def write_results(
    results: Sequence[Mapping[str, Any]],
    found: Mapping[str, Mapping[str, Any]],
    more: Mapping[str, Any],
    config: DictConfig,
    run: Run,
    console: Console,
) -> None:
    """Write table, plot and result of all strategies, and show the table."""
    by_name: dict[str, list[Mapping[str, Any]]] = {}
    for result in results:
        by_name.setdefault(result["strategy"], []).append(result)
    columns = [n for n in config.regret_at if n <= config.queries]
    text = table_of(by_name, found, more.get("supernet_seconds", 0.0), columns)
    run.write("table.md", text)
    curves = {name: [_numbers(row["regret"]) for row in rows] for name, rows in by_name.items()}
    quantity = "validation regret, percentage points"
    plots.save(plots.anytime(curves, quantity, logarithmic=True), run.path / "regret")
    run.finish({"results": [{k: v for k, v in result.items() if k != "regret"} for result in results], **more})
    say(console, [text, written(run)])


def table_of(
    by_name: Mapping[str, Sequence[Mapping[str, Any]]],
    found: Mapping[str, Mapping[str, Any]],
    supernet_seconds: float,
    queries: Sequence[int],
) -> str:
    """Return a Markdown table with a row for each strategy: means and 95 % intervals over its seeds.

    Args:
        by_name: The results of each strategy, one for each seed.
        found: What other runs found; these rows come last.
        supernet_seconds: Seconds of the supernet's training, added to those of each strategy.
        queries: Numbers of queries at which the regret is shown.
    """
    heads = [f"regret at {n}" for n in queries] + ["test accuracy, %", "test regret", "seconds"]
    lines = [f"| strategy | {' | '.join(heads)} |", f"|---{'|---' * len(heads)}|"]
    for name, rows in by_name.items():
        cells = [interval(_numbers([row["regret"][n - 1] for row in rows])) for n in queries]
        cells += [
            interval([100 * row["test_accuracy"] for row in rows]),
            interval([row["test_regret"] for row in rows]),
        ]
        seconds = supernet_seconds + sum(row["seconds"] for row in rows) / len(rows)
        lines.append(f"| {name} | {' | '.join(cells)} | {seconds:.1f} |")
    for name, row in found.items():
        cells = ["" for _ in queries] + [f"{100 * row['test_accuracy']:.2f}", f"{row['test_regret']:.2f}"]
        lines.append(f"| {Path(name).name} | {' | '.join(cells)} | {row['seconds']:.1f} |")
    return "\n".join(lines) + "\n"


def _numbers(values: Sequence[float | None]) -> list[float]:
    """Replace None by NaN. There is no value before the first query that could be scored."""
    return [math.nan if value is None else value for value in values]


def interval(values: Sequence[float]) -> str:
    """Return the mean and half the width of its 95 % interval, as text."""
    mean, half = mean_interval(values)
    return f"{mean:.2f}" if math.isnan(half) else f"{mean:.2f} ± {half:.2f}"
