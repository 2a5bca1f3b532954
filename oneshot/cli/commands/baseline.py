"""Search with a method without gradients.

Scores come from a trained supernet, a table of accuracies, or short trainings.

Examples:
    oneshot baseline strategy=tpe budget.queries=200
    oneshot baseline supernet=RUN strategy=hill_climbing
    oneshot baseline space=nasbench201 estimator=tabular
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
from ...data import ImageData
from ...errors import InputError
from ...estimators import LoggedEstimator, Priced, Tabular
from ...executors import Inline
from ...fitting.progress import QueryBar
from ...quantity import Quantity
from ...report.measures import cost_unit
from ...runs.folder import Run
from ...statistics import pareto
from ...training.outcome import limit_result
from ..estimates import EstimatorFactory, known_scores
from ..folders import run_folder
from ..limits import cost_for, limit_lines, limited, sizes_given, take_final
from ..objects import check_usual, make, prepare, score_name, shown_score, space_and_data, trainer_for
from ..recorder import Recorder, open_run, recording
from ..screen import answered, architecture_table, held_out_next, next_command, say, summary, written
from ..supernets import take_settings
from ..workers import Portable

LOG = "queries.jsonl"


def main(config: DictConfig) -> None:
    """Spend the budget of queries, write the best architecture and show it."""
    console = Console()
    prepare(config)
    if not isinstance(config.budget, DictConfig):
        raise InputError(f"budget={config.budget}: must be given as budget.queries=N or budget.seconds=S")
    take_final(config)
    adopted = take_settings(config)
    space, data = space_and_data(config, console)
    budget = Budget(config.budget.queries, config.budget.seconds)
    strategy = make(config.strategy, space=space, seed=config.seed, metric=score_name(config, data))
    cost = cost_for(config, space, data)
    known = known_scores(config, config.estimator, data)
    check_usual(config, data, known)
    check_needs(strategy, known)
    executor = make(config.executor) if config.executor else Inline()
    trainer_for(config, console)
    path = run_folder(config, "baseline")
    parts = EstimatorFactory(config, space, data, path)
    estimator = parts.estimator(config.estimator)
    portable = Portable(
        Priced(estimator, space, cost, data.metric) if cost else estimator, config, "estimator", path, executor
    )
    answers = LoggedEstimator(portable, space, path / LOG, config.failures, executor)
    baseline = Baseline(strategy, answers, budget, config.batch, cost=limited(cost))
    with open_run(config, path) as run, executor:
        if answered(run, console):
            return
        found = parts.train(run, console)
        if executor.workers > config.batch:
            say(console, [f"batch={config.batch}: no more than that of {executor.workers} workers are used at a time"])
        with recording(run, config, "baseline") as record:
            score = shown_score(strategy.metric, data)
            best = search(baseline, run, record, console, score)
            if isinstance(estimator, Tabular):
                found |= estimator.report(best)
            if baseline.cost is not None and baseline.cost.limit is not None:
                predicted = baseline.cost.of(space.used(best).decisions)
                found |= {"refused_queries": baseline.refused}
                found |= {"limit": limit_result(baseline.cost.limit, best, predicted)}
            unit = cost_unit({"cost._target_": config.cost._target_}) if config.cost else ""
            result = write_results(baseline, best, run, data, found, unit, score)
            name = data.metric.name
            record.finish({f"valid_{name}": result.get(f"best_{name}"), **result})
    console.print(architecture_table(space, best))
    early = [f"ended before its budget was spent: {baseline.ended}"] if baseline.ended else []
    say(console, [summary(result), *early, *limit_lines(result), written(run)])
    lines, more = held_out_next(data.about, config.data.get("source"))
    more += sizes_given(config)
    other = [word.partition("=")[0] for word in sizes_given(config)]
    other += [] if config.metric in data.task.metrics(data.classes) else ["metric"]  # as reward, which no training has
    command = next_command("retrain", "architecture", run.path, adopted, more, other)
    say(console, [*lines, f"next: {command}"])


def search(baseline: Baseline, run: Run, record: Recorder, console: Console, score: Quantity) -> Architecture:
    """Spend the budget and return the best architecture. Rows go to files, the best score so far to the screen."""
    baseline.answers.open()
    if baseline.answers.logged:
        say(console, [f"continues {run.path} after query {len(baseline.answers.logged)}"])
    with QueryBar(console, baseline.total) as bar:
        record.begin([])  # all rows are written again from the log, so none is lost or written twice

        def keep(row: Mapping[str, Any]) -> None:
            record(row, seconds=baseline.answers.rows[row["step"] - 1]["elapsed"])
            bar.show(row["step"], baseline.done, score.label, row.get("best"), score.share)

        baseline.record = keep
        return baseline.run()


def write_results(
    baseline: Baseline,
    best: Architecture,
    run: Run,
    data: ImageData,
    found: Mapping[str, Any],
    unit: str,
    score: Quantity,
) -> dict[str, Any]:
    """Write what was found and return the result. result.json comes last and marks the run as finished.

    Args:
        baseline: The search, after its last query.
        best: The best architecture.
        run: Where to write.
        data: Its images have the shape for the cost of the network, its metric is that of the result.
        found: Other numbers for the result.
        unit: Unit of the cost; empty without a cost.
        score: What was searched for.
    """
    space, metric, rows = baseline.strategy.space, baseline.strategy.metric, baseline.answers.rows
    run.write("architecture.json", space.to_json(best))
    plots.save(partial(plots.cells, space.graphs(best)), run.path / "cells")
    curve = [score.scale * row.get("best", math.nan) for row in baseline.rows]
    several = len({row["fidelity"] for row in baseline.rows}) > 1
    so_far = f"best validation {score.label} so far{' at the highest fidelity' if several else ''}"
    quantity = Quantity("", so_far, share=score.share).titled()
    plots.save(partial(plots.anytime, {metric: [curve]}, quantity), run.path / "anytime")
    fronts = write_front(rows, score, run, unit)
    return run.finish(
        {
            "architecture": by_name(best, space.choices),
            "notation": space.notation(best),
            **best_of(baseline, data.metric.quantity),
            "metric": data.metric.quantity._asdict(),
            "queries": len(rows),
            "failed_queries": len(baseline.answers.failed),
            "search_seconds": rows[-1]["elapsed"],
            **found,
            **network_cost(space, best, data.image_shape),
            **fronts,
        }
    )


def best_of(baseline: Baseline, quantity: Quantity) -> dict[str, float | None]:
    """Return the value of the best architecture: of the task's metric, or of another score, by its name."""
    score, metric = baseline.best_score, baseline.strategy.metric
    if metric != quantity.score_name:
        return {f"best_{metric}": score}
    return {f"best_{quantity.name}": None if score is None else quantity.score(score)}


def write_front(rows: list[dict[str, Any]], score: Quantity, run: Run, unit: str) -> dict[str, Any]:
    """Draw and return the Pareto front of the score against the cost (in `unit`); empty if no query has both."""
    metric = score.name
    scored = list({row["notation"]: row for row in rows if {metric, "cost"} <= set(row.get("scores", {}))}.values())
    if not scored:
        return {}
    points = [(row["scores"][metric], row["scores"]["cost"]) for row in scored]
    best = pareto(points)
    shown = [(score.scale * value, cost) for value, cost in points]
    plots.save(
        plots.front(shown, best, (score.titled("validation"), f"cost of the candidates, {unit}")), run.path / "front"
    )
    return {"front": [{"notation": scored[i]["notation"], metric: points[i][0], "cost": points[i][1]} for i in best]}
