"""Small real components that several test files build on."""

import copy
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch.nn import functional

from oneshot.architects import DARTS, Architect
from oneshot.baseline import Baseline, Budget
from oneshot.cli.composition import configuration
from oneshot.cli.conf import CONF, choices
from oneshot.cli.objects import architect_for
from oneshot.data import ImageData
from oneshot.errors import InputError
from oneshot.estimators import LoggedEstimator
from oneshot.executors import Executor
from oneshot.search import Search
from oneshot.spaces import DARTSCells, NASBench201, SearchSpace
from oneshot.stopping import StoppingRule
from oneshot.strategies import Evolution

from .groups import folders, names, search_path
from .tasks import Example

ROOT = Path(__file__).resolve().parents[2]
CIFAR10 = ROOT.parent / "shared" / "data" / "cifar10"
QUIET = dict(
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
    accelerator="cpu",
)
TINY = [  # of searches and trainings, that take seconds
    "epochs=3",
    "space.cells=3",
    "space.channels=4",
    "space.nodes=1",
    "data.train_size=128",
    "data.batch_size=16",
    "log_every=2",
]


def _sets(name: str, key: str) -> bool:
    """Whether the file of an architect itself sets something."""
    return key in OmegaConf.load(choices("architect", folders())[name])


ARCHITECTS = [name for name in names("architect") if not _sets(name, "stages")]  # test_stages.py has those in stages
REINFORCE = "proxyless architect.variant=reinforce"


def _own(name: str) -> bool:
    """Whether the file of an architect names a class, and does not only set another one's or compose techniques."""
    return "_target_" in OmegaConf.load(choices("architect", folders())[name]).get("architect", {})


OWN = [*filter(_own, ARCHITECTS), "darts_second"]  # of architect=, with code of their own
SETTINGS = [*ARCHITECTS, REINFORCE, "uniform architect.fairness=true"]  # of architect=, with variants of some


def small_space(data: ImageData | None = None, nodes: int = 2, outputs: int = 10) -> DARTSCells:
    """A DARTS cell space that takes milliseconds."""
    shape, classes = (data, None) if data else ((1, 8, 8), outputs)
    return DARTSCells(shape, classes, cells=3, channels=4, nodes=nodes)


def unmixed_space(data: ImageData | None = None, outputs: int = 10) -> DARTSCells:
    """One like `small_space` in which an edge can be absent, and gates do not mix that; its edges differ."""
    shape, classes = (data, None) if data else ((1, 8, 8), outputs)
    pairs = [["skip_connect", "sep_conv_3x3"], ["sep_conv_3x3", "max_pool_3x3"]]
    lists = [pairs[i % 2] for i in range(4)] + [["dil_conv_3x3", "skip_connect", "avg_pool_3x3"]]
    return DARTSCells(shape, classes, cells=3, channels=4, nodes=2, candidates=lists, reduce_candidates=pairs[1])


SPACES = {"darts": small_space, "unmixed": unmixed_space}  # that architects are tested over


def darts(space: SearchSpace, lr: float = 0.02) -> DARTS:
    adam = partial(torch.optim.Adam, lr=lr, betas=(0.5, 0.999), weight_decay=1e-3)
    return DARTS(space, adam, functional.cross_entropy)


def composed(settings: str) -> DictConfig:
    """The configuration of `oneshot search architect=<settings>`, with what its experiment sets."""
    return copy.deepcopy(_composed(settings))


@cache
def _composed(settings: str) -> DictConfig:
    return configuration("search", [*f"architect={settings}".split(), *search_path()])


def published(architect: str) -> DictConfig:
    """The configuration of a search as conf/architect/<architect>.yaml sets it, without what an experiment sets."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base=None):
        return compose("search", [f"architect={architect}", *search_path()])


def build(
    settings: str, space: SearchSpace, cost: Any = None, seed: int = 0, example: Example | None = None
) -> Architect:
    """The architect of conf/architect with these settings, as a search of the task makes it."""
    config = composed(settings)
    torch.manual_seed(seed)
    if example is None:
        return architect_for(config, space, functional.cross_entropy, cost)
    architect = architect_for(config, space, example.task.criterion(), cost)
    architect.measure_by(example.task.criterion(), example.metric)
    return architect


def alike(a: dict[str, float], b: dict[str, float]) -> bool:
    """Whether two rows differ by rounding alone. A cosine of noisy gradients is compared by its difference."""
    cosines = [row.get("successive_cosine", 0.0) for row in (a, b)]
    others = [{key: value for key, value in row.items() if key != "successive_cosine"} for row in (a, b)]
    return (
        a.keys() == b.keys() and abs(cosines[0] - cosines[1]) < 1e-3 and others[1] == pytest.approx(others[0], rel=1e-4)
    )


def learns(architect: Architect) -> bool:
    """Whether there is something that its steps move; else it is a fixed distribution."""
    return any(True for _ in architect.parameters())


@cache
def moving() -> tuple[str, ...]:
    """Those of SETTINGS whose architect learns."""
    return tuple(settings for settings in SETTINGS if learns(build(settings, small_space())))


def configured(
    settings: str,
    data: ImageData,
    start: int = 0,
    record: Callable[[Any], None] | None = None,
    space: SearchSpace | None = None,
    stop: StoppingRule | None = None,
    changes: Mapping[str, Any] = MappingProxyType({}),
) -> Search:
    """A search of two edges a cell with all of conf/architect, in short phases.

    Args:
        start: Seed of all that it learns.
        changes: Of the configuration. What is in `settings` would be composed anew.
    """
    config, space = composed(settings), space or small_space(data, nodes=1)
    if config.schedule.weight_steps > 1:  # whole phases of each kind would not fit into a test
        config.schedule.update(weight_steps=1, architecture_steps=1)
    config.schedule.warmup_epochs = 0
    if "samples" in config.selection:
        config.selection.samples = 3
    for name, value in changes.items():
        OmegaConf.update(config, name, value)
    torch.manual_seed(start)
    architect = architect_for(config, space, functional.cross_entropy, None)
    schedule, selection = (instantiate(config[name], _convert_="all") for name in ("schedule", "selection"))
    return Search(space, architect, data, schedule, selection=selection, log_every=2, record=record, stop=stop)


def search(estimator: Any, log: Path, executor: Executor | None) -> bytes:
    """A short search of NAS-Bench-201, whose batches are scored on the executor; returns its log."""
    strategy = Evolution(NASBench201((1, 8, 8), 10), population=6, tournament=3, seed=1)
    answers = LoggedEstimator(estimator, strategy.space, log, failures=1.0, executor=executor)
    Baseline(strategy, answers, Budget(queries=24), batch=6).run()
    return log.read_bytes()


class Keep(pl.callbacks.Checkpoint):
    """Saves a checkpoint after the first epoch. For a Trainer of {**QUIET, "enable_checkpointing": True}."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if trainer.current_epoch == 0:
            trainer.save_checkpoint(self.path)


def searches_or_refuses(settings: str, data: ImageData, space: SearchSpace, refused: Mapping[str, str]) -> None:
    """Check that an architect trains the supernet of a space and finds an architecture, or is refused with a line."""
    if settings in refused:
        with pytest.raises(InputError, match=refused[settings]):
            configured(settings, data, space=space)
        return
    search = configured(settings, data, space=space)
    before = {name: tensor.clone() for name, tensor in search.supernet.state_dict().items()}
    pl.Trainer(max_epochs=1, **QUIET).fit(search)
    assert search.found and space.is_valid(search.found.decisions)
    assert any(not torch.equal(before[name], tensor) for name, tensor in search.supernet.state_dict().items())
