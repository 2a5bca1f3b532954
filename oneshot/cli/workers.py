"""An estimator for workers: what travels to them are the settings that they make it from."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ..architecture import Query
from ..estimators import Estimator, Priced
from ..executors import Executor
from ..fitting.acceleration import keep_freed_memory
from .estimates import EstimatorFactory
from .objects import make, settle


class Portable:
    """An estimator that is made again where it is loaded, once a worker.

    estimator: of config[node], perhaps Priced; it answers where there is no other worker than this process. path: the
    run's folder, which workers can read; the supernet that was trained there is theirs too.
    """

    def __init__(self, estimator: Estimator, config: DictConfig, node: str, path: Path, executor: Executor) -> None:
        self.estimator, self.config, self.node, self.path, self.executor = estimator, config, node, path, executor

    def __call__(self, queries: Sequence[Query]) -> list[Mapping[str, float]]:
        return self.estimator(queries)

    def __reduce__(self) -> tuple[Any, ...]:
        settings: Any = OmegaConf.to_container(self.config, resolve=True)
        settings["supernet"] = settings["supernet"] or str(self.path / "supernet")
        settings["threads"] = settings["threads"] or self.executor.threads
        return made_again, (settings, self.node, isinstance(self.estimator, Priced), str(self.path))


def made_again(settings: dict[str, Any], node: str, priced: bool, path: str) -> Estimator:
    """In a worker: the estimator of these settings."""
    config = OmegaConf.create(settings)
    keep_freed_memory()
    settle(config.seed, config.threads)
    data = make(config.data)
    space = make(config.space, image_shape=data.image_shape, classes=data.classes)
    estimator = EstimatorFactory(config, space, data, Path(path)).estimator(config[node])
    return Priced(estimator, space, make(config.cost, space=space)) if priced else estimator
