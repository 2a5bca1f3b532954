"""Search an architecture with a gradient method.

The best architecture is written to the folder of the run and shown.

Examples:
    oneshot search architect=snas seed=1
    oneshot search experiment=darts_cifar10 trainer=gpu out=FOLDER
    oneshot search cost=latency cost.table=FILE cost.limit=10ms
    oneshot search cost=parameters cost.limit=300k
    oneshot search architect=darts stop=skip_count
    oneshot search experiment=darts_cifar10 dry_run=true
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from omegaconf import DictConfig
from rich.console import Console

from ...controls import LARGEST, RANDOM
from ...cost import largest_within
from ...data import ImageData
from ...fitting.controls import draw
from ...fitting.start import start_from
from ...runs.folder import Run
from ...search import Search
from ...spaces import SearchSpace
from ...training.outcome import score_rows, write_search
from ..controls import beside
from ..dry_run import lines, measured, predicted, shortened
from ..earlier import started_with_others
from ..folders import run_folder
from ..limits import cost_for, limit_lines, sizes_given, take_final
from ..objects import (
    architect_for,
    criterion_for,
    make,
    prepare,
    space_and_data,
    stages_for,
    trainer_for,
    training_of_weights,
)
from ..pace import Planned
from ..processes import dismiss, follow, follows
from ..recorder import fit, open_run, recording
from ..screen import answered, architecture_table, held_out_next, next_command, say, started, summary, written


def main(config: DictConfig) -> None:
    """Search, write what was found and show it; with dry_run=true say how long this takes."""
    console = Console()
    prepare(config)
    take_final(config)
    trainer = trainer_for(config, console, shared=True)
    if follows(trainer):
        return follow(trainer, lambda config: search_for(config, *space_and_data(config)))
    space, data = space_and_data(config, console)
    if config.dry_run:
        return say(console, dry_run(config, space, data))
    search = search_for(config, space, data)
    with open_run(config, run_folder(config, "search")) as run:
        if answered(run, console):
            return dismiss(trainer)
        with recording(run, config, "search") as record:
            fit(trainer, search, run, config, record)
            write_controls(run, search)
            result = write_search(run, search, data.image_shape)
            record.finish(result, {"scores": score_rows(search)})
    console.print(architecture_table(space, search.found))
    say(console, [summary(result), *limit_lines(result), written(run)])
    lines, more = held_out_next(data.about, config.data.get("source"))
    more += sizes_given(config)
    names = [word.partition("=")[0] for word in sizes_given(config)]
    say(console, [*lines, f"next: {next_command('retrain', 'architecture', run.path, more=more, dropped=names)}"])
    if search.controls and search.found_among is None:
        limited, staged = "nothing but this holds the limit", "the stages of this search left one architecture"
        what = limited if search.limited else staged
        say(console, [f"controls: {what}, so there is none to compare it with"])
    if compared := beside(result):
        line, control = compared
        file = run.path / f"{control}.json" if search.limited else Path(control)
        say(console, [line, f"control: {next_command('retrain', 'architecture', file, more=more, dropped=names)}"])


def write_controls(run: Run, search: Search) -> None:
    """Write a random architecture and the largest one that hold the limit of a search, if it has one.

    Args:
        run: The open run.
        search: The search after its fit.
    """
    if search.limited is None:
        return
    space, cost = search.space, search.limited
    run.write(f"{RANDOM}.json", space.to_json(draw(space, search.seed, 0, cost=cost)))
    run.write(f"{LARGEST}.json", space.to_json(largest_within(space, cost)))


def dry_run(config: DictConfig, space: SearchSpace, data: ImageData) -> list[str]:
    """Run a short search in a temporary folder, and return how long the whole one will take, in lines.

    Args:
        config: The settings of the command.
        space: The search space.
        data: The images.
    """
    search = search_for(config, space, data)
    whole, batches = Planned(search.stages.plan(config.epochs), config.epochs), search.batches
    short = shortened(config, search.stages.fewest_epochs, batches)
    del search  # so that the short one does not add to its memory
    tried = search_for(short, space, data)
    plan = Planned(tried.stages.plan(short.epochs), short.epochs)
    with TemporaryDirectory() as folder, open_run(short, Path(folder) / "search") as run:
        with recording(run, short, "search") as record:
            fit(trainer_for(short, None), tried, run, short, record)
            result = write_search(run, tried, data.image_shape)
        parts = predicted(measured(run.path, plan, short.epoch_batches, result["seconds"]), whole, batches)
    return lines(parts, result["peak_memory_bytes"], bool(config.stop))


def search_for(config: DictConfig, space: SearchSpace, data: ImageData) -> Search:
    """Return the configured search, checked before anything is written.

    Args:
        config: The settings of the command.
        space: The search space.
        data: The images; the search does not read the test images.

    Raises:
        InputError: If a setting is out of range.
    """
    criterion = criterion_for(config, data)
    cost = cost_for(config, space, data)
    search = Search(
        space,
        architect_for(config, space, criterion, cost),
        data,
        schedule=make(config.schedule),
        **training_of_weights(config),
        criterion=criterion,
        selection=make(config.selection),
        stages=stages_for(config, space),
        drop_path=config.weights.drop_path,
        controls=config.controls,
        log_every=config.log_every,
        seed=config.seed,
        compile=config.trainer.compile,
        cuda_graph=config.trainer.cuda_graph,
        stop=make(config.stop) if config.stop else None,
        diagnostics=config.diagnostics,
        epoch_batches=config.epoch_batches,
    )
    search.check(config.epochs)
    if isinstance(config.supernet, DictConfig) and config.supernet.weights is not None:
        new = start_from(search.supernet, config.supernet.weights, data.classes, "supernet.weights")
        say(Console(), started(config.supernet.weights, new, data.classes))
        say(Console(), started_with_others(config.supernet.weights, data))
    return search
