"""What the strategies by Optuna share: a study whose trials are architectures."""

from collections.abc import Callable, Sequence
from typing import Literal

import optuna
from optuna.samplers import BaseSampler
from optuna.trial import Trial, TrialState

from ..architecture import Architecture
from ..spaces.base import SearchSpace

Prefix = tuple[int, ...]


class Trials:
    """Draws architectures from a sampler and brings the answers back to the trials that asked for them.

    parameter: name and values of the categorical parameter of the choice that follows some decisions. A suggested
    value that is not allowed there stands for one that is, always the same for the same suggestions.
    redraws: how often an architecture asked before is drawn again, as a repeated query would tell nothing.
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
        """The architecture of a new trial."""
        for n in range(self.redraws + 1):
            trial = self.study.ask()
            architecture = self._suggested(trial)
            if architecture not in self.seen or n == self.redraws:
                break
            self.study.tell(trial, state=TrialState.FAIL)
        self._wait(architecture, trial)
        return architecture

    def add(self, architecture: Architecture) -> None:
        """Make a trial of this architecture, as if the sampler had drawn it."""
        names = [self.parameter(architecture.decisions[:i])[0] for i in range(len(architecture.decisions))]
        self.study.enqueue_trial(dict(zip(names, architecture.decisions, strict=True)))
        trial = self.study.ask()
        trial.relative_params  # noqa: B018  (enters the trial into NSGA-II's generation, which a fixed one would skip)
        self._suggested(trial)
        self._wait(architecture, trial)

    def tell(self, architecture: Architecture, values: Sequence[float] | None) -> None:
        """The answer to the oldest trial that waits for it, or to a new one. None: it failed."""
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
