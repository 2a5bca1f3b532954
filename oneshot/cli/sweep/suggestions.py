"""Which job comes next in a sweep: the next point of a grid, or what Optuna suggests."""

import hashlib
import itertools
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from ...draws import seed_of
from .distributions import Parameter
from .file import Sweep

STORAGE = "optuna.db"
STUDY = "sweep"
DEFAULT_RUNS = 20
VALUES = "parameters"  # of a trial: what its job was given


class Suggestions(Protocol):
    """A sweep's jobs by number. `ask` gives the same for the same number, until these settings were refused.

    `tell` takes what came of a job, `refuse` that its script does not take such settings. redraws: whether `ask` then
    gives others.
    """

    redraws: bool

    def ask(self, number: int) -> dict[str, Any]: ...

    def tell(self, number: int, metric: float | None) -> None: ...

    def refuse(self, number: int) -> None: ...


def count(sweep: Sweep, runs: int | None) -> int:
    """How many jobs a sweep has: `runs`, else its run_cap, else the whole grid or 20; of a grid never more."""
    size = math.prod(len(parameter.values or ()) for parameter in sweep.parameters)
    asked = runs or sweep.run_cap or (size if sweep.method == "grid" else DEFAULT_RUNS)
    return min(asked, size) if sweep.method == "grid" else asked


def suggestions(sweep: Sweep, folder: Path, seed: int) -> Suggestions:
    """The method of the sweep; grid needs no folder."""
    if sweep.method == "grid":
        return Grid(sweep.parameters)
    return Sampled(sweep.parameters, folder / STORAGE, sweep.method == "bayes", sweep.maximize, seed)


class Grid:
    """All combinations; the last parameter of the file changes first."""

    redraws = False

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        self.names = [parameter.name for parameter in parameters]
        self.values = [parameter.values or () for parameter in parameters]

    def ask(self, number: int) -> dict[str, Any]:
        point = next(itertools.islice(itertools.product(*self.values), number, None))
        return dict(zip(self.names, point, strict=True))

    def tell(self, number: int, metric: float | None) -> None:
        pass

    def refuse(self, number: int) -> None:
        pass


class Sampled:
    """Random draws, or the tree-structured Parzen estimator (TPE), kept in an Optuna study in an SQLite file.

    A parameter is an index or a quantile to Optuna (see distributions.py); what the job was given stands in the trial's
    user attributes. A draw is a function of the seed, the number and what was told before. A trial is written whole, in
    one transaction, so that after a kill it is there with all its values or not at all. A job that failed and is
    asked for again gets a second trial with the same values; one that was refused (to Optuna: pruned) one with others.
    """

    redraws = True

    def __init__(self, parameters: Sequence[Parameter], file: Path, bayes: bool, maximize: bool, seed: int) -> None:
        self.parameters, self.bayes, self.seed = parameters, bayes, seed
        self.direction = StudyDirection.MAXIMIZE if maximize else StudyDirection.MINIMIZE
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.study = optuna.create_study(
            storage=f"sqlite:///{file}", study_name=STUDY, direction=self.direction, load_if_exists=True
        )
        self.distributions: dict[str, BaseDistribution] = {
            p.name: FloatDistribution(0.0, 1.0) if p.at else CategoricalDistribution(range(len(p.values or ())))
            for p in parameters
            if p.at or len(p.values or ()) > 1
        }

    def ask(self, number: int) -> dict[str, Any]:
        """The parameters of a job; its trial runs or is told."""
        trial = self._trial(number)
        if trial is None or trial.state in (TrialState.FAIL, TrialState.PRUNED):
            drawn = trial.params if trial and trial.state == TrialState.FAIL else self._draw(number)
            values = {p.name: self._value(p, drawn) for p in self.parameters}
            trial = create_trial(
                state=TrialState.RUNNING,
                params=drawn,
                distributions=self.distributions,
                user_attrs={"job": number, VALUES: values},
            )
            self.study.add_trial(trial)
        return trial.user_attrs[VALUES]

    def tell(self, number: int, metric: float | None) -> None:
        """What came of a job; None: it failed. The first answer stays."""
        trial = self._trial(number)
        if trial and not trial.state.is_finished():
            if metric is None:
                self.study.tell(trial.number, state=TrialState.FAIL)
            else:
                self.study.tell(trial.number, metric)

    def refuse(self, number: int) -> None:
        trial = self._trial(number)
        if trial and not trial.state.is_finished():
            self.study.tell(trial.number, state=TrialState.PRUNED)

    def _trial(self, number: int) -> FrozenTrial | None:
        """The newest trial of a job."""
        return next(reversed(self._trials(number)), None)

    def _trials(self, number: int) -> list[FrozenTrial]:
        return [trial for trial in self.study.get_trials(deepcopy=False) if trial.user_attrs.get("job") == number]

    def _draw(self, number: int) -> dict[str, Any]:
        """What a study in memory with the same trials suggests."""
        study = optuna.create_study(sampler=self._sampler(number), direction=self.direction)
        study.add_trials(self.study.get_trials(deepcopy=False))
        return study.ask(self.distributions).params

    def _sampler(self, number: int) -> BaseSampler:
        refused = sum(trial.state == TrialState.PRUNED for trial in self._trials(number))
        seed = seed_of(self.seed, f"sweep/{refused}" if refused else "sweep", number) % 2**32
        if not self.bayes:
            return RandomSampler(seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return TPESampler(multivariate=True, constant_liar=True, seed=seed)  # the liar: for jobs that run now

    def _value(self, parameter: Parameter, drawn: dict[str, Any]) -> Any:
        if parameter.at:
            return parameter.at(drawn[parameter.name])
        assert parameter.values is not None
        return parameter.values[drawn.get(parameter.name, 0)]


def digest(settings: Sequence[str]) -> str:
    """A short name of a job's settings."""
    return hashlib.blake2b("\n".join(settings).encode(), digest_size=3).hexdigest()
