"""Choose the parameters of each job of a sweep: the next point of a grid, or what Optuna suggests."""

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
VALUES = "parameters"  # attribute of a trial: the parameters of its job


class Suggestions(Protocol):
    """The parameters of a sweep's jobs, by number. `redraws`: whether `ask` gives others after a refusal."""

    redraws: bool

    def ask(self, number: int) -> dict[str, Any]:
        """Return the parameters of a job: always the same ones, until they are refused."""
        ...

    def tell(self, number: int, metric: float | None) -> None:
        """Take the metric of a job; None: it failed."""
        ...

    def refuse(self, number: int) -> None:
        """Take note that the command of a job does not accept its parameters."""
        ...


def count(sweep: Sweep, runs: int | None) -> int:
    """Return the number of jobs: `runs`, else run_cap of the sweep, else the whole grid or 20; at most the grid."""
    size = math.prod(len(parameter.values or ()) for parameter in sweep.parameters)
    asked = runs or sweep.run_cap or (size if sweep.method == "grid" else DEFAULT_RUNS)
    return min(asked, size) if sweep.method == "grid" else asked


def suggestions(sweep: Sweep, folder: Path, seed: int) -> Suggestions:
    """Return the method of the sweep.

    Args:
        sweep: The sweep.
        folder: Folder of the sweep, where draws are kept.
        seed: Seed of the draws.
    """
    if sweep.method == "grid":
        return Grid(sweep.parameters)
    return Sampled(sweep.parameters, folder / STORAGE, sweep.method == "bayes", sweep.maximize, seed)


class Grid:
    """All combinations; the last parameter of the file changes first.

    Args:
        parameters: The parameters of the sweep.
    """

    redraws = False

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        self.names = [parameter.name for parameter in parameters]
        self.values = [parameter.values or () for parameter in parameters]

    def ask(self, number: int) -> dict[str, Any]:
        """Return the point of this number."""
        point = next(itertools.islice(itertools.product(*self.values), number, None))
        return dict(zip(self.names, point, strict=True))

    def tell(self, number: int, metric: float | None) -> None:
        """Do nothing: a grid does not learn."""
        pass

    def refuse(self, number: int) -> None:
        """Do nothing: a point of a grid cannot be replaced."""
        pass


class Sampled:
    """Random draws, or the tree-structured Parzen estimator (TPE), kept in an Optuna study in an SQLite file.

    For Optuna a parameter is an index or a quantile (see distributions.py); the values of the job are in the user
    attributes of the trial. A draw depends on the seed, the number and the earlier results only. A trial is written in
    one transaction, so that after a kill it is there with all its values or not at all. A job that failed and is asked
    for again gets a second trial with the same values. A job that was refused (Optuna: pruned) gets one with others.

    Args:
        parameters: The parameters of the sweep.
        file: The SQLite file.
        bayes: Whether TPE draws (True), or random draws are made (False).
        maximize: Whether the metric is maximized.
        seed: Seed of the draws.
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
        """Return the parameters of a job, and add its trial to the study if it needs a new one."""
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
        """Take the metric of a job; None: it failed. Only the first answer counts."""
        trial = self._trial(number)
        if trial and not trial.state.is_finished():
            if metric is None:
                self.study.tell(trial.number, state=TrialState.FAIL)
            else:
                self.study.tell(trial.number, metric)

    def refuse(self, number: int) -> None:
        """Mark the trial of a job as refused, so that `ask` draws others."""
        trial = self._trial(number)
        if trial and not trial.state.is_finished():
            self.study.tell(trial.number, state=TrialState.PRUNED)

    def _trial(self, number: int) -> FrozenTrial | None:
        """The newest trial of a job."""
        return next(reversed(self._trials(number)), None)

    def _trials(self, number: int) -> list[FrozenTrial]:
        return [trial for trial in self.study.get_trials(deepcopy=False) if trial.user_attrs.get("job") == number]

    def _draw(self, number: int) -> dict[str, Any]:
        """Draw parameters from a study in memory with the same trials."""
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
            return TPESampler(multivariate=True, constant_liar=True, seed=seed)  # the liar counts running jobs

    def _value(self, parameter: Parameter, drawn: dict[str, Any]) -> Any:
        if parameter.at:
            return parameter.at(drawn[parameter.name])
        assert parameter.values is not None
        return parameter.values[drawn.get(parameter.name, 0)]


def digest(settings: Sequence[str]) -> str:
    """Return a short hash of a job's settings."""
    return hashlib.blake2b("\n".join(settings).encode(), digest_size=3).hexdigest()
