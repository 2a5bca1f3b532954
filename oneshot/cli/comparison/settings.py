"""The settings of a comparison, checked before torch is imported."""

from typing import NamedTuple

from omegaconf import DictConfig, ListConfig

from ...errors import InputError, check_integer, check_range, unknown
from .. import job
from ..conf import choices
from . import budget, methods
from .budget import QUERIES, UPDATES, Budget
from .methods import ARCHITECT, CONTROL, STRATEGY, Method

LISTS = ("search_settings", "supernet_settings", "strategy_settings", "retrain_settings")
TABLE, TRAINING, AUTO = "table", "training", "auto"
MOST_SEEDS = 100_000
SET_HERE = ("seed", "out")  # of each job
INSTEAD = {  # settings of a search that mean nothing here -> what does
    "architect": "methods=[darts,snas] names architects; supernet_settings=['architect=fairnas'] is for the supernet "
    "of strategies",
    "strategy": "methods=[evolution,tpe] names strategies",
    "seed": "seeds=[0,1,2] names seeds",
}


class Settings(NamedTuple):
    """What a comparison compares.

    Args:
        methods: The methods.
        seeds: The seeds.
        budget: Of each search; None: what its settings say.
    """

    methods: list[Method]
    seeds: list[int]
    budget: Budget | None

    def of(self, kind: str) -> list[Method]:
        """Return the methods of a kind.

        Args:
            kind: As `Method.kind`.
        """
        return [method for method in self.methods if method.kind == kind]

    def queries(self, config: DictConfig) -> int:
        """Return the queries of a strategy.

        Args:
            config: The settings of the command.
        """
        return int(self.budget.amount) if self.budget and self.budget.unit == QUERIES else int(config.queries)


def read(config: DictConfig) -> Settings:
    """Return what a comparison compares.

    Args:
        config: The settings of the command.

    Raises:
        InputError: If a setting is not as conf/compare.yaml describes it, or settings do not fit together.
    """
    for name in job.given():
        if name.partition(".")[0] in INSTEAD:
            raise InputError(f"{name}: is no setting of a comparison; {INSTEAD[name.partition('.')[0]]}")
    found = Settings(methods.chosen(config.methods, job.folders()), _seeds(config.seeds), budget.read(config.budget))
    if config.truth not in (AUTO, TABLE, TRAINING):
        raise unknown("truth", config.truth, (AUTO, TABLE, TRAINING))
    check_integer("jobs", config.jobs, 1, 1024)
    check_integer("queries", config.queries, 1)
    check_range("failures", config.failures, 0.0, 1.0)
    check_range("supernet_share", config.supernet_share, 0.05, 0.95)
    _check_lists(config)
    for name, without in (
        ("queries", found.budget is None or found.budget.unit == UPDATES),
        ("recipes", config.truth != TABLE),
    ):
        if name in job.given() and not without:
            other = f"budget={config.budget}" if name == "queries" else f"truth={TABLE}"
            raise InputError(f"{name}={config[name]!s:.80}: has no effect with {other}; leave one of them out")
    if found.budget and found.budget.unit == QUERIES and (others := found.of(ARCHITECT)):
        names = ", ".join(method.name for method in others)
        raise InputError(f"budget={config.budget}: {names}: an architect asks no queries; seconds:N is for all")
    if not (found.of(ARCHITECT) or found.of(STRATEGY)) and config.truth == TABLE:
        names = ", ".join(method.name for method in found.of(CONTROL))
        raise InputError(f"methods=[{names}]: with truth={TABLE} at least one must search")
    return found


def _seeds(seeds: object) -> list[int]:
    if not isinstance(seeds, ListConfig | list):
        check_integer("seeds", seeds, 1, MOST_SEEDS)  # type: ignore[arg-type]
        return list(range(seeds))  # type: ignore[call-overload, no-any-return]
    for seed in seeds:
        check_integer("seeds", seed, 0, 2**32 - 1)
    if not seeds or len(set(seeds)) < len(seeds):
        raise InputError(f"seeds={list(seeds)!s:.80}: must hold at least one, and each once")
    return list(seeds)


def _check_lists(config: DictConfig) -> None:
    for key in (*LISTS, "recipes", "regret_at"):
        if not isinstance(config[key], ListConfig):
            raise InputError(f"{key}={config[key]!s:.80}: must be a list, as {key}=[...]")
    for key in LISTS:
        for setting in config[key]:
            if not isinstance(setting, str) or "=" not in setting:
                raise InputError(f"{key}: {setting!s:.80} is no setting; as \"{key}=['threads=1']\"")
            if (name := job.names(setting)) in SET_HERE:
                raise InputError(f"{key}: {setting!s:.80}: the comparison sets {name} itself")
    for at in config.regret_at:
        check_integer("regret_at", at, 1)
    known = choices("recipe", job.folders())
    for name in config.recipes:
        if name not in known:
            raise unknown("recipe", name, known)
    if not config.recipes or len(set(config.recipes)) < len(config.recipes):
        raise InputError(f"recipes={list(config.recipes)!s:.80}: must hold at least one, and each once")
