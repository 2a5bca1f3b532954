"""The settings of a search or a retraining that was made in Python, as its folder keeps them."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import pytorch_lightning as pl
import torch
import yaml
from torch import Tensor, nn

from ..architects.base import OptimizerFactory
from ..architecture import by_name
from ..data import Part
from ..retrain import Retrain
from ..search import Search
from ..spaces.base import ImageShape
from ..stages import Stage
from ..techniques.base import named
from ..techniques.composed import taken_apart

SMALL = 16  # numbers of a tensor that is kept in config.yaml


def settings_of(module: Search | Retrain, epochs: int, trainer: pl.Trainer) -> str:
    """Return the settings that `fit` keeps in config.yaml: a run that continues must have them again.

    Args:
        module: The search or the retraining.
        epochs: Its epochs.
        trainer: Gives the precision.

    Returns:
        YAML: sizes of the data, classes and plain settings of space, architect, schedule, selection, optimizers and
        criterion.
    """
    settings: dict[str, Any] = {"made_by": "oneshot.fit", "run": type(module).__name__.lower()}
    settings |= {"epochs": epochs, "seed": module.seed, "precision": str(trainer.precision)}
    settings |= {"log_every": module.log_every}
    if module.space is not None:
        settings["space"] = {**_described(module.space), "fingerprint": module.space.fingerprint}
    if isinstance(module, Search):
        architect, parts = taken_apart(module.architect)
        settings["data"] = {part.name: _part(part) for part in (module.weight_part, module.architecture_part)}
        settings["architect"] = {
            **_described(architect),
            "optimizer": _optimizer(architect.optimizer),
            "criterion": _described(architect.criterion),
            "cost": _described(architect.cost),
        }
        settings["technique"] = {named(part).partition(".")[2]: _described(part) for part in parts}
        settings["schedule"] = _described(module.schedule)
        settings["diagnostics"] = module.diagnostics.level
        settings["selection"] = _described(module.selection)
        if module.stages.given:
            settings["stages"] = [_stage(stage) for stage in module.stages.all]
        if module.stop is not None:
            settings["stop"] = _described(module.stop)
    else:
        settings["data"] = {part.name: _part(part) for part in (module.part, module.test)}
        settings["drop_path"], settings["auxiliary_weight"] = module.drop_path, module.auxiliary_weight
        settings["network"] = {"class": _name(type(module.network)), "parameters": _parameters(module.network)}
        if module.space and module.architecture:
            settings["architecture"] = by_name(module.architecture, module.space.choices)
    settings["weights"] = {
        "optimizer": _optimizer(module.optimizer),
        "minimum_learning_rate": module.minimum_learning_rate,
        "gradient_clip": module.gradient_clip,
        "warmup_epochs": module.warmup_epochs,
        "decay_norms": module.decay_norms,
    }
    if isinstance(module, Search) and module.drop_path:
        settings["weights"]["drop_path"] = module.drop_path
    if isinstance(module, Retrain):
        settings["weights"]["average"] = None if module.average is None else module.average.decay
        settings |= {"mixup": module.mixing.mixup, "cutmix": module.mixing.cutmix}
    settings["criterion"] = _described(module.criterion)
    return yaml.dump(settings, Dumper=_Tree, sort_keys=False, allow_unicode=True)


class _Tree(yaml.SafeDumper):
    """YAML without aliases, as a run's settings are read back without them, and with short lists on one line."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Tree.add_representer(
    list, lambda tree, items: tree.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=True)
)


def _stage(stage: Stage) -> dict[str, Any]:
    """A stage, and what decides at its start if it is an object."""
    return {**_described(stage), "keep": _described(stage.keep) if callable(stage.keep) else stage.keep}


def _part(part: Any) -> dict[str, Any]:
    """Sizes of a part of the data, and how it is augmented."""
    sizes = {"images": len(part), "image_shape": list(image_shape(part)), "batch_size": part.batch_size}
    return {**sizes, "augmentation": _described(getattr(part, "augmentation", None))}  # a text has none


def _optimizer(factory: OptimizerFactory | None) -> dict[str, Any] | None:
    """The class and the settings of the optimizers that a factory makes."""
    if factory is None:
        return None
    optimizer = factory([nn.Parameter(torch.zeros(1))])
    settings = {name: value for name, value in _plain(optimizer.defaults).items() if value is not False}
    return {"class": _name(type(optimizer)), **settings}


def _described(value: Any) -> Any:
    """An object as its class and its plain settings; a function as its name; None as None."""
    if value is None:
        return None
    if isinstance(value, type) or not hasattr(value, "__dict__") or hasattr(value, "__qualname__"):
        return _name(value)
    cached = {name for name in vars(value) if isinstance(getattr(type(value), name, None), cached_property)}
    return {"class": _name(type(value)), **_plain({k: v for k, v in vars(value).items() if k not in cached})}


def _name(value: Any) -> str:
    return f"{value.__module__}.{getattr(value, '__qualname__', type(value).__qualname__)}"


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Those values that YAML can hold: numbers, texts, and short lists of them."""
    found = {}
    for name, value in values.items():
        if isinstance(value, Tensor) and value.dim() == 1 and value.numel() <= SMALL:
            value = value.tolist()
        items = value if isinstance(value, list | tuple) else [value]
        if name[0] != "_" and name != "training" and all(isinstance(item, bool | int | float | str) for item in items):
            found[name] = list(value) if isinstance(value, tuple) else value
    return found


def _parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def image_shape(part: Part) -> ImageShape:
    """Return (channels, height, width) of the images of a part of the data.

    Args:
        part: The part.
    """
    shape = part.first().x.shape[1:]
    return tuple(shape)  # type: ignore[return-value]  # a text has (characters of a window,)
