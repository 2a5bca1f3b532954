"""A trained supernet for an estimator: read from a run, or trained here first."""

from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from launch import fit, trainer_for
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console
from safetensors import SafetensorError
from safetensors.torch import load_file
from screen import say
from search import search_for
from torch import nn
from yaml import YAMLError

from oneshot.architecture import read_text
from oneshot.data import ImageData
from oneshot.errors import InputError
from oneshot.runs import Run, read_result, write_weights
from oneshot.search import by_scores
from oneshot.spaces import SearchSpace

WEIGHTS = "supernet.safetensors"
FREE = ("data.source", "data.batch_size", "data.augmentation", "space.execution")  # need not be as in the run


def adopt(config: DictConfig) -> list[str]:
    """Give the configuration the sizes and the split that the run of supernet= was trained with; returns what changed.

    They are read as data. Raises InputError where the run has another space or data set, or where the command
    line says something else: its weights would not fit, or its validation images would not be new to it.
    """
    if config.supernet is None:
        return []
    if not isinstance(config.supernet, str) or not (Path(config.supernet) / WEIGHTS).is_file():
        raise InputError(f"supernet={config.supernet}: must be the folder of a finished search, which holds {WEIGHTS}")
    if read_result(Path(config.supernet)) is None:
        raise InputError(f"supernet={config.supernet}: is no finished run")
    file = Path(config.supernet, "config.yaml")
    try:
        run: Any = OmegaConf.create(read_text(file))
        groups = {name: dict(run[name]) for name in ("space", "data")}
    except (OmegaConfBaseException, YAMLError, TypeError, ValueError, KeyError) as error:
        raise InputError(f"{file}: not the settings of a search ({' '.join(str(error).split())[:80]})") from None
    changed = []
    given = {override.partition("=")[0].lstrip("+~") for override in HydraConfig.get().overrides.task}
    for group, settings in groups.items():
        for key, value in settings.items():
            name, own = f"{group}.{key}", config[group].get(key)
            if name in FREE or value == own or isinstance(value, DictConfig):
                continue
            if key == "_target_" or name in given or key not in config[group]:
                raise InputError(f"{name}={own}: the supernet of {config.supernet} was trained with {value}")
            if isinstance(value, bool | int | float | str | ListConfig | None):
                with open_dict(config):
                    config[group][key] = value
                changed.append(f"{name}={value}".replace("'", "").replace(" ", ""))
    return changed


def train(
    supernet: nn.Module, config: DictConfig, space: SearchSpace, data: ImageData, run: Run, console: Console
) -> dict[str, Any]:
    """Train weights in RUN/supernet, where that was not done before, and take them; returns the training's result."""
    folder = run.path / "supernet"
    result = read_result(folder)
    if result is None:
        search = search_for(config, space, data)
        search.selection = by_scores
        say(console, [f"training a supernet: {folder}"])
        inner = Run(folder, continues=True)
        inner.write("config.yaml", OmegaConf.to_yaml(config, resolve=True))  # so that supernet=RUN/supernet can name it
        for name in ("metrics.jsonl", "timings.jsonl"):
            (folder / name).unlink(missing_ok=True)
        fit(trainer_for(config, console), search, inner, config)
        write_weights(folder / WEIGHTS, search.supernet)
        result = inner.finish({"valid_accuracy": search.valid_accuracy})
    load(supernet, folder / WEIGHTS)
    return result


def load(module: nn.Module, file: Path) -> None:
    """Take the weights of a safetensors file. Raises InputError where they do not fit."""
    try:
        weights = load_file(file)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{file}: cannot be read as weights ({str(error)[:80]})") from None
    own = module.state_dict()
    for name in {**own, **weights}:
        if name not in own or name not in weights or own[name].shape != weights[name].shape:
            shapes = [str(tuple(w[name].shape)) if name in w else "nothing" for w in (weights, own)]
            raise InputError(f"{file}: {name} is {shapes[0]}, the configured space has {shapes[1]}")
    module.load_state_dict(weights)
