"""Tree-structured Parzen estimator (Bergstra, Bardenet, Bengio and Kegl, 2011), as Optuna's sampler has it."""

import math

from ..architecture import Architecture, Query
from ..errors import check_boolean, check_integer
from ..spaces.base import SearchSpace
from .base import Strategy
from .parzen import Parzen

Decided = dict[str, int]


class TPE(Strategy):
    """Tree-structured Parzen estimator, with the numbers of Optuna's sampler.

    Each choice is a categorical parameter. The candidates that the earlier decisions allow determine its name and its
    values. Densities of good and of bad architectures are fitted; of `candidates` draws from the good density, the one
    with the best ratio is asked.

    The paper fits one density for each parameter. By default this is Optuna's multivariate TPE with groups: one density
    over all choices together. An architecture that was asked before is drawn again, up to `redraws` times, because the
    same query gives nothing new.

    The densities are fitted to the 25 best and to the newest answers, `history` in all. So the density of the good ones
    has all that it would have without a limit, and that of the bad ones lacks its oldest and lightest members. Up to
    `history` answers nothing changes.

    Args:
        space: The search space.
        seed: Seed of all random draws of the strategy.
        metric: Name of the score that is maximized.
        multivariate: Whether there is one density over all choices (True) or one for each (False).
        startup: Number of random asks at the start, at least 1.
        candidates: Number of draws from the density of good architectures, at least 1.
        redraws: How often an architecture that was asked before is drawn again, at least 0.
        history: Largest number of answers that are fitted, at least 2. None fits all.

    Raises:
        InputError: If an argument is out of range.

    Reference:
        Bergstra, Bardenet, Bengio and Kégl, Algorithms for hyper-parameter optimization, NeurIPS 2011.
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
        history: int | None = 1000,
    ) -> None:
        super().__init__(space, seed, metric)
        check_boolean("strategy.multivariate", multivariate)
        check_integer("strategy.startup", startup, 1)
        check_integer("strategy.candidates", candidates, 1)
        check_integer("strategy.redraws", redraws, 0)
        if history is not None:
            check_integer("strategy.history", history, 2)
        self.redraws = redraws
        self.parzen = Parzen(self.rng.randrange(2**31), multivariate, startup, candidates, history)
        self.waiting: dict[Architecture, list[int]] = {}  # numbers of trials without an answer
        self.seen: set[Architecture] = set()

    def ask(self) -> Query:
        for _ in range(self.redraws + 1):
            suggested = self.parzen.joint()
            architecture, decided = self._architecture(suggested)
            if architecture not in self.seen:
                break
        self._start(architecture, {**suggested, **decided})
        return Query(architecture)

    def learn(self, query: Query, score: float) -> None:
        architecture, failed = query.architecture, not math.isfinite(score)
        waiting = self.waiting.get(architecture, [])
        if not waiting and failed:
            return
        decided = self._decided(architecture)
        if not waiting:
            self.parzen.joint()  # an answer without an ask is a trial too, and a trial draws
            self._start(architecture, decided)
        number = self.waiting[architecture].pop(0)
        if not self.waiting[architecture]:
            del self.waiting[architecture]
        self.parzen.tell(number, decided, None if failed else score)

    def _start(self, architecture: Architecture, suggested: Decided) -> None:
        self.seen.add(architecture)
        self.waiting.setdefault(architecture, []).append(self.parzen.start(suggested))

    def _architecture(self, suggested: Decided) -> tuple[Architecture, Decided]:
        """The architecture of a suggestion, and its parameters; those that were not suggested are drawn alone."""
        decisions: tuple[int, ...] = ()
        decided: Decided = {}
        while len(decisions) < len(self.space.choices):
            name, allowed = self._parameter(decisions)
            decided[name] = suggested[name] if name in suggested else self.parzen.alone(name, allowed)
            decisions += (decided[name],)
        return Architecture(self.space.fingerprint, decisions), decided

    def _decided(self, architecture: Architecture) -> Decided:
        decided = {}
        for i, decision in enumerate(architecture.decisions):
            name, allowed = self._parameter(architecture.decisions[:i])
            self.parzen.values[name] = allowed
            decided[name] = decision
        return decided

    def _parameter(self, prefix: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
        """A parameter of its own for each set of allowed candidates."""
        allowed = self.space.allowed(prefix)
        return f"{len(prefix)}:{','.join(map(str, allowed))}", allowed
