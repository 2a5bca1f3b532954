"""Build the configured estimator with the objects that its parameters name."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from torch import nn

from ..architects import Architect
from ..data import ImageData, TrainAndTest
from ..errors import InputError, unknown
from ..estimators import Priced
from ..retrain import Retrain
from ..runs.folder import Run, read_result
from ..search import Search
from ..spaces import SearchSpace
from ..tasks.metric import OF_TASK
from .earlier import check_classes
from .objects import criterion_for, device_of, make, trainer_for, training_of_weights
from .recorder import WEIGHTS
from .screen import say
from .supernets import load, train


@contextmanager
def of_reference() -> Iterator[None]:
    """Inside, messages name settings of the reference where an estimator that is made would name its own."""
    try:
        yield
    except InputError as error:
        raise InputError(str(error).replace("estimator.", "reference.")) from None


class EstimatorFactory:
    """Builds estimators. An object that no estimator asks for is not made.

    Without supernet=RUN an estimator first gets an untrained supernet, so that all settings are checked before anything
    is written. `train` then gives it its weights.

    Args:
        config: The settings of the command.
        space: The search space.
        data: The images.
        path: Folder of the run.
    """

    def __init__(self, config: DictConfig, space: SearchSpace, data: ImageData, path: Path) -> None:
        self.config, self.space, self.data = config, space, data
        self.supernet: nn.Module | None = None
        self.known: dict[str, Callable[[], Any]] = {
            "space": lambda: space,
            "data": lambda: data,
            "part": lambda: data.split()[1],
            "criterion": lambda: criterion_for(config, data),
            "device": lambda: device_of(config),
            "seed": lambda: config.seed,
            "supernet": self._supernet,
            "spaces": lambda: partial(_space, config, data),
            "trainer": lambda: partial(_trainer, config),
            "search": lambda: partial(_search, config, space, data, criterion_for(config, data)),
            "retrain": lambda: partial(_retrain, config, criterion_for(config, data)),
            "folder": lambda: path / "weights" if config.get("strategy", {}).get("inherit") else None,
        }

    def estimator(self, node: DictConfig) -> Any:
        """Return the estimator of this node."""
        asked = wanted(node)
        return make(node, **{name: factory() for name, factory in self.known.items() if name in asked})

    def train(
        self, run: Run, console: Console, callbacks: Callable[[Run], Sequence[pl.Callback]] | None = None
    ) -> dict[str, Any]:
        """Train the supernet if an estimator asked for one and supernet= names none; return numbers for the result.

        Args:
            run: The run that needs the supernet.
            console: Where lines and the progress bar are shown.
            callbacks: As in `supernets.train`.
        """
        given = self.config.supernet
        if self.supernet is None:
            if given is not None:
                say(console, [f"supernet={given}: not used, as this estimator has no use for one"])
            return {}
        if given is not None:
            result = read_result(Path(given)) or {}
        else:
            result = train(self.supernet, self.config, self.space, self.data, run, console, callbacks)
        return {"supernet_seconds": result["seconds"]} if "seconds" in result else {}

    def _supernet(self) -> nn.Module:
        if self.supernet is None:
            self.supernet = self.space.supernet()
            if self.config.supernet is not None:
                folder = Path(self.config.supernet)
                say(Console(), check_classes(folder, self.data, f"supernet={folder}"))
                load(self.supernet, folder / WEIGHTS)
        return self.supernet


def wanted(node: DictConfig) -> set[str]:
    """Return the names of the parameters of the node's _target_ that the node does not set."""
    return set(inspect.signature(target(node)).parameters) - set(map(str, node))


def scores_of(node: DictConfig) -> tuple[str, ...]:
    """Return the names of the scores of this node's estimator: the `metrics` of its class.

    Raises:
        InputError: If the class has no `metrics`.
    """
    found = vars(target(node)).get("metrics")
    if not isinstance(found, tuple):
        raise InputError(f'{node._target_}: its class must name its scores, as metrics = ("accuracy",)')
    return found


def known_scores(config: DictConfig, node: DictConfig, data: ImageData) -> tuple[str, ...]:
    """Return the names of the scores of this node's estimator, and with a cost also those that it adds."""
    own = [data.metric.quantity.score_name if name == OF_TASK else name for name in scores_of(node)]
    return (*own, *(Priced.adds if config.cost else ()))


def target(node: DictConfig) -> Any:
    """Return the class or function that the node's _target_ names."""
    if not isinstance(node, DictConfig) or "_target_" not in node:
        raise InputError(f"{node!r}: must be a mapping with _target_, as in conf")
    return instantiate(OmegaConf.create({"_target_": node._target_, "_partial_": True})).func


def _space(
    config: DictConfig, data: ImageData, image_shape: tuple[int, int, int], sizes: Mapping[str, float]
) -> SearchSpace:
    node = config.space.copy()
    for name in sizes:
        if name not in node:
            raise unknown("name in estimator.sizes", name, [str(key) for key in node if key != "_target_"])
    node.update(sizes)
    return make(node, image_shape=image_shape, classes=data.classes, **({"dense": True} if data.task.dense else {}))


def _trainer(config: DictConfig, epochs: int) -> Any:
    return trainer_for(config, None, epochs)


def _search(config: DictConfig, space: SearchSpace, data: ImageData, criterion: Any, architect: Architect) -> Search:
    return Search(
        space,
        architect,
        data,
        **training_of_weights(config),
        criterion=criterion,
        log_every=1_000_000,
        seed=config.seed,
        compile=config.trainer.compile,
        cuda_graph=config.trainer.cuda_graph,
    )


def _retrain(config: DictConfig, criterion: Any, network: nn.Module, data: TrainAndTest, seed: int) -> Retrain:
    return Retrain(
        network,
        data,
        **training_of_weights(config),
        criterion=criterion,
        drop_path=0.0,
        log_every=1_000_000,
        seed=seed,
    )
