"""Train a found architecture from scratch and test it once."""

import json
import random
from pathlib import Path

from launch import fit, make, open_run, prepare, run_folder, script, trainer_for
from omegaconf import DictConfig
from rich.console import Console
from screen import architecture_table, say, summary

from oneshot import plots
from oneshot.architecture import Architecture
from oneshot.cost import network_cost
from oneshot.errors import InputError
from oneshot.retrain import Retrain
from oneshot.runs import latest, write_weights
from oneshot.spaces import SearchSpace


@script("retrain")
def main(config: DictConfig) -> None:
    console = Console()
    prepare(config)
    data = make(config.data)
    space = make(config.space, image_shape=data.image_shape, classes=data.classes)
    architecture, origin = read_architecture(config, space)
    retrain = Retrain(
        space.network(architecture),
        data,
        optimizer=make(config.weights.optimizer),
        minimum_learning_rate=config.weights.minimum_learning_rate,
        gradient_clip=config.weights.gradient_clip,
        criterion=make(config.criterion),
        drop_path=config.drop_path,
        auxiliary_weight=config.auxiliary_weight,
        log_every=config.log_every,
        seed=config.seed,
        compile=config.trainer.compile,
    )
    if config.trainer.cuda_graph:
        say(console, ["trainer.cuda_graph=true: is for searches; this training runs without a graph"])
    trainer = trainer_for(config, console)
    run = open_run(config, run_folder(config, "retrain"))
    say(console, [f"architecture: {origin}"])
    fit(trainer, retrain, run, config)
    run.write("architecture.json", space.to_json(architecture))
    write_weights(run.path / "network.safetensors", retrain.network)
    plots.save(plots.cells(space.graphs(architecture)), run.path / "cells")
    plots.save(plots.curves(retrain.rows), run.path / "curves")
    result = run.finish(
        {
            "architecture": json.loads(space.to_json(architecture))["decisions"],
            "test_accuracy": retrain.test_accuracy,
            **network_cost(space, architecture, data.image_shape),
        }
    )
    console.print(architecture_table(space, architecture))
    say(
        console,
        [summary(result), f"written to {run.path}: {', '.join(sorted(p.name for p in run.path.iterdir()))}"],
    )


def read_architecture(config: DictConfig, space: SearchSpace) -> tuple[Architecture, str]:
    """architecture=latest, random (drawn with the seed) or the path of a run or of a file; and where it is from."""
    if config.architecture == "random":
        return space.sample(random.Random(config.seed)), f"random, seed {config.seed}"
    if not isinstance(config.architecture, str) or not config.architecture:
        raise InputError(f"architecture={config.architecture!r}: must be latest, random or the path of a run or a file")
    path = latest(Path("outputs", "search")) if config.architecture == "latest" else Path(config.architecture)
    if not path.exists():
        raise InputError(f"architecture={path}: there is no such run or file (or: latest, random)")
    if path.is_dir():
        path = path / "architecture.json"
    return space.load(path), str(path)


if __name__ == "__main__":
    main()
