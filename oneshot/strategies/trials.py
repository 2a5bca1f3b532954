"""A study of Optuna whose trials are architectures, drawn by its sampler of NSGA-II."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import NSGAIISampler
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from ..architecture import Architecture
from ..spaces.base import SearchSpace

Prefix = tuple[int, ...]


class Redrawing(NSGAIISampler):
    """Optuna's sampler, which draws again what was asked before.

    The draws are those of as many failed trials, but they leave no trials. Optuna looks at all trials in every draw,
    and once a population has converged, most draws are repeats: the time of thousands of queries would be quadratic.

    `repeated` decides whether the parameters of a trial were asked before; None draws once. `redraws` is how often.

    Args:
        knobs: Settings of Optuna's sampler.
    """

    def __init__(self, **knobs: Any) -> None:
        super().__init__(**knobs)
        self.repeated: Callable[[Mapping[str, int]], bool] | None = None
        self.redraws = 0
        self.last: tuple[int, int] | None = None  # number and generation of the last trial
        self.parents: dict[int, list[FrozenTrial] | None] = {}  # by generation; None after the first time

    def get_trial_generation(self, study: Study, trial: FrozenTrial) -> int:
        """Return the generation of a trial, which Optuna counts in every draw."""
        if self.last is None or self.last[0] != trial.number:
            self.last = trial.number, super().get_trial_generation(study, trial)
        return self.last[1]

    def get_parent_population(self, study: Study, generation: int) -> list[FrozenTrial]:
        """Return the parents of a generation; Optuna finds them among all trials in every draw."""
        found = self.parents.get(generation)
        if found is None:
            found = super().get_parent_population(study, generation)  # ordered by rank, but only the first time
            self.parents[generation] = found if generation in self.parents else None
        return found

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draw the parameters of a trial; see Optuna's documentation."""
        if self.repeated is None:
            return super().sample_relative(study, trial, search_space)
        for _ in range(self.redraws + 1):
            found = super().sample_relative(study, trial, search_space)
            for name in sorted(search_space.keys() - found.keys(), key=int):  # mutated; in the order of the choices
                found[name] = self.sample_independent(study, trial, name, search_space[name])
            if not self.repeated(found):
                break
        return found


class Trials:
    """Draws architectures from the sampler and returns the answers to the trials that asked for them.

    Args:
        space: The search space.
        sampler: The sampler.
        directions: For each objective, whether it is maximized or minimized.
        parameter: From the decisions so far to the name and the values of the next choice's categorical parameter. The
            name is the number of the choice. If a suggested value is not allowed there, an allowed one takes its place,
            always the same for the same suggestions.
        redraws: How often an architecture that was asked before is drawn again, because the same query gives nothing
            new.
    """

    def __init__(
        self,
        space: SearchSpace,
        sampler: Redrawing,
        directions: Sequence[Literal["maximize", "minimize"]],
        parameter: Callable[[Prefix], tuple[str, Prefix]],
        redraws: int,
    ) -> None:
        self.space, self.parameter, self.sampler = space, parameter, sampler
        sampler.redraws = redraws
        verbosity = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.study = optuna.create_study(sampler=sampler, directions=list(directions))
        optuna.logging.set_verbosity(verbosity)
        self.waiting: dict[Architecture, list[int]] = {}  # numbers of trials without an answer
        self.seen: set[Architecture] = set()

    def ask(self) -> Architecture:
        """Start a new trial and return its architecture."""
        trial = self.study.ask()
        self.sampler.repeated = self._repeated
        architecture = self._architecture(trial.suggest_categorical)
        self.sampler.repeated = None
        self._wait(architecture, trial)
        return architecture

    def add(self, architecture: Architecture) -> None:
        """Start a trial with a given architecture, as if the sampler had drawn it."""
        names = [self.parameter(architecture.decisions[:i])[0] for i in range(len(architecture.decisions))]
        self.study.enqueue_trial(dict(zip(names, architecture.decisions, strict=True)))
        trial = self.study.ask()
        trial.relative_params  # noqa: B018  (puts the trial into NSGA-II's generation; a fixed trial would be left out)
        self._architecture(trial.suggest_categorical)
        self._wait(architecture, trial)

    def tell(self, architecture: Architecture, values: Sequence[float] | None) -> None:
        """Pass an answer to the oldest trial that waits for it, or to a new one.

        Args:
            architecture: The architecture that was scored.
            values: One value for each objective; None if the query failed.
        """
        if not self.waiting.get(architecture):
            if values is None:
                return
            self.add(architecture)
        number = self.waiting[architecture].pop(0)
        if values is None:
            self.study.tell(number, state=TrialState.FAIL)
        else:
            self.study.tell(number, values)

    def _wait(self, architecture: Architecture, trial: Trial) -> None:
        self.seen.add(architecture)
        self.waiting.setdefault(architecture, []).append(trial.number)

    def _repeated(self, parameters: Mapping[str, int]) -> bool:
        return self._architecture(lambda name, values: parameters.get(name, values[0])) in self.seen

    def _architecture(self, suggested: Callable[[str, Prefix], Any]) -> Architecture:
        decisions: Prefix = ()
        while len(decisions) < len(self.space.choices):
            k = suggested(*self.parameter(decisions))
            allowed = self.space.allowed(decisions)
            decisions += (k if k in allowed else allowed[(k + sum(decisions)) % len(allowed)],)
        return Architecture(self.space.fingerprint, decisions)
