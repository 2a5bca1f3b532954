"""Train an architecture from scratch and test it.

Examples:
    oneshot retrain architecture=latest seed=1
    oneshot retrain architecture=random
    oneshot retrain architecture=largest
    oneshot retrain architecture=darts_v2
    oneshot retrain experiment=darts_cifar10 trainer=gpu architecture=RUN
"""

import os
import random
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from ...architecture import MAX_BYTES, Architecture
from ...controls import CONTROLS, LARGEST, RANDOM
from ...cost import network_cost
from ...data import ImageData
from ...errors import InputError
from ...fitting.start import start_from
from ...retrain import Retrain
from ...runs.files import is_file, read_given
from ...spaces import SearchSpace
from ...training.outcome import ARCHITECTURE, write_retraining
from ..earlier import check_architecture, started_with_others
from ..folders import run_folder
from ..limits import control_within, counted, limit_lines, limit_of_search
from ..objects import criterion_for, prepare, say_about, space_and_data, trainer_for, training_of_weights
from ..processes import dismiss, follow, follows
from ..recorder import fit, open_run, recording
from ..screen import (
    answered,
    architecture_table,
    could_name_code,
    next_command,
    same_command,
    say,
    started,
    summary,
    written,
)


def main(config: DictConfig) -> None:
    """Train the architecture, test it, write the results and show them."""
    console = Console()
    prepare(config)
    trainer = trainer_for(config, console, shared=True)
    if follows(trainer):
        return follow(trainer, lambda config: retrain_for(config, *space_and_data(config))[0])
    space, data = space_and_data(config, console)
    said = data.about
    if os.path.exists(str(config.architecture)) and config.architecture not in (*CONTROLS, *space.published):
        say(console, check_architecture(Path(str(config.architecture)), config, data))
    retrain, architecture, origin = retrain_for(config, space, data)  # reads the test images too
    say_about(data, console, said)
    if config.trainer.cuda_graph is True:
        say(console, ["trainer.cuda_graph=true: is for searches; this training runs without a graph"])
    with open_run(config, run_folder(config, "retrain")) as run:
        if answered(run, console):
            return dismiss(trainer)
        kept = run.path / ARCHITECTURE
        if is_file(kept) and space.load(kept) != architecture:
            raise InputError(f"architecture={config.architecture}: has changed since {kept} was taken from it")
        say(console, [f"architecture: {origin}"])
        limit = limit_of_search(config.architecture)
        if limit is not None:
            limit = counted(limit, network_cost(space, architecture, data.image_shape), space)
            say(console, limit_lines({"limit": limit}))
        run.write(ARCHITECTURE, space.to_json(architecture))
        with recording(run, config, "retrain") as record:
            fit(trainer, retrain, run, config, record)
            result = write_retraining(run, retrain, space, architecture, data.image_shape, limit)
            record.finish(result)
    console.print(architecture_table(space, architecture))
    say(console, [summary(result), written(run)])
    say(console, [f"next: {next_command('evaluate', 'run', run.path, more=could_name_code())}"])
    if config.architecture not in CONTROLS and config.network.weights is None:  # which another network could not take
        control = RANDOM if limit is None else control_within(config.architecture)
        say(console, [f"control: {same_command('retrain', 'architecture', control)}"] if control else [])


def retrain_for(config: DictConfig, space: SearchSpace, data: ImageData) -> tuple[Retrain, Architecture, str]:
    """Return the configured training, the architecture that it trains, and a text that says where this is from.

    Raises:
        InputError: If a setting is out of range, or the architecture cannot be read.
    """
    architecture, origin = read_architecture(config, space)
    network = space.network(architecture)
    if config.network.weights is not None:
        new = start_from(network, config.network.weights, data.classes, "network.weights")
        say(Console(), started(config.network.weights, new, data.classes))
        say(Console(), started_with_others(config.network.weights, data))
    retrain = Retrain(
        network,
        data,
        **training_of_weights(config),
        average=config.weights.average,
        mixup=config.mixup,
        cutmix=config.cutmix,
        criterion=criterion_for(config, data),
        drop_path=config.drop_path,
        auxiliary_weight=config.auxiliary_weight,
        log_every=config.log_every,
        seed=config.seed,
        compile=config.trainer.compile,
    )
    retrain.check(config.epochs)
    return retrain, architecture, origin


def read_architecture(config: DictConfig, space: SearchSpace) -> tuple[Architecture, str]:
    """Return the architecture that `architecture` means, and where it is from.

    It means the newest finished search (latest), one that is drawn with the seed (random), the one with the most
    parameters (largest), a published one by its name, that of a run or a file, or a text in the notation of the space.

    `latest` has been replaced by a path before (folders.py).

    Raises:
        InputError: If there is no such run or file, or the architecture is not one of this space.
    """
    if config.architecture == RANDOM:
        return space.sample(random.Random(config.seed)), f"random, seed {config.seed}"
    if config.architecture == LARGEST:
        return space.largest(), LARGEST
    known = [RANDOM, LARGEST, *space.published]
    if not isinstance(config.architecture, str) or not config.architecture:
        raise InputError(
            f"architecture={config.architecture!r}: must be latest, {', '.join(known)}, the path of a run or a file, "
            "or a text in the notation of the space"
        )
    if config.architecture in space.published:
        return space.from_notation(space.published[config.architecture]), f"{config.architecture}, as published"
    if not os.path.exists(config.architecture) and set(config.architecture) & set("|(="):
        return space.from_notation(config.architecture), "given as text"
    path = Path(config.architecture)
    if not os.path.exists(path):
        raise InputError(f"architecture={path}: there is no such run or file (or: latest, {', '.join(known)})")
    if path.is_dir():
        path = path / ARCHITECTURE
        is_file(path)  # a link in a folder that may be a stranger's is refused
    if path.suffix != ".json":
        return space.from_notation(read_given(path, MAX_BYTES)), str(path)
    return space.load(path), str(path)
