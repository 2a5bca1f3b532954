"""What the strategies with Optuna's samplers share: a study whose trials are architectures."""

from collections.abc import Callable, Sequence
from typing import Literal

import optuna
from optuna.samplers import BaseSampler
from optuna.trial import Trial, TrialState

from ..architecture import Architecture
from ..spaces.base import SearchSpace

Prefix = tuple[int, ...]


class Trials:
    """Draws architectures from an Optuna sampler and returns the answers to the trials that asked for them.

    Args:
        space: The search space.
        sampler: Optuna's sampler.
        directions: For each objective, whether it is maximized or minimized.
        parameter: From the decisions so far to the name and the values of the next choice's categorical parameter. If
            a suggested value is not allowed there, an allowed one takes its place, always the same for the same
            suggestions.
        redraws: How often an architecture that was asked before is drawn again, because the same query gives nothing
            new.
    """

    def __init__(
        self,
        space: SearchSpace,
        sampler: BaseSampler,
        directions: Sequence[Literal["maximize", "minimize"]],
        parameter: Callable[[Prefix], tuple[str, Prefix]],
        redraws: int,
    ) -> None:
        self.space, self.parameter, self.redraws = space, parameter, redraws
        verbosity = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.study = optuna.create_study(sampler=sampler, directions=list(directions))
        optuna.logging.set_verbosity(verbosity)
        self.waiting: dict[Architecture, list[int]] = {}  # numbers of trials without an answer
        self.seen: set[Architecture] = set()

    def ask(self) -> Architecture:
        """Start a new trial and return its architecture."""
        for n in range(self.redraws + 1):
            trial = self.study.ask()
            architecture = self._suggested(trial)
            if architecture not in self.seen or n == self.redraws:
                break
            self.study.tell(trial, state=TrialState.FAIL)
        self._wait(architecture, trial)
        return architecture

    def add(self, architecture: Architecture) -> None:
        """Start a trial with a given architecture, as if the sampler had drawn it."""
        names = [self.parameter(architecture.decisions[:i])[0] for i in range(len(architecture.decisions))]
        self.study.enqueue_trial(dict(zip(names, architecture.decisions, strict=True)))
        trial = self.study.ask()
        trial.relative_params  # noqa: B018  (puts the trial into NSGA-II's generation; a fixed trial would be left out)
        self._suggested(trial)
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

    def _suggested(self, trial: Trial) -> Architecture:
        decisions: Prefix = ()
        while len(decisions) < len(self.space.choices):
            name, values = self.parameter(decisions)
            k = trial.suggest_categorical(name, values)
            allowed = self.space.allowed(decisions)
            decisions += (k if k in allowed else allowed[(k + sum(decisions)) % len(allowed)],)
        return Architecture(self.space.fingerprint, decisions)
