"""Search with a method without gradients.

Scores come from a trained supernet, a table of accuracies, or short trainings.

Examples:
    oneshot baseline strategy=tpe budget.queries=200
    oneshot baseline supernet=RUN strategy=hill_climbing
    oneshot baseline space=nasbench201 estimator=tabular estimator.table=FILE
"""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

from omegaconf import DictConfig
from rich.console import Console

from ... import plots
from ...architecture import Architecture, by_name
from ...baseline import Baseline, Budget, check_needs
from ...cost import network_cost
from ...errors import InputError
from ...estimators import LoggedEstimator, Priced, Tabular
from ...executors import Inline
from ...fitting.progress import QueryBar
from ...report.measures import cost_unit
from ...runs.folder import Run
from ...statistics import pareto
from ..estimates import EstimatorFactory, known_scores
from ..folders import run_folder
from ..objects import make, prepare, space_and_data, trainer_for
from ..recorder import Recorder, open_run, recording
from ..screen import answered, architecture_table, next_command, say, summary, written
from ..supernets import take_settings
from ..workers import Portable

LOG = "queries.jsonl"


def main(config: DictConfig) -> None:
    """Spend the budget of queries, write the best architecture and show it."""
    console = Console()
    prepare(config)
    if not isinstance(config.budget, DictConfig):
        raise InputError(f"budget={config.budget}: must be given as budget.queries=N or budget.seconds=S")
    adopted = take_settings(config)
    space, data = space_and_data(config, console)
    budget = Budget(config.budget.queries, config.budget.seconds)
    strategy = make(config.strategy, space=space, seed=config.seed, metric=config.metric)
    cost = make(config.cost, space=space) if config.cost else None
    check_needs(strategy, known_scores(config, config.estimator))
    executor = make(config.executor) if config.executor else Inline()
    trainer_for(config, console)
    path = run_folder(config, "baseline")
    parts = EstimatorFactory(config, space, data, path)
    estimator = parts.estimator(config.estimator)
    portable = Portable(Priced(estimator, space, cost) if cost else estimator, config, "estimator", path, executor)
    answers = LoggedEstimator(portable, space, path / LOG, config.failures, executor)
    baseline = Baseline(strategy, answers, budget, config.batch)
    with open_run(config, path) as run, executor:
        if answered(run, console):
            return
        found = parts.train(run, console)
        if executor.workers > config.batch:
            say(console, [f"batch={config.batch}: no more than that of {executor.workers} workers are used at a time"])
        with recording(run, config, "baseline") as record:
            best = search(baseline, run, record, console)
            if isinstance(estimator, Tabular):
                found |= estimator.report(best)
            unit = cost_unit({"cost._target_": config.cost._target_}) if config.cost else ""
            result = write_results(baseline, best, run, data.image_shape, found, unit)
            record.finish({"valid_accuracy": result.get("best_accuracy"), **result})
    console.print(architecture_table(space, best))
    say(console, [summary(result), written(run)])
    say(console, [f"next: {next_command('retrain', 'architecture', run.path, adopted)}"])


def search(baseline: Baseline, run: Run, record: Recorder, console: Console) -> Architecture:
    """Spend the budget and return the best architecture. Rows go to files, the best score so far to the screen."""
    baseline.answers.open()
    if baseline.answers.logged:
        say(console, [f"continues {run.path} after query {len(baseline.answers.logged)}"])
    with QueryBar(console, baseline.total) as bar:
        record.begin([])  # all rows are written again from the log, so none is lost or written twice

        def keep(row: Mapping[str, Any]) -> None:
            record(row, seconds=baseline.answers.rows[row["step"] - 1]["elapsed"])
            bar.show(row["step"], baseline.done, baseline.strategy.metric, row.get("best"))

        baseline.record = keep
        return baseline.run()


def write_results(
    baseline: Baseline,
    best: Architecture,
    run: Run,
    image_shape: tuple[int, int, int],
    found: Mapping[str, Any],
    unit: str,
) -> dict[str, Any]:
    """Write what was found and return the result. result.json comes last and marks the run as finished.

    Args:
        baseline: The search, after its last query.
        best: The best architecture.
        run: Where to write.
        image_shape: (channels, height, width), for the cost of the network.
        found: Other numbers for the result.
        unit: Unit of the cost; empty without a cost.
    """
    space, metric, rows = baseline.strategy.space, baseline.strategy.metric, baseline.answers.rows
    run.write("architecture.json", space.to_json(best))
    plots.save(partial(plots.cells, space.graphs(best)), run.path / "cells")
    name, scale, suffix = (
        ("validation accuracy", 100, ", %") if metric == "accuracy" else (metric.replace("_", " "), 1, "")
    )
    curve = [scale * row.get("best", math.nan) for row in baseline.rows]
    several = len({row["fidelity"] for row in baseline.rows}) > 1
    quantity = f"best {name} so far{' at the highest fidelity' if several else ''}{suffix}"
    plots.save(partial(plots.anytime, {metric: [curve]}, quantity), run.path / "anytime")
    fronts = write_front(rows, metric, run, unit)
    return run.finish(
        {
            "architecture": by_name(best, space.choices),
            "notation": space.notation(best),
            f"best_{metric}": baseline.best_score,
            "queries": len(rows),
            "failed_queries": len(baseline.answers.failed),
            "search_seconds": rows[-1]["elapsed"],
            **found,
            **network_cost(space, best, image_shape),
            **fronts,
        }
    )


def write_front(rows: list[dict[str, Any]], metric: str, run: Run, unit: str) -> dict[str, Any]:
    """Draw and return the Pareto front of the metric against the cost (in `unit`); empty if no query has both."""
    scored = list({row["notation"]: row for row in rows if {metric, "cost"} <= set(row.get("scores", {}))}.values())
    if not scored:
        return {}
    points = [(row["scores"][metric], row["scores"]["cost"]) for row in scored]
    best = pareto(points)
    scale, name = (100, "validation accuracy, %") if metric == "accuracy" else (1, metric.replace("_", " "))
    shown = [(scale * score, cost) for score, cost in points]
    plots.save(plots.front(shown, best, (name, f"cost of the candidates, {unit}")), run.path / "front")
    return {"front": [{"notation": scored[i]["notation"], metric: points[i][0], "cost": points[i][1]} for i in best]}
