"""Search an architecture, discretize it and show it.

Examples:
    oneshot search architect=snas seed=1
    oneshot search experiment=darts_cifar10 trainer=gpu out=FOLDER
    oneshot search cost=latency cost.table=FILE
"""

import json

from omegaconf import DictConfig
from rich.console import Console

from ... import plots
from ...cost import ExpectedCost, network_cost
from ...data import ImageData
from ...runs.folder import Run, write_weights
from ...search import Search
from ...spaces import SearchSpace
from ..folders import run_folder
from ..objects import make, prepare, space_and_data, trainer_for
from ..processes import dismiss, follow, follows
from ..recorder import fit, open_run, recording
from ..screen import answered, architecture_table, next_command, say, summary, written


def main(config: DictConfig) -> None:
    console = Console()
    prepare(config)
    trainer = trainer_for(config, console, shared=True)
    if follows(trainer):
        return follow(trainer, lambda config: search_for(config, *space_and_data(config)))
    space, data = space_and_data(config)
    search = search_for(config, space, data)
    with open_run(config, run_folder(config, "search")) as run:
        if answered(run, console):
            return dismiss(trainer)
        with recording(run, config, "search") as record:
            fit(trainer, search, run, config, record)
            result = write_results(run, search, data.image_shape)
            record.finish(result, {"scores": score_rows(search)})
    console.print(architecture_table(space, search.found))
    say(
        console,
        [summary(result), written(run)],
    )
    say(console, [f"next: {next_command('retrain', 'architecture', run.path)}"])


def search_for(config: DictConfig, space: SearchSpace, data: ImageData) -> Search:
    """The configured search, checked before anything is written."""
    criterion = make(config.criterion)
    cost = make(config.cost, space=space) if config.cost else None
    search = Search(
        space,
        make(config.architect, space=space, criterion=criterion, cost=cost),
        data,
        schedule=make(config.schedule),
        optimizer=make(config.weights.optimizer),
        minimum_learning_rate=config.weights.minimum_learning_rate,
        gradient_clip=config.weights.gradient_clip,
        criterion=criterion,
        selection=make(config.selection),
        log_every=config.log_every,
        seed=config.seed,
        compile=config.trainer.compile,
        cuda_graph=config.trainer.cuda_graph,
    )
    search.check(config.epochs)
    return search


def write_results(run: Run, search: Search, image_shape: tuple[int, int, int]) -> dict[str, object]:
    """Write what the search found; result.json comes last and marks the run as finished."""
    space, found = search.space, search.found
    run.write("architecture.json", space.to_json(found))
    run.write("scores.json", json.dumps(search.scores) + "\n")
    write_weights(run.path / "supernet.safetensors", search.supernet)
    write_weights(run.path / "architect.safetensors", search.architect)
    pictures = {
        "cells": plots.cells(space.graphs(found)),
        "scores": plots.heat_maps(search.scores, space.choices),
        "curves": plots.curves(search.rows),
    }
    for name, figure in pictures.items():
        plots.save(figure, run.path / name)
    return run.finish(
        {
            "architecture": json.loads(space.to_json(found))["decisions"],
            "valid_accuracy": search.valid_accuracy,
            "found_valid_accuracy": search.found_accuracy,
            **network_cost(space, found, image_shape),
            **candidates_cost(search),
        }
    )


def score_rows(search: Search) -> list[dict[str, object]]:
    """The architect's probabilities: a row for each epoch's end (0: the start), choice and candidate."""
    return [
        {"epoch": epoch, "choice": choice.name, "candidate": name, "probability": probability}
        for epoch, scores in enumerate(search.scores)
        for choice, row in zip(search.space.choices, scores, strict=True)
        for name, probability in zip(choice.candidates, row, strict=False)
    ]


def candidates_cost(search: Search) -> dict[str, float]:
    """The cost that the architect paid for, in its own unit: expected under the scores, and of what was found."""
    cost = search.architect.cost
    if not isinstance(cost, ExpectedCost):
        return {}
    expected = cost.expected(search.architect.scores()).item()
    return {"expected_cost": expected, "discretized_cost": cost.of(search.space.used(search.found).decisions)}
