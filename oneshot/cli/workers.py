"""An estimator that can be sent to workers: they get its settings and build it from them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ..architecture import Query
from ..estimators import Estimator, Priced
from ..executors import Executor
from ..fitting.acceleration import keep_freed_memory
from .estimates import EstimatorFactory
from .limits import cost_for
from .objects import settle, space_and_data


class Portable:
    """An estimator that each worker builds again, once, when it is unpickled there.

    Args:
        estimator: The estimator of config[node], perhaps inside a `Priced`. It answers in this process.
        config: The settings of the command.
        node: Key of the estimator's settings.
        path: Folder of the run. Workers can read it, and take the supernet that was trained there.
        executor: Where calls are made; it gives the number of CPU threads.
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
    """Build the estimator in a worker.

    Args:
        settings: The settings of the command.
        node: Key of the estimator's settings.
        priced: Whether the cost of the settings is added to its scores.
        path: Folder of the run.
    """
    config = OmegaConf.create(settings)
    keep_freed_memory()
    settle(config.seed, config.threads)
    space, data = space_and_data(config)
    estimator = EstimatorFactory(config, space, data, Path(path)).estimator(config[node])
    return Priced(estimator, space, cost_for(config, space, data), data.metric) if priced else estimator
