"""Tree-structured Parzen estimator (Bergstra, Bardenet, Bengio and Kegl, 2011), by Optuna's sampler."""

import math
import warnings

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.trial import Trial, TrialState

from oneshot.architecture import Architecture, Query
from oneshot.errors import check_boolean, check_integer
from oneshot.spaces.base import SearchSpace
from oneshot.strategies.base import Strategy


class TPE(Strategy):
    """A categorical parameter a choice; what is allowed after the decisions before makes its name and its values.

    multivariate: one density over all choices together (Optuna's multivariate TPE with groups) instead of one each.
    startup: asks that are random. candidates: drawn from the density of good ones, of which the best ratio is asked.
    An architecture asked before is drawn again, up to `redraws` times, as a repeated query would tell nothing.
    Raises InputError for anything out of range.
    """

    def __init__(
        self,
        space: SearchSpace,
        seed: int = 0,
        metric: str = "accuracy",
        multivariate: bool = True,
        startup: int = 20,
        candidates: int = 64,
        redraws: int = 10,
    ) -> None:
        super().__init__(space, seed, metric)
        check_boolean("strategy.multivariate", multivariate)
        check_integer("strategy.startup", startup, 1)
        check_integer("strategy.candidates", candidates, 1)
        check_integer("strategy.redraws", redraws, 0)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(
                n_startup_trials=startup,
                n_ei_candidates=candidates,
                multivariate=multivariate,
                group=multivariate,
                seed=self.rng.randrange(2**31),
            )
        self.study = optuna.create_study(sampler=sampler, direction="maximize")
        self.redraws = redraws
        self.trials: dict[Architecture, list[Trial]] = {}
        self.seen: set[Architecture] = set()

    def ask(self) -> Query:
        for n in range(self.redraws + 1):
            trial = self.study.ask()
            architecture = self._suggest(trial)
            if architecture not in self.seen or n == self.redraws:
                break
            self.study.tell(trial, state=TrialState.FAIL)
        self.seen.add(architecture)
        self.trials.setdefault(architecture, []).append(trial)
        return Query(architecture)

    def learn(self, query: Query, score: float) -> None:
        waiting = self.trials.get(query.architecture)
        trial = waiting.pop(0) if waiting else None
        if math.isinf(score):
            if trial:
                self.study.tell(trial, state=TrialState.FAIL)
        elif trial:
            self.study.tell(trial, score)
        else:  # told without having been asked for
            self.study.add_trial(self._told(query.architecture, score))

    def _parameter(self, prefix: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
        """Name and values of the next choice: its own for each set of allowed candidates."""
        allowed = self.space.allowed(prefix)
        return f"{len(prefix)}:{','.join(map(str, allowed))}", allowed

    def _suggest(self, trial: Trial) -> Architecture:
        decisions: tuple[int, ...] = ()
        while len(decisions) < len(self.space.choices):
            name, allowed = self._parameter(decisions)
            decisions += (trial.suggest_categorical(name, allowed),)
        return Architecture(self.space.fingerprint, decisions)

    def _told(self, architecture: Architecture, score: float) -> optuna.trial.FrozenTrial:
        parameters = [self._parameter(architecture.decisions[:i]) for i in range(len(architecture.decisions))]
        return optuna.trial.create_trial(
            params={name: k for (name, _), k in zip(parameters, architecture.decisions, strict=True)},
            distributions={name: CategoricalDistribution(allowed) for name, allowed in parameters},
            value=score,
        )
